//! What waits, by recipient: the most urgent class first, and in a class one message of each sender in turn.
//!
//! The order is that of fair queueing: when a message joins, it gets a round number, one more than that of its sender's
//! last message in the class, and not less than that of the message now at the front. So the order never changes
//! afterwards, a place in it can be kept while messages come and go, and no sender's backlog delays another.

use std::collections::{HashMap, VecDeque};

use qpq_schemas::envelope::Priority;

use super::limits::Room;
use super::names::NameId;

/// Bits of a rank that hold the round; the class stands above them.
const ROUND_BITS: u32 = 56;

/// A place in a recipient's queue. The default is the place before all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Turn {
    /// Class and round.
    rank: u64,
    slot: u32,
}

impl Turn {
    /// The place before all others.
    pub const START: Self = Self { rank: 0, slot: 0 };

    pub(super) fn new(rank: u64, slot: u32) -> Self {
        // Slots count from 1 here, so that the place before the first one is START.
        Self { rank, slot: slot.saturating_add(1) }
    }

    /// The place just before this one.
    pub(super) fn before(self) -> Self {
        Self { slot: self.slot.saturating_sub(1), ..self }
    }

    fn of_slot(self) -> u32 {
        self.slot.saturating_sub(1)
    }
}

/// What a queue needs to know of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) recipient: NameId,
    pub(super) sender: NameId,
    pub(super) priority: Priority,
    pub(super) len: u32,
    pub(super) slot: u32,
}

/// Class and sender.
type LaneKey = (u8, NameId);

/// The most urgent class sorts first.
fn class(priority: Priority) -> u8 {
    3 - priority as u8
}

fn first_rank(class: u8) -> u64 {
    u64::from(class) << ROUND_BITS
}

/// What one sender has in one class.
#[derive(Debug)]
struct Lane {
    key: LaneKey,
    last_rank: u64,
    used: Room,
}

/// One recipient's queue.
#[derive(Debug, Default)]
pub(super) struct RecipientQueue {
    /// Sorted by key. Most recipients have few, so they grow one by one at first.
    lanes: Vec<Lane>,
    /// Sorted.
    turns: VecDeque<Turn>,
    used: Room,
}

impl RecipientQueue {
    /// What waits in all.
    pub(super) fn used(&self) -> Room {
        self.used
    }

    /// What of it one sender sent.
    pub(super) fn used_by(&self, sender: NameId) -> Room {
        let lanes = (0..4).filter_map(|class| self.lanes.get(self.find((class, sender)).ok()?));
        lanes.fold(Room::default(), |sum, lane| sum.plus(lane.used))
    }

    /// The slots behind a place, in order.
    pub(super) fn behind(&self, place: Turn) -> impl Iterator<Item = u32> + '_ {
        let from = self.turns.partition_point(|turn| *turn <= place);
        self.turns.range(from..).map(|turn| turn.of_slot())
    }

    fn find(&self, key: LaneKey) -> Result<usize, usize> {
        self.lanes.binary_search_by_key(&key, |lane| lane.key)
    }

    /// The round that the class has reached, as a rank.
    fn reached(&self, class: u8) -> u64 {
        let front = self.turns.partition_point(|turn| turn.rank < first_rank(class));
        let front = self.turns.get(front).map(|turn| turn.rank);
        front.filter(|rank| *rank < first_rank(class + 1)).unwrap_or(first_rank(class))
    }

    fn push(&mut self, item: Item) -> u64 {
        let class = class(item.priority);
        let key = (class, item.sender);
        let reached = self.reached(class);
        let place = self.find(key).unwrap_or_else(|place| {
            if self.lanes.len() < 4 {
                self.lanes.reserve_exact(1);
            }
            self.lanes.insert(place, Lane { key, last_rank: 0, used: Room::default() });
            place
        });
        let mut rank = reached;
        if let Some(lane) = self.lanes.get_mut(place) {
            rank = rank.max(lane.last_rank + 1);
            lane.last_rank = rank;
            lane.used.add(item.len);
        }
        let turn = Turn::new(rank, item.slot);
        if self.turns.is_empty() {
            self.turns.reserve_exact(1);
        }
        self.turns.insert(self.turns.partition_point(|other| *other < turn), turn);
        self.used.add(item.len);
        rank
    }

    fn remove(&mut self, item: Item, rank: u64) {
        let Ok(turn) = self.turns.binary_search(&Turn::new(rank, item.slot)) else { return };
        self.turns.remove(turn);
        self.used.sub(item.len);
        let Ok(at) = self.find((class(item.priority), item.sender)) else { return };
        let Some(lane) = self.lanes.get_mut(at) else { return };
        lane.used.sub(item.len);
        if lane.used.messages == 0 {
            self.lanes.remove(at);
        }
    }
}

/// All recipients' queues.
#[derive(Debug, Default)]
pub(super) struct Queues(HashMap<NameId, RecipientQueue>);

impl Queues {
    pub(super) fn get(&self, recipient: NameId) -> Option<&RecipientQueue> {
        self.0.get(&recipient)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NameId, &RecipientQueue)> + '_ {
        self.0.iter().map(|(recipient, queue)| (*recipient, queue))
    }

    /// Adds a message. Returns its rank, which [`Queues::remove`] wants back.
    pub(super) fn push(&mut self, item: Item) -> u64 {
        self.0.entry(item.recipient).or_default().push(item)
    }

    /// Takes a message out.
    pub(super) fn remove(&mut self, item: Item, rank: u64) {
        let Some(queue) = self.0.get_mut(&item.recipient) else { return };
        queue.remove(item, rank);
        if queue.turns.is_empty() {
            self.0.remove(&item.recipient);
        }
    }
}
