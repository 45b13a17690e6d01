-- feed: publishes a weather report, headlines or a figure on a channel when it has changed.
--
--   !feed          which feeds there are
--   !feed NAME     one of them, as it is now
--
-- The admin names the sources; the bot never learns or chooses a place. read.lua makes texts of what they hold.
local cfg = mesh.config {}
assert((mesh.seconds(cfg.check) or 0) >= 1, "check must be a duration of a second or more, such as '10m'")
local read = require("read")

local names = {}
for name, form in pairs(cfg.feeds) do
  local known = form == "text" or form == "titles" or tostring(form):match("^json:.")
  assert(known, "feeds: " .. name .. " must be 'text', 'titles' or 'json:' and a path")
  names[#names + 1] = name
end
table.sort(names)

-- The feed as a message, or nil and why not.
local function load(name)
  local raw, err = mesh.source(name)
  if not raw then return nil, err.code == "source-failed" and "its source can't be read now" or tostring(err) end
  local text, why = read(raw, cfg.feeds[name], cfg.titles)
  if not text or text == "" then return nil, why or "its source is empty" end
  return mesh.text.truncate(name .. ":" .. (text:sub(1, 1) == "\n" and "" or " ") .. text, cfg.bytes)
end

-- Why a feed can't be read is logged when it begins and when it changes, not each ten minutes.
local failing = {}
local function log(name, why)
  if why ~= failing[name] then
    mesh.log.warn(name .. ":", why or "can be read again")
    failing[name] = why
  end
end

local function publish(name)
  local text, why = load(name)
  log(name, why)
  local last = mesh.store:get("last/" .. name, { text = "", time = 0 })
  if not text or text == last.text or mesh.now() - last.time < cfg.at_most then return end
  -- Optional: it waits while links are busy, and a newer text takes its place.
  local ok, err = mesh.broadcast(cfg.channel, text, { optional = true, merge = name })
  if ok then ok, err = mesh.store:set("last/" .. name, { text = text, time = mesh.now() }) end
  if not ok then mesh.log.warn(name, "not published:", err) end
end

local function look()
  for _, name in ipairs(names) do
    publish(name)
  end
end
mesh.on("start", look)
mesh.every(cfg.check, look, { name = "check" })

mesh.command("feed", { args = "[name]", help = "read a feed, or list them", channel = cfg.channel }, function(_, name)
  name = name or #names == 1 and names[1]
  if name and cfg.feeds[name] then
    local text, why = load(name)
    return text or name .. ": " .. why
  end
  local list = #names > 0 and "there are: " .. table.concat(names, ", ") or "no feed is set up"
  return name and "there is no feed " .. mesh.text.truncate(name, 40) .. "; " .. list or list
end)
