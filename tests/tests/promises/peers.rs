//! Peers and the links to them: several at once, trust, block lists, pings, and coming back.

use std::fs;

use qpq_tests::{Outcome, TestNode, Wire, ensure};
use serde_json::Value;

/// The peers of a node, as `mesh peers` shows them.
fn peers(node: &TestNode) -> Outcome<Vec<Value>> {
    Ok(node.json(&["mesh", "peers"])?["peers"].as_array().cloned().unwrap_or_default())
}

/// What `mesh peers` says of one peer.
fn peer(node: &TestNode, key: &str) -> Outcome<Value> {
    let all = peers(node)?;
    all.into_iter().find(|peer| peer["peer_id"] == key).ok_or_else(|| node.failure(&format!("{key} is no peer")))
}

fn links(peer: &Value) -> Vec<Value> {
    peer["links"].as_array().cloned().unwrap_or_default()
}

/// Waits until exactly one link to a peer is the preferred one, and goes over that address.
fn wait_preferred(node: &TestNode, key: &str, address: &str) -> Outcome {
    node.wait(&format!("the link over {address} is used"), || {
        let used: Vec<Value> = links(&peer(node, key)?).into_iter().filter(|link| link["preferred"] == true).collect();
        let over = |link: &Value| link["remote"].as_str().is_some_and(|remote| remote.ends_with(address));
        Ok((used.len() == 1 && used.iter().all(over)).then_some(()))
    })
}

/// A node that dials another one over two wires.
fn over_two_wires() -> Outcome<(TestNode, TestNode, Wire, Wire)> {
    let b = TestNode::plan("b").start()?;
    let (first, second) = (Wire::to(b.address())?, Wire::to(b.address())?);
    let a = TestNode::plan("a").peer(first.address()).peer(second.address()).start()?;
    a.wait_links(2)?;
    b.wait_links(2)?;
    Ok((a, b, first, second))
}

#[test]
fn when_a_link_dies_another_takes_over_and_nothing_is_lost_or_doubled() -> Outcome {
    let (a, b, first, second) = over_two_wires()?;
    let key = b.peer_id()?;
    b.subscribe("news")?;
    let used = a.wait("a link is preferred", || {
        let links = links(&peer(&a, &key)?);
        Ok(links
            .iter()
            .find(|link| link["preferred"] == true)
            .and_then(|link| link["remote"].as_str().map(str::to_owned)))
    })?;
    let (cut, other) = if used.ends_with(&first.address()) { (&first, &second) } else { (&second, &first) };
    let mut sent = Vec::new();
    for number in 0..40 {
        if number == 10 {
            cut.set_cut(true);
        }
        sent.push(if number % 4 == 0 {
            a.broadcast("news", &number.to_string())?
        } else {
            a.send(&key, &number.to_string())?
        });
    }
    for id in &sent {
        b.wait_id(id)?;
    }
    wait_preferred(&a, &key, &other.address())?;
    cut.set_cut(false);
    a.wait_links(2)?;
    let inbox = b.inbox()?;
    for id in &sent {
        let copies = inbox.iter().filter(|message| message.id == *id).count();
        ensure!(copies == 1, "{id} is in the inbox {copies} times");
    }
    ensure!(inbox.len() == sent.len(), "{} messages instead of {}", inbox.len(), sent.len());
    Ok(())
}

#[test]
fn messages_cross_while_both_links_fail_in_turns() -> Outcome {
    let (a, b, first, second) = over_two_wires()?;
    let (at_a, at_b) = (a.peer_id()?, b.peer_id()?);
    let mut sent = Vec::new();
    for round in 0..4 {
        let (cut, whole) = if round % 2 == 0 { (&first, &second) } else { (&second, &first) };
        cut.set_cut(true);
        for _ in 0..5 {
            sent.push((true, a.send(&at_b, "there")?));
            sent.push((false, b.send(&at_a, "back")?));
        }
        wait_preferred(&a, &at_b, &whole.address())?;
        cut.set_cut(false);
        a.wait_links(2)?;
    }
    for (there, id) in &sent {
        let node = if *there { &b } else { &a };
        node.wait_id(id)?;
        let copies = node.inbox()?.iter().filter(|message| message.id == *id).count();
        ensure!(copies == 1, "{id} is in the inbox {copies} times");
    }
    Ok(())
}

