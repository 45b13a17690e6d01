-- What waits for people, in the bot's store: { text = …, from = who left it, if it is a note, to = the name it was left for }.
local waiting = {}

-- Keys are w/KEY/NUMBER. They sort as text, so the number has leading zeros.
function waiting.add(key, item, ttl)
  local number = mesh.store:incr("next") or 0
  return mesh.store:set(string.format("w/%s/%010d", key, number), item, { ttl = ttl })
end

-- The oldest things that wait for somebody, by their place; and their texts, those that are alike in one line.
function waiting.batch(key, limit)
  local items, lines, times = {}, {}, {}
  for place, item in mesh.store:each("w/" .. key .. "/", { limit = limit }) do
    items[place] = item
    times[item.text] = (times[item.text] or 0) + 1
    if times[item.text] == 1 then
      lines[#lines + 1] = item.text
    end
  end
  for i, text in ipairs(lines) do
    lines[i] = times[text] > 1 and text .. ", " .. times[text] .. " times" or text
  end
  return items, table.concat(lines, "\n")
end

-- How much waits: for one key, or for all; with `from`, only that one's notes.
function waiting.count(key, from)
  local sum = 0
  for _, item in mesh.store:each(key and "w/" .. key .. "/" or "w/") do
    if not from or item.from == from then
      sum = sum + 1
    end
  end
  return sum
end

-- For whom something waits.
function waiting.keys()
  local keys = {}
  for place in mesh.store:each("w/") do
    keys[place:match("^w/(%x+)/")] = true
  end
  return keys
end

return waiting
