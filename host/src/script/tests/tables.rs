//! The tables that scripts meet have the fields that the table of the API names, no others.

use std::sync::Arc;

use qpq_schemas::{MessageId, PeerId};

use super::live::{Live, Store};
use super::write;
use crate::api::{InboxItem, PeerInfo, RouteInfo};
use crate::control::testing::{item, peer, route_table};
use crate::script::{BotConfig, LiveEvent, LiveKind, MemoryNode, ScriptConfig, TYPES};

const EVE: [u8; 32] = [0xee; 32];

/// Says of each table that it meets which fields there are, one table a line.
const BOT: &str = r#"
local function say(msg, name, value)
  local names = {}
  for key in pairs(value) do names[#names + 1] = key end
  table.sort(names)
  return name .. ": " .. table.concat(names, " ")
end

local events = {}
for _, name in { "start", "delivered" } do
  mesh.on(name, function(event) events[#events + 1] = event end)
end

mesh.on("broadcast", { topic = "board" }, function(msg) msg:reply(say(msg, "mesh.message", msg)) end)

mesh.on_envelope(function(msg)
  local lines = { say(msg, "mesh.message", msg), say(msg, "mesh.self", mesh.self) }
  for _, peer in assert(mesh.peers()) do lines[#lines + 1] = say(msg, "mesh.peer", peer) end
  for _, route in assert(mesh.routes()) do lines[#lines + 1] = say(msg, "mesh.route", route) end
  for _, channel in assert(mesh.channels()) do lines[#lines + 1] = say(msg, "mesh.channel", channel) end
  for _, event in events do lines[#lines + 1] = say(msg, "mesh.event", event) end
  local _, err = mesh.json.decode("{")
  lines[#lines + 1] = say(msg, "mesh.error", err)
  lines[#lines + 1] = say(msg, "mesh.receipt", assert(msg:reply("")))
  lines[#lines + 1] = say(msg, "mesh.timer", mesh.after("1h", function() end))
  msg:reply(table.concat(lines, "\n"))
end)
"#;

/// The lines that the bot says: once with all that can be there, once with no more than must.
fn met(version: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let granted = crate::script::manifest::PERMISSIONS.map(|(name, _)| name.to_owned()).to_vec();
    let needs = granted.iter().map(|need| format!("\"{need}\"")).collect::<Vec<_>>().join(", ");
    write(dir.path(), "bot/bot.toml", &format!("{version}needs = [{needs}]\n"));
    write(dir.path(), "bot/init.lua", BOT);
    let mut config = ScriptConfig { dirs: vec![dir.path().to_path_buf()], watch: false, ..ScriptConfig::default() };
    config.bots.insert("bot".to_owned(), BotConfig { granted: Some(granted), ..BotConfig::default() });
    let node = Arc::new(MemoryNode::default());
    node.meet(PeerInfo { last_seen_ms: Some(1), ..peer() });
    node.meet(PeerInfo { peer_id: None, nickname: None, links: Vec::new(), last_seen_ms: None, ..peer() });
    let route = route_table().routes.remove(0);
    node.learn(route.clone());
    node.learn(RouteInfo { nickname: None, hops: None, ..route });
    let live = Live::with_node(config, Store::default(), Arc::clone(&node));
    live.running("bot");
    let bare = LiveEvent { kind: LiveKind::Delivered, peer: None, name: None, id: None, detail: None };
    let (name, detail) = (Some("eve".to_owned()), Some("why".to_owned()));
    live.happen(&LiveEvent { peer: Some(PeerId(EVE)), name, id: Some(MessageId([1; 32])), detail, ..bare.clone() });
    live.happen(&bare);
    node.put(InboxItem { topic: Some("board".to_owned()), ..item(0) });
    live.tell(EVE, None, "hello");
    live.sent(|sent| sent.len() == 3);
    live.stop();
    node.sent().iter().flat_map(|sent| sent.text().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_table_has_exactly_the_fields_that_are_written_down() {
    let lines = [met("version = \"1\"\n"), met("")].concat();
    for table in TYPES {
        let seen: Vec<&str> =
            lines.iter().filter_map(|line| line.strip_prefix(table.name)?.strip_prefix(": ")).collect();
        let names = |all: bool| {
            let mut names: Vec<&str> = table.fields.iter().filter(|f| all || !f.optional()).map(|f| f.name).collect();
            names.sort_unstable();
            names.join(" ")
        };
        assert!(seen.contains(&&*names(true)), "{} with all its fields is among {seen:?}", table.name);
        let fits = |line: &&str| {
            let fields: Vec<&str> = line.split(' ').collect();
            fields.iter().all(|name| table.fields.iter().any(|field| field.name == *name))
                && table.fields.iter().all(|field| field.optional() || fields.contains(&field.name))
        };
        assert!(seen.iter().all(|line| fits(line)), "{}: {seen:?}", table.name);
        // The node in memory always has a name.
        let leaves_out = table.name == "mesh.self" || seen.contains(&&*names(false));
        assert!(leaves_out, "{} with no more than it must have is not among {seen:?}", table.name);
    }
}
