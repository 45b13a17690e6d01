-- relay-warden: looks after the node that it runs on. Only for `admins`, and only in direct messages.
--
--   !allow KEY   !block KEY   !unblock KEY        whom the node trusts and whom it refuses
--   !limit KEY 600/min 1MB/min   !limit KEY off   how much a neighbour may bring in
--   !lists   !plugins   !report                   what is in force, what runs, how it goes
--
-- quota.lua reads and writes quotas, plugins.lua replaces what fails, report.lua counts.
local cfg = mesh.config {}
local quota = require("quota")

for name, file in pairs(cfg.spare) do
  assert(type(file) == "string" and file:match("^/"), "spare: " .. name .. " must be the whole path of a file")
end

local admins = {}        -- keys, without "self"
for i, admin in ipairs(cfg.admins) do
  admins[i] = admin == "self" and mesh.self.id or admin
end

local function tell(text)
  for _, admin in ipairs(admins) do
    local ok, err = mesh.send(admin, text)
    if not ok then mesh.log.warn("admin not told:", err) end
  end
end

local function command(name, args, help, fn)
  mesh.command(name, { args = args, help = help, who = cfg.admins }, fn)
end

local function shown(key, name)
  return name and name .. " (" .. key:sub(1, 10) .. ")" or key:sub(1, 10)
end

-- Names can be taken by anybody, so keys alone count here: whole ones, or the beginning of one that the node knows.
local function key_of(word)
  word = word:lower()
  if #word < 8 or #word > 64 or word:find("%X") then
    return nil, "write a key, or its first 8 digits or more"
  elseif #word == 64 then
    return word
  end
  local found
  for _, peer in ipairs(mesh.peers() or {}) do
    if peer.id and peer.id:sub(1, #word) == word then
      if found then return nil, "several keys begin with " .. word end
      found = peer.id
    end
  end
  return found, "no known key begins with " .. word
end

local function judge(name, done, help)
  command(name, "<key>", help, function(_, word)
    local key, why = key_of(word)
    if not key then return why end
    for _, admin in ipairs(admins) do
      -- Whoever commands from afar could not take this back.
      if name == "block" and admin == key then return shown(key) .. " is an admin; not blocked" end
    end
    local peer, err = mesh.relay[name](key)
    return peer and shown(key, peer.name) .. done or "not done: " .. err
  end)
end
judge("allow", " is trusted now", "trust a peer: its messages have room before others'")
judge("block", " is blocked now", "refuse a peer's links and messages")
judge("unblock", " is neither trusted nor blocked now", "take an allow or a block back")

command("limit", "<key> <quota>", "bound a neighbour: 600/min, 1MB/min, or both; off lifts it", function(_, word, text)
  local key, why = key_of(word)
  if not key then return why end
  local lifted, wanted = text:lower() == "off", quota.read(text)
  if not lifted and not wanted then return "write 600/min, 200kB/min, both of them, or off" end
  local ok, err = mesh.relay.limit(key, wanted or {})
  if ok and wanted then ok, err = mesh.store:set("limit/" .. key, wanted) end
  if not ok then return "not done: " .. err end
  if lifted then mesh.store:delete("limit/" .. key) end
  return shown(key) .. (wanted and ": at most " .. quota.write(wanted) or " has no limit of its own now")
end)

-- The node's limits end with it; the bot's store doesn't.
mesh.on("start", function()
  for name, kept in mesh.store:each("limit/") do
    local ok, err = mesh.relay.limit(name:sub(7), kept)
    if not ok then mesh.log.warn("not set again:", name, err) end
  end
end)

command("lists", "", "who is trusted, blocked or limited", function()
  local lines = {}
  for _, peer in ipairs(mesh.peers() or {}) do
    if peer.id and peer.trust ~= "known" then lines[#lines + 1] = peer.trust .. ": " .. shown(peer.id, peer.name) end
  end
  table.sort(lines)
  for name, kept in mesh.store:each("limit/") do
    lines[#lines + 1] = "limited: " .. shown(name:sub(7)) .. ", " .. quota.write(kept)
  end
  return #lines > 0 and mesh.text.truncate(table.concat(lines, "\n"), 4000) or "nobody is trusted, blocked or limited"
end)

local plugins = require("plugins")(cfg, tell)
command("plugins", "", "the node's plugins and their states", plugins.list)

local report = require("report")(plugins)
command("report", "", "how the node does, since the last report", report.text)
mesh.at(cfg.report, function()
  tell(report.text())
  report.begin()
end)
