-- Tests of the mailbox: qpq script test scripts/mailbox

-- Somebody writes to the node; the bot's answer.
local function ask(t, who, text)
  t:receive{ from = who, text = text }
  return t:expect_sent{ to = who == "self" and "a" or who }.text
end

local function known(t, name)
  local person = t:person(name)
  t:receive{ from = name, text = "hello" }
  return person
end

local ID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

test("the node's own user is told in one message what became of mail", function(t)
  local anna = known(t, "anna")
  t:receive{ from = "self", to = "anna", text = "one", receipt = true }
  t:receive{ from = "self", to = "anna", text = "two", receipt = true }
  t:advance("1m")
  t:expect_sent{ to = "a", text = "delivered to anna, 2 times" }
  anna:stop()
  local id = t:receive{ from = "self", to = "anna", text = "three", receipt = true }
  t:emit("evicted", { peer = t:self(), id = ID })
  t:advance("1m")
  t:expect_sent{ to = "a", text = "message 01234567 was dropped at a: no room" }
  t:advance("9d")
  t:expect_sent{ to = "a", text = "message " .. id:sub(1, 8) .. " expired before anna had it" }
  t:expect_silence("3d")
end)

test("the admin and the user choose what they are told", function(t)
  t:config{ tell = { "failed" } }
  known(t, "anna")
  t:receive{ from = "self", to = "anna", text = "one", receipt = true }
  t:expect_silence("5m")
  t:emit("failed", { peer = t:key("anna"), name = "anna", id = ID })
  t:advance("1m")
  t:expect_sent{ to = "a", text = "message 01234567 expired before anna had it" }
  t:equal(ask(t, "self", "!notify off"), "notices are off")
  t:stop()
  t:start()
  t:emit("failed", { peer = t:key("anna"), name = "anna", id = ID })
  t:expect_silence("5m")
  t:equal(ask(t, "self", "!notify status"), "notices are off; notes of yours that wait: 0")
  t:equal(ask(t, "self", "!notify on"), "notices are on")
end)

test("others hear of mail that was dropped only if they asked for it, all at once when they are back", function(t)
  local anna = known(t, "anna")
  t:emit("evicted", { peer = t:key("anna"), id = ID })
  t:expect_silence("1h")
  t:equal(ask(t, "anna", "!notify on"), "notices are on until 14 Jul 2027")
  anna:stop()
  t:emit("evicted", { peer = t:key("anna"), id = ID })
  t:emit("evicted", { peer = t:key("anna"), id = "f" .. ID:sub(2) })
  t:expect_silence("2d")
  anna:start()
  local both = "message 01234567 was dropped at a: no room\nmessage f1234567 was dropped at a: no room"
  t:expect_sent{ to = "anna", text = both }
  anna:expect_received{ text = both }
  t:equal(ask(t, "anna", "!notify off"), "notices are off")
  t:emit("evicted", { peer = t:key("anna"), id = ID })
  t:expect_silence("1h")
end)

test("a note waits over a restart until its recipient is back, and its author hears of it", function(t)
  local bob = known(t, "bob")
  bob:stop()
  t:equal(ask(t, "anna", "!notify on"), "notices are on until 14 Jul 2027")
  t:equal(ask(t, "anna", "!leave Bob The key is under the mat"), "kept for bob (" .. t:key("bob"):sub(1, 6) .. ") for up to 14d")
  t:equal(ask(t, "anna", "!notify status"), "notices are on; notes of yours that wait: 1")
  t:advance("3d")
  t:stop()
  t:start()
  t:expect_silence("1d")
  bob:start()
  bob:expect_received{ text = "note of anna (" .. t:key("anna"):sub(1, 6) .. "), 15 Jan 08:00 UTC: The key is under the mat" }
  t:expect_sent{ to = "anna", text = "your note for bob was handed over", within = "2m" }
  t:expect_silence("2d")
end)

