//! Clients over the network: people who have no node of their own, and admins from afar.

mod python;

use std::fs;
use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use qpq_tests::{Outcome, Random, TestNode, binaries, ensure, skip};
use serde_json::Value;

/// A node that serves clients, and where.
struct Home {
    node: TestNode,
    address: String,
}

impl Home {
    /// A node with more lines in its section `[clients]`, linked to `peer`.
    fn start(section: &str, peer: Option<&TestNode>) -> Outcome<Self> {
        let address = format!("127.0.0.1:{}", UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port());
        let config = format!("[clients]\nlisten = [\"{address}\"]\n{section}\n");
        let plan = TestNode::plan("home").config(config);
        let plan = if let Some(peer) = peer { plan.peer(peer.address()) } else { plan };
        Ok(Self { node: plan.start()?, address })
    }

    /// Somebody who uses it over the network, from a data directory that holds nothing yet.
    fn client(&self, name: &str) -> Outcome<TestNode> {
        TestNode::plan(name).environment("QPQ_CONNECT", &self.address).prepare()
    }
}

/// The key in a client's data directory. It is made with the first command, even if that one is refused.
fn key_of(client: &TestNode) -> Outcome<String> {
    client.run(&["mesh", "channels"])?;
    let identity: Value = serde_json::from_slice(&fs::read(client.home().join("identity.json"))?)?;
    Ok(identity["peer_id"].as_str().unwrap_or_default().to_owned())
}

/// How often each of these messages is in the client's inbox.
fn copies(client: &TestNode, ids: &[String]) -> Outcome<Vec<usize>> {
    let inbox = client.inbox()?;
    Ok(ids.iter().map(|id| inbox.iter().filter(|message| message.id == *id).count()).collect())
}

fn wait_once(client: &TestNode, ids: &[String]) -> Outcome {
    client.wait("all messages are there", || Ok(copies(client, ids)?.iter().all(|count| *count > 0).then_some(())))?;
    let copies = copies(client, ids)?;
    ensure!(copies.iter().all(|count| *count == 1), "some are there more than once: {copies:?}");
    Ok(())
}

#[test]
fn mail_that_came_while_the_phone_was_away_is_fetched_from_its_home_node() -> Outcome {
    let far = TestNode::plan("far").start()?;
    let home = Home::start("open = true", Some(&far))?;
    far.wait_links(1)?;
    let phone = home.client("phone")?;
    phone.subscribe("news")?;
    ensure!(phone.inbox()?.is_empty(), "nothing has come yet");
    let key = phone.peer_id()?;
    let ids = [far.send(&key, "while you were away")?, far.broadcast("news", "to all")?];
    home.node.wait("the mail is at the home node", || {
        let waiting = home.node.json(&["mesh", "store"])?["waiting"].as_u64();
        Ok((waiting == Some(1)).then_some(()))
    })?;
    wait_once(&phone, &ids)?;
    let inbox = phone.inbox()?;
    ensure!(inbox.iter().all(|message| message.sealed), "{inbox:?}");
    ensure!(inbox.iter().any(|message| message.text == "while you were away" && message.topic.is_none()), "{inbox:?}");
    ensure!(inbox.iter().any(|message| message.topic.as_deref() == Some("news")), "{inbox:?}");
    home.node.wait("the home node has dropped its copy", || {
        Ok((home.node.json(&["mesh", "store"])?["waiting"] == 0).then_some(()))
    })?;
    ensure!(home.node.inbox()?.is_empty(), "the home node's own inbox has nothing to do with it");
    Ok(())
}

#[test]
fn what_the_phone_sends_arrives_sealed_and_signed_by_its_own_key() -> Outcome {
    let far = TestNode::plan("far").start()?;
    let home = Home::start("open = true", Some(&far))?;
    far.wait_links(1)?;
    far.subscribe("news")?;
    let phone = home.client("phone")?;
    let key = phone.peer_id()?;
    let direct = phone.send(&far.peer_id()?, "from my pocket")?;
    let post = phone.broadcast("news", "from my pocket, to all")?;
    for id in [direct, post] {
        let message = far.wait_id(&id)?;
        ensure!(message.from == key && message.sealed, "{message:?}");
    }
    // And back, by the first digits of the key, between two phones of one home.
    let other = home.client("other")?;
    other.inbox()?;
    let other_key = other.peer_id()?;
    let id = phone.send(other_key.get(..10).unwrap_or_default(), "hello, neighbour")?;
    wait_once(&other, &[id])?;
    Ok(())
}

