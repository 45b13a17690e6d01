-- Times as admins write them.
local clock = {}

-- The moment that a text begins with, "+2h" or "2026-12-24 18:00" in UTC, and the rest of the text; nil when there is none.
function clock.moment(text, now)
  local ahead, rest = text:match("^%+(%S+)%s+(.+)$")
  local secs = ahead and mesh.seconds(ahead)
  if secs then
    return now + secs, rest
  end
  local day, time, after = text:match("^(%d%d%d%d%-%d%d%-%d%d)[ T](%d%d:%d%d)%s+(.+)$")
  if not day then
    return nil
  end
  local year, month, date = day:match("(%d+)-(%d+)-(%d+)")
  local hour, minute = time:match("(%d+):(%d+)")
  local at = os.time { year = year, month = month, day = date, hour = hour, min = minute, sec = 0 }
  -- A day that doesn't exist, such as 31 February, would silently become another one.
  if at and os.date("!%Y-%m-%d %H:%M", at) == day .. " " .. time then
    return at, after
  end
end

return clock
