//! Every link of the node: who is behind it, by which transport, and since when.
//!
//! Transports report their links here from their own threads. Each new one gets a task ([`super::link_task`]);
//! once its peer has proven its key the link appears in the table.

mod ends;
mod expected;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qpq_schemas::PeerId;

use tokio::sync::watch;
use tracing::{debug, info};

use super::dialer::{End, Fact, host, place, scheme};
use crate::api::LinkInfo;
use crate::core::LinkId;
use crate::link::CloseReason;
use crate::plugin::{NewPath, is_of_one_instance};
use ends::Ends;
use expected::Expected;

/// Links to one peer at a time, over all transports and networks. More would only cost.
const MAX_LINKS_PER_PEER: usize = 4;

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
    /// It goes over a relay of the transport.
    pub(super) relayed: bool,
    /// Up since, Unix time in milliseconds.
    pub(super) since_ms: u64,
    /// What its task measures.
    pub(super) figures: Arc<Figures>,
    /// Set to the reason when the task shall close the link.
    pub(super) closer: watch::Sender<Option<CloseReason>>,
}

/// What a link's task measures while it runs.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Smoothed round-trip time in microseconds; 0 before the first answer.
    pub(super) rtt_us: AtomicU64,
    /// Packets lost of a million, and one more; 0 before it was measured, and where the transport sees to it.
    pub(super) loss_ppm: AtomicU64,
    /// Envelopes sent.
    pub(super) sent: AtomicU64,
    /// Envelopes received.
    pub(super) received: AtomicU64,
}

/// What became of a link.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is up, and this is its peer.
    Up(PeerId),
    /// It is gone.
    Ended(End),
}

/// A link whose transport is being replaced, here or there, and where to dial the one that replaces it.
#[derive(Debug)]
pub(super) struct Moving {
    /// The link.
    pub(super) link: LinkId,
    /// Its peer.
    pub(super) peer: PeerId,
    /// What to dial.
    pub(super) uri: String,
}

/// The table of links.
#[derive(Default)]
pub(super) struct Switchboard {
    me: PeerId,
    links: Mutex<BTreeMap<LinkId, Entry>>,
    ends: Mutex<Ends>,
    /// Links that are back in a moment.
    expected: Mutex<Vec<Expected>>,
    /// Links that shall go over to another instance of their transport.
    moving: Mutex<Vec<Moving>>,
    /// Grows with each link that comes or goes, for those who wait for that.
    changes: watch::Sender<u64>,
}

/// Which of two links to one peer goes on.
enum Rivalry {
    /// Both: they run over different transports or networks.
    Neither,
    /// The one that was there gives way.
    New,
    /// The newcomer gives way.
    Old,
}

