-- A JSON library as people write them in pure Lua: a reader with patterns and closures, a writer with gsub.
local json = { _version = "0.0.1" }
local escapes = { ["\\"] = "\\", ['"'] = '"', ["\b"] = "b", ["\f"] = "f", ["\n"] = "n", ["\r"] = "r", ["\t"] = "t" }

local function escape(c)
  return "\\" .. (escapes[c] or string.format("u%04x", c:byte()))
end

local encode
local encoders = {
  ["nil"] = function() return "null" end,
  boolean = tostring,
  number = function(n)
    if n ~= n or n <= -math.huge or n >= math.huge then error("unexpected number value '" .. tostring(n) .. "'") end
    return string.format("%.14g", n)
  end,
  string = function(s) return '"' .. s:gsub('[%c"\\]', escape) .. '"' end,
  table = function(value, stack)
    stack = stack or {}
    if stack[value] then error("circular reference") end
    stack[value] = true
    local parts = {}
    if rawget(value, 1) ~= nil or next(value) == nil then
      for _, item in ipairs(value) do parts[#parts + 1] = encode(item, stack) end
      stack[value] = nil
      return "[" .. table.concat(parts, ",") .. "]"
    end
    for key, item in pairs(value) do
      if type(key) ~= "string" then error("invalid table: mixed or invalid key types") end
      parts[#parts + 1] = encode(key, stack) .. ":" .. encode(item, stack)
    end
    table.sort(parts)
    stack[value] = nil
    return "{" .. table.concat(parts, ",") .. "}"
  end,
}

encode = function(value, stack)
  local encoder = encoders[type(value)]
  if not encoder then error("unexpected type '" .. type(value) .. "'") end
  return encoder(value, stack)
end
json.encode = function(value) return (encode(value)) end

function json.decode(text)
  local at = 1
  local read
  local function skip() at = text:find("%S", at) or #text + 1 end
  local function fail(what) error(string.format("%s at character %d", what, at)) end
  local function expect(c)
    skip()
    if text:sub(at, at) ~= c then fail("expected '" .. c .. "'") end
    at = at + 1
  end
  local names = { ["true"] = true, ["false"] = false }
  local function string_()
    expect('"')
    local out = {}
    while true do
      local stop = text:find('["\\]', at) or fail("unclosed string")
      out[#out + 1] = text:sub(at, stop - 1)
      at = stop + 1
      if text:sub(stop, stop) == '"' then return table.concat(out) end
      local c = text:sub(at, at)
      if c == "u" then
        out[#out + 1] = utf8.char(tonumber(text:sub(at + 1, at + 4), 16))
        at = at + 5
      else
        out[#out + 1] = ({ b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" })[c] or c
        at = at + 1
      end
    end
  end
  local function sequence(close, item)
    local out = {}
    at = at + 1
    skip()
    if text:sub(at, at) == close then at = at + 1 return out end
    repeat
      item(out)
      skip()
      local c = text:sub(at, at)
      at = at + 1
      if c ~= "," and c ~= close then fail("expected ','") end
    until c == close
    return out
  end
  read = function()
    skip()
    local c = text:sub(at, at)
    if c == '"' then return string_() end
    if c == "[" then return sequence("]", function(out) out[#out + 1] = read() end) end
    if c == "{" then
      return sequence("}", function(out)
        local key = string_()
        expect(":")
        out[key] = read()
      end)
    end
    local word = text:match("^%a+", at)
    if word == "null" then at = at + 4 return nil end
    if word and names[word] ~= nil then at = at + #word return names[word] end
    local number = text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at) or fail("unexpected character '" .. c .. "'")
    at = at + #number
    return tonumber(number)
  end
  return read()
end

return json
