-- bulletin-board: a board of short posts on a channel, kept over restarts.
--
--   !post <text>     put up a post             !list [page]     the newest posts
--   !read <number>   one post in full          !search <words>  posts with these words
--   !delete <number> take down your own post
local cfg = mesh.config {}
local posts = mesh.store

local LONGEST = 1000   -- bytes of a post
local FOUND = 10       -- posts that a search shows

-- Keys sort as text, so numbers are written with leading zeros.
local function key_of(number)
  return string.format("p/%08d", number)
end

local function get(word)
  local number = tonumber(word)
  if number and number >= 1 and number < 1e8 and number % 1 == 0 then
    return posts:get(key_of(number)), number
  end
end

-- One line of a list: number, date, author, and the beginning of the text.
local function line(post)
  local text = mesh.text.truncate((post.text:gsub("%s+", " ")), 60)
  return "#" .. post.number .. " " .. os.date("%d %b", post.time) .. " " .. post.by .. ": " .. text
end

local function command(name, args, help, fn)
  mesh.command(name, { args = args, help = help, channel = cfg.channel }, fn)
end

command("post", "<text>", "put up a post", function(msg, text)
  if #text > LONGEST then
    return "a post has at most " .. LONGEST .. " bytes; yours has " .. #text
  end
  local number = posts:incr("last")
  local post = { number = number, text = text, by = msg.from_name, key = msg.from, time = os.time() }
  local ok, err = posts:set(key_of(number), post, { ttl = cfg.keep })
  if not ok then
    return "the board is full: " .. err
  end
  return "posted as #" .. number
end)

command("list", "[page]", "the newest posts", function(msg, page)
  local number = math.max(1, math.floor(tonumber(page) or 1))
  local lines = {}
  for _, post in posts:each("p/", { reverse = true, skip = (number - 1) * cfg.page, limit = cfg.page }) do
    lines[#lines + 1] = line(post)
  end
  if #lines == 0 then
    return number == 1 and "the board is empty; write !post and a text" or "there is no page " .. number
  end
  return table.concat(lines, "\n")
end)

command("read", "<number>", "one post in full", function(msg, word)
  local post = get(word)
  if not post then
    return "there is no post #" .. word
  end
  return "#" .. post.number .. " by " .. post.by .. ", " .. os.date("%d %b %Y %H:%M", post.time) .. " UTC\n" .. post.text
end)

command("search", "<words>", "posts with these words", function(msg, words)
  local lines, wanted = {}, words:lower()
  for _, post in posts:each("p/", { reverse = true }) do
    if post.text:lower():find(wanted, 1, true) then
      lines[#lines + 1] = line(post)
      if #lines == FOUND then
        break
      end
    end
  end
  return #lines > 0 and table.concat(lines, "\n") or "nothing found for '" .. words .. "'"
end)

command("delete", "<number>", "take down your own post", function(msg, word)
  local post, number = get(word)
  if not post then
    return "there is no post #" .. word
  end
  -- Names can be taken by anyone; the key can't.
  if post.key ~= msg.from then
    return "post #" .. number .. " isn't yours"
  end
  posts:delete(key_of(number))
  return "post #" .. number .. " is gone"
end)
