//! Broadcasts kept for late joiners, by topic and age, and which of them goes first when room is short.

use std::collections::{BTreeSet, HashMap};

use qpq_schemas::envelope::Priority;
use qpq_schemas::link::Place;

use super::ledger::Ledger;
use super::limits::Room;
use super::names::NameId;

/// What the order of broadcasts depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) topic: NameId,
    pub(super) priority: u8,
    pub(super) created_ms: u64,
    pub(super) seq: u64,
    pub(super) len: u32,
    pub(super) slot: u32,
    /// Its place in the comparison with neighbours, unless it isn't durable yet or may go no further.
    pub(super) shared: Option<Place>,
}

impl Kept {
    fn rank(self) -> Rank {
        (self.priority, self.created_ms, self.slot)
    }
}

/// Priority, age, slot: sorts what goes first to the front.
type Rank = (u8, u64, u32);

#[derive(Debug, Default)]
struct Topic {
    ranks: BTreeSet<Rank>,
    /// Sequence number and slot: the order of arrival.
    arrivals: BTreeSet<(u64, u32)>,
    used: Room,
}

/// All topics' histories.
#[derive(Debug, Default)]
pub(super) struct History {
    topics: HashMap<NameId, Topic>,
    ranks: BTreeSet<Rank>,
    used: Room,
    ledger: Ledger,
}

impl History {
    /// Adds a broadcast; once more when it has become durable, so that neighbours hear of it.
    pub(super) fn insert(&mut self, kept: Kept) {
        let topic = self.topics.entry(kept.topic).or_default();
        if topic.ranks.insert(kept.rank()) {
            topic.arrivals.insert((kept.seq, kept.slot));
            topic.used.add(kept.len);
            self.used.add(kept.len);
        }
        self.ranks.insert(kept.rank());
        kept.shared.into_iter().for_each(|place| self.ledger.insert(place));
    }

    pub(super) fn remove(&mut self, kept: Kept) {
        self.ranks.remove(&kept.rank());
        kept.shared.into_iter().for_each(|place| self.ledger.remove(place));
        let Some(topic) = self.topics.get_mut(&kept.topic) else { return };
        if topic.ranks.remove(&kept.rank()) {
            topic.arrivals.remove(&(kept.seq, kept.slot));
            topic.used.sub(kept.len);
            self.used.sub(kept.len);
        }
        if topic.ranks.is_empty() {
            self.topics.remove(&kept.topic);
        }
    }

    pub(super) fn used(&self) -> Room {
        self.used
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The slots of what was made before that time, by its sender's clock.
    pub(super) fn made_before(&self, created_ms: u64) -> impl Iterator<Item = u32> + '_ {
        let of = move |priority: u8| self.ranks.range((priority, 0, 0)..(priority, created_ms, 0));
        (0..=Priority::Emergency as u8).flat_map(of).map(|(_, _, slot)| *slot)
    }

    pub(super) fn used_by(&self, topic: NameId) -> Room {
        self.topics.get(&topic).map_or_else(Room::default, |topic| topic.used)
    }

    /// The topics that have something.
    pub(super) fn topics(&self) -> impl Iterator<Item = NameId> + '_ {
        self.topics.keys().copied()
    }

    /// The slots of one topic, newest first by their senders' clocks.
    pub(super) fn newest_first(&self, topic: NameId) -> Vec<u32> {
        let mut ranks: Vec<&Rank> = self.topics.get(&topic).into_iter().flat_map(|topic| &topic.ranks).collect();
        ranks.sort_unstable_by_key(|(_, created_ms, slot)| std::cmp::Reverse((*created_ms, *slot)));
        ranks.into_iter().map(|(_, _, slot)| *slot).collect()
    }

    /// The slots of one topic that arrived behind a place, in order of arrival.
    pub(super) fn arrived_after(&self, topic: NameId, seq: u64) -> impl Iterator<Item = u32> + '_ {
        let arrivals = self.topics.get(&topic).into_iter().map(|topic| &topic.arrivals);
        arrivals.flat_map(move |arrivals| arrivals.range((seq.saturating_add(1), 0)..)).map(|(_, slot)| *slot)
    }

    /// The slots of one topic in the order in which they go when it is full.
    pub(super) fn first_to_go_of(&self, topic: NameId) -> impl Iterator<Item = u32> + '_ {
        self.topics.get(&topic).into_iter().flat_map(|topic| topic.ranks.iter().map(|(_, _, slot)| *slot))
    }

    /// All slots in the order in which they go when the node as a whole is full: lowest priority, then oldest.
    pub(super) fn first_to_go(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranks.iter().map(|(_, _, slot)| *slot)
    }
}