#[test]
fn two_nodes_that_dial_each_other_keep_one_link() -> Outcome {
    let mut b = TestNode::plan("b").prepare()?;
    let a = TestNode::plan("a").peer(b.address()).start()?;
    b.start()?;
    b.cli(&["mesh", "server", a.address()])?;
    for (node, other) in [(&a, &b), (&b, &a)] {
        let key = other.peer_id()?;
        node.wait("one link is left", || {
            let peer = peer(node, &key)?;
            Ok((links(&peer).len() == 1 && peer["state"] == "up" && peer["last_error"].is_null()).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn a_node_that_restarts_is_linked_again() -> Outcome {
    let mut b = TestNode::plan("b").start()?;
    let a = TestNode::plan("a").peer(b.address()).start()?;
    a.wait_links(1)?;
    b.terminate()?;
    a.wait_links(0)?;
    b.start()?;
    a.wait_links(1)?;
    b.kill()?;
    b.start()?;
    let id = a.send(&b.peer_id()?, "you again")?;
    b.wait_id(&id)?;
    Ok(())
}

#[test]
fn a_blocked_peer_loses_its_links_and_gets_none_until_it_is_unblocked() -> Outcome {
    let b = TestNode::plan("b").start()?;
    let a = TestNode::plan("a").peer(b.address()).start()?;
    a.wait_links(1)?;
    let key = a.peer_id()?;
    b.cli(&["mesh", "block", &key])?;
    b.wait_links(0)?;
    a.wait("the dialler hears why", || {
        let all = peers(&a)?;
        let told = |peer: &Value| peer["last_error"].as_str().is_some_and(|error| error.contains("blocked"));
        Ok(all.iter().any(told).then_some(()))
    })?;
    ensure!(peer(&b, &key)?["trust"] == "blocked", "it must be listed as blocked");
    let id = a.send(&b.peer_id()?, "let me in")?;
    b.cli(&["mesh", "unblock", &key])?;
    b.wait_id(&id)?;
    Ok(())
}

#[test]
fn mail_to_a_blocked_peer_is_refused_with_the_remedy() -> Outcome {
    let b = TestNode::plan("b").start()?;
    let a = TestNode::plan("a").peer(b.address()).start()?;
    a.wait_links(1)?;
    let key = b.peer_id()?;
    a.cli(&["mesh", "block", &key])?;
    let refused = a.run(&["mesh", "send", &key, "are you there?"])?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("(peer-blocked)"), "{refused:?}");
    ensure!(refused.stderr.contains("mesh unblock"), "{refused:?}");
    ensure!(a.json(&["mesh", "store"])?["waiting"] == 0, "a refused message may not wait");
    a.cli(&["mesh", "unblock", &key])?;
    let id = a.send(&key, "and now?")?;
    b.wait_id(&id)?;
    ensure!(b.inbox()?.len() == 1, "the refused message may not arrive");
    Ok(())
}

#[test]
fn a_sender_can_wait_for_the_receipt() -> Outcome {
    let mut b = TestNode::plan("b").start()?;
    let a = TestNode::plan("a").peer(b.address()).start()?;
    a.wait_links(1)?;
    let key = b.peer_id()?;
    let sent = a.json(&["mesh", "send", "--receipt", "--wait", "60s", &key, "are you there?"])?;
    ensure!(sent["schema"] == "qpq.receipt/1" && sent["delivered"]["peer"] == *key, "{sent}");
    ensure!(sent["delivered"]["id"] == sent["id"], "{sent}");
    b.terminate()?;
    let late = a.run(&["mesh", "send", "--receipt", "--wait", "1s", &key, "and now?"])?;
    ensure!(late.code == Some(1) && late.stdout.contains("No receipt came within 1 s"), "{late:?}");
    let late = a.run(&["mesh", "send", "--receipt", "--wait", "1s", &key, "and now?", "--json"])?;
    ensure!(late.code == Some(1) && late.stdout.contains("\"delivered\":null"), "{late:?}");
    let wrong = a.run(&["mesh", "send", "--wait", "1s", &key, "without asking for one"])?;
    ensure!(wrong.code == Some(2) && wrong.stderr.contains("--receipt"), "{wrong:?}");
    Ok(())
}

#[test]
fn blocks_and_trust_survive_a_restart() -> Outcome {
    let mut a = TestNode::plan("a").start()?;
    let (bad, good) = ("1b".repeat(32), "2c".repeat(32));
    a.cli(&["mesh", "block", &bad])?;
    a.cli(&["mesh", "trust", &good])?;
    a.kill()?;
    a.start()?;
    ensure!(peer(&a, &bad)?["trust"] == "blocked" && peer(&a, &good)?["trust"] == "trusted", "{:?}", peers(&a)?);
    Ok(())
}

#[test]
fn a_block_list_goes_from_node_to_node_whole_or_not_at_all() -> Outcome {
    let (a, b) = (TestNode::plan("a").start()?, TestNode::plan("b").start()?);
    let keys: Vec<String> = (1..=3_u8).map(|n| format!("{n:02x}").repeat(32)).collect();
    for key in &keys {
        a.cli(&["mesh", "block", key])?;
    }
    let list = a.cli(&["mesh", "blocks", "export"])?;
    let file = b.home().join("list");
    let path = file.display().to_string();
    fs::write(&file, format!("{list}\nnot a key\n"))?;
    let refused = b.run(&["mesh", "blocks", "import", &path])?;
    let line = list.trim_end().lines().count() + 1;
    ensure!(refused.code == Some(1) && refused.stderr.contains("line "), "{refused:?}");
    ensure!(
        refused.stderr.contains(&format!("line {line}")) || refused.stderr.contains(&format!("line {}", line + 1)),
        "{refused:?}"
    );
    ensure!(peers(&b)?.is_empty(), "nothing may be blocked by a list with a wrong line");
    fs::write(&file, format!("{list}\n# a comment\n{}  # and one here\n", keys[0]))?;
    let imported = b.json(&["mesh", "blocks", "import", &path])?;
    ensure!(imported["added"] == 3, "{imported}");
    ensure!(b.json(&["mesh", "blocks", "import", &path])?["added"] == 0, "a second time there is nothing new");
    ensure!(b.cli(&["mesh", "blocks", "export"])?.trim_end() == list.trim_end(), "the lists must be the same");
    Ok(())
}

#[test]
fn a_ping_shows_each_link_to_a_neighbour() -> Outcome {
    let (a, b, first, second) = over_two_wires()?;
    let report = a.json(&["mesh", "ping", &b.peer_id()?, "--count", "2"])?;
    let links = links(&report);
    ensure!(links.len() == 2, "{report}");
    for wire in [&first, &second] {
        let over = |link: &&Value| link["remote"].as_str().is_some_and(|remote| remote.ends_with(&wire.address()));
        let Some(link) = links.iter().find(over) else { return Err(a.failure("a wire is missing")) };
        ensure!(link["rtts_us"].as_array().is_some_and(|answers| answers.len() == 2) && link["lost"] == 0, "{link}");
        ensure!(link["transport"] == "transport-quic" && link["relayed"] == false, "{link}");
    }
    ensure!(links.iter().filter(|link| link["preferred"] == true).count() == 1, "{report}");
    let stranger = a.run(&["mesh", "ping", &"1b".repeat(32)])?;
    ensure!(stranger.code == Some(1) && stranger.stderr.contains("no link"), "{stranger:?}");
    Ok(())
}

#[test]
fn a_forgotten_server_is_dialled_no_more() -> Outcome {
    let b = TestNode::plan("b").start()?;
    let mut a = TestNode::plan("a").start()?;
    a.cli(&["mesh", "server", b.address()])?;
    a.wait_links(1)?;
    a.cli(&["mesh", "forget", b.address()])?;
    a.wait_links(0)?;
    a.terminate()?;
    a.start()?;
    let peer = peer(&a, &b.peer_id()?)?;
    ensure!(links(&peer).is_empty() && peer["state"] == "idle", "{peer}");
    let unknown = a.run(&["mesh", "forget", b.address()])?;
    ensure!(unknown.code == Some(1) && unknown.stderr.contains("not noted"), "{unknown:?}");
    Ok(())
}

#[test]
fn a_server_of_the_configuration_is_forgotten_until_the_next_start() -> Outcome {
    let b = TestNode::plan("b").start()?;
    let text = format!("peers = [\"{}\"]\n", b.address());
    let mut a = TestNode::plan("a").config(text).start()?;
    a.wait_links(1)?;
    let forgotten = a.json(&["mesh", "forget", b.address()])?;
    let remark = forgotten["remark"].as_str().unwrap_or_default();
    ensure!(remark.contains("comes back when the node starts again"), "{forgotten}");
    ensure!(remark.contains("qpq-server.toml:1:"), "the file is not named: {forgotten}");
    a.wait_links(0)?;
    a.terminate()?;
    a.start()?;
    a.wait_links(1)?;
    Ok(())
}

#[test]
fn a_node_that_listens_nowhere_says_so_and_works_all_the_same() -> Outcome {
    let b = TestNode::plan("b").start()?;
    let warnings = |node: &TestNode| Ok::<_, qpq_tests::Failure>(node.json(&["status"])?["warnings"].to_string());
    ensure!(!warnings(&b)?.contains("listens nowhere"), "{}", warnings(&b)?);
    // Nothing serves that scheme.
    let a = TestNode::plan("a").listen("tin-can://attic:1").peer(b.address()).start()?;
    ensure!(warnings(&a)?.contains("this node listens nowhere"), "{}", warnings(&a)?);
    ensure!(a.cli(&["status"])?.contains("this node listens nowhere"), "the page of the status doesn't say it");
    ensure!(a.log().contains("this node listens nowhere"), "{}", a.log());
    a.wait_links(1)?;
    Ok(())
}

#[test]
fn a_server_of_an_unknown_transport_is_answered_with_the_remedy() -> Outcome {
    let a = TestNode::plan("a").start()?;
    let note = a.json(&["mesh", "server", "tin-can://attic:1"])?;
    let state = note["state"].as_str().unwrap_or_default();
    ensure!(state.contains("no running transport serves tin-can://") && state.contains("plugins.load"), "{note}");
    Ok(())
}

#[test]
fn a_message_for_a_known_peer_makes_a_link_to_it() -> Outcome {
    let b = TestNode::plan("b").start()?;
    let a = TestNode::plan("a").start()?;
    a.cli(&["mesh", "server", b.address()])?;
    a.wait_links(1)?;
    a.cli(&["mesh", "forget", b.address()])?;
    a.wait_links(0)?;
    let id = a.send(&b.peer_id()?, "I know where you live")?;
    b.wait_id(&id)?;
    Ok(())
}
