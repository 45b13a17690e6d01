//! Ids of messages that are no longer here, remembered until nobody can send them any more.
//!
//! Each stands in the share of the neighbour that brought its message. When there are too many, the largest share forgets, and of that
//! the minute in which the most ids end: whoever floods, with whatever time to live, has his own forgotten first. What came last is
//! kept, since it is what others may bring again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use qpq_schemas::MessageId;

use super::slab::Slab;
use crate::store::{End, Fate, KeyPrefix, Origin, SeenEntry, SeenState};

/// Ids that end in the same minute are forgotten together.
const BUCKET_SECS: u32 = 60;

/// When there are too many ids, this part of the bound is forgotten beyond what is needed, so that the largest share is seldom looked for.
const SPARE_PART: usize = 1_024;

/// Shares into which neighbours are divided, by a secret hash: keys cost nothing, so a share for each of them would not be bounded, and
/// nobody shall choose with whom he shares. One more is for what was handed in here.
const SHARES: usize = 256;

#[derive(Debug, Default)]
struct Share {
    ids: usize,
    /// Slots by the minute in which they end. A slot may have been freed or used again since: checked when its turn comes.
    minutes: BTreeMap<u32, Vec<u32>>,
}

#[derive(Debug)]
struct Mark {
    id: MessageId,
    /// The neighbour that it came from, or the recipient of what was handed in here: `from` says which.
    peer: KeyPrefix,
    /// Who has it.
    by: KeyPrefix,
    expires_secs: u32,
    at_secs: u32,
    hops: u8,
    became: Became,
    from: From,
    end: End,
}

/// [`SeenState`] without its fields, which would make a mark a quarter larger.
#[derive(Debug, Clone, Copy)]
enum Became {
    Delivered,
    PassedOn,
}

/// [`Origin`] without its field.
#[derive(Debug, Clone, Copy)]
enum From {
    Unknown,
    Neighbour,
    Here,
}

impl Mark {
    fn new(entry: &SeenEntry) -> Self {
        let Fate { end, by, at_ms: ended_ms, origin } = entry.fate;
        let (became, source, hops, at_ms) = match entry.state {
            SeenState::PassedOn { source, hops, at_ms } => (Became::PassedOn, source, hops, at_ms),
            SeenState::Held | SeenState::Delivered => (Became::Delivered, [0; 8], 0, ended_ms),
        };
        let (from, peer) = match origin {
            Origin::Unknown => (From::Unknown, source),
            Origin::Neighbour(peer) => (From::Neighbour, peer),
            Origin::Here(peer) => (From::Here, peer),
        };
        let at_secs = u32::try_from(at_ms / 1_000).unwrap_or(u32::MAX);
        Self { id: entry.id, peer, by, expires_secs: secs(entry.expires_ms), at_secs, hops, became, from, end }
    }

    fn entry(&self) -> SeenEntry {
        let at_ms = u64::from(self.at_secs) * 1_000;
        let (origin, source) = match self.from {
            From::Unknown => (Origin::Unknown, self.peer),
            From::Neighbour => (Origin::Neighbour(self.peer), self.peer),
            From::Here => (Origin::Here(self.peer), [0; 8]),
        };
        let state = match self.became {
            Became::Delivered => SeenState::Delivered,
            Became::PassedOn => SeenState::PassedOn { source, hops: self.hops, at_ms },
        };
        let fate = Fate { end: self.end, by: self.by, at_ms, origin };
        SeenEntry { id: self.id, expires_ms: u64::from(self.expires_secs) * 1_000, state, fate }
    }

    fn bucket(&self) -> u32 {
        self.expires_secs / BUCKET_SECS
    }

    /// The number of the share that it stands in.
    fn share(&self, hasher: &RandomState) -> usize {
        match self.from {
            From::Unknown | From::Neighbour => share_of(hasher, self.peer),
            From::Here => SHARES,
        }
    }
}

fn share_of(hasher: &RandomState, neighbour: KeyPrefix) -> usize {
    hasher.hash_one(neighbour) as usize % SHARES
}

/// The set. About 80 bytes an id.
#[derive(Debug)]
pub(super) struct Seen {
    marks: Slab<Mark>,
    index: HashTable<u32>,
    hasher: RandomState,
    shares: Vec<Share>,
}

impl Default for Seen {
    fn default() -> Self {
        let shares = (0..=SHARES).map(|_| Share::default()).collect();
        Self { marks: Slab::default(), index: HashTable::default(), hasher: RandomState::default(), shares }
    }
}

/// Seconds of a time in milliseconds, never too early.
pub(super) fn secs(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(1_000)).unwrap_or(u32::MAX)
}

