-- Tests of the bulletin board: qpq script test scripts/bulletin-board

-- Somebody types on the channel; the bot's answer there. (Entries that the bot writes for others begin with "!".)
local function say(t, who, text)
  t:receive{ from = who, topic = "board", text = text }
  return t:expect_sent{ topic = "board", match = "^[^!]" }.text
end

-- The same in a direct message.
local function ask(t, who, text)
  t:receive{ from = who, text = text }
  return t:expect_sent{ to = who == "self" and "a" or who }.text
end

local function id_in(text)
  return text:match("#(%x+)")
end

local function many(t)
  t:limits{ messages_per_minute = 100, broadcasts_per_minute = 100 }
end

test("posts are listed newest first, read with their replies, and found", function(t)
  local couch = id_in(say(t, "anna", "!post Free couch, pick it up on Monday"))
  local antenna = id_in(say(t, "bob", "!post Who has a\nspare antenna?"))
  local reply = id_in(say(t, "bob", "!reply " .. couch .. " is it blue?"))
  t:equal(say(t, "bob", "!list"), "#" .. antenna .. " 15 Jan bob: Who has a spare antenna?\n"
    .. "#" .. couch .. " 15 Jan anna: Free couch, pick it up on Monday (1 reply)")
  t:equal(say(t, "bob", "!read #" .. couch:upper()), "#" .. couch .. " by anna, 15 Jan 2027 08:00 UTC\n"
    .. "Free couch, pick it up on Monday\n> #" .. reply .. " bob: is it blue?")
  t:matches(say(t, "bob", "!search MONDAY couch"), "^#" .. couch .. " [^\n]*$")
  t:equal(say(t, "bob", "!search sofa"), "nothing found for 'sofa'")
end)

test("only its author changes a post and takes it down", function(t)
  many(t)
  local couch = id_in(say(t, "anna", "!post Free couch"))
  t:matches(say(t, "bob", "!edit " .. couch .. " stolen couch"), "^only its author")
  t:equal(say(t, "anna", "!edit " .. couch .. " blue couch"), "#" .. couch .. " is changed")
  t:matches(say(t, "bob", "!delete " .. couch), "is still there: only its author")
  t:matches(say(t, "bob", "!read " .. couch), "by anna, 15 Jan 2027 08:00 UTC, changed 15 Jan 08:00\nblue couch$")
  t:equal(say(t, "anna", "!delete " .. couch), couch .. " is gone")
  t:matches(say(t, "anna", "!read " .. couch), "^there is no post " .. couch)
  t:equal(say(t, "anna", "!list"), "the board is empty; write !post and a text")
end)

test("in direct messages the bot posts for the sender, who alone changes it", function(t)
  many(t)
  local couch = id_in(ask(t, "anna", "!post Free couch"))
  t:expect_sent{ topic = "board", text = "!post for:" .. t:key("anna") .. " Free couch" }
  t:matches(ask(t, "bob", "!edit " .. couch .. " stolen"), "^only its author")
  t:matches(ask(t, "bob", "!delete " .. couch), "^only its author")
  t:matches(ask(t, "bob", "!reply " .. couch .. " is it blue?"), "^#%x+ answers #" .. couch .. "$")
  t:equal(ask(t, "anna", "!edit " .. couch .. " blue couch"), "#" .. couch .. " is changed")
  t:equal(ask(t, "bob", "!list"), "#" .. couch .. " 15 Jan anna: blue couch (1 reply)")
  t:equal(ask(t, "anna", "!delete " .. couch), couch .. " is gone")
  t:matches(ask(t, "anna", "!help"), "!post <text> %- put up a post")
end)

test("lists have pages, the pinned posts first", function(t)
  many(t)
  local ids = {}
  for number = 1, 7 do
    ids[number] = id_in(say(t, "anna", "!post number " .. number))
    t:advance("2s")
  end
  t:equal(say(t, "self", "!pin " .. ids[2]), "#" .. ids[2] .. " is pinned")
  t:matches(say(t, "bob", "!list"), "^%* #" .. ids[2] .. " .*number 4\nmore: !list 2$")
  t:matches(say(t, "bob", "!list 2"), "^#%x+ [^\n]*number 3\n#%x+ [^\n]*number 1$")
  t:equal(say(t, "bob", "!list 3"), "there is no page 3")
  t:matches(say(t, "bob", "!list nan"), "^%* #")
  t:equal(say(t, "self", "!unpin " .. ids[2]), "#" .. ids[2] .. " is unpinned")
  t:matches(say(t, "bob", "!list -1"), "^#" .. ids[7])
end)

