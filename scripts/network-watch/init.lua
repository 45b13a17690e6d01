-- network-watch: tells when a link, a node, or a gateway of the machine's mesh routing is lost, and when it is back.
--
--   !network     how it is now
--
-- A change is told once it has lasted for the grace time, so that a link that flaps gives one message and not fifty.
-- look.lua finds out what is there, watched.lua remembers how it was.
local cfg = mesh.config {}
assert(mesh.seconds(cfg.forget), "forget must be a duration such as '30d'")
local FROM, TO = cfg.quiet:match("^(%d%d?)%-(%d%d?)$")
FROM, TO = tonumber(FROM), tonumber(TO)
assert(cfg.quiet == "" or FROM and FROM <= 24 and TO <= 24, "quiet must be two hours such as '22-7', or ''")
for _, admin in ipairs(cfg.admins) do
  assert(admin == "self" or type(admin) == "string" and admin:match("^%x+$") == admin and #admin == 64,
    "admins must be keys of 64 digits, or 'self'")
end
local look = require("look")
local watched = require("watched")(cfg)

-- Several nodes may tell of the same link.
local HERE = (mesh.self.name or mesh.self.id:sub(1, 10)) .. ": "
local SAID = { up = "is back", down = "is lost", flapping = "comes and goes" }

local function is_quiet()
  if not FROM then return false end
  local hour = tonumber(os.date("!%H"))
  if FROM <= TO then return hour >= FROM and hour < TO end
  return hour >= FROM or hour < TO
end

local function tell(lines)
  table.sort(lines)
  local text = mesh.text.truncate(HERE .. table.concat(lines, "; "), 1000)
  -- Optional: it waits while links are busy, and what waits becomes one message.
  local ok, err = mesh.broadcast(cfg.channel, text, { optional = true })
  if not ok then mesh.log.warn("not told:", err) end
  for _, admin in ipairs(cfg.admins) do
    ok, err = mesh.send(admin == "self" and mesh.self.id or admin, text, { optional = true })
    if not ok then mesh.log.warn("admin not told:", err) end
  end
end

local function check()
  watched.note(look.around())
  if is_quiet() then return end
  local lines = {}
  for id, thing in pairs(watched.settle()) do
    if not watched.is_implied(id) then lines[#lines + 1] = thing.label .. " " .. SAID[thing.told] end
  end
  if #lines > 0 then tell(lines) end
end

mesh.on("start", check)
mesh.every("1m", check, { name = "check" })
-- Between two checks links come and go; each event is looked into.
for _, event in ipairs{ "peer_up", "peer_down", "link_change", "route_change" } do
  mesh.on(event, function() watched.note(look.around()) end)
end

local function words(time)
  if time >= 86400 then return math.floor(time / 86400) .. " days" end
  if time >= 3600 then return math.floor(time / 3600) .. " h" end
  return math.floor(time / 60) .. " min"
end

-- Each node sees a network of its own, so each answers.
mesh.command("network", { help = "links, nodes and gateways as they are now", channel = cfg.channel, all = true }, function()
  watched.note(look.around())
  local up, others = {}, {}
  for id, thing in pairs(watched.things) do
    if watched.is_implied(id) then
      -- Another line tells that.
    elseif thing.told == "flapping" then
      others[#others + 1] = thing.label .. " comes and goes"
    elseif thing.up then
      up[#up + 1] = thing.label
    else
      others[#others + 1] = thing.label .. " is lost for " .. words(mesh.now() - thing.changed)
    end
  end
  table.sort(up)
  table.sort(others)
  local text = HERE .. (#up == 0 and "nothing is up" or "up: " .. table.concat(up, ", "))
  return mesh.text.truncate(text .. (#others > 0 and "\n" .. table.concat(others, "\n") or ""), 2000)
end)
