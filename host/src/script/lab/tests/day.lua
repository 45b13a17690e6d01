-- A day on a board: people at five nodes post, answer, correct and take back, a moderator pins and hides, while links flap, the
-- mesh falls apart and nodes crash. Afterwards all nodes show the same board, and it is what people wrote.
local NODES, STEPS = { "a", "b", "c", "d", "e" }, 96

local seed = 0
local function random(n)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return math.floor(seed / 65536) % n + 1
end

local function one_of(list) return list[random(#list)] end

--- What people have written, by the board's rules: `posts[id] = { by, text, dead }`.
local function written() return { posts = {}, ids = {}, pinned = {}, hidden = {} } end

--- Puts up a post, or an answer to one.
local function puts(text_of)
  return function(board, write, n)
    local by, text = "p" .. random(10), "text " .. n
    local id = write(by, text_of(board) .. " " .. text)
    board.posts[id] = { by = by, text = text }
    board.ids[#board.ids + 1] = id
  end
end

local ACTS = {
  puts(function() return "!post" end),
  puts(function(board) return "!reply " .. one_of(board.ids) end),
  function(board, write, n)
    local id = one_of(board.ids)
    local post = board.posts[id]
    write(post.by, "!edit " .. id .. " edit " .. n)
    post.text = "edit " .. n
  end,
  function(board, write)
    local id = one_of(board.ids)
    write(board.posts[id].by, "!delete " .. id)
    board.posts[id].dead = true
  end,
  function(board, write)
    local id = one_of(board.ids)
    local word = one_of({ "!pin", "!unpin" })
    write("mo", word .. " " .. id)
    board.pinned[id] = word == "!pin"
  end,
  function(board, write)
    local id = one_of(board.ids)
    local word = one_of({ "!hide", "!show" })
    write("mo", word .. " " .. id)
    board.hidden[id] = word == "!hide"
  end,
  -- Somebody else's hand on a post changes nothing.
  function(board, write, n)
    local id = one_of(board.ids)
    local word = one_of({ "!edit " .. id .. " spoiled " .. n, "!delete " .. id, "!pin " .. id, "!hide " .. id, "!ban " .. id })
    write("mallory", word)
  end,
}

local function trouble(t, ring)
  local what = random(6)
  if what == 1 then
    t:partition({ one_of(NODES) }, { one_of(NODES), one_of(NODES) })
  elseif what == 2 then
    t:heal()
  elseif what == 3 then
    local node = t:node(one_of(NODES))
    node:crash()
    t:advance(random(120) .. "s")
    node:start()
  else
    local link = one_of(ring)
    if link.up then t:unlink(link[1], link[2]) else t:link(link[1], link[2]) end
    link.up = not link.up
  end
  t:loss(random(4) / 10 - 0.1)
end

--- One line for each post that is left, in order, then all that is pinned or hidden.
local function expected(board)
  local lines = {}
  for id, post in pairs(board.posts) do
    if not post.dead then
      local marks = (board.pinned[id] and "p" or "") .. (board.hidden[id] and "h" or "")
      lines[#lines + 1] = id .. marks .. " " .. post.text
    end
  end
  table.sort(lines)
  return lines
end

test("a day of a board", function(t)
  seed = assert(tonumber(SEED))
  t:config({ moderators = { t:key("mo") } })
  t:limits({ messages_per_minute = 1000, bytes_per_hour = 10000000 })
  local ring = {}
  for i = 2, #NODES do t:node(NODES[i], { links = { NODES[i - 1] } }) end
  for i = 1, #NODES do ring[i] = { NODES[i], NODES[i % #NODES + 1], up = i < #NODES } end
  -- People write at homes of their own, each at one node.
  local home = { mo = "a", mallory = "b" }
  for i = 1, 10 do home["p" .. i] = NODES[i % #NODES + 1] end
  for name, node in pairs(home) do t:node(node):person(name):join("board") end
  local board = written()
  local function write(by, text)
    t:advance(random(20) .. "s")
    return t:person(by):send({ topic = "board", text = text })
  end
  for step = 1, STEPS do
    for _ = 1, random(4) do
      local act = #board.ids == 0 and ACTS[1] or one_of(ACTS)
      act(board, write, step)
    end
    trouble(t, ring)
    t:advance(random(25) .. "m")
  end
  t:heal()
  t:loss(0)
  for _, link in ipairs(ring) do
    if not link.up then t:link(link[1], link[2]) end
  end
  t:advance("2h")
  local wanted = expected(board)
  t:ok(#wanted > 20)
  for _, name in ipairs(NODES) do
    t:node(name):receive({ from = "asker of " .. name, text = "!board" })
    t:advance("1m")
    t:equal({ name, t:node(name):store("board") }, { name, wanted })
  end
end)
