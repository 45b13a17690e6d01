//! Looking after a store by hand, and what a node does about damage: it says so, and asks its neighbours again.

use std::fs;
use std::path::Path;

use qpq_tests::{Failure, Outcome, TestNode, ensure};

/// How `--json` of a command reads.
fn json(text: &str) -> Outcome<serde_json::Value> {
    Ok(serde_json::from_str(text)?)
}

#[test]
fn a_running_nodes_store_is_not_checked_and_the_refusal_says_how_to_go_on() -> Outcome {
    let mut node = TestNode::plan("a").start()?;
    let own = node.peer_id()?;
    node.send(&own, "a note to myself")?;
    for tool in ["check", "repair"] {
        let refused = node.run(&["store", tool])?;
        ensure!(refused.code == Some(1), "`store {tool}` ended with {:?}", refused.code);
        let remedy = format!("qpq --home {} stop", node.home().display());
        ensure!(refused.stderr.contains(&remedy), "no remedy in: {}", refused.stderr);
    }
    let stats = json(&node.run(&["store", "stats", "--json"])?.stdout)?;
    ensure!(stats["schema"] == "qpq.store/1" && stats["inbox"] == 1, "the node says: {stats}");
    node.terminate()?;
    let check = node.run(&["store", "check", "--json"])?;
    let report = json(&check.stdout)?;
    ensure!(check.code == Some(0) && report["ok"] == true, "the check of a sound store: {}", check.stdout);
    ensure!(report["schema"] == "qpq.store-check/1" && report["envelopes"]["inbox"]["messages"] == 1, "{report}");
    let stats = json(&node.run(&["store", "stats", "--json"])?.stdout)?;
    ensure!(stats["schema"] == "qpq.store-stats/1" && stats["format"] == 2 && stats["closed"] == true, "{stats}");
    let repair = node.run(&["store", "repair", "--json"])?;
    ensure!(repair.code == Some(0) && json(&repair.stdout)?["mended"] == false, "{}", repair.stdout);
    node.start()?;
    ensure!(node.inbox()?.len() == 1, "the note is gone");
    Ok(())
}

#[test]
fn a_node_whose_list_of_tables_is_damaged_says_how_to_mend_it_and_starts_again_with_all_it_had() -> Outcome {
    let mut node = TestNode::plan("a").start()?;
    let own = node.peer_id()?;
    let id = node.send(&own, "a note to myself")?;
    node.terminate()?;
    for space in fs::read_dir(node.home().join("store/db/keyspaces"))? {
        fs::write(space?.path().join("current"), b"")?;
    }
    let (status, log) = node.start_refused()?;
    ensure!(!status.success() && log.contains("qpq store repair"), "no remedy in: {log}");
    let check = node.run(&["store", "check"])?;
    ensure!(check.code == Some(1), "`store check` ended with {:?}", check.code);
    node.cli(&["store", "repair"])?;
    node.start()?;
    node.wait_id(&id)?;
    Ok(())
}

#[test]
fn a_post_that_the_disk_damaged_is_reported_and_fetched_again_from_a_neighbour() -> Outcome {
    let a = TestNode::plan("a").start()?;
    let mut b = TestNode::plan("b").peer(a.address()).start()?;
    b.subscribe("news")?;
    a.wait_links(1)?;
    let id = a.broadcast("news", "bring rope")?;
    b.wait_id(&id)?;
    b.terminate()?;
    damage_record(&b.home().join("store/db"), &id)?;
    let check = b.run(&["store", "check", "--json"])?;
    ensure!(check.code == Some(1), "`store check` ended with {:?}: {}", check.code, check.stdout);
    b.start()?;
    let message = b.wait_id(&id)?;
    ensure!(message.text == "bring rope", "the text is {:?}", message.text);
    ensure!(b.log().contains("damaged"), "the damage is not in the log");
    let copies = b.inbox()?.iter().filter(|message| message.id == id).count();
    ensure!(copies == 1, "the post is there {copies} times");
    Ok(())
}

/// Flips a bit behind each place in the journals where the message's id stands.
fn damage_record(db: &Path, id: &str) -> Outcome {
    let digits: Vec<u8> = id.bytes().collect();
    let id: Vec<u8> =
        digits.chunks(2).map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect::<Outcome<_>>()?;
    let mut hits = 0;
    for entry in fs::read_dir(db)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "jnl") {
            continue;
        }
        let mut bytes = fs::read(&path)?;
        let places: Vec<usize> =
            (0..bytes.len().saturating_sub(id.len())).filter(|at| bytes[*at..].starts_with(&id)).collect();
        for at in &places {
            bytes[at + id.len() + 4] ^= 1;
        }
        hits += places.len();
        fs::write(&path, bytes)?;
    }
    if hits == 0 { Err(Failure::new("the message is in no journal")) } else { Ok(()) }
}
