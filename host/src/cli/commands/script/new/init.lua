-- NAME: a bot to change into your own. It greets people, and counts how often.
--
--   !NAME    says hello
--
-- `qpq script help` lists all calls, `qpq script help mesh.command` explains one.

-- What the admin can change, with what holds if nobody did:
--   [scripts.config.NAME]
--   greeting = "good morning"
-- A list or a table can stand here, too.
local cfg = mesh.config {
  greeting = "hello",
  report = "1d", -- how often the log says how many were greeted
}

-- A string that a command returns is its answer.
mesh.command("NAME", { help = "say hello" }, function(msg)
  local count, err = mesh.store:incr("greeted/" .. msg.from)
  if not count then
    -- What the world does comes back as nil and an error; here: the bot's store is full.
    mesh.log.warn("not counted:", err.code)
    return cfg.greeting .. ", " .. msg.from_name
  end
  return cfg.greeting .. ", " .. msg.from_name .. " (" .. count .. ")"
end)

-- Named timers keep their pace when the bot is loaded anew.
mesh.every(cfg.report, function()
  local people = 0
  for _ in mesh.store:each("greeted/") do
    people = people + 1
  end
  mesh.log.info("greeted so far:", people)
end, { name = "report" })
