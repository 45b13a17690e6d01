//! Emergencies: two of three admins together make one, on three real nodes, and a relay gives precedence to nothing less.

use std::fs;

use qpq_tests::{Line, Outcome, TestNode, ensure};

/// Names the three nodes as admins, each in the others' configuration and its own, and starts them anew.
fn name_admins(line: &mut Line) -> Outcome {
    let admins = [line.a.peer_id()?, line.b.peer_id()?, line.c.peer_id()?];
    let text = format!("[emergency]\nadmins = {admins:?}\nquorum = 2\n");
    for node in [&mut line.a, &mut line.b, &mut line.c] {
        node.terminate()?;
        fs::write(node.home().join("qpq-server.toml"), &text)?;
        node.start()?;
    }
    line.b.wait_links(2)
}

/// A message of a node's inbox, once it is there.
fn shown(node: &TestNode, id: &str) -> Outcome<serde_json::Value> {
    node.wait(&format!("message {id} is here"), || {
        let page = node.json(&["mesh", "inbox"])?;
        Ok(page["items"].as_array().into_iter().flatten().find(|item| item["id"] == id).cloned())
    })
}

/// How urgent a node takes a message to be.
fn priority(node: &TestNode, id: &str) -> Outcome<u64> {
    Ok(shown(node, id)?["priority"].as_u64().unwrap_or_default())
}

fn notice(node: &TestNode, arguments: &[&str]) -> Outcome<serde_json::Value> {
    node.json(&[&["mesh", "emergency"], arguments].concat())
}

#[test]
fn two_of_three_admins_proclaim_an_emergency_that_relays_put_first_also_after_a_crash() -> Outcome {
    let mut line = Line::start()?;
    name_admins(&mut line)?;
    line.b.subscribe("emergency")?;
    line.c.subscribe("emergency")?;
    let drafted = notice(&line.a, &["draft", "the dam breaks:", "leave the valley", "--ttl", "6h"])?;
    let draft = drafted["notice"].as_str().unwrap_or_default();
    ensure!(drafted["counted"] == 0 && drafted["quorum"] == 2, "a draft is signed by nobody: {drafted}");

    let by_a = notice(&line.a, &["sign", draft])?;
    let by_a = by_a["notice"].as_str().unwrap_or_default();
    let too_few = line.a.run(&["mesh", "emergency", "publish", by_a])?;
    ensure!(too_few.code == Some(1) && too_few.stderr.contains("no-quorum"), "one of two was enough: {too_few:?}");

    // C signs its own copy of the draft at the same time; A puts both together.
    let by_c = notice(&line.c, &["sign", draft])?;
    let by_c = by_c["notice"].as_str().unwrap_or_default();
    let both = notice(&line.a, &["show", by_a, by_c])?;
    ensure!(both["counted"] == 2, "both signatures count: {both}");
    let missing = both["missing"][0]["key"].as_str().map(str::to_owned);
    ensure!(missing == Some(line.b.peer_id()?), "B has not signed: {both}");
    let receipt = line.a.json(&["mesh", "emergency", "publish", by_a, by_c])?;
    let id = receipt["id"].as_str().unwrap_or_default();

    let item = shown(&line.c, id)?;
    ensure!(item["text"] == "the dam breaks: leave the valley", "the notice is not readable: {item}");
    ensure!(item["priority"] == 3 && item["notice"]["counted"] == 2, "C does not show who signed: {item}");
    ensure!(priority(&line.b, id)? == 3, "the relay does not put it first");
    line.b.kill()?;
    line.b.start()?;
    ensure!(priority(&line.b, id)? == 3, "the relay forgot in a crash that it comes first");
    Ok(())
}

#[test]
fn what_is_only_marked_as_an_emergency_counts_as_high() -> Outcome {
    let mut line = Line::start()?;
    name_admins(&mut line)?;
    line.b.subscribe("emergency")?;
    let channel = line.a.json(&["mesh", "broadcast", "emergency", "help!", "--priority", "emergency"])?;
    ensure!(priority(&line.b, channel["id"].as_str().unwrap_or_default())? == 2, "a word was enough");
    let to_b = line.a.json(&["mesh", "send", &line.b.peer_id()?, "help!", "--priority", "emergency"])?;
    ensure!(priority(&line.b, to_b["id"].as_str().unwrap_or_default())? == 2, "a word was enough");
    Ok(())
}
