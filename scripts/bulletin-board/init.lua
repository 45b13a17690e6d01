-- bulletin-board: a board of short posts on a channel.
--
-- On the channel what people type is the signed entry itself; the bot only tells what became of it. In a direct message the
-- bot writes the entry for the sender. All posts are in `mesh.board`, which is the same at each node.
local cfg = mesh.config {}
assert(mesh.seconds(cfg.keep), "keep must be a duration such as '30d'")
local board = assert(mesh.board(cfg.channel, { keep = cfg.keep, moderators = cfg.moderators, posts = cfg.posts }))

local FOUND = 8     -- posts that a search shows
local THREAD = 12   -- replies that !read shows
local LINE = 60     -- bytes of a text in a list

local moderators = {}
for _, key in ipairs(cfg.moderators) do
  moderators[key == "self" and mesh.self.id or key] = true
end

local function command(name, args, help, fn)
  mesh.command(name, { args = args, help = help, channel = cfg.channel }, fn)
end

-- Who wrote a post; through whom, if that is another node: it only says that it wrote for him.
local function author(post)
  local through = post.via and post.via ~= mesh.self.id and " via " .. post.via:sub(1, 6) or ""
  return post.author_name .. through
end

-- One line of a list: mark of a pin, id, date, author, the beginning of the text.
local function line(post)
  local text = mesh.text.truncate((post.text:gsub("%s+", " ")), LINE)
  local replies = post.replies > 0 and " (" .. post.replies .. (post.replies == 1 and " reply)" or " replies)") or ""
  return (post.pinned and "* " or "") .. "#" .. post.short .. os.date("! %d %b ", post.created) .. author(post) .. ": " .. text .. replies
end

local function lines(posts)
  local list = {}
  for i, post in ipairs(posts) do
    list[i] = line(post)
  end
  return list
end

command("post", "<text>", "put up a post for " .. cfg.keep .. " (typed on the channel: for as long as your node lets messages live)", function(msg, text)
  local post, err
  if msg.topic then
    post, err = board:get(msg.id), "it is too long, or its author is banned here"
  else
    post, err = board:post(text, { by = msg })
  end
  return post and "posted as #" .. post.short or "not posted: " .. err
end)

command("reply", "<id> <text>", "answer a post", function(msg, id, text)
  local to, err = board:get(id)
  if not to then
    return err.message
  end
  local reply
  if msg.topic then
    reply, err = board:get(msg.id), "it is too long, or its author is banned here"
  else
    reply, err = board:reply(to.id, text, { by = msg })
  end
  return reply and "#" .. reply.short .. " answers #" .. to.short or "not posted: " .. err
end)

command("edit", "<id> <text>", "give your post another text", function(msg, id, text)
  local post, err = board:get(id)
  if post and not msg.topic then
    post, err = board:edit(post.id, text, { by = msg })
  elseif post and (post.author ~= msg.from or post.via or post.text ~= text) then
    post, err = nil, "only its author can change a post, by the same way as it was written"
  end
  return post and "#" .. post.short .. " is changed" or tostring(err)
end)

command("delete", "<id>", "take your post down", function(msg, id)
  if msg.topic then
    id = id:match("^for:%x+%s+(%S+)$") or id -- an entry of a program's may name for whom it is
    local post, err = board:get(id) -- the entry has been done by now
    return post and "#" .. post.short .. " is still there: only its author takes a post down, by the same way as it was written"
      or err.code == "unknown-post" and id .. " is gone" or err.message
  end
  local ok, err = board:delete(id, { by = msg })
  return ok and id .. " is gone" or err.message
end)

command("list", "[page]", "the pinned posts, then the newest", function(msg, word)
  local page = math.max(1, math.floor(tonumber(word) or 1))
  local posts = board:list({ skip = (page - 1) * cfg.page, limit = cfg.page + 1 })
  if #posts == 0 then
    return page == 1 and "the board is empty; write !post and a text" or "there is no page " .. page
  end
  local more = table.remove(posts, cfg.page + 1)
  local list = lines(posts)
  list[#list + 1] = more and "more: !list " .. page + 1
  return table.concat(list, "\n")
end)

command("read", "<id>", "a post in full, with its replies", function(msg, id)
  local thread, err = board:thread(id, { limit = THREAD + 1 })
  if not thread then
    return err.message
  end
  local post = table.remove(thread, 1)
  if post.hidden and not (moderators[msg.from] and not msg.topic) then
    return "#" .. post.short .. " is hidden by a moderator" .. (post.reason and ": " .. post.reason or "")
  end
  local edited = post.edited and ", changed " .. os.date("!%d %b %H:%M", post.edited) or ""
  local list = { "#" .. post.short .. " by " .. author(post) .. os.date("!, %d %b %Y %H:%M UTC", post.created) .. edited, post.text }
  for _, reply in ipairs(thread) do
    list[#list + 1] = string.rep(">", math.min(reply.depth, 5)) .. " #" .. reply.short .. " " .. author(reply) .. ": " .. reply.text
  end
  return table.concat(list, "\n")
end)

command("search", "<words>", "posts with all these words", function(msg, words)
  local found = lines(board:search(words, { limit = FOUND }))
  return #found > 0 and table.concat(found, "\n") or "nothing found for '" .. words .. "'"
end)

require("moderation")(board, command, moderators)