impl Switchboard {
    pub(super) fn new(me: PeerId) -> Self {
        Self { me, ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LinkId, Entry>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many links are up.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Enters an authenticated link, unless a better one to the same peer over the same path is up.
    ///
    /// # Errors
    /// The reason to close it with.
    pub(super) fn enter(&self, id: LinkId, entry: Entry) -> Result<(), CloseReason> {
        let mut links = self.lock();
        // Those of another instance of the transport are on their way out, and take their leave themselves.
        let is_rival = |(other, old): &(&LinkId, &Entry)| old.peer == entry.peer && is_of_one_instance(**other, id);
        let same_peer = links.values().filter(|other| other.peer == entry.peer).count();
        let rivals: Vec<&Entry> = links.iter().filter(is_rival).map(|(_, rival)| rival).collect();
        let beaten = rivals.iter().any(|other| matches!(self.compare(other, &entry), Rivalry::Old));
        let going = rivals.iter().filter(|other| matches!(self.compare(other, &entry), Rivalry::New)).count();
        if beaten || same_peer - going >= MAX_LINKS_PER_PEER {
            self.ends().note_refused(id, entry.peer);
            return Err(CloseReason::duplicate());
        }
        for rival in rivals.iter().filter(|other| matches!(self.compare(other, &entry), Rivalry::New)) {
            rival.closer.send_replace(Some(CloseReason::duplicate()));
        }
        info!(link = id, peer = %entry.peer.short(), remote = %entry.remote, "link up");
        links.insert(id, entry);
        drop(links);
        self.changed();
        Ok(())
    }

    /// Two nodes that dial each other at the same moment must keep the same link of the two: the one that the smaller
    /// key dialled. Of two that one side dialled from the very same place the newer stays, since the older is probably
    /// dead; the accepting side says so alone, as the two sides may see them come in different order.
    fn compare(&self, old: &Entry, new: &Entry) -> Rivalry {
        let ours = self.me < new.peer;
        match (old.outbound, new.outbound) {
            _ if scheme(&old.remote) != scheme(&new.remote) => Rivalry::Neither,
            (false, false) if place(&old.remote) == place(&new.remote) => Rivalry::New,
            (true, true) | (false, false) => Rivalry::Neither,
            _ if host(&old.remote) != host(&new.remote) => Rivalry::Neither,
            (old, _) if old == ours => Rivalry::Old,
            _ => Rivalry::New,
        }
    }

    /// A link's state machine has closed it: remembers the code for those who ask for its fate.
    pub(super) fn closing(&self, id: LinkId, reason: &CloseReason) {
        self.ends().note_code(id, reason);
    }

    /// Takes a link out of the table; whether it stood there.
    pub(super) fn leave(&self, id: LinkId, reason: &str) -> bool {
        let entry = self.lock().remove(&id);
        match &entry {
            Some(entry) => info!(link = id, peer = %entry.peer.short(), reason, "link down"),
            None => debug!(link = id, reason, "link closed before its peer was known"),
        }
        self.ends().note_end(id, entry.as_ref(), reason);
        self.changed();
        entry.is_some()
    }

    /// A link goes on over another address.
    pub(super) fn moved(&self, id: LinkId, path: NewPath<'_>) {
        if let Some(entry) = self.lock().get_mut(&id) {
            info!(link = id, from = %entry.remote, to = path.remote, "link moved");
            path.remote.clone_into(&mut entry.remote);
            entry.relayed = path.relayed;
            if let Some(rtt) = path.rtt {
                // Until the link's own probe says more: the figure of the path before means nothing here.
                let rtt_us = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
                entry.figures.rtt_us.store(rtt_us, Ordering::Relaxed);
            }
        }
    }

    /// The links to the same peer over the same path, of an instance that this link's one replaces.
    pub(super) fn predecessors(&self, id: LinkId) -> Vec<LinkId> {
        let links = self.lock();
        let Some(entry) = links.get(&id) else { return Vec::new() };
        let alike = |old: &Entry| {
            (old.peer, old.outbound, &old.transport) == (entry.peer, entry.outbound, &entry.transport)
                && host(&old.remote) == host(&entry.remote)
        };
        // Instances are numbered in the order of their starts.
        let before = links.iter().filter(|(other, old)| **other < id && alike(old) && !is_of_one_instance(**other, id));
        before.map(|(other, _)| *other).collect()
    }

    /// A link shall go over to another instance of its transport: the dialer sees to it.
    pub(super) fn move_over(&self, moving: Moving) {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner).push(moving);
        self.changed();
    }

    /// The links that shall go over, each once.
    pub(super) fn take_moving(&self) -> Vec<Moving> {
        std::mem::take(&mut *self.moving.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn changed(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    /// Wakes whoever waits for links to come or go.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether a link is up.
    pub(super) fn has(&self, id: LinkId) -> bool {
        self.lock().contains_key(&id)
    }

    /// Whether there is another link to the same peer.
    pub(super) fn is_one_of_several(&self, id: LinkId) -> bool {
        let links = self.lock();
        let peer = links.get(&id).map(|entry| entry.peer);
        peer.is_some_and(|peer| links.iter().any(|(other, entry)| *other != id && entry.peer == peer))
    }

    /// What became of a link; nothing while its peer is being proven, or when it ended long ago.
    pub(super) fn fate(&self, id: LinkId) -> Option<Fate> {
        let up = self.lock().get(&id).map(|entry| entry.peer);
        up.map(Fate::Up).or_else(|| self.ends().find(id).map(Fate::Ended))
    }

    /// The links that ended since the last look.
    pub(super) fn ends_since(&self, seen: &mut u64) -> Vec<(LinkId, End)> {
        self.ends().since(seen)
    }

    /// The links that are up.
    pub(super) fn facts(&self) -> Vec<Fact> {
        let fact = |(id, entry): (&LinkId, &Entry)| {
            let Entry { peer, outbound, .. } = *entry;
            Fact { link: *id, peer, outbound, remote: entry.remote.clone() }
        };
        self.lock().iter().map(fact).collect()
    }

    /// Has a link closed. Its task hears of it even while its neighbour takes nothing.
    pub(super) fn close(&self, id: LinkId, reason: CloseReason) {
        if let Some(entry) = self.lock().get(&id) {
            entry.closer.send_replace(Some(reason));
        }
    }

    /// Has all links closed.
    pub(super) fn close_all(&self, reason: &str) {
        for entry in self.lock().values() {
            entry.closer.send_replace(Some(CloseReason::going_away(reason)));
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
        let loss = self.figures.loss_ppm.load(Ordering::Relaxed);
        LinkInfo {
            link,
            transport: self.transport.clone(),
            remote: self.remote.clone(),
            outbound: self.outbound,
            rtt_us: (rtt_us > 0).then_some(rtt_us),
            since_ms: self.since_ms,
            in_flight: 0,
            sent: self.figures.sent.load(Ordering::Relaxed),
            relayed: self.relayed,
            loss_ppm: loss.checked_sub(1).and_then(|loss| u32::try_from(loss).ok()),
            preferred: false,
            received: self.figures.received.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests;
