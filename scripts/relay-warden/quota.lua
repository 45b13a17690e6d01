-- Quotas as people write them: "600/min 1MB/min" is { messages = 600, bytes = 1000000 }.
local SIZES = { B = 1, KB = 1e3, MB = 1e6 }

local function read(text)
  local quota = {}
  for word in text:gmatch("%S+") do
    local number, unit = word:upper():match("^(%d+)(%a*)/MIN$")
    local size = unit == "" and 1 or SIZES[unit or ""]
    if not size or #number > 9 or tonumber(number) < 1 then return nil end
    quota[unit == "" and "messages" or "bytes"] = tonumber(number) * size
  end
  return next(quota) and quota or nil
end

local function write(quota)
  local parts = {}
  if quota.messages then parts[1] = string.format("%d messages", quota.messages) end
  if quota.bytes then parts[#parts + 1] = string.format("%d bytes", quota.bytes) end
  return table.concat(parts, " and ") .. " a minute"
end

return { read = read, write = write }
