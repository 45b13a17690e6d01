//! The index in memory of all that the store keeps: what waits for whom, what is kept for late joiners, the inbox, and
//! which ids were seen. No disk, no clock: the caller passes the time, and carries out what is answered.
//!
//! A message is admitted first (which reserves its room), then written to disk, then confirmed; only then it shows in
//! queues, history and inbox. Direct messages in custody are never evicted: when their room is full, new ones are
//! refused. Broadcasts make room, lowest priority and oldest first.
//!
//! What is waiting and acknowledged leaves only by [`Shelf::finish`], [`Shelf::release`] or by its own expiry.

mod admit;
mod entry;
mod history;
pub mod limits;
mod names;
mod outcome;
mod queues;
mod seen;
mod slab;
mod stats;

pub use limits::{SEEN_GRACE_MS, StoreLimits};
pub use outcome::{Gone, Reject, RejectCode, Why};

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use qpq_schemas::{MessageId, PeerId, TopicId};

use crate::store::{Head, Places, SeenEntry, SeenState};
use entry::{BROADCAST, Entry};
use history::History;
use limits::Room;
use names::{Names, Tally};
use queues::Queues;
use seen::{Seen, secs};
use slab::Slab;

/// The index. See the module.
#[derive(Debug, Default)]
pub struct Shelf {
    limits: StoreLimits,
    entries: Slab<Entry>,
    /// Slots by id. The hash is keyed, so that nobody can aim ids at one bucket.
    index: HashTable<u32>,
    hasher: RandomState,
    names: Names,
    queues: Queues,
    history: History,
    /// Slots by sequence number.
    inbox: BTreeMap<u64, u32>,
    /// Those of them that may make room.
    inbox_broadcasts: BTreeSet<u64>,
    inbox_used: Room,
    /// Slots by the second in which they end.
    expiry: BTreeSet<(u32, u32)>,
    used: Room,
    seen: Seen,
    counters: BTreeMap<&'static str, u64>,
}

impl Shelf {
    /// An empty shelf.
    pub fn new(limits: StoreLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Puts back what stood in the store at open. No limit applies: it was acknowledged.
    pub fn restore(&mut self, head: &Head) {
        if self.slot(&head.id).is_none() {
            self.seen.remove(&head.id);
            self.put(head, false);
        }
    }

    /// Puts back an id that was seen. One that was held, but whose record is gone (damaged), is forgotten instead, so that
    /// it can be fetched again. Records must be restored before.
    pub fn restore_seen(&mut self, entry: &SeenEntry) {
        if entry.state != SeenState::Held {
            self.note(entry);
        }
    }

    /// Shows an admitted message, now that it is durable.
    pub fn confirm(&mut self, id: &MessageId) {
        if let Some(entry) = self.slot(id).and_then(|slot| self.entries.get_mut(slot)) {
            entry.pending = false;
        }
    }

    /// Takes a message off the shelf and remembers its id in that state.
    pub fn finish(&mut self, id: &MessageId, state: SeenState) -> Option<Gone> {
        self.release(id, Places::ALL, state)
    }

    /// Takes a message out of some of its places. When none is left, it is gone and its id remembered in that state.
    pub fn release(&mut self, id: &MessageId, places: Places, state: SeenState) -> Option<Gone> {
        let slot = self.slot(id)?;
        let gone = self.leave(slot, places, state, Why::Finished);
        if gone.is_some() {
            self.count(match state {
                SeenState::Delivered => "delivered",
                _ => "forwarded",
            });
        }
        gone
    }

    /// Takes a message off the shelf and forgets its id: it could not be stored, or its record is damaged.
    /// So it can be fetched again. Returns it as it stood.
    pub fn discard(&mut self, id: &MessageId) -> Option<Head> {
        self.seen.remove(id);
        let slot = self.slot(id)?;
        let head = self.entries.get(slot)?.head(&self.names);
        self.leave(slot, Places::ALL, SeenState::Forgotten, Why::Finished);
        self.seen.remove(id);
        Some(head)
    }

    /// Remembers an id without keeping the message. Has no effect on one that is held.
    pub fn note(&mut self, entry: &SeenEntry) {
        if self.slot(&entry.id).is_some() || entry.state == SeenState::Forgotten {
            return;
        }
        self.seen.insert(entry);
        let keep = self.limits.seen_ids as usize;
        if self.seen.len() > keep {
            let forgotten = self.seen.shrink(keep) as u64;
            *self.counters.entry("forgotten-early").or_default() += forgotten;
        }
    }

    /// How the id of a message that is held is written to disk together with it.
    pub fn seen_of(head: &Head) -> SeenEntry {
        SeenEntry {
            id: head.id,
            expires_ms: head.expires_ms.saturating_add(SEEN_GRACE_MS),
            state: SeenState::Held,
            source: head.source.and_then(|peer| peer.0.first_chunk().copied()).unwrap_or_default(),
            hops: head.hop_count,
        }
    }

    /// Whether an id is known, and what became of it.
    pub fn known(&self, id: &MessageId) -> Option<SeenState> {
        match self.slot(id) {
            Some(_) => Some(SeenState::Held),
            None => self.seen.get(id).map(|entry| entry.state),
        }
    }

    /// All that is remembered of an id, also of one that is held.
    pub fn seen(&self, id: &MessageId) -> Option<SeenEntry> {
        match self.slot(id).and_then(|slot| self.entries.get(slot)) {
            Some(entry) => Some(Self::seen_of(&entry.head(&self.names))),
            None => self.seen.get(id),
        }
    }

    /// A message on the shelf, also one that is not durable yet.
    pub fn get(&self, id: &MessageId) -> Option<Head> {
        Some(self.entries.get(self.slot(id)?)?.head(&self.names))
    }

    /// What waits for a recipient: the most urgent class first, in it one message of each sender in turn, each sender's in
    /// order of arrival.
    pub fn queue(&self, recipient: &PeerId) -> impl Iterator<Item = Head> + '_ {
        let queue = self.names.find(&recipient.0).and_then(|name| self.queues.get(name));
        queue.into_iter().flat_map(|queue| queue.in_turn()).filter_map(|slot| self.shown(slot))
    }

