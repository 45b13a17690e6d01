//! The index in memory of all that the store keeps: what waits for whom, what is kept for late joiners, the inbox, and
//! which ids were seen. No disk, no clock: the caller passes the time, and carries out what is answered.
//!
//! A message is admitted first (which reserves its room), then written to disk, then confirmed; only then it shows in
//! queues, history and inbox. Direct messages in custody are never evicted: when their room is full, new ones are
//! refused. Broadcasts make room, lowest priority and oldest first; then copies of which a neighbour holds one as well.
//!
//! What only waits may stand in files instead, as `store.index` says.
//!
//! What is waiting and acknowledged, and is held by nobody else, leaves only when the core says that it has gone on or was
//! collected ([`Shelf::release_to`]), or by its own expiry.

mod admit;
mod bulk;
mod entry;
pub(crate) mod files;
mod history;
mod ledger;
pub mod limits;
mod look;
mod names;
mod outcome;
mod queues;
mod replicas;
mod seen;
mod slab;
mod stats;

pub use crate::store::{End, Fate, Filed, Head, InLane, KeyPrefix, Origin, Places, Quota, SeenEntry, SeenState};
pub use bulk::Restoring;
pub use files::{Files, Unread};
pub use ledger::Ledger;
pub use limits::{SEEN_GRACE_MS, StoreLimits};
pub use outcome::{Gone, Reject, RejectCode, Waiting};
pub use queues::Turn;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use qpq_schemas::envelope::Kind;
use qpq_schemas::{MessageId, PeerId, TopicId};

use crate::store::prefix;
use entry::Entry;
use files::Filing;
use history::History;
use limits::Room;
use names::{Names, Tally};
use queues::Queues;
use replicas::Replicas;
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
    /// Up to here the inbox was read by its user, so that it may make room.
    inbox_read: u64,
    /// Slots by the second in which they end.
    expiry: BTreeSet<(u32, u32)>,
    used: Room,
    seen: Seen,
    replicas: Replicas,
    /// Senders to whom no share of one sender applies.
    favoured: HashSet<PeerId>,
    counters: BTreeMap<&'static str, u64>,
    /// Messages that made room, by the bound that was met.
    evicted_by: BTreeMap<Quota, u64>,
    /// Messages that were not taken, by the bound that was met.
    refused_by: BTreeMap<Quota, u64>,
    /// Nothing is over that ends later than this, whatever the clock says. `None`: the clock is believed.
    sure_ms: Option<u64>,
    /// Where what only waits is kept, if that is not in memory.
    filing: Option<Filing>,
}

