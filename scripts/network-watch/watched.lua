-- What is watched, and which state of each thing was told: up, down, or flapping.

local MOST = 500     -- things watched: strangers must not fill the memory

return function(cfg)
  -- id → { label, told, up, changed, flips }: what was told, how it is and since when, and how often that has changed
  -- since. What was told is kept: what doesn't come back after a restart of the node is lost, too.
  local things, count = {}, 0
  local function add(id, label, told)
    things[id] = { label = label, told = told, up = told ~= "down", changed = mesh.now(), flips = 0 }
    count = count + 1
  end
  for key, kept in mesh.store:each("t/") do
    add(key:sub(3), kept.label, kept.told)
  end

  local function keep(id, thing)
    local options = thing.told == "down" and { ttl = cfg.forget } or {}
    local ok, err = mesh.store:set("t/" .. id, { label = thing.label, told = thing.told }, options)
    if not ok then mesh.log.warn("not kept:", id, err) end
  end

  -- Takes in what is there now: id → label. What is of a kind that could not be read stays as it was.
  local function note(there, kinds)
    for id, thing in pairs(things) do
      if there[id] and there[id] ~= thing.label then     -- its name was learned
        thing.label = there[id]
        keep(id, thing)
      end
      local up = there[id] ~= nil
      if kinds[id:match("^%a+")] and thing.up ~= up then
        thing.up, thing.changed, thing.flips = up, mesh.now(), thing.flips + 1
      end
    end
    for id, label in pairs(there) do
      -- What is new is watched from now on, and not worth a message.
      if not things[id] and count < MOST then
        add(id, label, "up")
        keep(id, things[id])
      end
    end
  end

  -- A lost node tells that its link is lost; a link tells that its node is there.
  local function is_implied(id)
    local kind, key = id:match("^(%a+)/(.*)")
    local link, node = things["link/" .. key], things["node/" .. key]
    if not (link and node) or link.told ~= node.told then return false end
    return kind == (link.told == "down" and "link" or "node")
  end

  -- What has changed for long enough: id → thing.
  local function settle()
    local news = {}
    for id, thing in pairs(things) do
      local state = thing.told
      if mesh.now() - thing.changed >= cfg.grace then
        state, thing.flips = thing.up and "up" or "down", 0
      elseif thing.flips >= cfg.flaps then
        state = "flapping"
      end
      if state ~= thing.told then
        thing.told, news[id] = state, thing
        keep(id, thing)
      elseif state == "down" and not thing.up and not mesh.store:get("t/" .. id) then
        things[id], count = nil, count - 1     -- lost for so long that it is forgotten
      end
    end
    return news
  end

  return { note = note, settle = settle, is_implied = is_implied, things = things }
end