    /// Everyone for whom something waits, in no particular order.
    pub fn recipients(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.queues.iter().map(|(name, _)| PeerId(self.names.key(name)))
    }

    /// Whether something waits for a recipient (or is about to).
    pub fn has_waiting(&self, recipient: &PeerId) -> bool {
        self.names.find(&recipient.0).is_some_and(|name| self.queues.get(name).is_some())
    }

    /// The topics whose broadcasts are kept, in no particular order.
    pub fn topics(&self) -> impl Iterator<Item = TopicId> + '_ {
        self.history.topics().map(|name| TopicId(self.names.key(name)))
    }

    /// The broadcasts kept of a topic, newest first by their senders' clocks.
    pub fn history(&self, topic: &TopicId) -> impl Iterator<Item = Head> + '_ {
        let slots = self.names.find(&topic.0).map(|name| self.history.newest_first(name));
        slots.into_iter().flatten().filter_map(|slot| self.shown(slot))
    }

    /// The inbox behind `after`, oldest first. Ends before the first message that is not durable yet, so that a reader's
    /// place never passes one that shows up later.
    pub fn inbox(&self, after: u64) -> impl Iterator<Item = Head> + '_ {
        let behind = self.inbox.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
        behind.map_while(|(_, slot)| self.shown(*slot))
    }

    /// The inbox, newest first.
    pub fn inbox_newest(&self) -> impl Iterator<Item = Head> + '_ {
        self.inbox.values().rev().filter_map(|slot| self.shown(*slot))
    }

    /// Puts the kept broadcasts of a topic into the inbox as well, because somebody here has joined it.
    pub fn into_inbox(&mut self, topic: &TopicId) {
        let slots: Vec<u32> = self.names.find(&topic.0).map_or_else(Vec::new, |name| self.history.newest_first(name));
        for slot in slots {
            if self.entries.get(slot).is_some_and(|entry| !entry.places.has(Places::INBOX)) {
                self.enter(slot, Places::INBOX);
            }
        }
    }

    /// Takes off up to `max` messages whose time is over.
    pub fn expire(&mut self, now_ms: u64, max: usize) -> Vec<Gone> {
        let over: Vec<u32> = self.expired(now_ms).take(max).collect();
        over.into_iter().filter_map(|slot| self.drop_slot(slot, Why::Expired)).collect()
    }

    /// When the next message ends, Unix time in milliseconds (rounded up to a second).
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.expiry.first().map(|(secs, _)| u64::from(*secs) * 1_000)
    }

    /// Forgets up to `max` ids whose time is over. Returns how many.
    pub fn forget_seen(&mut self, now_ms: u64, max: usize) -> usize {
        self.seen.forget(now_ms, max)
    }

    /// Adds one to a counter of [`Shelf::stats`].
    pub fn count(&mut self, what: &'static str) {
        *self.counters.entry(what).or_default() += 1;
    }

    fn slot(&self, id: &MessageId) -> Option<u32> {
        self.index.find(self.hasher.hash_one(id), |slot| self.entries.get(*slot).is_some_and(|e| e.id == *id)).copied()
    }

    fn shown(&self, slot: u32) -> Option<Head> {
        self.entries.get(slot).filter(|entry| !entry.pending).map(|entry| entry.head(&self.names))
    }

    fn expired(&self, now_ms: u64) -> impl Iterator<Item = u32> + '_ {
        let now = u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX);
        self.expiry.range(..=(now, u32::MAX)).map(|(_, slot)| *slot)
    }

    /// Puts a message into all its places.
    fn put(&mut self, head: &Head, pending: bool) {
        let entry = Entry::new(head, &mut self.names, pending);
        self.used.add(entry.len);
        let expires = secs(entry.expires_ms);
        let slot = self.entries.insert(entry);
        self.expiry.insert((expires, slot));
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hasher.hash_one(head.id), slot, |slot| {
            hasher.hash_one(entries.get(*slot).map_or(MessageId([0; 32]), |entry| entry.id))
        });
        self.enter(slot, head.places);
    }

    fn enter(&mut self, slot: u32, places: Places) {
        let Some(entry) = self.entries.get_mut(slot) else { return };
        entry.places = entry.places.with(places);
        let (lane, kept, seq, kind) = (entry.lane(), entry.kept(slot), entry.seq, entry.kind);
        if places.has(Places::WAITING) {
            let entries = &self.entries;
            self.queues.push(kept.topic, lane, slot, |other| entries.get(other).is_some_and(|other| other.seq > seq));
            if let Some(tally) = self.names.tally_mut(lane.0, Tally::Waiting) {
                tally.add(lane.2);
            }
        }
        if places.has(Places::HISTORY) {
            self.history.insert(kept);
        }
        if places.has(Places::INBOX) {
            self.inbox.insert(seq, slot);
            self.inbox_used.add(lane.2);
            if kind == BROADCAST {
                self.inbox_broadcasts.insert(seq);
            } else if let Some(tally) = self.names.tally_mut(lane.0, Tally::Inbox) {
                tally.add(lane.2);
            }
        }
    }

    /// Takes a message out of some places, and off the shelf when none is left.
    fn leave(&mut self, slot: u32, places: Places, state: SeenState, why: Why) -> Option<Gone> {
        let entry = self.entries.get_mut(slot)?;
        let leaving = Places(entry.places.0 & places.0);
        let (lane, kept, seq, kind) = (entry.lane(), entry.kept(slot), entry.seq, entry.kind);
        let before = entry.head(&self.names);
        entry.places = entry.places.without(leaving);
        let left = entry.places;
        if leaving.has(Places::WAITING) {
            self.queues.remove(kept.topic, lane, slot);
            if let Some(tally) = self.names.tally_mut(lane.0, Tally::Waiting) {
                tally.sub(lane.2);
            }
        }
        if leaving.has(Places::HISTORY) {
            self.history.remove(kept);
        }
        if leaving.has(Places::INBOX) {
            self.inbox.remove(&seq);
            self.inbox_used.sub(lane.2);
            if kind == BROADCAST {
                self.inbox_broadcasts.remove(&seq);
            } else if let Some(tally) = self.names.tally_mut(lane.0, Tally::Inbox) {
                tally.sub(lane.2);
            }
        }
        left.is_none().then(|| self.remove(slot, before, state, why)).flatten()
    }

    fn remove(&mut self, slot: u32, head: Head, state: SeenState, why: Why) -> Option<Gone> {
        let hash = self.hasher.hash_one(head.id);
        if let Ok(found) = self.index.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        let entry = self.entries.remove(slot)?;
        self.used.sub(entry.len);
        self.expiry.remove(&(secs(entry.expires_ms), slot));
        let seen = SeenEntry { state, ..Self::seen_of(&head) };
        entry.release(&mut self.names);
        self.note(&seen);
        Some(Gone { head, seen, why })
    }

    fn drop_slot(&mut self, slot: u32, why: Why) -> Option<Gone> {
        let gone = self.leave(slot, Places::ALL, SeenState::PassedOn, why)?;
        self.count(if why == Why::Expired { "expired" } else { "evicted" });
        Some(gone)
    }
}

#[cfg(test)]
mod tests;
