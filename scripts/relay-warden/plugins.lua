-- Looks at the plugins each minute. One that is still down at the second look is replaced by its spare: the node starts
-- what failed anew by itself, and a minute is time enough for that. One that is just starting is neither down nor up.
local DOWN = { failed = true, zombie = true, disabled = true }
local DAY = 86400

return function(cfg, tell)
  -- How often a swap was tried in the last so many seconds. Kept over restarts: a node that a spare takes down, and that
  -- is started again, must not swap for ever.
  local function swapped(seconds)
    local count = 0
    for _, time in mesh.store:each("swap/") do
      count = count + (mesh.now() - time < seconds and 1 or 0)
    end
    return count
  end

  -- What is done about a plugin that stays down, in words.
  local function replace(plugin)
    local spare = cfg.spare[plugin.name]
    if not spare then
      return "there is no spare for it"
    elseif plugin.file == spare then
      return "it is the spare already"
    elseif swapped(DAY) >= cfg.swaps_a_day then
      return "not replaced: " .. cfg.swaps_a_day .. " swaps within a day are enough"
    end
    mesh.store:set(string.format("swap/%.3f", mesh.now()), mesh.now(), { ttl = "7d" })
    local new, err = mesh.relay.swap(plugin.name, spare)
    return new and "replaced by " .. spare or "not replaced by " .. spare .. ": " .. err
  end

  local seen = {}        -- plugin → looks at which it was down
  mesh.every("1m", function()
    for _, plugin in ipairs(mesh.relay.plugins() or {}) do
      local looks = seen[plugin.name] or 0
      if DOWN[plugin.state] then looks = looks + 1 elseif plugin.state == "active" then looks = 0 end
      if looks == 2 and DOWN[plugin.state] then
        local why = plugin.error and " (" .. mesh.text.truncate(plugin.error, 200) .. ")" or ""
        tell(plugin.name .. " is " .. plugin.state .. why .. "; " .. replace(plugin))
      elseif looks == 0 and (seen[plugin.name] or 0) >= 2 then
        tell(plugin.name .. " runs again")
      end
      seen[plugin.name] = looks
    end
  end, { name = "plugins" })

  local function list()
    local plugins, err = mesh.relay.plugins()
    local lines = {}
    for i, plugin in ipairs(plugins or {}) do
      lines[i] = plugin.name .. " " .. plugin.version .. ": " .. plugin.state
        .. (plugin.failures > 0 and ", " .. plugin.failures .. " failures of late" or "")
    end
    return plugins and table.concat(lines, "\n") or "not known: " .. err
  end

  return { list = list, swapped = swapped }
end