impl Shelf {
    /// An empty shelf.
    pub fn new(limits: StoreLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Believes the clock only that far when it says that something is over.
    pub(super) fn believe(&mut self, sure_ms: u64) {
        self.sure_ms = Some(sure_ms);
    }

    fn sure(&self, now_ms: u64) -> u64 {
        self.sure_ms.map_or(now_ms, |sure| sure.min(now_ms))
    }

    /// Bounds a sender's messages by what there is room for, and by no share of one sender; or by that again.
    pub fn favour(&mut self, sender: PeerId, favoured: bool) {
        if favoured {
            self.favoured.insert(sender)
        } else {
            self.favoured.remove(&sender)
        };
    }

    /// Whether no share of one sender bounds that one.
    pub fn favours(&self, sender: &PeerId) -> bool {
        self.favoured.contains(sender)
    }

    /// Puts back what stood in the store at open. No limit applies: it was acknowledged.
    pub fn restore(&mut self, head: &Head) {
        if self.files_away(head) {
            self.restore_cold(head);
        } else if self.slot(&head.id).is_none() {
            self.put(head, false);
        }
    }

    /// Puts back an id that was seen. One that was held, but whose record is gone (damaged), is forgotten instead, so that
    /// it can be fetched again. Records must be restored before.
    pub fn restore_seen(&mut self, entry: &SeenEntry) {
        self.note(entry);
    }

    /// Shows an admitted message, now that it is durable.
    pub fn confirm(&mut self, id: &MessageId) {
        let Some((slot, entry)) = self.slot(id).and_then(|slot| Some((slot, self.entries.get_mut(slot)?))) else {
            return;
        };
        entry.pending = false;
        if entry.places.has(Places::HISTORY) {
            self.history.insert(entry.kept(slot));
        }
        self.came_in(id);
    }

    /// Takes a message out of some of its places. When none is left, it is gone, and its id remembered in that state, with what
    /// became of it.
    pub fn release_to(&mut self, id: &MessageId, places: Places, state: SeenState, fate: Fate) -> Option<Gone> {
        let slot = self.warm_slot(id)?;
        self.leave(slot, places, Some(state), fate)
    }

    /// A neighbour holds a copy of a waiting message as well, and hasn't been told since that ours may be relied upon; `None`
    /// when nobody may be relied upon for it any more. One that was made here never makes room.
    pub fn held_elsewhere(&mut self, id: &MessageId, by: Option<&PeerId>) {
        // Of what is cold nobody is noted to have a copy.
        let slot = if by.is_some() { self.warm_slot(id) } else { self.slot(id) };
        let Some((slot, entry)) = slot.and_then(|slot| Some((slot, self.entries.get(slot)?))) else { return };
        match by.filter(|_| entry.places.has(Places::WAITING) && entry.has_source()) {
            Some(by) => self.replicas.insert(entry.kept(slot), by),
            None => {
                let (was_there, seq) = (self.replicas.remove(entry.kept(slot)), entry.seq);
                if let Some(filing) = self.filing.as_mut().filter(|_| was_there) {
                    filing.idles(seq, slot);
                }
            }
        }
    }

    /// The recipient's signed receipt came for a message that was handed in here and has gone on. Returns how its id is
    /// remembered from now on, to be stored; `None` when the signer is not its recipient, or that was known.
    pub fn receipt_came(&mut self, id: &MessageId, signer: &PeerId, now_ms: u64) -> Option<SeenEntry> {
        let mut entry = self.seen.get(id)?;
        if entry.fate.end == End::Receipt || entry.fate.origin != Origin::Here(prefix(&signer.0)) {
            return None;
        }
        let origin = entry.fate.origin;
        entry.fate = Fate { origin, ..Fate::new(End::Receipt, now_ms).by(&signer.0) };
        if let SeenState::PassedOn { at_ms, .. } = &mut entry.state {
            *at_ms = now_ms;
        }
        self.note(&entry);
        self.seen.get(id)
    }

    /// Takes a message off the shelf and forgets its id: it could not be stored, or its record is damaged.
    /// So it can be fetched again. Returns it as it stood; if it was durable, it is to be taken out of the files.
    pub fn discard(&mut self, id: &MessageId) -> Option<Gone> {
        if let Some(filing) = &mut self.filing {
            filing.never_comes(id);
        }
        let slot = self.warm_slot(id)?;
        let was_pending = self.entries.get(slot)?.pending;
        let mut gone = self.leave(slot, Places::ALL, Some(SeenState::Delivered), Fate::default())?;
        self.seen.remove(id);
        if was_pending {
            gone.rank = None;
            self.filing.iter_mut().for_each(|filing| filing.never_comes(id));
        }
        Some(gone)
    }

    /// Remembers an id without keeping the message. Has no effect on one that is held, nor with [`SeenState::Held`].
    pub fn note(&mut self, entry: &SeenEntry) {
        if entry.state == SeenState::Held || self.slot(&entry.id).is_some() {
            return;
        }
        let keep = self.limits.seen_ids as usize;
        if self.seen.len() >= keep {
            // Before it comes in, so that it is not forgotten for itself.
            let forgotten = self.seen.shrink(keep.saturating_sub(1), entry) as u64;
            *self.counters.entry("forgotten-early").or_default() += forgotten;
        }
        self.seen.insert(entry);
    }

    /// The inbox was read up to this place: what is not newer makes room when it is full.
    pub fn inbox_read(&mut self, seq: u64) {
        self.inbox_read = self.inbox_read.max(seq);
    }

    /// Puts the kept broadcasts of a topic into the inbox as well, because somebody here has joined it.
    pub fn into_inbox(&mut self, topic: &TopicId) {
        // Also what is being written right now: it shows once it is durable.
        let kept = self.names.find(&topic.0).map(|name| self.history.newest_first(name)).unwrap_or_default();
        for slot in kept {
            if let Some(entry) = self.entries.get_mut(slot).filter(|entry| !entry.places.has(Places::INBOX)) {
                entry.places = entry.places.with(Places::INBOX);
                self.inbox.insert(entry.seq, slot);
                self.inbox_used.add(entry.len);
                self.inbox_broadcasts.insert(entry.seq);
            }
        }
    }

    /// Takes off up to `max` messages whose time is over, and broadcasts that are too old to be kept for late joiners.
    pub fn expire(&mut self, now_ms: u64, max: usize) -> Vec<Gone> {
        self.warm_all_ended(now_ms, max);
        let over: Vec<u32> = self.expired(now_ms).take(max).collect();
        let aged: Vec<u32> = self.history.made_before(self.history_floor_ms(now_ms)).take(max).collect();
        let mut gone: Vec<Gone> =
            over.into_iter().filter_map(|slot| self.drop_slot(slot, Fate::new(End::Expired, now_ms))).collect();
        for slot in aged {
            let fate = Fate::new(End::Evicted(Quota::Topic), now_ms);
            self.count_end(fate.end);
            gone.extend(self.leave(slot, Places::HISTORY, None, fate));
        }
        if let Some(filing) = &mut self.filing {
            filing.look_at_leaving(max, true);
        }
        self.cool();
        gone
    }

    /// Broadcasts that were made before this time are not kept for late joiners.
    pub fn history_floor_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(u64::from(self.limits.topic_age_secs) * 1_000)
    }

