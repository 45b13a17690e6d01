//! Every link of the node: who is behind it, by which transport, and since when.
//!
//! Transports report their links here from their own threads. Each new one gets a task ([`super::link_task`]);
//! once its peer has proven its key the link appears in the table.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qpq_schemas::PeerId;
use tokio::sync::{oneshot, watch};
use tracing::{debug, info};

use crate::api::LinkInfo;
use crate::core::LinkId;

/// How long a peer that replaces a transport is dialled without pauses.
const EXPECTED_FOR: Duration = Duration::from_secs(5);
/// Links given up for another one, remembered at most.
const MAX_DUPLICATES: usize = 64;

/// One link in the table.
pub(super) struct Entry {
    /// The proven key.
    pub(super) peer: PeerId,
    /// The transport plugin's name.
    pub(super) transport: String,
    /// The address, as the transport reports it.
    pub(super) remote: String,
    /// This node dialled.
    pub(super) outbound: bool,
    /// Up since, Unix time in milliseconds.
    pub(super) since_ms: u64,
    /// What its task measures.
    pub(super) figures: Arc<Figures>,
    /// Set to the reason when the task shall close the link.
    pub(super) closer: watch::Sender<Option<String>>,
}

/// What a link's task measures while it runs.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Smoothed round-trip time in microseconds; 0 before the first answer.
    pub(super) rtt_us: AtomicU64,
    /// Envelopes sent.
    pub(super) sent: AtomicU64,
    /// Envelopes received.
    pub(super) received: AtomicU64,
}

/// A link that ended because a transport, here or there, is being replaced.
struct Expected {
    link: LinkId,
    peer: PeerId,
    since: Instant,
    /// Hears that another link took over, unless there was one already.
    back: Option<oneshot::Sender<()>>,
}

/// The table of links.
#[derive(Default)]
pub(super) struct Switchboard {
    me: PeerId,
    links: Mutex<BTreeMap<LinkId, Entry>>,
    /// Links that were given up for another one to the same peer: so a dialer learns whom it reached.
    duplicates: Mutex<VecDeque<(LinkId, PeerId)>>,
    /// Links that are back in a moment.
    expected: Mutex<Vec<Expected>>,
    /// Grows with each link that comes or goes, for those who wait for that.
    changes: watch::Sender<u64>,
}