test("what makes no sense is answered with what would", function(t)
  many(t)
  for _, command in { "!read", "!reply abcdef", "!edit abcdef", "!post", "!search", "!ban" } do
    t:matches(say(t, "anna", command), "^usage: ")
  end
  for _, command in { "!read abcdef", "!read 1", "!reply nothing hello", "!edit abcdef x" } do
    t:matches(say(t, "anna", command), "^there is no post .*6 digits")
    t:matches(ask(t, "anna", command), "^there is no post .*6 digits")
  end
  t:equal(say(t, "anna", "!post " .. string.rep("x", 9000)), "not posted: it is too long, or its author is banned here")
  t:matches(ask(t, "anna", "!post " .. string.rep("x", 9000)), "^not posted: a post has at most 8192 bytes")
  t:matches(ask(t, "anna", "!list"), "^the board is empty")
end)

test("who says that he writes for somebody is named, and in a direct message nobody can say so", function(t)
  many(t)
  local forged = "!post for:" .. t:key("anna") .. " I give my house away"
  local id = id_in(say(t, "eve", forged))
  t:equal(say(t, "bob", "!list"), "#" .. id .. " 15 Jan " .. t:key("anna"):sub(1, 10) .. " via " .. t:key("eve"):sub(1, 6)
    .. ": I give my house away")
  t:matches(say(t, "bob", "!delete for:" .. t:key("anna") .. " " .. id), "^#" .. id .. " is still there: ")
  t:matches(ask(t, "eve", forged), "^posted as #")
  t:matches(say(t, "bob", "!list"), "^#%x+ 15 Jan eve: for:")
end)

test("the moderators hide and show, pin and ban, nobody else", function(t)
  many(t)
  t:config{ moderators = { "self", t:key("mo") } }
  local spam = id_in(say(t, "eve", "!post Buy my pills"))
  for _, command in { "!hide " .. spam, "!pin " .. spam, "!ban " .. t:key("anna") } do
    t:equal(say(t, "eve", command), "it counts at the nodes that have you as a moderator; a hasn't")
    t:matches(ask(t, "eve", command), "^no effect: ")
  end
  t:equal(say(t, "mo", "!hide " .. spam .. " advertising"), "#" .. spam .. " is hidden")
  t:matches(say(t, "anna", "!list"), "^the board is empty")
  t:equal(say(t, "anna", "!read " .. spam), "#" .. spam .. " is hidden by a moderator: advertising")
  t:matches(ask(t, "mo", "!read " .. spam), "Buy my pills$")
  t:equal(ask(t, "mo", "!show " .. spam), "#" .. spam .. " is shown again")
  t:matches(say(t, "anna", "!list"), "Buy my pills")

  t:equal(ask(t, "mo", "!ban " .. spam), "#" .. spam .. " is by " .. t:key("eve") .. ": name the key")
  t:matches(ask(t, "mo", "!ban eve"), "^write a key of 64 digits")
  t:equal(ask(t, "mo", "!ban " .. t:key("mo")), "a moderator can't be banned here")
  t:equal(say(t, "mo", "!ban " .. t:key("eve")), t:key("eve"):sub(1, 6) .. " is banned for 30 days")
  t:matches(say(t, "anna", "!list"), "^the board is empty")
  t:matches(say(t, "eve", "!post more pills"), "^not posted: .*banned")
  t:matches(ask(t, "eve", "!post more pills"), "^not posted: .*banned")
  t:equal(ask(t, "self", "!unban " .. t:key("eve")), t:key("eve"):sub(1, 6) .. " is banned no more")
  t:matches(say(t, "eve", "!post sorry"), "^posted as #")
end)

