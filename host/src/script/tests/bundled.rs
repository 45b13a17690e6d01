//! The bundled bots: their own tests, and how they start on a node.

use std::path::PathBuf;

use super::live::{Live, Store};
use crate::script::{FoundBot, ScriptConfig, TestOrder, check, run_tests};

/// Every bundled bot, with the state in which it starts where no admin has said anything: those that write to people want
/// a yes first.
const BOTS: [(&str, &str); 7] = [
    ("announcements", "running"),
    ("bulletin-board", "running"),
    ("feed", "waiting"),
    ("mailbox", "waiting"),
    ("network-watch", "waiting"),
    ("relay-warden", "waiting"),
    ("welcome", "waiting"),
];

fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts")
}

#[test]
fn the_bundled_bots_are_clean() {
    for (bot, _) in BOTS {
        assert_eq!(check(&FoundBot::at(&scripts().join(bot))), [], "{bot}");
    }
}

#[test]
fn the_tests_of_all_bundled_bots_pass() {
    let run = run_tests(&TestOrder { paths: vec![scripts()], seed: 1, filter: None }).unwrap();
    let failed: Vec<_> = run.tests.iter().filter(|test| !test.ok).collect();
    assert!(run.ok && failed.is_empty(), "{failed:#?}");
    for (bot, _) in BOTS {
        assert!(run.tests.iter().any(|test| test.bot.as_deref() == Some(bot)), "{bot} has no tests");
    }
}

#[test]
fn bundled_bots_that_write_to_people_wait_for_the_admin() {
    let config = ScriptConfig { dirs: vec![scripts()], watch: false, ..ScriptConfig::default() };
    let live = Live::start(config, Store::default());
    for (name, state) in BOTS {
        live.until(|live| live.bot(name).is_some_and(|bot| bot.state == state));
    }
    live.running("bulletin-board");
    assert!(live.ask([0xa1; 32], Some("board"), "!list").contains("the board is empty"));
    live.stop();
}
