-- A class library as people write them in pure Lua: inheritance, mixins, metamethods, class and instance tables.
local function index_of(class, declared)
  if declared == nil then return class.__members end
  if type(declared) == "function" then
    return function(self, name)
      local value = class.__members[name]
      if value ~= nil then return value end
      return declared(self, name)
    end
  end
  return function(self, name)
    local value = class.__members[name]
    if value ~= nil then return value end
    return declared[name]
  end
end

local function spread(class, name, value)
  value = name == "__index" and index_of(class, value) or value
  class.__members[name] = value
  for sub in pairs(class.subclasses) do
    if rawget(sub.__declared, name) == nil then spread(sub, name, value) end
  end
end

local function declare(class, name, value)
  class.__declared[name] = value
  if value == nil and class.super then value = class.super.__members[name] end
  spread(class, name, value)
end

local Base = {
  allocate = function(self) return setmetatable({ class = self }, self.__members) end,
  new = function(self, ...)
    local instance = self:allocate()
    instance:initialize(...)
    return instance
  end,
  extend = function(self, name)
    local sub = { name = name, super = self, static = {}, __members = {}, __declared = {}, subclasses = setmetatable({}, { __mode = "k" }) }
    sub.__members.__index = sub.__members
    setmetatable(sub.static, { __index = function(_, k) return rawget(sub.__members, k) or self.static[k] end })
    setmetatable(sub, {
      __index = sub.static, __newindex = declare, __tostring = function() return "class " .. name end,
      __call = function(c, ...) return c:new(...) end,
    })
    for key, value in pairs(self.__members) do
      if not (key == "__index" and type(value) == "table") then spread(sub, key, value) end
    end
    self.subclasses[sub] = true
    return sub
  end,
  includes = function(self, ...)
    for _, mixin in ipairs { ... } do
      for name, method in pairs(mixin) do
        if name ~= "included" then self[name] = method end
      end
      if mixin.included then mixin:included(self) end
    end
    return self
  end,
}

local root = { name = "Object", static = Base, __members = {}, __declared = {}, subclasses = setmetatable({}, { __mode = "k" }) }
root.__members.__index = root.__members
root.__members.initialize = function() end
root.__members.isInstanceOf = function(self, class)
  local c = self.class
  while c do
    if c == class then return true end
    c = rawget(c, "super")
  end
  return false
end
setmetatable(root, { __index = Base, __newindex = declare })

return setmetatable({ Object = root }, { __call = function(_, name, super) return Base.extend(super or root, name) end })