impl Switchboard {
    pub(super) fn new(me: PeerId) -> Self {
        Self { me, ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LinkId, Entry>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many links are up.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Enters an authenticated link, unless a better one to the same peer by the same transport is up.
    ///
    /// Two nodes that dial each other at the same moment must keep the same link of the two: the one that the
    /// smaller key dialled. Of two in the same direction the newer stays, since the older is probably dead.
    pub(super) fn enter(&self, id: LinkId, entry: Entry) -> Result<(), &'static str> {
        let mut links = self.lock();
        let preferred = self.me < entry.peer;
        let rivals = links.values().filter(|other| other.peer == entry.peer && other.transport == entry.transport);
        for rival in rivals {
            if rival.outbound == preferred && entry.outbound != preferred {
                self.note_duplicate(id, entry.peer);
                return Err("another link to this peer is used instead");
            }
            rival.closer.send_replace(Some("another link to this peer is used instead".to_owned()));
        }
        info!(link = id, peer = %entry.peer.short(), remote = %entry.remote, "link up");
        links.insert(id, entry);
        drop(links);
        self.changed();
        Ok(())
    }

    /// Takes a link out of the table; whether it stood there.
    pub(super) fn leave(&self, id: LinkId, reason: &str) -> bool {
        let entry = self.lock().remove(&id);
        match &entry {
            Some(entry) => info!(link = id, peer = %entry.peer.short(), reason, "link down"),
            None => debug!(link = id, reason, "link closed before its peer was known"),
        }
        self.changed();
        entry.is_some()
    }

    /// A link goes on over another address.
    pub(super) fn moved(&self, id: LinkId, remote: &str) {
        if let Some(entry) = self.lock().get_mut(&id) {
            info!(link = id, from = %entry.remote, to = remote, "link moved");
            remote.clone_into(&mut entry.remote);
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    /// Wakes whoever waits for links to come or go.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The peer behind a link, once it is proven.
    pub(super) fn peer_of(&self, id: LinkId) -> Option<PeerId> {
        self.lock().get(&id).map(|entry| entry.peer)
    }

    /// The peer behind a link that was given up at once for another one.
    pub(super) fn duplicate_of(&self, id: LinkId) -> Option<PeerId> {
        let duplicates = self.duplicates.lock().unwrap_or_else(PoisonError::into_inner);
        duplicates.iter().find(|(link, _)| *link == id).map(|(_, peer)| *peer)
    }

    fn note_duplicate(&self, id: LinkId, peer: PeerId) {
        let mut duplicates = self.duplicates.lock().unwrap_or_else(PoisonError::into_inner);
        if duplicates.len() >= MAX_DUPLICATES {
            duplicates.pop_front();
        }
        duplicates.push_back((id, peer));
    }

    /// That link to the peer ends only because a transport is replaced, so another is up in a moment. The future says whether
    /// it is, and has told the core of the end of this one; it gives up after [`EXPECTED_FOR`].
    pub(super) fn expect_back(&self, link: LinkId, peer: PeerId) -> impl Future<Output = bool> + use<> {
        let (back, heard) = oneshot::channel();
        let elsewhere = self.lock().iter().any(|(other, entry)| *other != link && entry.peer == peer);
        let mut expected = self.expected();
        expected.retain(|other| other.since.elapsed() < EXPECTED_FOR);
        let back = (!elsewhere).then_some(back);
        expected.push(Expected { link, peer, since: Instant::now(), back });
        async move { matches!(tokio::time::timeout(EXPECTED_FOR, heard).await, Ok(Ok(()))) }
    }

    /// A link to that peer is up: those that it takes over for, whose end the core must hear of.
    pub(super) fn back(&self, peer: PeerId) -> Vec<LinkId> {
        let mut expected = self.expected();
        let here = expected.extract_if(.., |other| other.peer == peer);
        here.filter_map(|mut other| other.back.take()?.send(()).ok().map(|()| other.link)).collect()
    }

    /// Whether that peer should be dialled without a pause, since it replaces a transport.
    pub(super) fn expects(&self, peer: &PeerId) -> bool {
        self.expected().iter().any(|other| other.peer == *peer && other.since.elapsed() < EXPECTED_FOR)
    }

    fn expected(&self) -> MutexGuard<'_, Vec<Expected>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any link to that peer is up.
    pub(super) fn linked(&self, peer: &PeerId) -> bool {
        self.lock().values().any(|entry| entry.peer == *peer)
    }

    /// Has a link closed. Its task hears of it even while its neighbour takes nothing.
    pub(super) fn close(&self, id: LinkId, reason: &str) {
        if let Some(entry) = self.lock().get(&id) {
            entry.closer.send_replace(Some(reason.to_owned()));
        }
    }

    /// Has all links closed.
    pub(super) fn close_all(&self, reason: &str) {
        for entry in self.lock().values() {
            entry.closer.send_replace(Some(reason.to_owned()));
        }
    }

    /// The links to each peer, for people.
    pub(super) fn by_peer(&self) -> BTreeMap<PeerId, Vec<LinkInfo>> {
        let mut peers: BTreeMap<PeerId, Vec<LinkInfo>> = BTreeMap::new();
        for (id, entry) in self.lock().iter() {
            peers.entry(entry.peer).or_default().push(entry.info(*id));
        }
        peers
    }
}

impl Entry {
    fn info(&self, link: LinkId) -> LinkInfo {
        let rtt_us = self.figures.rtt_us.load(Ordering::Relaxed);
        LinkInfo {
            link,
            transport: self.transport.clone(),
            remote: self.remote.clone(),
            outbound: self.outbound,
            rtt_us: (rtt_us > 0).then_some(rtt_us),
            since_ms: self.since_ms,
            in_flight: 0,
            sent: self.figures.sent.load(Ordering::Relaxed),
            relayed: false,
            loss_ppm: None,
            preferred: true,
            received: self.figures.received.load(Ordering::Relaxed),
        }
    }
}