impl Seen {
    /// The share of what that neighbour brings.
    #[cfg(test)]
    pub(super) fn share_of(&self, neighbour: u8) -> usize {
        share_of(&self.hasher, [neighbour; 8])
    }

    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }

    fn slot(&self, id: &MessageId) -> Option<u32> {
        self.index.find(self.hasher.hash_one(id), |slot| self.marks.get(*slot).is_some_and(|m| m.id == *id)).copied()
    }

    pub(super) fn get(&self, id: &MessageId) -> Option<SeenEntry> {
        self.marks.get(self.slot(id)?).map(Mark::entry)
    }

    /// Up to `looks` marks from a slot on, and the slot to go on from; none at the end.
    pub(super) fn ids_from(&self, slot: u32, looks: u32) -> (impl Iterator<Item = &MessageId> + '_, Option<u32>) {
        let end = slot.saturating_add(looks).min(self.marks.slots());
        let ids = (slot..end).filter_map(|slot| self.marks.get(slot).map(|mark| &mark.id));
        (ids, (end < self.marks.slots()).then_some(end))
    }

    /// Remembers an id, or its new state.
    pub(super) fn insert(&mut self, entry: &SeenEntry) {
        self.remove(&entry.id);
        let mark = Mark::new(entry);
        let (bucket, number) = (mark.bucket(), mark.share(&self.hasher));
        let slot = self.marks.insert(mark);
        let (marks, hasher) = (&self.marks, &self.hasher);
        self.index.insert_unique(hasher.hash_one(entry.id), slot, |slot| {
            hasher.hash_one(marks.get(*slot).map_or(MessageId([0; 32]), |mark| mark.id))
        });
        if let Some(share) = self.shares.get_mut(number) {
            share.ids += 1;
            share.minutes.entry(bucket).or_default().push(slot);
        }
    }

    pub(super) fn remove(&mut self, id: &MessageId) -> bool {
        if self.index.is_empty() {
            return false;
        }
        let hash = self.hasher.hash_one(id);
        let marks = &self.marks;
        let found = self.index.find_entry(hash, |slot| marks.get(*slot).is_some_and(|mark| mark.id == *id));
        let Ok(entry) = found else { return false };
        let slot = entry.remove().0;
        let number = self.marks.remove(slot).map(|mark| mark.share(&self.hasher));
        if let Some(share) = number.and_then(|number| self.shares.get_mut(number)) {
            share.ids -= 1;
            if share.ids == 0 {
                share.minutes.clear();
            }
        }
        true
    }

    /// Forgets up to `max` ids whose time is over. Returns how many.
    pub(super) fn forget(&mut self, now_ms: u64, max: usize) -> usize {
        let now = u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX) / BUCKET_SECS;
        let mut forgotten = 0;
        for number in 0..self.shares.len() {
            while forgotten < max
                && let Some(minute) = self.first_minute(number).filter(|minute| *minute < now)
            {
                let mut slots = self.take_minute(number, minute);
                let later = slots.split_off(slots.len().min(max - forgotten));
                forgotten += slots.len();
                self.drop_slots(&slots);
                self.put_back(number, minute, later);
            }
        }
        forgotten
    }

    /// Forgets ids of the largest share, if there are more than `keep` in all; of equal ones that of whom the next id comes from.
    /// Returns how many.
    pub(super) fn shrink(&mut self, keep: usize, next: &SeenEntry) -> usize {
        let (before, of_next) = (self.len(), Mark::new(next).share(&self.hasher));
        let target = if before > keep { keep - keep / SPARE_PART } else { before };
        while self.len() > target {
            let largest = self.shares.iter().enumerate().max_by_key(|(number, share)| (share.ids, *number == of_next));
            let Some((number, largest)) = largest.filter(|(_, share)| share.ids > 0) else { break };
            let fullest = largest.minutes.iter().max_by_key(|(minute, slots)| (slots.len(), Reverse(**minute)));
            let Some(minute) = fullest.map(|(minute, _)| *minute) else { break };
            self.thin_out(number, minute, self.len() - target);
        }
        before - self.len()
    }

    /// Forgets up to `max` ids of one share that end in one minute, spread over when they came: of a flood's minute most are the
    /// flood's. At most every other one, and not the last that came unless it is alone.
    fn thin_out(&mut self, number: usize, minute: u32, max: usize) {
        let mut slots = self.take_minute(number, minute);
        let stride = (slots.len() / max.max(1)).max(2);
        let before_last = slots.iter().take(slots.len().saturating_sub(1));
        let mut gone: Vec<u32> = before_last.skip(stride / 2).step_by(stride).take(max).copied().collect();
        if gone.is_empty() {
            gone.extend(slots.first());
        }
        self.drop_slots(&gone);
        slots.retain(|slot| self.marks.get(*slot).is_some());
        self.put_back(number, minute, slots);
    }

    fn first_minute(&self, number: usize) -> Option<u32> {
        self.shares.get(number)?.minutes.keys().next().copied()
    }

    /// The slots of a minute that still stand in it, each once, the oldest first. One whose mark went and came again was noted twice.
    fn take_minute(&mut self, number: usize, minute: u32) -> Vec<u32> {
        let mut slots = self.shares.get_mut(number).and_then(|share| share.minutes.remove(&minute)).unwrap_or_default();
        let stands = |mark: &Mark| mark.bucket() == minute && mark.share(&self.hasher) == number;
        let mut met = HashSet::with_capacity(slots.len());
        slots.retain(|slot| self.marks.get(*slot).is_some_and(stands) && met.insert(*slot));
        slots
    }

    fn put_back(&mut self, number: usize, minute: u32, slots: Vec<u32>) {
        if let Some(share) = self.shares.get_mut(number).filter(|_| !slots.is_empty()) {
            share.minutes.insert(minute, slots);
        }
    }

    fn drop_slots(&mut self, slots: &[u32]) {
        for slot in slots {
            if let Some(id) = self.marks.get(*slot).map(|mark| mark.id) {
                self.remove(&id);
            }
        }
    }
}
