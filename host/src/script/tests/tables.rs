//! The tables that scripts meet have the fields that the table of the API names, no others.

use std::collections::BTreeMap;
use std::sync::Arc;

use qpq_schemas::{MessageId, PeerId};

use super::live::{Live, Store};
use super::write;
use crate::api::{
    InboxItem, MachineGateway, MachineNeighbour, MachineReport, PeerInfo, PluginStatus, RouteInfo, StoreStats,
};
use crate::control::testing::{item, peer, plugin, route_table, stats};
use crate::script::double::message;
use crate::script::{BotConfig, LiveEvent, LiveKind, MemoryNode, ScriptConfig, TYPES};

const EVE: [u8; 32] = [0xee; 32];

/// Says of each table that it meets which fields there are, one table a line.
const BOT: &str = r#"
local lines = {}
local function note(name, value)
  local names = {}
  for key in pairs(value) do names[#names + 1] = key end
  table.sort(names)
  lines[#lines + 1] = name .. ": " .. table.concat(names, " ")
end
local function each(name, list)
  for _, value in list do note(name, value) end
end

local board = assert(mesh.board("posts", { moderators = { "self", "EVE" } }))
note("mesh.board", board)
for _, name in { "start", "delivered" } do
  mesh.on(name, function(event) note("mesh.event", event) end)
end
mesh.on("board", function(event) note("mesh.board_event", event) end)
mesh.on("broadcast", { topic = "board" }, function(msg) note("mesh.message", msg) end)

mesh.on("envelope", { text = "look" }, function(msg)
  note("mesh.message", msg)
  note("mesh.self", mesh.self)
  each("mesh.peer", assert(mesh.peers()))
  each("mesh.route", assert(mesh.routes()))
  each("mesh.channel", assert(mesh.channels()))
  each("mesh.plugin", assert(mesh.relay.plugins()))
  note("mesh.store_stats", assert(mesh.relay.store()))
  local machine = assert(mesh.machine())
  note("mesh.machine", machine)
  each("mesh.machine_neighbour", machine.neighbours)
  each("mesh.machine_gateway", machine.gateways)
  local _, err = mesh.json.decode("{")
  note("mesh.error", err)
  note("mesh.receipt", assert(mesh.broadcast("board", "now")))
  note("mesh.receipt", assert(mesh.broadcast("board", "later", { optional = true })))
  note("mesh.timer", mesh.after("1h", function() end))
  local post = assert(board:post("first"))
  note("mesh.post", post)
  local answer = assert(board:reply(post.id, "second", { by = msg }))
  assert(board:edit(answer.id, "third", { by = msg }))
  note("mesh.post", assert(board:hide(answer.id, { reason = "why" })))
  msg:reply(post.id .. " " .. answer.id)
end)

mesh.on("envelope", { text = "tell" }, function(msg) msg:reply(table.concat(lines, "\n")) end)
"#;

fn config(dir: &std::path::Path, version: &str) -> ScriptConfig {
    let granted = crate::script::manifest::PERMISSIONS.map(|(name, _)| name.to_owned()).to_vec();
    let needs = granted.iter().map(|need| format!("\"{need}\"")).collect::<Vec<_>>().join(", ");
    write(dir, "bot/bot.toml", &format!("{version}needs = [{needs}]\n"));
    write(dir, "bot/init.lua", &BOT.replace("EVE", &PeerId(EVE).to_string()));
    let mut config = ScriptConfig { dirs: vec![dir.to_path_buf()], watch: false, ..ScriptConfig::default() };
    config.limits.broadcasts_per_minute = 100;
    config.limits.messages_per_minute = 100;
    config.bots.insert("bot".to_owned(), BotConfig { granted: Some(granted), ..BotConfig::default() });
    config
}

/// A node of which there is everything with all that it can have, and with no more than it must.
fn node() -> Arc<MemoryNode> {
    let node = Arc::new(MemoryNode::default());
    let mut busy = PeerInfo { last_seen_ms: Some(1), ..peer() };
    // What is optional waits while a link has so much to do.
    busy.links[0].in_flight = usize::MAX;
    node.meet(busy);
    node.meet(PeerInfo { peer_id: None, nickname: None, links: Vec::new(), last_seen_ms: None, ..peer() });
    let route = route_table().routes.remove(0);
    node.learn(route.clone());
    node.learn(RouteInfo { nickname: None, hops: None, ..route });
    let full =
        MachineNeighbour { quality: Some(0.5), cost: Some(96), kbit: Some(1), seen_ms: Some(1), ..Default::default() };
    let neighbours = vec![full, MachineNeighbour::default()];
    let machine = MachineReport { neighbours, gateways: vec![MachineGateway::default()], ..MachineReport::default() };
    node.reveal(vec![plugin(), PluginStatus { last_error: None, ..plugin() }], stats(), machine);
    node
}

/// Says something and waits for what has that text in it: the bot says other things meanwhile.
fn answer(live: &Live, node: &MemoryNode, say: &str, part: &str) -> String {
    let before = node.sent().len();
    live.tell(EVE, None, say);
    let is_it = |text: &&String| text.contains(part) && !text.starts_with('!');
    live.sent(|sent| sent.iter().skip(before).any(|text| is_it(&text)));
    node.sent().iter().skip(before).map(crate::script::Sent::text).find(|text| is_it(&text)).unwrap()
}

/// The lines that the bot says.
fn met(version: &str, stats: Option<StoreStats>) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let node = node();
    if let Some(stats) = stats {
        node.reveal(Vec::new(), stats, MachineReport::default());
    }
    let live = Live::with_node(config(dir.path(), version), Store::default(), Arc::clone(&node));
    live.running("bot");
    let bare = LiveEvent { kind: LiveKind::Delivered, peer: None, name: None, id: None, detail: None };
    let (name, detail) = (Some("eve".to_owned()), Some("why".to_owned()));
    live.happen(&LiveEvent { peer: Some(PeerId(EVE)), name, id: Some(MessageId([1; 32])), detail, ..bare.clone() });
    live.happen(&bare);
    node.put(InboxItem { topic: Some("board".to_owned()), reaction: false, ..item(0) });
    let ids = answer(&live, &node, "look", " ");
    let (first, second) = ids.rsplit_once(' ').unwrap();
    let own = MessageId([0x70; 32]);
    let texts = [
        "!post mine".to_owned(),
        format!("!delete {own}"),
        format!("!hide {first} spam"),
        format!("!show {second}"),
        format!("!ban {}", PeerId([1; 32])),
    ];
    for (place, text) in texts.into_iter().enumerate() {
        let id = MessageId([own.0[0] + u8::try_from(place).unwrap(); 32]);
        node.put(InboxItem { id, payload: text.into_bytes(), ..message(PeerId(EVE), Some("posts")) });
    }
    let told = answer(&live, &node, "tell", "mesh.timer: ");
    live.stop();
    told.lines().map(str::to_owned).collect()
}

#[test]
fn every_table_has_exactly_the_fields_that_are_written_down() {
    let lines = [met("version = \"1\"\n", None), met("", Some(StoreStats::default()))].concat();
    for table in TYPES {
        let seen: Vec<Vec<&str>> = lines
            .iter()
            .filter_map(|line| line.strip_prefix(table.name)?.strip_prefix(": "))
            .map(|names| names.split(' ').collect())
            .collect();
        assert!(!seen.is_empty(), "{} was not met: {lines:#?}", table.name);
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for name in seen.iter().flatten() {
            *counts.entry(name).or_default() += 1;
        }
        for (name, count) in &counts {
            let field = table.fields.iter().find(|field| field.name == *name);
            let field = field.unwrap_or_else(|| panic!("{} has {name}, which is not written down", table.name));
            // The node in memory always has a name, and people who write have one.
            let always = ["mesh.self.name"].contains(&format!("{}.{name}", table.name).as_str());
            assert_eq!(field.optional(), always || *count < seen.len(), "{}: {name} in {seen:?}", table.name);
        }
        for field in table.fields {
            assert!(counts.contains_key(field.name), "{}: {} was never there: {seen:?}", table.name, field.name);
        }
    }
}
