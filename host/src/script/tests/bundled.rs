//! The bundled bots, on the node in memory.

use std::path::PathBuf;

use serde_json::json;

use super::live::{Live, Store};
use crate::script::double::SELF;
use crate::script::{MemoryNode, ScriptConfig, check};

fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts")
}

fn config() -> ScriptConfig {
    let mut config = ScriptConfig { dirs: vec![scripts()], watch: false, ..ScriptConfig::default() };
    config.limits.messages_per_minute = 100;
    config
}

const ALICE: [u8; 32] = [0xa1; 32];
const BOB: [u8; 32] = [0xb0; 32];

#[test]
fn the_bundled_bots_are_clean() {
    assert_eq!(check(&scripts().join("announcements.lua")), []);
    assert_eq!(check(&scripts().join("bulletin-board")), []);
}

#[test]
fn the_board_keeps_lists_finds_and_deletes_posts_over_a_restart() {
    let store = Store::default();
    let node = std::sync::Arc::new(MemoryNode::default());
    let live = Live::with_node(config(), store.clone(), node.clone());
    live.running("bulletin-board");
    let say = |live: &Live, who, text: &str| live.ask(who, Some("board"), text);
    assert_eq!(say(&live, ALICE, "!post Free couch, pick it up on Monday"), "posted as #1");
    assert_eq!(say(&live, BOB, "!post Who has a spare antenna?"), "posted as #2");
    let list = say(&live, BOB, "!list");
    assert!(list.starts_with("#2 ") && list.contains("\n#1 ") && list.contains("Free couch"), "{list}");
    assert!(say(&live, BOB, "!search COUCH").starts_with("#1 "));
    assert_eq!(say(&live, BOB, "!delete 1"), "post #1 isn't yours");
    assert_eq!(say(&live, BOB, "!read 7"), "there is no post #7");
    live.stop();

    let live = Live::with_node(config(), store, node);
    live.running("bulletin-board");
    assert!(say(&live, BOB, "!read 1").ends_with("UTC\nFree couch, pick it up on Monday"));
    assert_eq!(say(&live, ALICE, "!delete 1"), "post #1 is gone");
    assert_eq!(say(&live, ALICE, "!post third"), "posted as #3");
    assert!(say(&live, ALICE, "!help").contains("!post <text> - put up a post"));
    live.stop();
}

#[test]
fn announcements_come_from_named_keys_only_and_are_repeated() {
    let mut config = config();
    let admin = crate::script::host::BotConfig {
        config: json!({ "admins": ["self"], "every": "1s", "keep": "1h" }).as_object().cloned().unwrap_or_default(),
        limits: crate::script::LimitsPatch { broadcasts_per_minute: Some(100), ..Default::default() },
        ..Default::default()
    };
    config.bots.insert("announcements".to_owned(), admin);
    let live = Live::start(config, Store::default());
    live.running("announcements");
    let refused = live.ask(BOB, Some("announcements"), "!announce all of you, listen");
    assert!(refused.contains("only for those"), "{refused}");
    live.tell(SELF.0, Some("announcements"), "!announce Mesh meeting on Friday");
    live.sent(|sent| sent.iter().any(|text| text == "notice #1 accepted"));
    live.sent(|sent| sent.iter().filter(|text| text.starts_with("[#1] Mesh meeting on Friday -- ")).count() >= 3);
    live.tell(SELF.0, Some("announcements"), "!withdraw 1");
    live.sent(|sent| sent.iter().any(|text| text == "notice #1 withdrawn"));
    assert_eq!(live.ask(BOB, Some("announcements"), "!announcements"), "no notices");
    live.stop();
}