    /// Forgets up to `max` ids whose time is over. Returns how many.
    pub fn forget_seen(&mut self, now_ms: u64, max: usize) -> usize {
        self.seen.forget(self.sure(now_ms), max)
    }

    fn count(&mut self, what: &'static str) {
        *self.counters.entry(what).or_default() += 1;
    }

    fn slot(&self, id: &MessageId) -> Option<u32> {
        self.index.find(self.hasher.hash_one(id), |slot| self.entries.get(*slot).is_some_and(|e| e.id == *id)).copied()
    }

    fn expired(&self, now_ms: u64) -> impl Iterator<Item = u32> + '_ {
        let now = u32::try_from(self.sure(now_ms) / 1_000).unwrap_or(u32::MAX);
        self.expiry.range(..=(now, u32::MAX)).map(|(_, slot)| *slot)
    }

    /// Puts a message into all its places.
    fn put(&mut self, head: &Head, pending: bool) {
        self.seen.remove(&head.id);
        let mut entry = Entry::new(head, &mut self.names, pending);
        entry.filed = self.files_away(head);
        self.used.add(entry.len);
        let expires = secs(entry.expires_ms);
        let slot = self.entries.insert(entry);
        self.expiry.insert((expires, slot));
        self.index_slot(&head.id, slot);
        self.enter(slot);
        self.filing.iter().for_each(|filing| filing.note_end(expires));
    }

    fn index_slot(&mut self, id: &MessageId, slot: u32) {
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hasher.hash_one(id), slot, |slot| {
            hasher.hash_one(entries.get(*slot).map_or(MessageId([0; 32]), |entry| entry.id))
        });
    }

    fn unindex_slot(&mut self, id: &MessageId, slot: u32) {
        if let Ok(found) = self.index.find_entry(self.hasher.hash_one(id), |other| *other == slot) {
            found.remove();
        }
    }

    fn enter(&mut self, slot: u32) {
        self.enter_queue(slot);
        let Some(entry) = self.entries.get_mut(slot) else { return };
        if entry.places.has(Places::WAITING) {
            self.names.tally_mut(entry.sender, Tally::Waiting).add(entry.len);
        }
        if entry.places.has(Places::HISTORY) {
            self.history.insert(entry.kept(slot));
        }
        if entry.places.has(Places::INBOX) {
            self.inbox.insert(entry.seq, slot);
            self.inbox_used.add(entry.len);
            if entry.kind == Kind::Broadcast {
                self.inbox_broadcasts.insert(entry.seq);
            } else {
                self.names.tally_mut(entry.sender, Tally::Inbox).add(entry.len);
            }
        }
    }

    fn enter_queue(&mut self, slot: u32) {
        let Some(item) = self.entries.get(slot).filter(|e| e.places.has(Places::WAITING)).map(|e| e.item(slot)) else {
            return;
        };
        let entries = &self.entries;
        let rank = self.queues.push(item, &|slot| entries.get(slot).map(|entry| entry.sender));
        if let Some(entry) = self.entries.get_mut(slot) {
            (entry.rank, entry.holds_lane) = (rank, true);
        }
    }

    /// Takes a message out of some places, and off the shelf when none is left. Without a state it counts as passed on.
    fn leave(&mut self, slot: u32, places: Places, state: Option<SeenState>, fate: Fate) -> Option<Gone> {
        let entry = self.entries.get_mut(slot)?;
        let head = entry.head(&self.names);
        let leaving = Places(entry.places.0 & places.0);
        entry.places = entry.places.without(leaving);
        if leaving.has(Places::WAITING) {
            self.queues.remove(entry.item(slot), entry.rank, entry.holds_lane);
            self.replicas.remove(entry.kept(slot));
            self.names.tally_mut(entry.sender, Tally::Waiting).sub(entry.len);
        }
        if leaving.has(Places::HISTORY) {
            self.history.remove(entry.kept(slot));
        }
        if leaving.has(Places::INBOX) {
            self.inbox.remove(&entry.seq);
            self.inbox_used.sub(entry.len);
            if entry.kind == Kind::Broadcast {
                self.inbox_broadcasts.remove(&entry.seq);
            } else {
                self.names.tally_mut(entry.sender, Tally::Inbox).sub(entry.len);
            }
        }
        let empty = entry.places.is_none();
        let state = state.unwrap_or_else(|| head.passed_on(fate.at_ms));
        empty.then(|| self.remove(slot, head, state, fate)).flatten()
    }

    fn remove(&mut self, slot: u32, head: Head, state: SeenState, fate: Fate) -> Option<Gone> {
        self.unindex_slot(&head.id, slot);
        let entry = self.entries.remove(slot)?;
        self.used.sub(entry.len);
        self.expiry.remove(&(secs(entry.expires_ms), slot));
        entry.release(&mut self.names);
        if let Some(filing) = self.filing.as_mut().filter(|_| entry.filed) {
            filing.left(entry.seq, entry.id, !entry.pending);
        }
        let seen = head.parted(state, fate);
        self.note(&seen);
        Some(Gone { head, seen, rank: entry.filed.then_some(entry.rank) })
    }

    fn drop_slot(&mut self, slot: u32, fate: Fate) -> Option<Gone> {
        let gone = self.leave(slot, Places::ALL, None, fate)?;
        self.count_end(fate.end);
        Some(gone)
    }

    fn count_end(&mut self, end: End) {
        match end {
            End::Expired => self.count("expired"),
            End::Evicted(quota) => {
                self.count("evicted");
                *self.evicted_by.entry(quota).or_default() += 1;
            }
            _ => {}
        }
    }

    /// Counts a message that was not taken because of a bound, wherever that stands.
    pub fn count_refused(&mut self, quota: Quota) {
        *self.refused_by.entry(quota).or_default() += 1;
    }
}

