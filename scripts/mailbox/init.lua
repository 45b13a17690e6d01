-- mailbox: tells what became of mail, and keeps notes for people who are away.
--
--   !leave anna The key is under the mat   a note, handed over when Anna is heard next
--   !notify on                             tell me of my notes, and of mail of mine that this node drops; off, status
local waiting = require("waiting")
local cfg = mesh.config {}
assert((mesh.seconds(cfg.gather) or 0) >= 1, "gather must be a duration of a second or more, such as '1m'")
assert(mesh.seconds(cfg.keep), "keep must be a duration such as '14d'")
local me = mesh.self.id

local BATCH = 20               -- notes and news in one message
local MOST = 10 * cfg.people   -- notes and news that wait in all
local WANTED = 180 * 86400     -- seconds for which a `!notify on` counts, so that the list doesn't only grow

local function short(key, name)
  return name and name .. " (" .. key:sub(1, 6) .. ")" or key:sub(1, 6) -- anybody can take a name
end

local function who_is_here()
  local here = { [me] = true }
  for _, peer in ipairs(mesh.peers() or {}) do
    if peer.id and peer.state == "up" then
      here[peer.id] = true
    end
  end
  return here
end

-- News are gathered for a while, for one message; then they go to those who are here.
local soon, timer, hand_over = {}, nil, nil
local function plan(key)
  soon[key] = true
  timer = timer or mesh.after(cfg.gather, function()
    local keys, here = soon, who_is_here()
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
  local room = waiting.count(key) < BATCH and waiting.count() < MOST
  if wanted and room and waiting.add(key, { text = text }, cfg.keep) then
    plan(key)
  end
end

-- Sends somebody all that waits, as one message; whether it is on its way.
local busy = {}
function hand_over(key)
  local items, text = waiting.batch(key, BATCH)
  if text == "" or busy[key] then
    return false
  end
  busy[key] = true
  local sent, err = mesh.send(key, text, { ttl = cfg.keep })
  busy[key] = nil
  if not sent then
    mesh.log.warn("could not hand over to", short(key), err)
    plan(key)
    return false
  end
  mesh.store:set("i/" .. sent.id, true, { ttl = sent.expires - mesh.now() + 86400 }) -- its own fate is no news
  for place, item in pairs(items) do
    mesh.store:delete(place)
    if item.from then
      tell(item.from, "your note for " .. item.to .. " was handed over")
    end
  end
  if waiting.count(key) > 0 then
    plan(key)
  end
  return true
end

-- Somebody is heard: linked to this node, or writing to it.
mesh.on("peer_up", function(event) hand_over(event.peer) end)
mesh.on_envelope(function(msg) hand_over(msg.from) end)

local function resume()
  for key in pairs(waiting.keys()) do
    plan(key)
  end
end
mesh.on("start", resume)
mesh.on("reload", resume)

-- What became of mail. `delivered` and `failed` are of this node's own mail, `evicted` is of anybody's that it carries.
local KINDS = { delivered = true, failed = true, evicted = true }
local own = {}
for _, kind in ipairs(cfg.tell) do
  assert(KINDS[kind], "tell names 'delivered', 'failed' and 'evicted' alone")
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

local function switch(msg, on)
  local key, people = "s/" .. msg.from, 0
  for _ in mesh.store:each("s/") do
    people = people + 1
  end
  if on and not msg.own and people >= cfg.people and not mesh.store:get(key) then
    return "no more people can have notices here"
  end
  if not on and not msg.own then
    mesh.store:delete(key)
    return "notices are off"
  end
  local ok, err = mesh.store:set(key, on, msg.own and {} or { ttl = WANTED })
  if not ok then
    return "not kept: " .. err
  end
  return "notices are " .. (on and "on" or "off") .. (on and not msg.own and os.date("! until %d %b %Y", mesh.now() + WANTED) or "")
end

mesh.command("notify", { args = "<on|off|status>", help = "tell me of my notes and of dropped mail" }, function(msg, word)
  if word == "on" or word == "off" then
    return switch(msg, word == "on")
  elseif word == "status" then
    local on = mesh.store:get("s/" .. msg.from, msg.own)
    return "notices are " .. (on and "on" or "off") .. "; notes of yours that wait: " .. waiting.count(nil, msg.from)
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
  local found = find(name)
  text = text:gsub("%s+", " ") -- a line of its own could pretend to be another note
  if #text > cfg.longest then
    return "a note has at most " .. cfg.longest .. " bytes; yours has " .. #text
  elseif #found == 0 then
    return "nobody called '" .. name .. "' is known here; write the name, or 6 digits of the key or more"
  elseif #found > 1 then
    return "that can be " .. short(found[1].id, found[1].name) .. " or " .. short(found[2].id, found[2].name) .. "; write digits of the key"
  elseif waiting.count(nil, msg.from) >= cfg.notes then
    return cfg.notes .. " of your notes wait already, the most there may be"
  elseif waiting.count() >= MOST then
    return "the mailbox is full; try again in a few days"
  end
  local key, to = found[1].id, short(found[1].id, found[1].name)
  local note = "note of " .. short(msg.from, msg.from_name) .. os.date("!, %d %b %H:%M UTC: ", mesh.now()) .. text
  local ok, err = waiting.add(key, { text = note, from = msg.from, to = found[1].name or short(key) }, cfg.keep)
  if not ok then
    return "not kept: " .. err
  elseif who_is_here()[key] and hand_over(key) then
    return to .. " is here and gets it now"
  end
  return "kept for " .. to .. " for up to " .. cfg.keep
end)