#[test]
fn a_receipt_is_made_by_the_phone_once_the_message_is_on_its_disk() -> Outcome {
    let home = Home::start("open = true", None)?;
    let (phone, other) = (home.client("phone")?, home.client("other")?);
    let key = phone.peer_id()?;
    phone.inbox()?;
    let id = {
        other.inbox()?;
        let receipt = other.json(&["mesh", "send", &key, "are you there?", "--receipt"])?;
        receipt["id"].as_str().unwrap_or_default().to_owned()
    };
    wait_once(&phone, &[id])?;
    // Whoever collects the receipt shows no message for it.
    home.node.wait("the receipt waits for the sender", || {
        Ok((home.node.json(&["mesh", "store"])?["waiting"] == 1).then_some(()))
    })?;
    ensure!(other.inbox()?.is_empty(), "a receipt is no message");
    ensure!(home.node.json(&["mesh", "store"])?["waiting"] == 0, "it was collected");
    Ok(())
}

#[test]
fn kill_9_of_the_home_node_loses_nothing_that_it_acknowledged() -> Outcome {
    let mut home = Home::start("open = true", None)?;
    let (phone, other) = (home.client("phone")?, home.client("other")?);
    phone.subscribe("news")?;
    let key = phone.peer_id()?;
    phone.inbox()?;
    let mut ids = Vec::new();
    for round in 0..3 {
        ids.push(other.send(&key, &format!("direct {round}"))?);
        ids.push(other.broadcast("news", &format!("to all {round}"))?);
        home.node.kill()?;
        home.node.start()?;
    }
    wait_once(&phone, &ids)?;
    let store = home.node.json(&["mesh", "store"])?;
    ensure!(store["waiting"] == 0, "the mailbox was kept over the kills: {store}");
    Ok(())
}

