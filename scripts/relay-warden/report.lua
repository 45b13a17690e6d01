-- The figures of a week in five lines.

-- Counters of the store that say: this was not taken in.
local REFUSALS = { "link-quota", "recipient-full", "sender-full", "topic-full", "relay-full" }
local WEEK = 7 * 86400

return function(plugins)
  -- What a counter has counted since the last report. All begin anew with the node.
  local function since(counters, name)
    local now, before = counters[name] or 0, mesh.store:get("counter/" .. name, 0)
    return now >= before and now - before or now
  end

  local function text()
    local stats, err = mesh.relay.store()
    if not stats then return "the store's figures can't be read: " .. err end
    local linked, refused = {}, 0
    for _, peer in ipairs(mesh.peers() or {}) do
      if peer.links > 0 then linked[#linked + 1] = peer.name or peer.id:sub(1, 10) end
    end
    for _, name in ipairs(REFUSALS) do
      refused = refused + since(stats.counters, name)
    end
    table.sort(linked)
    local lines = {
      string.format("store: %d messages wait for %d, %d kept in all, %.1f MB on disk", stats.waiting, stats.recipients,
        stats.total, stats.disk_bytes / 1e6),
      "neighbours: " .. (#linked > 0 and mesh.text.truncate(table.concat(linked, ", "), 500) or "none linked"),
      string.format("refused: %d, and %d dropped for want of room", refused, since(stats.counters, "evicted")),
      string.format("spares tried for plugins this week: %d", plugins.swapped(WEEK)),
    }
    if stats.read_only then lines[#lines + 1] = "the store takes nothing in: " .. stats.read_only end
    return table.concat(lines, "\n")
  end

  -- From now on, what is new counts anew.
  local function begin()
    local stats = mesh.relay.store()
    for _, name in ipairs(stats and { "evicted", unpack(REFUSALS) } or {}) do
      mesh.store:set("counter/" .. name, stats.counters[name] or 0)
    end
  end

  return { text = text, begin = begin }
end
