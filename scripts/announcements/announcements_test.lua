-- Tests of the announcements: qpq script test scripts/announcements

-- The admin, here the node's own user, writes to the node; the answer.
local function order(t, text)
  t:receive{ from = "self", text = text }
  return t:expect_sent{ to = "a" }.text
end

local function on_channel(t, text, within)
  return t:expect_sent{ topic = "announcements", text = text, within = within }
end

test("a notice goes out at once and is repeated until it expires", function(t)
  t:equal(order(t, "!announce Mesh meeting\non Friday"), "notice #1 is out until 18 Jan 2027 08:00 UTC")
  on_channel(t, "[#1] Mesh meeting on Friday -- a")
  for _ = 1, 11 do
    t:advance("6h")
    on_channel(t, "[#1] Mesh meeting on Friday -- a")
  end
  t:expect_silence("14d")
  t:equal(order(t, "!announcements"), "no notices")
end)

test("all notices are repeated in one message, and a new one waits for the quota", function(t)
  t:matches(order(t, "!announce one"), "^notice #1 is out")
  on_channel(t, "[#1] one -- a")
  t:matches(order(t, "!announce two"), "^notice #2 is kept and goes out a little later: ")
  on_channel(t, "[#2] two -- a", "2m")
  t:advance("6h")
  on_channel(t, "[#1] one -- a\n[#2] two -- a")
  t:advance("6h")
  on_channel(t, "[#1] one -- a\n[#2] two -- a")
  t:expect_silence("5h")
end)

test("a notice stays out as long as its author says", function(t)
  t:equal(order(t, "!announce-for 7h The well is closed"), "notice #1 is out until 15 Jan 2027 15:00 UTC")
  t:advance("6h")
  t:equal(#t:sent(), 3)
  t:expect_silence("3d")
  for _, wrong in { "later", "1y", "0h", "2", "99999999w" } do
    t:matches(order(t, "!announce-for " .. wrong .. " text"), "^'" .. wrong .. "' is no duration")
  end
end)

test("a notice goes out at the time that was said, in UTC, over a restart", function(t)
  t:equal(order(t, "!announce-at 2027-01-17 18:00 Carols at the mill"), "notice #1 goes out on 17 Jan 2027 18:00 UTC")
  t:equal(order(t, "!announce-at +2h The bridge is open"), "notice #2 goes out on 15 Jan 2027 10:00 UTC")
  t:equal(order(t, "!announcements"), "[#1] Carols at the mill -- a (from 17 Jan 2027 18:00 UTC)\n"
    .. "[#2] The bridge is open -- a (from 15 Jan 2027 10:00 UTC)")
  t:receive{ from = "anna", topic = "announcements", text = "!announcements" }
  t:expect_nothing{ topic = "announcements" }
  t:advance("119m")
  t:expect_nothing{ topic = "announcements", within = "0s" }
  on_channel(t, "[#2] The bridge is open -- a", "2m")
  t:advance("1d")
  t:stop()
  t:advance("1d")
  t:start()
  t:expect_nothing{ topic = "announcements", match = "#1" }
  t:advance("9h")
  on_channel(t, "[#1] Carols at the mill -- a")
end)

test("what was due while the node was down goes out when it is back", function(t)
  order(t, "!announce-at +2h The bridge is open")
  t:crash()
  t:advance("1d")
  t:start()
  on_channel(t, "[#1] The bridge is open -- a")
  t:reload()
  t:expect_silence("5h")
  t:advance("1h")
  on_channel(t, "[#1] The bridge is open -- a")
end)

test("times that don't exist, are past or too far away are refused", function(t)
  t:limits{ messages_per_minute = 100 }
  for _, wrong in { "tomorrow tea", "2027-02-31 18:00 tea", "2027-01-24 tea", "2027-13-01 18:00 tea", "2027-01-24 25:00 tea", "+2 tea", "+2h" } do
    t:matches(order(t, "!announce-at " .. wrong), wrong == "+2h" and "^usage: " or "^write a time such as")
  end
  t:matches(order(t, "!announce-at 2027-01-14 18:00 tea"), "is past; now it is 15 Jan 2027 08:00 UTC$")
  t:matches(order(t, "!announce-at +60w tea"), "is more than a year away")
  t:equal(t:store(), {})
end)

test("only admins post and withdraw", function(t)
  t:config{ admins = { t:key("grete") } }
  t:receive{ from = "grete", text = "!announce one" }
  on_channel(t, "[#1] one -- grete")
  t:expect_sent{ to = "grete", match = "^notice #1 is out" }
  for _, command in { "!announce all of you, listen", "!announce-at +2h x", "!announce-for 2h x", "!withdraw 1" } do
    t:receive{ from = "eve", text = command }
    t:expect_sent{ to = "eve", match = "only for those" }
  end
  t:receive{ from = "eve", topic = "announcements", text = "!announce all of you, listen" }
  t:expect_nothing{}
  t:receive{ from = "anna", topic = "announcements", text = "!announcements" }
  on_channel(t, "[#1] one -- grete")
end)

test("a withdrawn notice is repeated no more", function(t)
  order(t, "!announce one")
  t:equal(order(t, "!withdraw #1"), "notice #1 is withdrawn")
  for _, wrong in { "1", "x", "-1", "1e300", "nan" } do
    t:equal(order(t, "!withdraw " .. wrong), "there is no notice #" .. wrong)
  end
  t:equal(order(t, "!announcements"), "no notices")
  on_channel(t, "[#1] one -- a")
  t:expect_silence("2d")
end)

test("notices are short and few", function(t)
  t:limits{ messages_per_minute = 100 }
  t:equal(order(t, "!announce " .. string.rep("x", 301)), "a notice has at most 300 bytes; yours has 301")
  for number = 1, 10 do
    t:matches(order(t, "!announce-at +5h text"), "^notice #" .. number)
  end
  t:matches(order(t, "!announce text"), "^there are 10 notices already")
  order(t, "!withdraw 4")
  t:matches(order(t, "!announce text"), "^notice #11 is out")
end)

test("a broken mesh gets the notices once it is whole", function(t)
  local b = t:node("b", { bots = false })
  local carl = b:person("carl")
  carl:join("announcements")
  t:partition({ "a" }, { "b" })
  order(t, "!announce one")
  carl:expect_nothing_received{ topic = "announcements", within = "5m" }
  t:stop()
  t:start()
  t:heal()
  carl:expect_received{ topic = "announcements", match = "^%[#1%] one", within = "1m" }
  t:advance("6h")
  carl:expect_received{ topic = "announcements", match = "^%[#1%] one" }
end)

test("nodes with notices of their own don't speak for each other", function(t)
  local b = t:node("b")
  order(t, "!announce one")
  b:receive{ from = "self", text = "!announce two" }
  t:receive{ from = "anna", topic = "announcements", text = "!announcements" }
  t:expect_sent{ topic = "announcements", text = "[#1] one -- a" }
  b:expect_sent{ topic = "announcements", text = "[#1] two -- b" }
  b:receive{ from = "self", text = "!withdraw 1" }
  b:expect_sent{ text = "notice #1 is withdrawn" }
  t:equal(order(t, "!announcements"), "[#1] one -- a")
end)

for setting, value in { every = "often", keep = "long" } do
  test("a value of '" .. setting .. "' that makes no sense is said at once", function(t)
    t:config{ [setting] = value }
    t:run()
    t:expect_error(setting .. " must be a duration")
  end)
end