test("who is here gets a note at once, and the node's own user can have one, too", function(t)
  local bob = known(t, "bob")
  local to = "bob (" .. t:key("bob"):sub(1, 6) .. ")"
  t:receive{ from = "anna", text = "!leave " .. t:key("bob"):sub(1, 8):upper() .. " Tea is ready" }
  t:expect_sent{ to = "anna", text = to .. " is here and gets it now" }
  bob:expect_received{ match = "^note of anna .*: Tea is ready$" }
  t:receive{ from = "anna", text = "!leave a Your node needs an update" }
  t:expect_sent{ to = "a", match = "Your node needs an update$" }
end)

test("who is linked elsewhere gets it when he writes, and a broken mesh only delays it", function(t)
  local b = t:node("b", { bots = false })
  local carl = b:person("carl")
  carl:send{ to = "a", text = "hello" }
  t:matches(ask(t, "anna", "!leave carl The bridge is open"), "^kept for carl ")
  t:partition({ "a" }, { "b" })
  carl:send{ to = "a", text = "anything for me?" }
  t:expect_silence("1h")
  t:heal()
  carl:expect_received{ match = "The bridge is open$", within = "5m" }
end)

test("names that mean nobody or several are refused, and so is too much", function(t)
  t:limits{ messages_per_minute = 100 }
  known(t, "bob"):stop()
  known(t, "carl"):stop()
  t:matches(ask(t, "anna", "!leave dora hello"), "^nobody called 'dora' is known here")
  t:matches(ask(t, "anna", "!leave " .. t:key("bob"):sub(1, 5) .. " hello"), "^nobody called")
  t:equal(ask(t, "anna", "!leave bob"), "usage: !leave <name> <text>")
  t:equal(ask(t, "anna", "!leave bob " .. string.rep("x", 401)), "a note has at most 400 bytes; yours has 401")
  for number = 1, 5 do
    t:matches(ask(t, "anna", "!leave bob " .. number), "^kept for bob")
  end
  t:equal(ask(t, "anna", "!leave carl hello"), "5 of your notes wait already, the most there may be")
  t:matches(ask(t, "dora", "!leave carl hello"), "^kept for carl")
  t:equal(ask(t, "anna", "!notify perhaps"), "write !notify on, !notify off or !notify status")
  t:equal(ask(t, "anna", "!notify"), "usage: !notify <on|off|status>")
end)

test("the mailbox has room for so many", function(t)
  t:config{ people = 1 }
  t:limits{ messages_per_minute = 100 }
  known(t, "bob"):stop()
  t:matches(ask(t, "anna", "!notify on"), "^notices are on")
  t:equal(ask(t, "carl", "!notify on"), "no more people can have notices here")
  for number = 0, 9 do
    t:matches(ask(t, "p" .. number % 2, "!leave bob " .. number), "^kept for bob")
  end
  t:equal(ask(t, "anna", "!leave bob hello"), "the mailbox is full; try again in a few days")
end)

test("what exceeds the quota is handed over a little later", function(t)
  t:limits{ messages_per_minute = 4 }
  local bob, carl = known(t, "bob"), known(t, "carl")
  bob:stop()
  carl:stop()
  ask(t, "anna", "!leave bob one")
  ask(t, "anna", "!leave carl two")
  t:advance("1h")
  for _ = 1, 3 do
    ask(t, "anna", "!notify status")
  end
  bob:start()
  carl:start()
  bob:expect_received{ match = "one$", within = "3m" }
  carl:expect_received{ match = "two$", within = "3m" }
  t:equal(t:log()[1] ~= nil, true)
end)

test("a note for somebody who stays away is given up in time", function(t)
  known(t, "bob"):stop()
  ask(t, "anna", "!leave bob hello")
  t:advance("14d")
  t:equal(ask(t, "anna", "!notify status"), "notices are off; notes of yours that wait: 0")
  t:person("bob"):start()
  t:expect_nothing{ to = "bob" }
end)

for setting, value in { gather = "x", keep = "14 days", tell = { "lost" } } do
  test("a value of '" .. setting .. "' that makes no sense is said at once", function(t)
    t:config{ [setting] = value }
    t:run()
    t:expect_error(setting .. " ")
  end)
end
