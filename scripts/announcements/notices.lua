-- The notices, in the bot's store. Each has `id`, `text`, `by`; `at`, when it is said next; `out`, whether it was said before;
-- `ends`, when it expires with its key; and `cause`, the message that ordered it.
local notices = {}

-- Keys sort as text, so numbers are written with leading zeros.
local function key_of(id)
  return string.format("n/%08d", id)
end

local function keep(notice)
  return mesh.store:set(key_of(notice.id), notice, { ttl = math.max(1, notice.ends - mesh.now()) })
end

-- Those for which `wanted` holds, the oldest first.
function notices.list(wanted)
  local list = {}
  for _, notice in mesh.store:each("n/") do
    if wanted(notice) then
      list[#list + 1] = notice
    end
  end
  return list
end

function notices.all()
  return notices.list(function() return true end)
end

-- Gives it a number; nil and an error when there is no room.
function notices.add(notice)
  local err
  notice.id, err = mesh.store:incr("next")
  if not notice.id then
    return nil, err
  end
  return keep(notice)
end

-- They are said next at that time.
function notices.set(list, at, out)
  for _, notice in ipairs(list) do
    notice.at, notice.out = at, out
    if mesh.store:get(key_of(notice.id)) then -- else it was withdrawn meanwhile
      keep(notice)
    end
  end
end

-- Whether there was one with that number, which somebody typed.
function notices.remove(word)
  local id = tonumber(word)
  return id ~= nil and id >= 1 and id < 1e8 and mesh.store:delete(key_of(id))
end

return notices
