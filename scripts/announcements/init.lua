-- announcements: admins post notices, now or later; the bot repeats them until they expire.
--
--   !announce Mesh meeting on Friday, 19:00           post a notice
--   !announce-for 12h The well is closed              ... that stays out for 12 hours
--   !announce-at 2026-12-24 18:00 Carols at the mill  ... at that time, UTC
--   !announce-at +2h The bridge is open again         ... in two hours
--   !withdraw 3                                       take one back
--   !announcements                                    read the notices (everybody)
local clock = require("clock")
local notices = require("notices")
local cfg = mesh.config {}
local EVERY = assert(mesh.seconds(cfg.every), "every must be a duration such as '6h'")
local KEEP = assert(mesh.seconds(cfg.keep), "keep must be a duration such as '3d'")
local LIFE = math.min(EVERY, 30 * 86400) -- what is said lives until it is repeated: nobody needs both
local RETRY = 90                         -- seconds until a notice is tried again that could not go out
local YEAR = 366 * 86400                 -- no notice is planned farther ahead, or stays longer

local function time(at)
  return os.date("!%d %b %Y %H:%M", at) .. " UTC"
end

-- All in one message: a broadcast costs everybody's air time.
local function digest(list)
  local lines = {}
  for i, notice in ipairs(list) do
    local planned = not notice.out and notice.at > mesh.now() and " (from " .. time(notice.at) .. ")" or ""
    lines[i] = "[#" .. notice.id .. "] " .. notice.text .. " -- " .. notice.by .. planned
  end
  return table.concat(lines, "\n")
end

local function first_due(list)
  local first = math.huge
  for _, notice in ipairs(list) do
    first = math.min(first, notice.at)
  end
  return first
end

-- Says what is due: new notices by themselves, the old ones all together as soon as one of them is due.
-- Then sets one timer for whatever comes next: it follows from the store, so a restart misses nothing.
local timer
local function say()
  local now = mesh.now()
  local old = notices.list(function(notice) return notice.out end)
  local fresh = notices.list(function(notice) return not notice.out and notice.at <= now end)
  local ok, problem
  if #fresh > 0 then
    local text = digest(fresh)
    notices.set(fresh, now + RETRY, false) -- whoever looks while it is sent finds it not due
    ok, problem = mesh.broadcast(cfg.channel, text, { ttl = LIFE })
    notices.set(fresh, now + (ok and EVERY or RETRY), ok ~= nil)
  end
  if first_due(old) <= now then
    notices.set(old, now + EVERY, true)
    local repeated, err = mesh.broadcast(cfg.channel, digest(old), { ttl = LIFE, optional = true, merge = "digest" })
    if not repeated then
      mesh.log.warn("could not repeat the notices:", err)
    end
  end
  if timer then
    timer:cancel()
  end
  local next = first_due(notices.all())
  timer = nil
  if next < math.huge then
    timer = mesh.after(math.max(1, next - mesh.now()), say)
  end
  return problem
end

local function post(msg, text, at, life)
  text = text:gsub("%s+", " ")
  if #text > cfg.longest then
    return "a notice has at most " .. cfg.longest .. " bytes; yours has " .. #text
  elseif #notices.all() >= cfg.most then
    return "there are " .. cfg.most .. " notices already, the most there may be; withdraw one"
  elseif #notices.list(function(notice) return notice.cause == msg.id end) > 0 then
    return -- after a crash the last commands come once more
  end
  local notice = { text = text, by = msg.own and mesh.self.name or msg.from_name, at = at, ends = at + life, out = false, cause = msg.id }
  local ok, err = notices.add(notice)
  if not ok then
    return "notice not kept: " .. err
  end
  local problem = say()
  if at > mesh.now() then
    return "notice #" .. notice.id .. " goes out on " .. time(at)
  elseif problem then
    return "notice #" .. notice.id .. " is kept and goes out a little later: " .. problem
  end
  return "notice #" .. notice.id .. " is out until " .. time(at + life)
end

-- Admins write to the node, not on the channel: there the bots of other nodes, with other admins, would answer as well.
local function admins_command(name, args, help, fn)
  mesh.command(name, { args = args, help = help, who = cfg.admins }, fn)
end

admins_command("announce", "<text>", "post a notice for " .. cfg.keep, function(msg, text)
  return post(msg, text, mesh.now(), KEEP)
end)

admins_command("announce-for", "<duration> <text>", "post one for as long as 12h", function(msg, duration, text)
  local life = mesh.seconds(duration)
  if not life or life < 1 or life > YEAR then
    return "'" .. duration .. "' is no duration: write one such as 90m, 12h or 7d, a year at most"
  end
  return post(msg, text, mesh.now(), life)
end)

admins_command("announce-at", "<time> <text>", "post one at 2026-12-24 18:00 (UTC) or in +2h", function(msg, first, rest)
  local now = mesh.now()
  local at, text = clock.moment(first .. " " .. rest, now)
  if not at then
    return "write a time such as 2026-12-24 18:00, in UTC, or +2h; then the text"
  elseif at <= now or at > now + YEAR then
    return time(at) .. " is " .. (at <= now and "past" or "more than a year away") .. "; now it is " .. time(now)
  end
  return post(msg, text, at, KEEP)
end)

admins_command("withdraw", "<number>", "take a notice back", function(msg, word)
  word = word:gsub("^#", "")
  return notices.remove(word) and "notice #" .. word .. " is withdrawn" or "there is no notice #" .. word
end)

-- On the channel each node that has notices answers, for each has its own; who plans what is for direct messages only.
mesh.command("announcements", { channel = cfg.channel, all = true, help = "read the notices" }, function(msg)
  local text = digest(notices.list(function(notice) return notice.out or not msg.topic end))
  return text ~= "" and text or not msg.topic and "no notices" or nil
end)

mesh.on("start", function() say() end)
mesh.on("reload", function() say() end)