/// `qpq mesh inbox --follow` of a client, as a process of its own.
fn follow(home: &Home, client: &TestNode) -> Outcome<Child> {
    let mut command = Command::new(binaries::qpq()?);
    command.arg("--home").arg(client.home()).args(["--connect", &home.address, "mesh", "inbox", "--follow"]);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

#[test]
fn kill_9_of_the_phone_at_random_moments_loses_and_doubles_nothing() -> Outcome {
    let mut random = Random::announced("kill_9_of_the_phone");
    let home = Home::start("open = true", None)?;
    let (phone, other) = (home.client("phone")?, home.client("other")?);
    phone.subscribe("news")?;
    phone.inbox()?;
    let key = phone.peer_id()?;
    let mut ids = Vec::new();
    for cycle in 0..skip::rounds(12, 400) {
        let mut following = follow(&home, &phone)?;
        // The kill comes while a message is on its way to the phone's disk, or just behind it.
        let last = 1 + random.below(4);
        for number in 0..last {
            ids.push(match number % 2 {
                0 => other.send(&key, &format!("{cycle}, {number}"))?,
                _ => other.broadcast("news", &format!("{cycle}, {number}"))?,
            });
        }
        std::thread::sleep(Duration::from_micros(random.below(20_000) as u64));
        following.kill()?;
        following.wait()?;
    }
    wait_once(&phone, &ids)?;
    ensure!(phone.inbox()?.len() == ids.len(), "{} messages instead of {}", phone.inbox()?.len(), ids.len());
    ensure!(home.node.json(&["mesh", "store"])?["waiting"] == 0, "the home node has nothing left");
    Ok(())
}

#[test]
fn a_user_reads_nobody_else_s_mail_and_does_nothing_that_is_an_admin_s() -> Outcome {
    let home = Home::start("open = true", None)?;
    let (anna, ben) = (home.client("anna")?, home.client("ben")?);
    anna.inbox()?;
    let id = ben.send(&anna.peer_id()?, "for Anna alone")?;
    ensure!(ben.inbox()?.is_empty(), "Ben sees what is Anna's");
    wait_once(&anna, &[id])?;
    for command in [&["status"][..], &["plugin", "list"], &["mesh", "peers"], &["mesh", "route"], &["stop"]] {
        let refused = ben.run(command)?;
        ensure!(refused.code == Some(1) && refused.stderr.contains("not-permitted"), "{command:?}: {refused:?}");
        ensure!(refused.stderr.contains("clients.admins"), "the remedy is missing: {refused:?}");
    }
    home.node.json(&["status"])?;
    Ok(())
}

#[test]
fn an_admin_does_from_afar_what_the_owner_does() -> Outcome {
    let unknown = Home::start("", None)?;
    let admin = unknown.client("admin")?;
    let key = key_of(&admin)?;
    let home = Home::start(&format!("admins = [\"{key}\"]"), None)?;
    let at = ["--connect", home.address.as_str()];
    let ask = |words: &[&str]| admin.json(&[&at[..], words].concat());
    ensure!(ask(&["status"])?["peer_id"] == home.node.peer_id()?.as_str(), "it is another node");
    ensure!(ask(&["plugin", "list"])?["plugins"].as_array().is_some_and(|list| !list.is_empty()), "no plugins");
    ask(&["mesh", "subscribe", "news"])?;
    ensure!(home.node.json(&["mesh", "channels"])?["channels"][0]["name"] == "news", "the node has not joined");
    ask(&["stop"])?;
    let mut home = home;
    home.node.wait_stopped()?;
    Ok(())
}

#[test]
fn an_unknown_key_hears_why_it_is_not_let_in_and_a_listed_one_comes_in() -> Outcome {
    let home = Home::start("", None)?;
    let phone = home.client("phone")?;
    let key = key_of(&phone)?;
    let refused = phone.run(&["mesh", "inbox"])?;
    ensure!(refused.code == Some(1), "{refused:?}");
    for told in ["not-permitted", "clients.users", key.as_str()] {
        ensure!(refused.stderr.contains(told), "{told} is not in {refused:?}");
    }
    let listed = Home::start(&format!("users = [\"{key}\"]"), None)?;
    phone.cli(&["--connect", &listed.address, "mesh", "inbox"])?;
    Ok(())
}

#[test]
fn a_node_whose_key_has_changed_is_refused_with_the_remedy() -> Outcome {
    let mut home = Home::start("open = true", None)?;
    let phone = home.client("phone")?;
    let first = phone.run(&["mesh", "inbox"])?;
    ensure!(first.code == Some(0) && first.stderr.contains("first time"), "{first:?}");
    ensure!(phone.run(&["mesh", "inbox"])?.stderr.is_empty(), "the second time there is nothing to say");
    home.node.terminate()?;
    fs::remove_file(home.node.home().join("identity.json"))?;
    fs::remove_file(home.node.home().join("sealing.json"))?;
    home.node.start()?;
    let refused = phone.run(&["mesh", "inbox"])?;
    ensure!(refused.code == Some(1), "{refused:?}");
    for told in ["changed-key", "known_nodes", &home.node.peer_id()?] {
        ensure!(refused.stderr.contains(told), "{told} is not in {refused:?}");
    }
    let pinned = format!("{}@{}", home.node.peer_id()?, home.address);
    phone.cli(&["--connect", &pinned, "mesh", "inbox"])?;
    Ok(())
}

#[test]
fn a_channel_joined_late_brings_what_it_had_and_doubles_nothing() -> Outcome {
    let home = Home::start("open = true", None)?;
    let (phone, other) = (home.client("phone")?, home.client("other")?);
    let older = other.broadcast("old", "before anybody here joined")?;
    phone.subscribe("news")?;
    let first = other.broadcast("news", "one")?;
    wait_once(&phone, std::slice::from_ref(&first))?;
    phone.subscribe("old")?;
    wait_once(&phone, &[older, first])?;
    phone.cli(&["mesh", "unsubscribe", "news"])?;
    other.broadcast("news", "two")?;
    ensure!(phone.inbox()?.len() == 2, "a channel that was left is still fetched: {:?}", phone.inbox()?);
    Ok(())
}

#[test]
fn what_was_fetched_stays_readable_without_the_node() -> Outcome {
    let home = Home::start("open = true", None)?;
    let (phone, other) = (home.client("phone")?, home.client("other")?);
    phone.inbox()?;
    let id = other.send(&phone.peer_id()?, "keep this")?;
    wait_once(&phone, std::slice::from_ref(&id))?;
    wait_once(&phone, &[id])?;
    let file = fs::read_to_string(phone.home().join("inbox.jsonl"))?;
    ensure!(file.contains("keep this"), "{file}");
    Ok(())
}

#[test]
fn clients_are_served_only_where_the_admin_wants_it() -> Outcome {
    let node = TestNode::plan("plain").start()?;
    let phone = TestNode::plan("phone").environment("QPQ_CONNECT", node.address()).prepare()?;
    let refused = phone.run(&["mesh", "inbox"])?;
    ensure!(refused.code == Some(1), "the port for links is none for clients: {refused:?}");
    let bad = phone.run(&["--connect", "nonsense", "mesh", "inbox"])?;
    ensure!(bad.code == Some(2) && bad.stderr.contains("HOST:PORT"), "{bad:?}");
    Ok(())
}
