-- Texts out of what a source holds. A source is written by strangers: searches go forward only and over short pieces, so
-- that none can make the bot work for long.

local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'" }
local PIECE_BYTES = 4096     -- of a text, or of an entry with a title, that are looked at
local ITEMS = 100            -- entries that are looked at

local function entity(name)
  local code = tonumber(name:match("^#(%d+)$")) or tonumber(name:match("^#[xX](%x+)$") or "", 16)
  if code and code >= 32 and code < 0x110000 and (code < 0xD800 or code > 0xDFFF) then return utf8.char(code) end
  return ENTITIES[name]      -- nil leaves it as it is
end

local function line(text)
  text = text:gsub("<!%[CDATA%[", ""):gsub("%]%]>", ""):gsub("<[^<>]*>", "")
  text = text:gsub("&(#?%w+);", entity):gsub("%s+", " ")
  return text:match("^ ?(.-) ?$")
end

-- The newest titles of RSS (<item>) or Atom (<entry>).
local function titles(xml, most)
  local tag = xml:find("<item", 1, true) and "item" or "entry"
  local lines, at = {}, 1
  for _ = 1, ITEMS do
    local from = xml:find("<" .. tag, at, true)
    local to = from and xml:find("</" .. tag .. ">", from, true)
    if not to or #lines >= most then break end
    local item = xml:sub(from, math.min(to, from + PIECE_BYTES))
    local _, open = item:find("<title[^<>]*>")
    local close = open and item:find("</title>", open, true)
    if close then lines[#lines + 1] = "- " .. line(item:sub(open + 1, close - 1)) end
    at = to + 1
  end
  if #lines == 0 then return nil, "no titles of RSS or Atom in it" end
  return "\n" .. table.concat(lines, "\n")
end

-- What a dotted path leads to: "list.1.name" is the name in the first entry of the list.
local function value(json, path)
  local at, err = mesh.json.decode(json)
  if err then return nil, "it is no JSON" end
  for step in path:gmatch("[^.]+") do
    at = type(at) == "table" and (at[step] or at[tonumber(step)])
    if at == nil or at == false then return nil, "nothing at " .. path end
  end
  return type(at) == "table" and mesh.json.encode(at) or tostring(at)
end

return function(raw, form, most)
  local path = form:match("^json:(.+)$")
  if path then return value(raw, path) end
  if form == "titles" then return titles(raw, most) end
  local text = raw:sub(1, PIECE_BYTES)
  local to = #text
  while to > 0 and text:find("^%s", to) do
    to = to - 1
  end
  return text:sub(text:find("%S") or 1, to)
end
