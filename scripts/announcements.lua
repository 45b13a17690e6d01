-- announcements: admins post notices, the bot repeats them until they expire.
--
--   !announce Mesh meeting on Friday, 19:00      post a notice (admins only)
--   !announcements                               read the notices that are out
--   !withdraw 3                                  take one back (admins only)
--
-- An admin is a key in `admins`; "self" is the key of the node that the bot runs on. To change any of these, write into
-- the node's qpq-server.toml, and start the node anew:
--   [scripts.config.announcements]
--   admins = ["self", "the 64 digits that `/mesh identity` shows on the admin's node"]
local cfg = mesh.config {
  channel = "announcements",
  admins = { "self" },
  every = "6h",      -- how often the notices are repeated
  keep = "3d",       -- how long a notice stays out
}

-- All notices in one message: a broadcast costs everybody's air time, so there is one for all of them.
local function digest()
  local lines = {}
  for key, notice in mesh.store:each("n/") do
    lines[#lines + 1] = "[#" .. notice.id .. "] " .. notice.text .. " -- " .. notice.by
  end
  return #lines > 0 and table.concat(lines, "\n") or nil
end

-- Keys sort as text, so numbers are written with leading zeros.
local function key_of(id)
  return string.format("n/%08d", id)
end

mesh.command("announce", {
  args = "<text>", who = cfg.admins, channel = cfg.channel, help = "post a notice for " .. cfg.keep,
}, function(msg, text)
  local id = mesh.store:incr("next")
  local ok, err = mesh.store:set(key_of(id), { id = id, text = text, by = msg.from_name }, { ttl = cfg.keep })
  if not ok then
    return "notice not kept: " .. err
  end
  ok, err = mesh.broadcast(cfg.channel, "[#" .. id .. "] " .. text .. " -- " .. msg.from_name)
  if not ok then
    return "notice #" .. id .. " is kept and goes out later: " .. err
  end
  return "notice #" .. id .. " accepted"
end)

mesh.command("withdraw", {
  args = "<number>", who = cfg.admins, channel = cfg.channel, help = "take a notice back",
}, function(msg, number)
  local id = tonumber(number)
  if id and mesh.store:delete(key_of(id)) then
    return "notice #" .. id .. " withdrawn"
  end
  return "there is no notice #" .. number
end)

mesh.command("announcements", { channel = cfg.channel, help = "read the notices that are out" }, function()
  return digest() or "no notices"
end)

mesh.every(cfg.every, function()
  local text = digest()
  if text then
    local ok, err = mesh.broadcast(cfg.channel, text)
    if not ok then
      mesh.log.warn("could not repeat the notices:", err.code)
    end
  end
end, { name = "repeat" })
