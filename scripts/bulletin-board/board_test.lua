-- Tests of the bulletin board: qpq script test scripts/bulletin-board

-- Says something on the board, and returns the answer.
local function say(t, who, text)
  t:receive{ from = who, topic = "board", text = text }
  return t:expect_sent{ topic = "board" }.text
end

test("posts are listed newest first, read and found", function(t)
  t:equal(say(t, "anna", "!post Free couch, pick it up on Monday"), "posted as #1")
  t:equal(say(t, "bob", "!post Who has a spare antenna?"), "posted as #2")
  t:matches(say(t, "bob", "!list"), "^#2 15 Jan bob: Who has.*\n#1 15 Jan anna: Free couch")
  t:equal(say(t, "bob", "!read 1"), "#1 by anna, 15 Jan 2027 08:00 UTC\nFree couch, pick it up on Monday")
  t:matches(say(t, "bob", "!search COUCH"), "^#1 ")
  t:equal(say(t, "bob", "!search sofa"), "nothing found for 'sofa'")
end)

test("only its author deletes a post", function(t)
  say(t, "anna", "!post Free couch")
  t:equal(say(t, "bob", "!delete 1"), "post #1 isn't yours")
  t:equal(say(t, "anna", "!delete 1"), "post #1 is gone")
  t:equal(say(t, "anna", "!delete 1"), "there is no post #1")
  t:matches(say(t, "anna", "!list"), "^the board is empty")
end)

test("lists have pages", function(t)
  t:limits{ messages_per_minute = 100 }
  for number = 1, 7 do
    say(t, "anna", "!post number " .. number)
  end
  t:matches(say(t, "anna", "!list 2"), "^#2 .*\n#1 [^\n]*$")
  t:equal(say(t, "anna", "!list 3"), "there is no page 3")
end)

test("posts outlive a restart and expire after 30 days", function(t)
  say(t, "anna", "!post Free couch")
  t:advance("29d")
  t:stop()
  t:start()
  t:matches(say(t, "bob", "!read 1"), "Free couch$")
  t:advance("1d")
  t:equal(say(t, "bob", "!read 1"), "there is no post #1")
  t:equal(say(t, "anna", "!post another"), "posted as #2")
end)

test("a direct message is answered in private", function(t)
  t:receive{ from = "anna", text = "!post Free couch" }
  t:expect_sent{ to = "anna", text = "posted as #1" }
  t:receive{ from = "anna", text = "!help" }
  t:expect_sent{ to = "anna", match = "!post <text> %- put up a post" }
  t:expect_nothing{}
end)

test("the board is heard at the other end of a lossy mesh", function(t)
  t:node("b", { bots = false })
  local c = t:node("c", { bots = false, links = { "b" } })
  t:unlink("a", "c")
  t:loss(0.3)
  c:receive{ from = "carl", topic = "board", text = "!post Free couch" }
  t:expect_sent{ topic = "board", text = "posted as #1", within = "1m" }
  c:person("carl"):expect_received{ topic = "board", text = "posted as #1", within = "1m" }
end)
