-- A date library as people write them in pure Lua: operators, parsing with patterns, os.time and os.date.
local Date = {}
Date.__index = Date
local MONTHS = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }

-- Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
local function days(year, month, day)
  local a = math.floor((14 - month) / 12)
  local y, m = year + 4800 - a, month + 12 * a - 3
  return day + math.floor((153 * m + 2) / 5) + 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400) - 32045 - 2440588
end

local function of(seconds) return setmetatable({ seconds = seconds }, Date) end

function Date.parse(text)
  local y, m, d, rest = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$")
  if not y then return nil, "no date: " .. text end
  local h, min, s = rest:match("^[T ](%d%d):(%d%d):?(%d*)")
  return of(days(tonumber(y), tonumber(m), tonumber(d)) * 86400 + (tonumber(h) or 0) * 3600 + (tonumber(min) or 0) * 60 + (tonumber(s) or 0))
end

function Date.now() return of(os.time()) end
function Date:format(pattern) return os.date("!" .. pattern, self.seconds) end
function Date:add(t) return of(self.seconds + (t.days or 0) * 86400 + (t.hours or 0) * 3600) end
function Date:weekday() return (math.floor(self.seconds / 86400) + 4) % 7 + 1 end
function Date:short() local t = os.date("!*t", self.seconds) return t.day .. " " .. MONTHS[t.month] .. " " .. t.year end
Date.__sub = function(a, b) return a.seconds - b.seconds end
Date.__lt = function(a, b) return a.seconds < b.seconds end
Date.__le = function(a, b) return a.seconds <= b.seconds end
Date.__eq = function(a, b) return a.seconds == b.seconds end
Date.__tostring = function(self) return self:format("%Y-%m-%d %H:%M:%S") end
Date.__concat = function(a, b) return tostring(a) .. tostring(b) end

return setmetatable(Date, { __call = function(_, text) return Date.parse(text) end })
