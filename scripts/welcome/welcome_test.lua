-- Tests of the welcome: qpq script test scripts/welcome

local function speak(t, who, text)
  t:receive{ from = who, topic = "lobby", text = text or "good morning" }
end

test("somebody new is greeted once, in private, with the community's words", function(t)
  t:config{ greeting = "100 % welcome, {name}!" }
  speak(t, "anna")
  t:expect_sent{ to = "anna", text = "100 % welcome, anna!" }
  speak(t, "anna")
  speak(t, "bob")
  t:expect_sent{ to = "bob", text = "100 % welcome, bob!" }
  t:expect_silence("1h")
  t:equal(#t:sent(), 2)
end)

test("nobody is greeted again after a restart, a crash, a new version or a long time", function(t)
  t:config{ remember = "3d" }
  speak(t, "anna")
  t:expect_sent{ to = "anna", match = "^Welcome, anna! " }
  t:stop()
  t:start()
  speak(t, "anna")
  t:reload()
  speak(t, "anna")
  for _ = 1, 5 do -- she is heard again and again
    t:advance("2d")
    speak(t, "anna")
  end
  t:crash()
  t:start()
  speak(t, "anna")
  t:expect_nothing{}
  t:advance("4d")
  speak(t, "anna")
  t:expect_sent{ to = "anna", match = "^Welcome, anna! " }
end)

test("programs, the node's own user and direct messages are not greeted", function(t)
  t:receive{ from = "robot", topic = "lobby", text = "21 degrees", automatic = true }
  speak(t, "self")
  t:receive{ from = "anna", text = "hello" }
  t:receive{ from = "anna", topic = "other", text = "hello" }
  t:expect_nothing{}
  t:equal(#t:sent(), 0)
end)

test("whoever asks hears what this is and what the rules are", function(t)
  t:config{ rules = "Be kind.", channels = { "lobby" } }
  speak(t, "anna", "!rules")
  t:expect_sent{ topic = "lobby", text = "Be kind." }
  t:receive{ from = "bob", text = "!about" }
  t:expect_sent{ to = "bob", match = "^A mesh of neighbours" }
  t:receive{ from = "bob", text = "!help" }
  t:expect_sent{ to = "bob", match = "!rules %- the rules of the house" }
  speak(t, "anna") -- she has found her way
  t:expect_nothing{}
end)

test("who was there before the bot is not new, though the messages come only now", function(t)
  t:receive{ from = "carl", topic = "lobby", text = "is anybody here?" }
  t:advance("2h")
  local b = t:node("b")
  b:config{ hops = 16 }
  b:run()
  t:advance("10m")
  t:receive{ from = "carl", topic = "lobby", text = "good morning" }
  b:expect_nothing{}
  t:receive{ from = "dora", topic = "lobby", text = "good morning" }
  b:expect_sent{ to = "dora", match = "^Welcome, dora" }
end)

test("a broken mesh delays a greeting, and doubles none", function(t)
  local b = t:node("b", { bots = false })
  t:config{ hops = 16 }
  local carl = b:person("carl")
  t:partition({ "a" }, { "b" })
  carl:send{ topic = "lobby", text = "is anybody here?" }
  carl:send{ topic = "lobby", text = "hello?" }
  t:advance("1d")
  t:heal()
  carl:expect_received{ match = "^Welcome, carl", within = "10m" }
  carl:expect_nothing_received{ match = "^Welcome", within = "1h" }
end)

test("each node greets its own neighbours", function(t)
  local b = t:node("b")
  speak(b, "bob")
  b:expect_sent{ to = "bob", match = "^Welcome, bob" }
  t:expect_nothing{}
end)

test("in a crowd those whom the quota left out are greeted with their next message", function(t)
  t:limits{ messages_per_minute = 2 }
  for _, name in { "anna", "bob", "carl" } do
    speak(t, name)
  end
  t:expect_sent{ to = "anna" }
  t:expect_sent{ to = "bob" }
  t:expect_nothing{}
  t:advance("1m")
  speak(t, "carl")
  t:expect_sent{ to = "carl", match = "^Welcome, carl" }
end)

test("memory is bounded: who can't be remembered is not greeted", function(t)
  t:config{ remember = "3d" }
  t:limits{ store_keys = 3 } -- two people, and the time since when
  for _, name in { "anna", "bob", "carl", "carl" } do
    speak(t, name)
  end
  t:expect_sent{ to = "anna" }
  t:expect_sent{ to = "bob" }
  t:expect_nothing{}
  t:advance("3d")
  speak(t, "carl")
  t:expect_sent{ to = "carl", match = "^Welcome, carl" }
end)

test("a time that is none is said at once, not at the first greeting", function(t)
  t:config{ remember = "1 year" }
  t:run()
  t:expect_error("remember must be a duration")
end)
