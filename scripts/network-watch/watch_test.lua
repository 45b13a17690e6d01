-- Tests of the watch: qpq script test scripts/network-watch

-- Nodes a and b in a line with c behind, all known to the bot on a.
local function line(t)
  t:run()
  t:node("b", { bots = false })
  t:node("c", { bots = false, links = { "b" } })
  t:unlink("a", "c")
  t:advance("5m")
  t:expect_nothing{}
end

local function told(t, text, within)
  t:expect_sent{ topic = "network", text = text, within = within or "4m" }
end

test("a lost link takes the nodes behind it away, and all come back", function(t)
  line(t)
  t:unlink("a", "b")
  told(t, "a: the node b is lost; the node c is lost")
  t:expect_silence("1h")
  t:link("a", "b")
  told(t, "a: the link to b is back; the node c is back")
  t:expect_silence("1h")
end)

test("a link is lost, and its node is not", function(t)
  line(t)
  t:link("a", "c")
  t:advance("5m")
  t:unlink("a", "b")
  told(t, "a: the link to b is lost")
  t:link("a", "b")
  told(t, "a: the link to b is back")
end)

test("what is back within the grace time is not worth a word", function(t)
  line(t)
  for _ = 1, 2 do
    t:unlink("a", "b")
    t:advance("110s")
    t:link("a", "b")
    t:expect_silence("10m")
  end
end)

test("a link that flaps gives one message, and one when that is over", function(t)
  t:run()
  t:person("bob")
  t:advance("5m")
  for _ = 1, 50 do
    t:unlink("a", "bob")
    t:advance("20s")
    t:link("a", "bob")
    t:advance("20s")
  end
  told(t, "a: the link to bob comes and goes", "0s")
  t:expect_nothing{}
  t:receive{ from = "anna", topic = "network", text = "!network" }
  t:expect_sent{ match = "\nthe link to bob comes and goes$" }
  told(t, "a: the link to bob is back")
  t:expect_silence("1h")
end)

test("what is lost while the node is down is told once it is up", function(t)
  line(t)
  t:stop()
  t:unlink("a", "b")
  t:advance("1h")
  t:start()
  told(t, "a: the node b is lost; the node c is lost")
  t:stop()
  t:start()
  t:expect_silence("1h")
  t:link("a", "b")
  told(t, "a: the link to b is back; the node c is back")
end)

test("admins are told by direct message", function(t)
  t:config{ admins = { "self", t:key("grete") } }
  t:person("grete")
  line(t)
  t:unlink("a", "b")
  t:expect_sent{ to = "a", match = "the node b is lost", within = "4m" }
  t:expect_sent{ to = "grete", match = "the node b is lost" }
end)

test("at night nothing is told, and in the morning what holds then", function(t)
  t:config{ quiet = "22-7" }
  line(t)
  t:advance("15h")                  -- the mesh's clock begins at 8:00
  t:unlink("a", "b")
  t:expect_silence("7h")
  told(t, "a: the node b is lost; the node c is lost", "70m")
end)

test("gateways and neighbours of babeld and batman-adv are watched where they run", function(t)
  local wifi = { protocol = "batman", address = "02:00:00:00:00:01", interface = "wlan0" }
  local exit = { protocol = "babel", address = "fe80::1", via = "fe80::2" }
  t:machine{ sources = { "babel", "batman" }, neighbours = { wifi }, gateways = { exit } }
  t:run()
  t:advance("5m")
  t:machine{ sources = { "babel", "batman" }, neighbours = { wifi }, gateways = {} }
  told(t, "a: the gateway fe80::1 is lost")
  t:receive{ from = "anna", text = "!network" }
  t:expect_sent{ to = "anna", match = "the batman neighbour 02:00:00:00:00:01 on wlan0.*\nthe gateway fe80::1 is lost for %d min" }
  t:machine{ sources = { "babel", "batman" }, neighbours = { wifi }, gateways = { exit } }
  told(t, "a: the gateway fe80::1 is back")
end)

test("each node answers for itself", function(t)
  local b = t:node("b")
  t:advance("5m")
  t:receive{ from = "anna", topic = "network", text = "!network" }
  t:expect_sent{ topic = "network", match = "^a: up: .*the link to b" }
  b:expect_sent{ topic = "network", match = "^b: up: .*the link to a" }
end)

test("what is lost for long is forgotten", function(t)
  t:config{ forget = "6h" }
  line(t)
  t:unlink("a", "b")
  told(t, "a: the node b is lost; the node c is lost")
  t:advance("7h")
  t:receive{ from = "self", text = "!network" }
  t:expect_sent{ text = "a: nothing is up" }
end)

for setting, value in { quiet = "22", forget = "a month", admins = { "anna" } } do
  test("a value of '" .. setting .. "' that makes no sense is said at once", function(t)
    t:config{ [setting] = value }
    t:run()
    t:expect_error(setting .. " must be ")
  end)
end
