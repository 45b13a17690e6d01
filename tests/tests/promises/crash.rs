//! kill -9 at any moment loses no message that was acknowledged.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use qpq_tests::{Outcome, Random, TestNode, ensure, skip};

/// Clients that send at the same time.
const SENDERS: usize = 3;

/// The longest time between a start and the kill, in milliseconds.
const LONGEST_LIFE_MS: usize = 250;

/// The acknowledgements, kept outside of the node: message id and text.
type Ledger = Mutex<BTreeMap<String, String>>;

/// Sends until the node is gone.
fn send_until_killed(node: &TestNode, to: &str, label: &str, ledger: &Ledger) {
    for number in 0.. {
        let text = format!("{label}-{number}");
        let Ok(id) = node.send(to, &text) else { return };
        if let Ok(mut ledger) = ledger.lock() {
            ledger.insert(id, text);
        }
    }
}

#[test]
fn kill_9_at_random_moments_loses_no_acknowledged_message() -> Outcome {
    let mut random = Random::announced("kill_9_at_random_moments");
    let ledger = Ledger::default();
    let mut node = TestNode::plan("ledger").start()?;
    let own = node.peer_id()?;
    for cycle in 0..skip::rounds(50, 2_000) {
        let life = Duration::from_millis(random.below(LONGEST_LIFE_MS) as u64);
        let pid = rustix::process::Pid::from_raw(node.pid()?.cast_signed());
        std::thread::scope(|scope| {
            for sender in 0..SENDERS {
                let (node, own, ledger) = (&node, &own, &ledger);
                scope.spawn(move || send_until_killed(node, own, &format!("{cycle}-{sender}"), ledger));
            }
            std::thread::sleep(life);
            // A node that is gone already shows at its next start.
            let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
        });
        node.kill()?;
        let began = Instant::now();
        node.start().map_err(|failure| failure.during(&format!("cycle {cycle}, {:?}", began.elapsed())))?;
    }
    check(&node, &ledger)
}

/// Every acknowledged message is in the inbox, once and unaltered.
fn check(node: &TestNode, ledger: &Ledger) -> Outcome {
    let ledger = ledger.lock().map_err(|_| node.failure("the ledger is poisoned"))?;
    ensure!(!ledger.is_empty(), "no message was acknowledged: the test tests nothing");
    let mut found = BTreeMap::new();
    for message in node.whole_inbox()? {
        ensure!(found.insert(message.id.clone(), message.text).is_none(), "message {} is there twice", message.id);
    }
    for (id, text) in ledger.iter() {
        ensure!(found.get(id) == Some(text), "acknowledged {id} {text:?}, found {:?}", found.get(id));
    }
    Ok(())
}
