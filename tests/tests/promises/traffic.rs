//! Messages that go to and fro while something happens, and a ledger of what was acknowledged, kept outside of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use qpq_host::api::{NodeApi, SendRequest};
use qpq_host::control::RemoteNode;
use qpq_tests::{Failure, Outcome, TestNode, ensure};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Pause of a sender between two messages.
const PAUSE: Duration = Duration::from_millis(40);

/// Every node sends to every other, over and over.
pub(crate) struct Traffic {
    runtime: Runtime,
    senders: JoinSet<Outcome>,
    stop: Arc<AtomicBool>,
    ledger: Ledger,
}

/// What was acknowledged: for each recipient, the text of each message by its id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<BTreeMap<String, BTreeMap<String, String>>>>);

impl Traffic {
    /// Starts one sender for each pair of nodes and direction.
    pub(crate) fn start(nodes: &[TestNode]) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let ids: Vec<_> = nodes.iter().map(TestNode::peer_id).collect::<Outcome<_>>()?;
        let mut traffic = Self { runtime, senders: JoinSet::new(), stop: Arc::default(), ledger: Ledger::default() };
        for (node, own) in nodes.iter().zip(&ids) {
            let client = RemoteNode::connect(&node.home())?;
            for to in ids.iter().filter(|to| *to != own) {
                let label = format!("{} to {}", node.name(), to.get(..8).unwrap_or_default());
                let (stop, ledger) = (Arc::clone(&traffic.stop), traffic.ledger.clone());
                let sender = send(client.clone(), to.clone(), label, stop, ledger);
                traffic.senders.spawn_on(sender, traffic.runtime.handle());
            }
        }
        Ok(traffic)
    }

    /// How many messages were acknowledged so far.
    pub(crate) fn count(&self) -> usize {
        self.ledger.count()
    }

    /// Ends the sending. A message that was refused is a failure.
    pub(crate) fn stop(mut self) -> Outcome<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(sender) = self.runtime.block_on(self.senders.join_next()) {
            sender??;
        }
        Ok(self.ledger)
    }
}

async fn send(node: RemoteNode, to: String, label: String, stop: Arc<AtomicBool>, ledger: Ledger) -> Outcome {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let text = format!("{label}, number {number}");
        let request = SendRequest { to: to.clone(), payload: text.clone().into_bytes(), ..SendRequest::default() };
        let receipt = node.send(request).await.map_err(|error| Failure::new(format!("{label}: {error}")))?;
        ledger.note(&to, receipt.id.to_string(), text);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

impl Ledger {
    fn note(&self, to: &str, id: String, text: String) {
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.entry(to.to_owned()).or_default().insert(id, text);
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(BTreeMap::len).sum()
    }

    /// Waits until every acknowledged message has come to its recipient, once and unaltered.
    pub(crate) fn check(&self, nodes: &[TestNode]) -> Outcome {
        let ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(ledger.values().map(BTreeMap::len).sum::<usize>() > 0, "nothing was sent: the test tests nothing");
        for node in nodes {
            if let Some(expected) = ledger.get(&node.peer_id()?) {
                arrived(node, expected)?;
            }
        }
        Ok(())
    }
}

fn arrived(node: &TestNode, expected: &BTreeMap<String, String>) -> Outcome {
    let mut missing: BTreeSet<_> = expected.keys().cloned().collect();
    let mut seen = BTreeSet::new();
    let mut after = 0;
    let waited = node.wait("every acknowledged message arrives", || {
        for message in node.inbox_after(after)? {
            after = message.seq;
            ensure!(seen.insert(message.id.clone()), "message {} is there twice", message.id);
            if missing.remove(&message.id) {
                let text = expected.get(&message.id);
                ensure!(text == Some(&message.text), "{text:?} arrived as {:?}", message.text);
            }
        }
        Ok(missing.is_empty().then_some(()))
    });
    waited.map_err(|failure| failure.during(&format!("{} acknowledged, {} missing", expected.len(), missing.len())))
}
