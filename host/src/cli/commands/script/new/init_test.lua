-- `qpq script test` plays this on a mesh of its own, in no time.

test("it greets people and counts", function(t)
  t:receive{ from = "anna", text = "!NAME" }
  t:expect_sent{ to = "anna", text = "hello, anna (1)" }
  t:receive{ from = "anna", text = "!NAME" }
  t:expect_sent{ to = "anna", text = "hello, anna (2)" }
end)

test("what it counted outlives a week and a restart", function(t)
  t:receive{ from = "anna", text = "!NAME" }
  t:expect_sent{ to = "anna", text = "hello, anna (1)" }
  t:advance("7d")
  t:stop()
  t:start()
  t:receive{ from = "anna", text = "!NAME" }
  t:expect_sent{ to = "anna", text = "hello, anna (2)" }
end)
