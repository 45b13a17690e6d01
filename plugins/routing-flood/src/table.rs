//! What was learned: for each origin, the link over which something of it came first.
//!
//! A plain data structure without clock, thread or I/O; every method takes the time. Two ordered views of the same entries
//! are kept: by origin, to look a next hop up, and by age, so that the oldest entry is found at once when the table is full
//! or entries expire.

use std::collections::{BTreeMap, HashMap};

/// A node's public key.
pub type Key = [u8; 32];

/// Links to cross when nobody said how many: more than any that somebody did say.
pub const UNKNOWN_HOPS: u8 = u8::MAX;

/// When entries live, die and give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Origins remembered at most; beyond that the one that was silent for longest is forgotten.
    pub max_origins: usize,
    /// An entry that nothing confirmed for so long is forgotten, in milliseconds.
    pub lifetime_ms: u64,
    /// For so long after its last confirmation an entry is kept against one that isn't shorter, in milliseconds.
    pub hold_down_ms: u64,
}

/// How an origin is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The link that leads to it.
    pub link: u64,
    /// Links to cross, as the last confirmation that knew it said; else [`UNKNOWN_HOPS`].
    pub hops: u8,
    /// The fewest links to cross since this link was chosen. A rival must beat this to replace it within the hold-down.
    best_hops: u8,
    /// When this link was chosen.
    since_ms: u64,
    /// When this link was last confirmed.
    pub confirmed_ms: u64,
    /// Tells apart entries of the same millisecond in the view by age.
    serial: u64,
    /// The neighbour that it led to, while no link leads there: it counts again when that one is back.
    away: Option<Key>,
}

/// What [`Table::observe`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// The origin was unknown and now has a next hop.
    New,
    /// The next hop of the origin is another one now.
    Moved,
    /// The known next hop was confirmed.
    Confirmed,
    /// Another link has the better right; nothing changed.
    Ignored,
}

/// The table of learned next hops.
#[derive(Debug)]
pub struct Table {
    limits: Limits,
    by_origin: HashMap<Key, Entry>,
    by_age: BTreeMap<(u64, u64), Key>,
    serial: u64,
    evicted: u64,
}

impl Table {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        Self { limits, by_origin: HashMap::new(), by_age: BTreeMap::new(), serial: 0, evicted: 0 }
    }

    /// Number of origins remembered.
    pub fn origins(&self) -> usize {
        self.by_origin.len()
    }

    /// Number of entries that had to go because the table was full.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The live entry of an origin.
    pub fn get(&self, origin: &Key, now_ms: u64) -> Option<&Entry> {
        self.by_origin.get(origin).filter(|entry| entry.away.is_none() && !self.is_expired(entry, now_ms))
    }

    /// All live entries, in no particular order.
    pub fn iter(&self, now_ms: u64) -> impl Iterator<Item = (&Key, &Entry)> {
        self.by_origin.iter().filter(move |(_, entry)| entry.away.is_none() && !self.is_expired(entry, now_ms))
    }

    /// Notes that something of `origin` came in first over `link`, after crossing `hops` links (or [`UNKNOWN_HOPS`]).
    pub fn observe(&mut self, origin: Key, link: u64, hops: u8, now_ms: u64) -> Observed {
        let Some(old) = self.by_origin.get(&origin).copied() else {
            self.insert(origin, link, hops, now_ms);
            return Observed::New;
        };
        if old.away.is_some() || self.is_expired(&old, now_ms) {
            self.remove(&origin);
            self.insert(origin, link, hops, now_ms);
            return Observed::New;
        }
        if old.link == link {
            self.confirm(origin, old, hops, now_ms);
            return Observed::Confirmed;
        }
        if !self.gives_way(&old, hops, now_ms) {
            return Observed::Ignored;
        }
        self.remove(&origin);
        self.insert(origin, link, hops, now_ms);
        Observed::Moved
    }

    /// Forgets what is too old; returns how many entries that were.
    pub fn expire(&mut self, now_ms: u64) -> usize {
        let before = self.origins();
        while let Some((&(confirmed_ms, _), &origin)) = self.by_age.first_key_value()
            && now_ms.saturating_sub(confirmed_ms) >= self.limits.lifetime_ms
        {
            self.remove(&origin);
        }
        before - self.origins()
    }

    /// A link to `peer` is gone. Its entries go over to `heir`, another link to the same neighbour; without one they are set
    /// aside until the neighbour is back. Returns the origins that lost their next hop.
    pub fn drop_link(&mut self, link: u64, peer: &Key, heir: Option<u64>) -> Vec<Key> {
        let mut lost = Vec::new();
        let led_there = |entry: &Entry| entry.link == link && entry.away.is_none();
        for (origin, entry) in self.by_origin.iter_mut().filter(|(_, entry)| led_there(entry)) {
            match heir {
                Some(heir) => entry.link = heir,
                None => {
                    entry.away = Some(*peer);
                    lost.push(*origin);
                }
            }
        }
        lost.sort_unstable();
        lost
    }

    /// A neighbour is back: what was learned over it, and over nobody else since, counts again until its time is over.
    pub fn come_back(&mut self, peer: &Key, link: u64) {
        for entry in self.by_origin.values_mut().filter(|entry| entry.away.as_ref() == Some(peer)) {
            (entry.link, entry.away) = (link, None);
        }
    }

    /// Whether the entry yields to another link that offers `hops`.
    fn gives_way(&self, old: &Entry, hops: u8, now_ms: u64) -> bool {
        let settled = now_ms.saturating_sub(old.since_ms) >= self.limits.hold_down_ms;
        let silent = now_ms.saturating_sub(old.confirmed_ms) >= self.limits.hold_down_ms;
        silent || hops < old.best_hops || (settled && hops < old.hops)
    }

    fn is_expired(&self, entry: &Entry, now_ms: u64) -> bool {
        now_ms.saturating_sub(entry.confirmed_ms) >= self.limits.lifetime_ms
    }

    fn confirm(&mut self, origin: Key, old: Entry, hops: u8, now_ms: u64) {
        let confirmed_ms = now_ms.max(old.confirmed_ms);
        let hops = if hops == UNKNOWN_HOPS { old.hops } else { hops };
        let mut entry = Entry { hops, best_hops: old.best_hops.min(hops), confirmed_ms, ..old };
        // Within one millisecond the place in the view by age stays: a burst costs one look-up an envelope.
        if confirmed_ms != old.confirmed_ms {
            self.by_age.remove(&(old.confirmed_ms, old.serial));
            entry.serial = self.next_serial();
            self.by_age.insert((confirmed_ms, entry.serial), origin);
        }
        self.by_origin.insert(origin, entry);
    }

    fn insert(&mut self, origin: Key, link: u64, hops: u8, now_ms: u64) {
        if self.by_origin.len() >= self.limits.max_origins {
            self.evict_oldest();
        }
        let serial = self.next_serial();
        let entry = Entry { link, hops, best_hops: hops, since_ms: now_ms, confirmed_ms: now_ms, serial, away: None };
        self.by_origin.insert(origin, entry);
        self.by_age.insert((now_ms, serial), origin);
    }

    fn remove(&mut self, origin: &Key) {
        if let Some(entry) = self.by_origin.remove(origin) {
            self.by_age.remove(&(entry.confirmed_ms, entry.serial));
        }
    }

    fn evict_oldest(&mut self) {
        if let Some((_, origin)) = self.by_age.pop_first() {
            self.by_origin.remove(&origin);
            self.evicted += 1;
        }
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

#[cfg(test)]
mod tests;