impl Head {
    /// The first 8 bytes of the key of the neighbour that it came from; zeros when it was made here.
    pub fn source_prefix(&self) -> [u8; 8] {
        self.source.map_or([0; 8], |peer| prefix(&peer.0))
    }

    /// The state of an id whose message went on, or away, now.
    pub fn passed_on(&self, now_ms: u64) -> SeenState {
        SeenState::PassedOn { source: self.source_prefix(), hops: self.hop_count, at_ms: now_ms }
    }

    /// How its id is remembered in that state.
    pub fn seen(&self, state: SeenState) -> SeenEntry {
        self.parted(state, Fate::default())
    }

    /// The same, with what became of it. Where it came from is filled in.
    pub fn parted(&self, state: SeenState, fate: Fate) -> SeenEntry {
        let origin = match self.source {
            Some(peer) => Origin::Neighbour(prefix(&peer.0)),
            None => Origin::Here(prefix(&self.destination)),
        };
        let at_ms = if let SeenState::PassedOn { at_ms, .. } = state { at_ms } else { fate.at_ms };
        let expires_ms = self.expires_ms.saturating_add(SEEN_GRACE_MS);
        SeenEntry { id: self.id, expires_ms, state, fate: Fate { origin, at_ms, ..fate } }
    }
}

#[cfg(test)]
mod tests;
