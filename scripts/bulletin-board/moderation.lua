-- The moderators' commands. What a moderator types on the channel is signed by himself, so it counts wherever he is named; in a
-- direct message he asks this node to sign it. Of several nodes one answers, and it knows only its own moderators. (A ban of a post's author would be easier to type, but of a post that came through
-- another node's bot only that bot says who wrote it: whom to ban is for the moderator to tell.)
local HERE = mesh.self.name or mesh.self.id:sub(1, 6)

return function(board, command, moderators)
  local function moderator_command(name, args, help, fn)
    command(name, args, help .. " (moderators)", function(msg, ...)
      if moderators[msg.from] then
        return fn(msg, ...)
      elseif msg.topic then
        return "it counts at the nodes that have you as a moderator; " .. HERE .. " hasn't"
      end
      return "no effect: at this node only its moderators' word counts"
    end)
  end

  -- `done` tells whether a post is as it was wanted; in a direct message `board[name]` makes the entry.
  local function moderate(name, args, help, word, done)
    moderator_command(name, args, help, function(msg, id, reason)
      local post, err = board:get(id)
      if post and not msg.topic then
        post, err = board[name](board, post.id, { by = msg, reason = reason })
      end
      if err and err.code == "not-moderator" then
        return "this node's own word doesn't count on its board: write it on the channel"
      end
      return post and "#" .. post.short .. (done(post) and " is " or " is not ") .. word or err.message
    end)
  end

  moderate("pin", "<id>", "keep a post above the others", "pinned", function(post) return post.pinned end)
  moderate("unpin", "<id>", "end a pin", "unpinned", function(post) return not post.pinned end)
  moderate("hide", "<id> [reason]", "leave a post out of lists", "hidden", function(post) return post.hidden end)
  moderate("show", "<id>", "take a hide back", "shown again", function(post) return not post.hidden end)

  local function judge(name, help, done)
    moderator_command(name, "<key>", help, function(msg, word)
      local post = board:get(word)
      if post then
        return "#" .. post.short .. " is by " .. post.author .. (post.via and " via " .. post.via or "") .. ": name the key"
      elseif #word ~= 64 or word:find("%X") then
        return "write a key of 64 digits; !" .. name .. " and a post's id tells that of its author"
      elseif moderators[word:lower()] then
        return "a moderator can't be banned here"
      end
      local ok, err = msg.topic ~= nil, nil -- on the channel the entry is made already
      if not ok then
        ok, err = board[name](board, word, { by = msg })
      end
      return ok and word:sub(1, 6) .. " is " .. done or err.message
    end)
  end

  judge("ban", "leave out all that a key writes, for 30 days", "banned for 30 days")
  judge("unban", "end a ban", "banned no more")
end
