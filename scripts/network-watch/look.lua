-- What is there now: id → label, and which kinds could be read.

local function name_of(key, name)
  return name or string.sub(key, 1, 10)
end

local function around()
  local there = {}
  local peers, routes, machine = mesh.peers(), mesh.routes(), mesh.machine()

  -- A node is there when any way leads to it.
  for _, route in ipairs(routes or {}) do
    there["node/" .. route.to] = "the node " .. name_of(route.to, route.name)
  end
  for _, peer in ipairs(peers or {}) do
    if peer.id and peer.links > 0 then
      there["link/" .. peer.id] = "the link to " .. name_of(peer.id, peer.name)
    end
  end

  -- Where neither babeld nor batman-adv runs, the report is empty.
  for _, gateway in ipairs(machine and machine.gateways or {}) do
    there["gateway/" .. gateway.protocol .. "/" .. gateway.address] = "the gateway " .. gateway.address
  end
  for _, neighbour in ipairs(machine and machine.neighbours or {}) do
    there["neighbour/" .. neighbour.protocol .. "/" .. neighbour.address] =
      "the " .. neighbour.protocol .. " neighbour " .. neighbour.address .. " on " .. neighbour.interface
  end
  local known = machine ~= nil
  return there, { node = routes ~= nil, link = peers ~= nil, gateway = known, neighbour = known }
end

return { around = around }
