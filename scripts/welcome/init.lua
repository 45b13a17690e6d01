-- welcome: greets whom it hears for the first time, once and in private; tells !about and !rules to whoever asks.
local cfg = mesh.config {}
assert(mesh.seconds(cfg.remember), "remember must be a duration such as '365d'")

local RENEW = 86400   -- seconds after which it is noted again that somebody was heard: not with each message
local OFFSET = 3600   -- seconds by which a newcomer's clock may be slow

-- Who wrote before the bot was here isn't new, though old messages may come only now.
local since = mesh.store:get("since")
if not since then
  since = mesh.now()
  mesh.store:set("since", since)
end

-- Notes that somebody was heard; whether it is somebody new who can be remembered.
local function is_new(msg)
  local key = "k/" .. msg.from:sub(1, 32) -- half a key is as good, and takes half the room
  local last = mesh.store:get(key)
  if last and mesh.now() - last < RENEW then
    return false
  end
  local kept = mesh.store:set(key, mesh.now(), { ttl = cfg.remember })
  return not last and kept and msg.created > since - OFFSET, key
end

local function greet(msg)
  if msg.own or msg.hops > cfg.hops then
    return
  end
  local new, key = is_new(msg)
  if new then
    local text = cfg.greeting:gsub("{name}", function() return msg.from_name end)
    local sent, err = mesh.send(msg.from, text)
    if not sent then
      mesh.store:delete(key) -- with the next message, then
      mesh.log.warn("could not greet", msg.from_name, err)
    end
  end
end

-- Handlers never hear programs.
for _, channel in ipairs(cfg.channels) do
  mesh.on_broadcast(channel, greet)
end

local function tell(name, help)
  mesh.command(name, { channel = cfg.channels, help = help }, function(msg)
    is_new(msg) -- who finds his way needs no greeting any more
    return cfg[name]
  end)
end

tell("about", "what this mesh is")
tell("rules", "the rules of the house")
