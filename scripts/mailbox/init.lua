-- mailbox: tells what became of mail, and keeps notes for people who are away.
--
--   !leave anna The key is under the mat   a note, handed over when Anna is heard next
--   !notify on                             tell me of my notes, and of mail of mine that this node drops; off, status
local cfg = mesh.config {}
local me = mesh.self.id

local BATCH = 20               -- notes and news in one message
local MOST = 10 * cfg.people   -- notes and news that wait in all
local WANTED = 180 * 86400     -- seconds for which a `!notify on` counts, so that the list doesn't only grow

-- What waits stands under w/KEY/NUMBER: { text = …, from = who left it, if it is a note, to = the name it was left for }.
local function put(key, item)
  local number = mesh.store:incr("next") or 0
  return mesh.store:set(string.format("w/%s/%010d", key, number), item, { ttl = cfg.keep }) -- keys sort as text
end

local function count(prefix, wanted)
  local sum = 0
  for _, item in mesh.store:each(prefix) do
    sum = sum + ((not wanted or wanted(item)) and 1 or 0)
  end
  return sum
end

local function short(key, name)
  return name and name .. " (" .. key:sub(1, 6) .. ")" or key:sub(1, 6) -- anybody can take a name
end

local function up()
  local all = { [me] = true }
  for _, peer in ipairs(mesh.peers() or {}) do
    all[peer.id or ""] = peer.state == "up"
  end
  return all
end

-- News are gathered for a while, for one message; then they go to those who are here.
local soon, timer, hand_over = {}, nil, nil
local function plan(key)
  soon[key] = true
  timer = timer or mesh.after(cfg.gather, function()
    local keys, here = soon, up()
    soon, timer = {}, nil
    for key in pairs(keys) do
      if here[key] then
        hand_over(key)
      end
    end
  end)
end

local function tell(key, text)
  local wanted = mesh.store:get("s/" .. key, key == me) -- the node's own user need not ask for it
  if wanted and count("w/" .. key .. "/") < BATCH and count("w/") < MOST and put(key, { text = text }) then
    plan(key)
  end
end

-- Sends somebody all that waits, as one message; whether it is on its way. News that are alike become one line.
local busy = {}
function hand_over(key)
  local taken, lines, times = {}, {}, {}
  for place, item in mesh.store:each("w/" .. key .. "/", { limit = BATCH }) do
    taken[place] = item
    times[item.text] = (times[item.text] or 0) + 1
    if times[item.text] == 1 then
      lines[#lines + 1] = item.text
    end
  end
  if #lines == 0 or busy[key] then
    return false
  end
  for i, text in ipairs(lines) do
    lines[i] = text .. (times[text] > 1 and ", " .. times[text] .. " times" or "")
  end
  busy[key] = true
  local sent, err = mesh.send(key, table.concat(lines, "\n"), { ttl = cfg.keep })
  busy[key] = nil
  if not sent then
    mesh.log.warn("could not hand over to", short(key), err)
    plan(key)
    return false
  end
  mesh.store:set("i/" .. sent.id, true, { ttl = sent.expires - mesh.now() + 86400 }) -- its own fate is no news
  for place, item in pairs(taken) do
    mesh.store:delete(place)
    if item.from then
      tell(item.from, "your note for " .. item.to .. " was handed over")
    end
  end
  if count("w/" .. key .. "/") > 0 then
    plan(key)
  end
  return true
end

-- Somebody is heard: linked to this node, or writing to it.
mesh.on("peer_up", function(event) hand_over(event.peer) end)
mesh.on_envelope(function(msg) hand_over(msg.from) end)

local function resume()
  for place in mesh.store:each("w/") do
    plan(place:match("^w/(%x+)/"))
  end
end
mesh.on("start", resume)
mesh.on("reload", resume)

-- What became of mail. `delivered` and `failed` are of this node's own mail, `evicted` is of anybody's that it carries.
local own = {}
for _, kind in ipairs(cfg.tell) do
  own[kind] = true
end

local function on(kind, text)
  mesh.on(kind, function(event)
    local whose = kind == "evicted" and event.peer or me
    if (whose ~= me or own[kind]) and not mesh.store:get("i/" .. event.id) then
      tell(whose, text(event.name or short(event.peer), event.id:sub(1, 8)))
    end
  end)
end
on("delivered", function(who) return "delivered to " .. who end)
on("failed", function(who, id) return "message " .. id .. " expired before " .. who .. " had it" end)
on("evicted", function(_, id) return "message " .. id .. " was dropped at " .. (mesh.self.name or short(me)) .. ": no room" end)

mesh.command("notify", { args = "<on|off|status>", help = "tell me of my notes and of dropped mail" }, function(msg, word)
  local key = "s/" .. msg.from
  word = word:lower()
  if word == "on" and not mesh.store:get(key) and count("s/") >= cfg.people then
    return "no more people can have notices here"
  elseif word == "on" then
    local ok, err = mesh.store:set(key, true, msg.own and {} or { ttl = WANTED })
    return ok and "notices are on" .. (msg.own and "" or os.date("! until %d %b %Y", mesh.now() + WANTED)) or "not kept: " .. err
  elseif word == "off" then
    local ok, err = msg.own and mesh.store:set(key, false) or not msg.own and (mesh.store:delete(key) or true)
    return ok and "notices are off" or "not kept: " .. err
  elseif word == "status" then
    local notes = count("w/", function(item) return item.from == msg.from end)
    return "notices are " .. (mesh.store:get(key, msg.own) and "on" or "off") .. "; " .. notes .. " of your notes wait"
  end
  return "write !notify on, !notify off or !notify status"
end)

-- Those whom a name or the beginning of a key can mean.
local function find(name)
  local found, wanted = {}, name:lower()
  local peers = mesh.peers() or {}
  peers[#peers + 1] = { id = me, name = mesh.self.name }
  for _, peer in ipairs(peers) do
    local named = peer.name and peer.name:lower() == wanted
    if peer.id and peer.trust ~= "blocked" and (named or #wanted >= 6 and peer.id:sub(1, #wanted) == wanted) then
      found[#found + 1] = peer
    end
  end
  return found
end

mesh.command("leave", { args = "<name> <text>", help = "a note for somebody who is away" }, function(msg, name, text)
  text = text:gsub("%s+", " ") -- a line of its own could pretend to be another note
  local found = find(name)
  if #text > cfg.longest then
    return "a note has at most " .. cfg.longest .. " bytes; yours has " .. #text
  elseif #found == 0 then
    return "nobody called '" .. name .. "' is known here; write the name, or 6 digits of the key or more"
  elseif #found > 1 then
    return "that can be " .. short(found[1].id, found[1].name) .. " or " .. short(found[2].id, found[2].name) .. "; write digits of the key"
  elseif count("w/", function(item) return item.from == msg.from end) >= cfg.notes then
    return cfg.notes .. " of your notes wait already, the most there may be"
  elseif count("w/") >= MOST then
    return "the mailbox is full; try again in a few days"
  end
  local key, to = found[1].id, short(found[1].id, found[1].name)
  local note = "note of " .. short(msg.from, msg.from_name) .. os.date("!, %d %b %H:%M UTC: ", mesh.now()) .. text
  local ok, err = put(key, { text = note, from = msg.from, to = found[1].name or short(key) })
  if not ok then
    return "not kept: " .. err
  elseif up()[key] and hand_over(key) then
    return to .. " is here and gets it now"
  end
  return "kept for " .. to .. " for up to " .. cfg.keep
end)