test("a node whose own word doesn't count leaves moderation to those who sign it themselves", function(t)
  many(t)
  t:config{ moderators = { t:key("mo") } }
  local spam = id_in(say(t, "eve", "!post Buy my pills"))
  t:matches(ask(t, "mo", "!hide " .. spam), "write it on the channel")
  t:equal(say(t, "mo", "!hide " .. spam), "#" .. spam .. " is hidden")
end)

test("of a pin that counts at another node, the node that answers says what is so", function(t)
  local b = t:node("b")
  local function answer(who, text)
    t:receive{ from = who, topic = "board", text = text }
    t:advance("1m")
    local sent = {}
    for _, node in { t, b } do
      for _, message in node:sent() do
        if message.topic == "board" and message.text:sub(1, 1) ~= "!" then sent[#sent + 1] = message end
      end
    end
    table.sort(sent, function(x, y) return x.time < y.time end)
    return sent[#sent].text
  end
  local couch = id_in(answer("anna", "!post Free couch"))
  -- The user of a is a moderator at a alone, whichever node answers.
  local said = answer("self", "!pin " .. couch)
  t:ok(said == "#" .. couch .. " is pinned" or said == "it counts at the nodes that have you as a moderator; b hasn't", said)
  t:matches(ask(t, "self", "!list"), "^%* #" .. couch)
  b:receive{ from = "self", text = "!list" }
  t:matches(b:expect_sent{ to = "b" }.text, "^#" .. couch)
end)

test("a setting that makes no sense is said at once", function(t)
  t:config{ keep = "a month" }
  t:run()
  t:expect_error("keep must be a duration")
end)

test("posts outlive a restart and a new version, and expire after 30 days", function(t)
  local couch = id_in(ask(t, "anna", "!post Free couch"))
  t:advance("20d")
  t:stop()
  t:start()
  t:matches(say(t, "bob", "!read " .. couch), "Free couch$")
  t:advance("9d")
  t:crash()
  t:start()
  t:reload()
  t:matches(say(t, "bob", "!read " .. couch), "Free couch$")
  t:advance("1d")
  t:matches(say(t, "bob", "!read " .. couch), "^there is no post")
  t:equal(t:store(), {})
end)

test("what is typed on the channel stays as long as the author's node lets its messages live: here a week", function(t)
  local couch = id_in(say(t, "anna", "!post Free couch"))
  t:advance("6d")
  t:matches(say(t, "bob", "!read " .. couch), "Free couch$")
  t:advance("1d")
  t:matches(say(t, "bob", "!read " .. couch), "^there is no post")
end)

test("nodes that were apart have the same board once the mesh is whole, and one of them answers", function(t)
  local b = t:node("b")
  t:partition({ "a" }, { "b" })
  local couch = id_in(say(t, "anna", "!post Free couch"))
  local antenna = id_in(say(b, "bob", "!post Who has an antenna?"))
  t:advance("1h")
  say(t, "anna", "!edit " .. couch .. " blue couch")
  t:heal()
  t:advance("10m")
  for node, who in { [t] = "anna", [b] = "bob" } do
    node:receive{ from = who, text = "!list" }
    local list = node:expect_sent{ to = who }.text
    t:matches(list, "#" .. antenna .. " 15 Jan bob: Who has an antenna%?")
    t:matches(list, "#" .. couch .. " 15 Jan anna: blue couch")
  end
  say(t, "anna", "!list") -- now they have heard of each other
  t:advance("1m")
  local before = #t:sent() + #b:sent()
  t:receive{ from = "anna", topic = "board", text = "!list" }
  t:advance("1m")
  t:equal(#t:sent() + #b:sent(), before + 1)
end)

test("the board is heard at the other end of a lossy mesh", function(t)
  t:node("b", { bots = false })
  local c = t:node("c", { bots = false, links = { "b" } })
  t:unlink("a", "c")
  t:loss(0.3)
  c:receive{ from = "carl", topic = "board", text = "!post Free couch" }
  local answer = t:expect_sent{ topic = "board", match = "^posted as #", within = "1m" }
  c:person("carl"):expect_received{ topic = "board", text = answer.text, within = "1m" }
end)
