-- A pretty printer as people write them in pure Lua: sorted keys, cycles, metatables, string.rep, select and varargs.
local inspect = {}
local order = { number = 1, boolean = 2, string = 3, table = 4, ["function"] = 5, userdata = 6, thread = 7 }

local function before(a, b)
  local ta, tb = type(a), type(b)
  if ta == tb and (ta == "string" or ta == "number") then return a < b end
  local oa, ob = order[ta] or 100, order[tb] or 100
  if oa == ob then return tostring(a) < tostring(b) end
  return oa < ob
end

local function smart_quote(text)
  if text:match('"') and not text:match("'") then return "'" .. text .. "'" end
  return '"' .. text:gsub('"', '\\"') .. '"'
end

local function name_like(key)
  return type(key) == "string" and not not key:match("^[_%a][_%a%d]*$")
end

local Inspector = {}
Inspector.__index = Inspector

function Inspector:puts(...)
  for i = 1, select("#", ...) do self.out[#self.out + 1] = (select(i, ...)) end
end

function Inspector:id(value)
  if not self.ids[value] then
    self.count = self.count + 1
    self.ids[value] = self.count
  end
  return tostring(self.ids[value])
end

function Inspector:value(value, depth)
  if type(value) == "string" then
    self:puts(smart_quote(value:gsub("[%c\127]", function(c) return string.format("\\%d", c:byte()) end)))
  elseif type(value) ~= "table" then
    self:puts(order[type(value)] and order[type(value)] < 4 and tostring(value) or "<" .. type(value) .. " " .. self:id(value) .. ">")
  elseif self.seen[value] then
    self:puts("<table " .. self:id(value) .. ">")
  elseif depth >= self.depth then
    self:puts("{...}")
  else
    self.seen[value] = true
    self:puts("{")
    local length, count = rawlen(value), 0
    local keys = {}
    for key in next, value do
      if not (type(key) == "number" and key >= 1 and key <= length and math.floor(key) == key) then keys[#keys + 1] = key end
    end
    table.sort(keys, before)
    local function comma() if count > 0 then self:puts(",") end count = count + 1 end
    for i = 1, length do comma() self:puts(" ") self:value(rawget(value, i), depth + 1) end
    for _, key in ipairs(keys) do
      comma()
      self:puts("\n", string.rep("  ", depth + 1))
      if name_like(key) then self:puts(key) else self:puts("[") self:value(key, depth + 1) self:puts("]") end
      self:puts(" = ")
      self:value(rawget(value, key), depth + 1)
    end
    local meta = getmetatable(value)
    if type(meta) == "table" then
      comma()
      self:puts("\n", string.rep("  ", depth + 1), "<metatable> = ")
      self:value(meta, depth + 1)
    end
    if #keys > 0 or type(meta) == "table" then self:puts("\n", string.rep("  ", depth)) elseif length > 0 then self:puts(" ") end
    self:puts("}")
  end
end

return setmetatable(inspect, {
  __call = function(_, value, options)
    local self = setmetatable({ out = {}, ids = {}, count = 0, seen = {}, depth = options and options.depth or math.huge }, Inspector)
    self:value(value, 0)
    return table.concat(self.out)
  end,
})
