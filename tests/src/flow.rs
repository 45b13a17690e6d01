//! A stream of messages from one node to another, as fast as they are taken, with a ledger of every one of them.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use qpq_host::api::{InboxQuery, NodeApi, SendRequest};
use qpq_host::control::RemoteNode;
use qpq_schemas::envelope::{Draft, Envelope, Flags, Kind};
use qpq_schemas::signature::SigningKey;
use qpq_schemas::{MessageId, PeerId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::{Failure, Outcome, Random, TestNode};

/// Messages on their way at a time: more than any batch, fewer than a recipient's queue holds.
const WINDOW: usize = 2_048;
/// Calls to the sending node at a time.
const CALLS: usize = 128;
/// Senders that take turns.
const SENDERS: usize = 16;
/// Every so many messages one is from the sending node itself.
const OWN_EVERY: usize = 64;
/// Bytes of each message.
const PAYLOAD: usize = 200;
/// How long the last message may take. A busy disk can hold a node's writes up for half a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// Room for a flow in queues, inbox, memory of ids, and calls; for a node's configuration.
pub const ROOM: &str = "[store]\nrecipient_messages = 20000\nrecipient_bytes = 33554432\ninbox_messages = 2000000\n\
                        inbox_bytes = 2147483648\nseen_ids = 1000000\n[control]\nmax_in_flight = 1024\n";

/// What became of a flow's messages.
#[derive(Debug, Default)]
pub struct Tally {
    /// Handed to the first node, which said that they are durable.
    pub sent: usize,
    /// Never came.
    pub lost: usize,
    /// Came more than once.
    pub doubled: usize,
    /// When messages came: one moment for each look at the inbox that found any.
    pub arrivals: Vec<Instant>,
}

impl Tally {
    /// The longest times without an arrival, longest first.
    pub fn gaps(&self) -> Vec<Duration> {
        let pairs = self.arrivals.iter().zip(self.arrivals.iter().skip(1));
        let mut gaps: Vec<_> = pairs.map(|(before, after)| *after - *before).collect();
        gaps.sort_unstable_by(|a, b| b.cmp(a));
        gaps
    }
}

/// A flow between two running nodes.
pub struct Flow {
    from: RemoteNode,
    to: RemoteNode,
    destination: PeerId,
    ledger: RefCell<HashMap<MessageId, usize>>,
    /// Arrived, and not in the ledger yet.
    early: RefCell<HashSet<MessageId>>,
    arrivals: RefCell<Vec<Instant>>,
    arrived: Cell<usize>,
    window: Semaphore,
    keys: Vec<SigningKey>,
    random: RefCell<Random>,
}

impl Flow {
    /// From one node to the other. Nothing flows yet.
    pub fn between(from: &TestNode, to: &TestNode, seed: u64) -> Outcome<Self> {
        let mut random = Random::seeded(seed);
        Ok(Self {
            from: RemoteNode::connect(&from.home())?,
            to: RemoteNode::connect(&to.home())?,
            destination: to.peer_id()?.parse()?,
            ledger: RefCell::default(),
            early: RefCell::default(),
            arrivals: RefCell::default(),
            arrived: Cell::new(0),
            window: Semaphore::new(WINDOW),
            keys: (0..SENDERS).map(|_| SigningKey::from_seed(&random.bytes32())).collect(),
            random: RefCell::new(random),
        })
    }

    /// Sends until `stop` is set, then waits until all have arrived, and counts.
    pub async fn run(&self, stop: Rc<Cell<bool>>) -> Outcome<Tally> {
        let sending = async {
            self.send(&stop).await?;
            // What was accepted last has so long to arrive.
            let end = Instant::now() + PATIENCE;
            while self.arrived.get() < self.ledger.borrow().len() && Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Outcome::Ok(())
        };
        tokio::select! {
            sent = sending => sent?,
            read = self.receive() => read?,
        }
        // A second copy would come behind the first.
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.count().await
    }

    /// How many messages have arrived so far.
    pub fn arrived(&self) -> usize {
        self.arrived.get()
    }

    async fn send(&self, stop: &Cell<bool>) -> Outcome {
        let calls = std::sync::Arc::new(Semaphore::new(CALLS));
        let mut tasks = JoinSet::new();
        for (place, key) in self.keys.iter().cycle().enumerate() {
            if stop.get() {
                break;
            }
            if place % OWN_EVERY == 0 {
                self.send_own().await?;
            }
            self.window.acquire().await?.forget();
            let call = std::sync::Arc::clone(&calls).acquire_owned().await?;
            let envelope = self.envelope(key)?;
            self.ledger.borrow_mut().insert(envelope.id(), 0);
            let reply = self.from.enqueue(envelope.wire().clone());
            tasks.spawn(async move {
                let outcome = reply.await;
                drop(call);
                outcome.map(drop)
            });
            while let Some(done) = tasks.try_join_next() {
                done??;
            }
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    /// A message of the sending node itself, from which the others learn the way back to it.
    async fn send_own(&self) -> Outcome {
        self.window.acquire().await?.forget();
        let request = SendRequest {
            to: self.destination.to_string(),
            payload: b"from the node itself".to_vec(),
            ..SendRequest::default()
        };
        let receipt = self.from.send(request).await?;
        // It may be there before its id is known here.
        let early = usize::from(self.early.borrow_mut().remove(&receipt.id));
        self.ledger.borrow_mut().insert(receipt.id, early);
        self.arrived.set(self.arrived.get() + early);
        self.window.add_permits(early);
        Ok(())
    }

    fn envelope(&self, key: &SigningKey) -> Outcome<Envelope> {
        let mut random = self.random.borrow_mut();
        let draft = Draft {
            kind: Kind::Direct,
            flags: Flags::default(),
            max_hops: 8,
            ttl_secs: 3_600,
            created_ms: SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64,
            nonce: random.next_u64().to_be_bytes(),
            destination: self.destination.0,
            payload: random.bytes(PAYLOAD),
        };
        Ok(draft.sign(key)?)
    }

    /// Follows the inbox for ever.
    async fn receive(&self) -> Outcome {
        let mut after = 0;
        loop {
            let query = InboxQuery { after: Some(after), limit: 1_000, wait_ms: 1_000, ..InboxQuery::default() };
            let page = self.to.inbox(query).await?;
            after = page.next_after;
            let mut ledger = self.ledger.borrow_mut();
            let mut ours = 0;
            for item in &page.items {
                match ledger.get_mut(&item.id) {
                    Some(count) => {
                        ours += usize::from(*count == 0);
                        *count += 1;
                    }
                    None => _ = self.early.borrow_mut().insert(item.id),
                }
            }
            if ours > 0 {
                self.arrivals.borrow_mut().push(Instant::now());
                self.arrived.set(self.arrived.get() + ours);
                self.window.add_permits(ours);
            }
        }
    }

    /// Reads the whole inbox again, from its beginning.
    async fn count(&self) -> Outcome<Tally> {
        let mut counts: HashMap<MessageId, usize> = self.ledger.borrow().keys().map(|id| (*id, 0)).collect();
        let mut after = 0;
        loop {
            let query = InboxQuery { after: Some(after), limit: 1_000, wait_ms: 0, ..InboxQuery::default() };
            let page = self.to.inbox(query).await?;
            if page.items.is_empty() {
                break;
            }
            if page.next_after <= after {
                return Err(Failure::new("the inbox does not go on"));
            }
            after = page.next_after;
            for item in &page.items {
                if let Some(count) = counts.get_mut(&item.id) {
                    *count += 1;
                }
            }
        }
        Ok(Tally {
            sent: counts.len(),
            lost: counts.values().filter(|count| **count == 0).count(),
            doubled: counts.values().filter(|count| **count > 1).count(),
            arrivals: self.arrivals.take(),
        })
    }
}
