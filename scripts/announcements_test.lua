-- Tests of announcements.lua: qpq script test scripts/announcements.lua

-- The admin, here the node's own user, posts a notice. What he sees of it is returned.
local function announce(t, text)
  t:receive{ from = "self", topic = "announcements", text = "!announce " .. text }
  local notice = t:expect_sent{ topic = "announcements", match = "^%[#%d+%] " .. text }.text
  t:expect_sent{ topic = "announcements", match = "^notice #%d+ accepted$" }
  return notice
end

test("a notice goes out at once and is repeated until it expires", function(t)
  local notice = announce(t, "Mesh meeting on Friday")
  for _ = 1, 11 do
    t:advance("6h")
    t:expect_sent{ topic = "announcements", text = notice }
  end
  t:advance("6h")
  t:expect_silence("61d")
end)

test("all notices go out in one message", function(t)
  local one = announce(t, "one")
  t:advance("1m")
  local two = announce(t, "two")
  t:advance("6h")
  t:expect_sent{ topic = "announcements", text = one .. "\n" .. two }
end)

test("only admins post and withdraw", function(t)
  t:receive{ from = "eve", topic = "announcements", text = "!announce all of you, listen" }
  t:expect_sent{ to = "eve", match = "only for those" }
  announce(t, "one")
  t:receive{ from = "eve", topic = "announcements", text = "!withdraw 1" }
  t:expect_sent{ to = "eve", match = "only for those" }
  t:receive{ from = "anna", topic = "announcements", text = "!announcements" }
  t:expect_sent{ topic = "announcements", match = "^%[#1%] one" }
end)

test("another admin can be named", function(t)
  t:config{ admins = { t:key("grete") } }
  t:receive{ from = "grete", text = "!announce one" }
  t:expect_sent{ topic = "announcements", text = "[#1] one -- grete" }
  t:expect_sent{ to = "grete", text = "notice #1 accepted" }
end)

test("a withdrawn notice is repeated no more", function(t)
  announce(t, "one")
  t:receive{ from = "self", text = "!withdraw 1" }
  t:expect_sent{ text = "notice #1 withdrawn" }
  t:receive{ from = "anna", topic = "announcements", text = "!announcements" }
  t:expect_sent{ text = "no notices" }
  t:expect_silence("2d")
end)

test("notices outlive a restart, and a broken mesh gets them once it is whole", function(t)
  local b = t:node("b", { bots = false })
  local carl = b:person("carl")
  carl:join("announcements")
  t:partition({ "a" }, { "b" })
  announce(t, "one")
  carl:expect_nothing_received{ topic = "announcements", within = "5m" }
  t:stop()
  t:start()
  t:heal()
  carl:expect_received{ topic = "announcements", match = "^%[#1%] one", within = "1m" }
  t:advance("6h")
  carl:expect_received{ topic = "announcements", match = "^%[#1%] one" }
end)
