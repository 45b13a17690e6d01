//! Discovery services at work: they make this node known, and say who else is there. Found nodes are offered to the dialer.
//!
//! A service reports on its own threads; that must not block, so a report goes into a table, and the key of a node that isn't
//! linked into a queue. What is found is hearsay until a link has proven it: a lie costs a failed handshake.

mod announce;
mod found;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qpq_plugin_api::PeerEvent;
use qpq_schemas::PeerId;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::{debug, info};

use super::addresses;
use super::clock::now_ms;
use super::shared::Shared;
use super::transports::Transports;
use crate::api::Discovered;
use crate::config::DiscoveryConfig;
use crate::plugin::{DiscoveryEvents, DiscoveryHandle, Listeners, TransportEvents};
use found::{Found, Sighted};

/// Keys that wait to be offered to the dialer. The service repeats what has no room.
const MAX_WAITING: usize = 256;
/// The larger key of two nodes lets the smaller one dial first for so long, so that they don't both dial.
const HEAD_START: Duration = Duration::from_millis(500);
/// Between two offers to the dialer: ten thousand invented nodes don't become ten thousand dials at once.
const PACE: Duration = Duration::from_millis(20);
/// How often found nodes without a link are offered again.
const AGAIN: Duration = Duration::from_secs(15);
/// New nodes that are logged in a minute; more are only counted.
const MAX_LOGGED: u32 = 20;

/// What the discovery services of a node have found.
pub(super) struct Discovery {
    settings: DiscoveryConfig,
    found: Mutex<Found>,
    queue: mpsc::Sender<PeerId>,
    /// What announces and browses by each running service.
    tasks: Mutex<HashMap<String, AbortHandle>>,
    logged: Mutex<(u64, u32)>,
}

/// Keys of found nodes, in the order in which they were found.
pub(super) type Queue = mpsc::Receiver<PeerId>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Discovery {
    /// Nothing is found yet. Hand the queue to [`connect`].
    pub(super) fn new(settings: DiscoveryConfig) -> (Arc<Self>, Queue) {
        let (queue, waiting) = mpsc::channel(MAX_WAITING);
        let (found, tasks, logged) = Default::default();
        (Arc::new(Self { settings, found, queue, tasks, logged }), waiting)
    }

    /// What was found, by the claimed keys.
    pub(super) fn list(&self) -> Vec<(Option<PeerId>, Discovered)> {
        let mut found = lock(&self.found);
        found.forget(now_ms());
        found.list()
    }

    /// A service runs: makes this node known by it, and listens.
    pub(super) fn started(&self, name: &str, handle: DiscoveryHandle, shared: &Arc<Shared>) {
        let task = tokio::spawn(announce::attend(name.to_owned(), handle, Arc::clone(shared)));
        if let Some(before) = lock(&self.tasks).insert(name.to_owned(), task.abort_handle()) {
            before.abort();
        }
    }

    /// A service has failed.
    pub(super) fn ended(&self, name: &str) {
        if let Some(task) = lock(&self.tasks).remove(name) {
            task.abort();
        }
    }

    fn reported(&self, plugin: &str, event: PeerEvent, record: &Value) -> bool {
        let Some(sighted) = Sighted::read(record) else {
            debug!(plugin, "a found node has nothing to reach it by");
            return true;
        };
        if event == PeerEvent::Lost {
            lock(&self.found).lost(plugin, &sighted);
            return true;
        }
        let peer = sighted.peer;
        let (id, address) = (sighted.id.clone(), sighted.addresses.first().cloned());
        if lock(&self.found).note(plugin, sighted, now_ms()) && self.may_log() {
            info!(plugin, id, address, peer = peer.map(|peer| peer.short()), "found a node");
        }
        !self.settings.connect || peer.is_none_or(|peer| self.queue.try_send(peer).is_ok())
    }

    /// Whether there is room for a line in the log of this minute.
    fn may_log(&self) -> bool {
        let minute = now_ms() / 60_000;
        let mut logged = lock(&self.logged);
        if logged.0 != minute {
            *logged = (minute, 0);
        }
        logged.1 += 1;
        logged.1 <= MAX_LOGGED
    }

    /// Whether the configuration allows links to a node that names these domains.
    fn wants(&self, domains: &[String]) -> bool {
        let inside = |domain: &String, wanted: &String| {
            domain.strip_suffix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let wanted = &self.settings.connect_domains;
        wanted.is_empty() || domains.iter().any(|domain| wanted.iter().any(|wanted| inside(domain, wanted)))
    }
}

/// Makes the listeners for a node's plugins.
pub(super) struct NodeListeners {
    pub(super) transports: Arc<Transports>,
    pub(super) discovery: Arc<Discovery>,
}

impl Listeners for NodeListeners {
    fn transport(&self, name: &str) -> Arc<dyn TransportEvents> {
        self.transports.transport(name)
    }

    fn discovery(&self, name: &str) -> Arc<dyn DiscoveryEvents> {
        Arc::new(Ear { plugin: name.to_owned(), discovery: Arc::clone(&self.discovery) })
    }
}

/// Listens to one service.
struct Ear {
    plugin: String,
    discovery: Arc<Discovery>,
}

impl DiscoveryEvents for Ear {
    fn peer(&self, event: PeerEvent, record: Value) -> bool {
        self.discovery.reported(&self.plugin, event, &record)
    }
}

/// Offers found nodes to the dialer, for the life of the node.
pub(super) async fn connect(shared: Arc<Shared>, mut queue: Queue) {
    let me = shared.identity.peer_id();
    let mut later: VecDeque<(Instant, PeerId)> = VecDeque::new();
    let mut again = tokio::time::interval(AGAIN);
    loop {
        let next = later.front().map_or_else(Instant::now, |(at, _)| *at);
        tokio::select! {
            peer = queue.recv() => match peer {
                None => return,
                Some(peer) if me < peer => offer(&shared, peer).await,
                Some(peer) if later.len() < MAX_WAITING && !later.iter().any(|(_, other)| *other == peer) => {
                    later.push_back((Instant::now() + HEAD_START, peer));
                }
                Some(_) => {}
            },
            () = tokio::time::sleep_until(next), if !later.is_empty() => {
                if let Some((_, peer)) = later.pop_front() {
                    offer(&shared, peer).await;
                }
            }
            _ = again.tick() => repeat(&shared),
        }
    }
}

/// Queues the found nodes without a link again, as many as have room.
fn repeat(shared: &Shared) {
    let discovery = &shared.discovery;
    if !discovery.settings.connect {
        return;
    }
    let peers = {
        let mut found = lock(&discovery.found);
        found.forget(now_ms());
        found.peers()
    };
    for peer in peers.into_iter().filter(|peer| !shared.board.linked(peer)) {
        if discovery.queue.try_send(peer).is_err() {
            return;
        }
    }
}

/// Offers a found node to the dialer, unless it is linked, blocked, ourselves or not wanted.
async fn offer(shared: &Shared, peer: PeerId) {
    let discovery = &shared.discovery;
    let full = || shared.board.by_peer().len() >= discovery.settings.max_peers;
    if peer == shared.identity.peer_id() || shared.board.linked(&peer) || full() {
        return;
    }
    if shared.directory().blocked().contains(&peer) {
        return;
    }
    let (uris, domains) = lock(&discovery.found).of(&peer);
    let uris = addresses::in_order(&uris, &addresses::local());
    let (Some(dialer), false, true) = (shared.dialer.get(), uris.is_empty(), discovery.wants(&domains)) else { return };
    dialer.suggest(peer, &uris);
    tokio::time::sleep(PACE).await;
}

#[cfg(test)]
mod tests;
