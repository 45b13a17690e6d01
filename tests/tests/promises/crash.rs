//! kill -9 at any moment loses no message that was acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use qpq_host::api::{NodeApi, SendRequest};
use qpq_host::control::RemoteNode;
use qpq_tests::{Outcome, Random, TestNode, ensure, skip};
use tokio::task::JoinSet;

/// Messages being sent at the same time.
const SENDERS: usize = 16;

/// The longest time between the start of the sending and the kill, in milliseconds.
const LONGEST_LIFE_MS: usize = 120;

/// Room for all that is sent to the absent peer by one sender, at the sender and in the peer's inbox.
const CONFIG: &str = "[store]\nrecipient_messages = 1000000\nrecipient_bytes = 1073741824\nsender_share_percent = 100\nsender_messages = 1000000\nsender_bytes = 1073741824\ninbox_messages = 1000000\ninbox_bytes = 1073741824\n";

/// The acknowledgements, kept outside of the node: message id and text.
type Ledger = Arc<Mutex<BTreeMap<String, String>>>;

/// Sends to a peer over and over, and notes what is acknowledged, until the node is gone.
async fn send(node: RemoteNode, to: String, label: String, ledger: Ledger) {
    for number in 0.. {
        let text = format!("{label}-{number}");
        let request = SendRequest { to: to.clone(), payload: text.clone().into_bytes(), ..SendRequest::default() };
        let Ok(receipt) = node.send(request).await else { return };
        ledger.lock().unwrap_or_else(PoisonError::into_inner).insert(receipt.id.to_string(), text);
    }
}

/// One life of the node: many send at once, and after a while it is killed.
fn live_and_die(node: &mut TestNode, to: &str, label: &str, life: Duration, ledger: &Ledger) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = RemoteNode::connect(&node.home())?;
    runtime.block_on(async {
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            senders.spawn(send(client.clone(), to.to_owned(), format!("{label}-{sender}"), Arc::clone(ledger)));
        }
        tokio::time::sleep(life).await;
        node.kill()?;
        while senders.join_next().await.is_some() {}
        Ok(())
    })
}

#[test]
fn kill_9_at_random_moments_loses_no_acknowledged_message() -> Outcome {
    let random = Random::announced("kill_9_at_random_moments");
    kill_again_and_again(random, CONFIG, skip::rounds(50, 2_000))
}

#[test]
fn kill_9_with_the_index_on_disk_loses_no_acknowledged_message() -> Outcome {
    let random = Random::announced("kill_9_with_the_index_on_disk");
    kill_again_and_again(random, &format!("{CONFIG}index = \"disk\"\n"), skip::rounds(25, 1_000))
}

fn kill_again_and_again(mut random: Random, config: &str, cycles: usize) -> Outcome {
    let ledger = Ledger::default();
    let mut node = TestNode::plan("ledger").config(config).start()?;
    let mut peer = TestNode::plan("peer").peer(node.address()).config(CONFIG).start()?;
    let to = peer.peer_id()?;
    peer.terminate()?;
    for cycle in 0..cycles {
        let life = Duration::from_millis(random.below(LONGEST_LIFE_MS) as u64);
        live_and_die(&mut node, &to, &cycle.to_string(), life, &ledger)?;
        node.start().map_err(|failure| failure.during(&format!("start after kill {cycle}")))?;
    }
    peer.start()?;
    let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    check(&peer, &ledger)
}

/// The ids that wait for somebody, in the order in which they will go.
fn queue(node: &TestNode, recipient: &str) -> Outcome<Vec<String>> {
    let queue = node.json(&["mesh", "store", "--recipient", recipient])?;
    let items = queue["items"].as_array().into_iter().flatten();
    Ok(items.filter_map(|item| item["id"].as_str().map(str::to_owned)).collect())
}

#[test]
fn an_index_on_disk_keeps_the_order_over_kill_9_and_over_a_change_of_its_place() -> Outcome {
    let on_disk = "[store]\nindex = \"disk\"\n";
    let mut node = TestNode::plan("splitter").config(on_disk).start()?;
    let mut peer = TestNode::plan("absent").peer(node.address()).start()?;
    let to = peer.peer_id()?;
    peer.terminate()?;
    let mut sent = Vec::new();
    for place in ["disk", "disk", "memory", "disk", "disk"] {
        for _ in 0..8 {
            sent.push(node.send(&to, &format!("message {}", sent.len()))?);
        }
        ensure!(queue(&node, &to)? == sent, "they wait in the order in which they were sent");
        node.kill()?;
        let file = node.home().join("qpq-server.toml");
        let text = std::fs::read_to_string(&file)?;
        let others = text.lines().filter(|line| !line.starts_with("index ="));
        let with_place = |line: &str| {
            if line == "[store]" { format!("[store]\nindex = \"{place}\"\n") } else { format!("{line}\n") }
        };
        std::fs::write(&file, others.map(with_place).collect::<String>())?;
        node.start()?;
        ensure!(queue(&node, &to)? == sent, "and after kill -9, with the index in {place}");
    }
    let told = node.json(&["mesh", "why", &sent[20]])?;
    ensure!(told["state"] == "waiting" && told["wait"]["place"] == 21 && told["wait"]["queue"] == 40, "{told}");
    let stats = node.json(&["mesh", "store"])?;
    ensure!(stats["waiting"] == 40, "{stats}");
    peer.start()?;
    for id in &sent {
        peer.wait_id(id)?;
    }
    ensure!(peer.inbox()?.len() == sent.len(), "each came once");
    node.wait("nothing waits any more", || Ok(queue(&node, &to)?.is_empty().then_some(())))?;
    Ok(())
}

/// Every acknowledged message has come to the peer, once and unaltered.
fn check(peer: &TestNode, ledger: &BTreeMap<String, String>) -> Outcome {
    ensure!(ledger.len() > 100, "only {} messages were acknowledged: the test tests nothing", ledger.len());
    let mut found = BTreeMap::new();
    let mut after = 0;
    let waited = peer.wait("every acknowledged message arrives", || {
        for message in peer.inbox_after(after)? {
            after = message.seq;
            let before = found.insert(message.id.clone(), message.text);
            ensure!(before.is_none(), "message {} is there twice", message.id);
        }
        Ok(ledger.keys().all(|id| found.contains_key(id)).then_some(()))
    });
    waited.map_err(|failure| failure.during(&format!("{} acknowledged, {} arrived", ledger.len(), found.len())))?;
    for (id, text) in ledger {
        ensure!(found.get(id) == Some(text), "acknowledged {id} {text:?}, found {:?}", found.get(id));
    }
    Ok(())
}
