-- Tests of the warden: qpq script test scripts/relay-warden

-- The node's own user, an admin, writes; returns the answer.
local function say(t, text)
  t:receive{ from = "self", text = text }
  return t:expect_sent{ to = "a" }.text
end

local function quic(state, file)
  return {
    name = "transport-quic", kind = "transport", version = "1.0.0", state = state, failures = state == "failed" and 5 or 0,
    file = file or "/lib/quic.so", error = state == "failed" and "it panicked" or nil,
  }
end

test("only admins command it, and never on a channel", function(t)
  t:receive{ from = "eve", text = "!block " .. t:key("anna") }
  t:expect_sent{ to = "eve", match = "only for those" }
  t:receive{ from = "self", topic = "board", text = "!block " .. t:key("anna") }
  t:expect_silence("10s")
  t:ok(t:trusts()[t:key("anna")] ~= "blocked")
end)

test("an admin from afar can be named, and nobody blocks her", function(t)
  t:config{ admins = { t:key("grete") } }
  t:receive{ from = "grete", text = "!block " .. t:key("anna") }
  t:expect_sent{ to = "grete", match = "is blocked now" }
  t:receive{ from = "grete", text = "!block " .. t:key("grete") }
  t:expect_sent{ to = "grete", match = "is an admin; not blocked" }
  t:equal(t:trusts()[t:key("anna")], "blocked")
end)

test("peers are trusted, blocked and let go, and lists tell of it", function(t)
  t:person("anna")
  t:person("bob")
  t:advance("1s")
  t:matches(say(t, "!allow " .. t:key("anna")), "anna %(%x+%) is trusted now")
  t:matches(say(t, "!block " .. t:key("bob"):sub(1, 8)), "bob %(%x+%) is blocked now")
  t:matches(say(t, "!lists"), "^blocked: bob .*\ntrusted: anna")
  t:matches(say(t, "!unblock " .. t:key("bob")), "neither trusted nor blocked")
  t:matches(say(t, "!lists"), "^trusted: anna [^\n]*$")
end)

test("names and slips open nothing", function(t)
  t:equal(say(t, "!allow"), "usage: !allow <key>")
  t:equal(say(t, "!allow anna"), "write a key, or its first 8 digits or more")
  t:equal(say(t, "!allow 00000000"), "no known key begins with 00000000")
  t:equal(say(t, "!lists"), "nobody is trusted, blocked or limited")
end)

test("a quota is set again after a restart, until it is lifted", function(t)
  local bob = t:key("bob")
  t:person("bob")
  t:advance("1s")
  t:matches(say(t, "!limit " .. bob .. " 600/min 1MB/min"), "at most 600 messages and 1000000 bytes a minute$")
  t:equal(t:bounds()[bob], { messages = 600, bytes = 1000000 })
  t:stop()
  t:start()
  t:advance("1s")
  t:equal(t:bounds()[bob], { messages = 600, bytes = 1000000 })
  t:matches(say(t, "!lists"), "^limited: %x+, 600 messages and 1000000 bytes a minute$")
  t:matches(say(t, "!limit " .. bob .. " off"), "has no limit of its own now$")
  t:equal(t:bounds()[bob], nil)
  t:equal(say(t, "!lists"), "nobody is trusted, blocked or limited")
end)

test("a quota that is none changes nothing", function(t)
  for _, quota in ipairs{ "lots", "0/min", "5/hour", "1GB/min", "99999999999/min" } do
    t:equal(say(t, "!limit " .. t:key("bob") .. " " .. quota), "write 600/min, 200kB/min, both of them, or off")
    t:advance("1m")
  end
  t:equal(t:bounds(), {})
end)

test("a transport that stays down is replaced once, and the admins are told", function(t)
  t:config{ spare = { ["transport-quic"] = "/spare/quic.so" } }
  t:plugins{ quic("active") }
  t:expect_silence("1h")
  t:plugins{ quic("failed") }
  t:expect_sent{ to = "a", within = "3m",
    text = "transport-quic is failed (it panicked); replaced by /spare/quic.so" }
  t:equal(t:swaps(), { { name = "transport-quic", file = "/spare/quic.so" } })
  t:plugins{ quic("active", "/spare/quic.so") }
  t:expect_sent{ to = "a", text = "transport-quic runs again", within = "2m" }
  t:plugins{ quic("failed", "/spare/quic.so") }
  t:expect_sent{ to = "a", match = "it is the spare already$", within = "3m" }
  t:expect_silence("1d")
  t:equal(#t:swaps(), 1)
end)

test("what the node mends by itself within a minute is left alone", function(t)
  t:config{ spare = { ["transport-quic"] = "/spare/quic.so" } }
  t:plugins{ quic("failed") }
  t:advance("90s")
  t:plugins{ quic("active") }
  t:expect_silence("1h")
  t:equal(t:swaps(), {})
end)

test("swaps end for the day, over restarts too", function(t)
  t:config{ spare = { ["transport-quic"] = "/spare/quic.so" }, swaps_a_day = 2 }
  for round = 1, 3 do
    t:plugins{ quic("active") }
    t:advance("2m")
    t:plugins{ quic("failed") }
    t:expect_sent{ to = "a", match = round == 3 and "2 swaps within a day are enough$" or "; replaced by", within = "3m" }
    t:stop()
    t:start()
  end
  t:equal(#t:swaps(), 2)
end)

test("without a spare the admins are told all the same", function(t)
  t:plugins{ quic("disabled") }
  t:expect_sent{ to = "a", text = "transport-quic is disabled; there is no spare for it", within = "3m" }
  t:matches(say(t, "!plugins"), "^transport%-quic 1.0.0: disabled$")
end)

test("the report comes each Monday at eight", function(t)
  t:person("bob")
  -- The mesh's clock begins on a Friday morning.
  t:expect_silence("71h")
  local sent = t:expect_sent{ to = "a", match = "^store: ", within = "70m" }
  t:matches(sent.text, "neighbours: bob\nrefused: 0, and 0 dropped for want of room\nspares tried for plugins this week: 0$")
  t:equal(os.date("!%a %H:%M", sent.time), "Mon 08:00")
  t:expect_silence("6d")
  t:matches(say(t, "!report"), "^store: ")
end)

test("one that is just starting is neither down nor up", function(t)
  t:config{ spare = { ["transport-quic"] = "/spare/quic.so" } }
  t:plugins{ quic("failed") }
  t:expect_sent{ to = "a", match = "replaced by /spare/quic.so$", within = "3m" }
  t:plugins{ quic("starting", "/spare/quic.so") }
  t:expect_silence("5m")
  t:plugins{ quic("active", "/spare/quic.so") }
  t:expect_sent{ to = "a", text = "transport-quic runs again", within = "2m" }
end)

test("a spare that is no path is said at once", function(t)
  t:config{ spare = { ["transport-quic"] = "quic.so" } }
  t:run()
  t:expect_error("spare: transport%-quic must be the whole path")
end)
