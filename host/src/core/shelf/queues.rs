//! What waits, by recipient: the most urgent class first, and in a class one message of each sender in turn.
//!
//! The order is that of fair queueing: when a message joins, it gets a round number, one more than that of its sender's
//! last message in the class, and not less than that of the message now at the front. So the order never changes
//! afterwards, a place in it can be kept while messages come and go, and no sender's backlog delays another.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};

use qpq_schemas::envelope::Priority;

use super::limits::Room;
use super::names::NameId;
use crate::store::InLane;

/// Bits of a rank that hold the round; the class stands above them.
const ROUND_BITS: u32 = 56;

/// A place in a recipient's queue. The default is the place before all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Turn {
    /// Class and round.
    pub rank: u64,
    /// The record. Of one round the one that came first goes first.
    pub seq: u64,
}

impl Turn {
    /// The place before all others.
    pub const START: Self = Self { rank: 0, seq: 0 };

    pub(super) fn new(rank: u64, seq: u64) -> Self {
        Self { rank, seq }
    }
}

/// What a queue needs to know of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) recipient: NameId,
    pub(super) sender: NameId,
    pub(super) priority: Priority,
    pub(super) len: u32,
    pub(super) received_ms: u64,
    pub(super) seq: u64,
    pub(super) slot: u32,
}

/// Tells who sent the message in a slot.
pub(super) type SenderOf<'a> = &'a dyn Fn(u32) -> Option<NameId>;

/// Class and sender.
type LaneKey = (u8, NameId);

/// The most urgent class sorts first.
fn class(priority: Priority) -> u8 {
    3 - priority as u8
}

fn first_rank(class: u8) -> u64 {
    u64::from(class) << ROUND_BITS
}

fn class_of(rank: u64) -> u8 {
    u8::try_from(rank >> ROUND_BITS).unwrap_or(u8::MAX)
}

/// What one sender has in one class. Those of a sender are here, or none of them is: then all its messages are in files.
#[derive(Debug)]
struct Lane {
    key: LaneKey,
    /// Of the last message that still waits. `None` when that one has left, until it is looked for.
    last_rank: Option<u64>,
    used: Room,
    /// Messages that came in while the lane was here. While there are any, it stays.
    held_by: u32,
}

/// What must be known of a queue of which a part is in files.
#[derive(Debug, Default)]
struct Standing {
    /// Messages of each class.
    counts: [u32; 4],
    /// Where each class begins that has messages.
    fronts: [Front; 4],
    /// When the oldest message came, if that is known.
    oldest_ms: Cell<Option<u64>>,
}

/// Where a class begins: no message of it has a lower rank.
#[derive(Debug, Clone, Copy, Default)]
struct Front {
    rank: u64,
    /// One has this rank.
    is_met: bool,
}

/// One recipient's queue.
#[derive(Debug, Default)]
pub(super) struct RecipientQueue {
    /// Sorted by key. Most recipients have few, so they grow one by one at first.
    lanes: Vec<Lane>,
    /// Those in memory, and their slots. Sorted.
    turns: VecDeque<(Turn, u32)>,
    used: Room,
    /// Messages that hold a lane.
    holders: u32,
    /// Where messages may be in files.
    standing: Option<Box<Standing>>,
}

impl RecipientQueue {
    fn new(is_split: bool) -> Self {
        Self { standing: is_split.then(Box::default), ..Self::default() }
    }

    /// What waits in all.
    pub(super) fn used(&self) -> Room {
        self.used
    }

    /// What of it one sender sent.
    pub(super) fn used_by(&self, sender: NameId) -> Room {
        self.lanes_of(sender).fold(Room::default(), |sum, lane| sum.plus(lane.used))
    }

    /// The places in memory, in order, with their slots.
    pub(super) fn turns(&self) -> impl Iterator<Item = (Turn, u32)> + '_ {
        self.turns.iter().copied()
    }

    /// Whether a part of it is in files only.
    pub(super) fn has_cold(&self) -> bool {
        self.used.messages as usize > self.turns.len()
    }

    fn find(&self, key: LaneKey) -> Result<usize, usize> {
        self.lanes.binary_search_by_key(&key, |lane| lane.key)
    }

    fn lanes_of(&self, sender: NameId) -> impl Iterator<Item = &Lane> {
        (0..4).filter_map(move |class| self.lanes.get(self.find((class, sender)).ok()?))
    }

    /// The first rank of a class that is in memory.
    fn warm_front(&self, class: u8) -> Option<u64> {
        let front = self.turns.partition_point(|(turn, _)| turn.rank < first_rank(class));
        self.turns.get(front).map(|(turn, _)| turn.rank).filter(|rank| class_of(*rank) == class)
    }

    /// The round that the class has reached, as a rank.
    fn reached(&self, class: u8) -> u64 {
        let known = self.standing.as_ref().filter(|standing| standing.counts.get(usize::from(class)) > Some(&0));
        let known = known.and_then(|standing| standing.fronts.get(usize::from(class)));
        let known = known.filter(|front| front.is_met).map(|front| front.rank);
        known.or_else(|| self.warm_front(class)).unwrap_or(first_rank(class))
    }

    /// The last rank of a sender in a class that is in memory.
    fn last_warm_rank(&self, (class, sender): LaneKey, sender_of: SenderOf<'_>) -> Option<u64> {
        let end = self.turns.partition_point(|(turn, _)| class_of(turn.rank) <= class);
        let of_class = self.turns.range(..end).rev().take_while(|(turn, _)| class_of(turn.rank) == class);
        of_class.into_iter().find(|(_, slot)| sender_of(*slot) == Some(sender)).map(|(turn, _)| turn.rank)
    }

    fn lane_mut(&mut self, key: LaneKey) -> Option<&mut Lane> {
        let place = self.find(key).unwrap_or_else(|place| {
            if self.lanes.len() < 4 {
                self.lanes.reserve_exact(1);
            }
            self.lanes.insert(place, Lane { key, last_rank: Some(0), used: Room::default(), held_by: 0 });
            place
        });
        self.lanes.get_mut(place)
    }

    /// Gives a message its rank, and puts it into its lane and into the order.
    fn place(&mut self, item: Item, sender_of: SenderOf<'_>) -> u64 {
        let key = (class(item.priority), item.sender);
        let reached = self.reached(key.0);
        let unknown = self.find(key).is_ok_and(|at| self.lanes.get(at).is_some_and(|lane| lane.last_rank.is_none()));
        let last = if unknown { self.last_warm_rank(key, sender_of) } else { None };
        let mut rank = reached;
        if let Some(lane) = self.lane_mut(key) {
            rank = rank.max(lane.last_rank.or(last).unwrap_or(0) + 1);
            lane.last_rank = Some(rank);
            lane.used.add(item.len);
            lane.held_by += 1;
        }
        self.holders += 1;
        self.show(item, rank);
        rank
    }

    /// Adds a message to the figures.
    fn count(&mut self, item: Item, rank: Option<u64>) {
        let empty = self.used.messages == 0;
        self.used.add(item.len);
        let Some(standing) = &mut self.standing else { return };
        let oldest = standing.oldest_ms.get();
        standing.oldest_ms.set(match (empty, oldest) {
            (true, _) => Some(item.received_ms),
            (false, oldest) => oldest.map(|oldest| oldest.min(item.received_ms)),
        });
        let at = usize::from(class(item.priority));
        if let (Some(count), Some(front)) = (standing.counts.get_mut(at), standing.fronts.get_mut(at)) {
            match rank {
                Some(rank) if *count == 0 => *front = Front { rank, is_met: true },
                Some(rank) if rank < front.rank => front.rank = rank,
                Some(_) => {}
                None => front.is_met = false,
            }
            *count += 1;
        }
    }

    /// Puts a message that is counted into the order in memory.
    fn show(&mut self, item: Item, rank: u64) {
        let turn = Turn::new(rank, item.seq);
        if self.turns.is_empty() {
            self.turns.reserve_exact(1);
        }
        let place = self.turns.partition_point(|(other, _)| *other < turn);
        if self.turns.get(place).is_none_or(|(other, _)| *other != turn) {
            self.turns.insert(place, (turn, item.slot));
        }
    }

    /// Takes a message out of the order in memory; whether it was there.
    fn hide(&mut self, item: Item, rank: u64) -> bool {
        let Ok(at) = self.turns.binary_search_by_key(&Turn::new(rank, item.seq), |(turn, _)| *turn) else {
            return false;
        };
        self.turns.remove(at);
        true
    }

    fn remove(&mut self, item: Item, rank: u64, holds_lane: bool) {
        if !self.hide(item, rank) {
            return;
        }
        self.used.sub(item.len);
        if let Some(standing) = &mut self.standing {
            let oldest = standing.oldest_ms.get();
            standing.oldest_ms.set(oldest.filter(|oldest| *oldest < item.received_ms));
            let at = usize::from(class(item.priority));
            if let (Some(count), Some(front)) = (standing.counts.get_mut(at), standing.fronts.get_mut(at)) {
                *count = count.saturating_sub(1);
                front.is_met &= front.rank != rank;
            }
        }
        if let Ok(at) = self.find((class(item.priority), item.sender))
            && let Some(lane) = self.lanes.get_mut(at)
        {
            lane.used.sub(item.len);
            lane.last_rank = lane.last_rank.filter(|last| *last != rank);
            if lane.used.messages == 0 {
                self.lanes.remove(at);
            }
        }
        self.unhold(item, holds_lane);
    }

    /// A message holds its lane no longer.
    fn unhold(&mut self, item: Item, held: bool) {
        if !held {
            return;
        }
        self.holders = self.holders.saturating_sub(1);
        if let Ok(at) = self.find((class(item.priority), item.sender))
            && let Some(lane) = self.lanes.get_mut(at)
        {
            lane.held_by = lane.held_by.saturating_sub(1);
        }
        self.let_go(item.sender);
    }

    /// Forgets a sender's lanes that nothing holds.
    fn let_go(&mut self, sender: NameId) {
        if self.lanes_of(sender).all(|lane| lane.held_by == 0) {
            for class in 0..4 {
                if let Ok(at) = self.find((class, sender)) {
                    self.lanes.remove(at);
                }
            }
        }
    }
}

/// What is read from files when it is needed.
impl RecipientQueue {
    /// Whether a sender's lanes may be in files only, or end nobody knows where.
    pub(super) fn lacks_lanes(&self, sender: NameId) -> bool {
        self.used.messages > self.holders && self.lanes_of(sender).all(|lane| lane.held_by == 0)
            || self.lanes_of(sender).any(|lane| lane.last_rank.is_none())
    }

    /// What the files say of a sender.
    pub(super) fn learn_lanes(&mut self, sender: NameId, found: &[InLane], sender_of: SenderOf<'_>) {
        if self.lanes_of(sender).all(|lane| lane.held_by == 0) {
            self.let_go(sender);
            for one in found {
                if let Some(lane) = self.lane_mut((class_of(one.rank), sender)) {
                    lane.used.add(one.wire_len);
                    lane.last_rank = lane.last_rank.max(Some(one.rank));
                }
            }
        }
        for class in 0..4 {
            let key = (class, sender);
            let last = self.last_warm_rank(key, sender_of);
            let Some(lane) = self.find(key).ok().and_then(|at| self.lanes.get_mut(at)) else { continue };
            if lane.last_rank.is_none() {
                let in_files = found.iter().map(|one| one.rank).filter(|rank| class_of(*rank) == class).max();
                lane.last_rank = Some(last.max(in_files).unwrap_or(0));
            }
        }
    }

    /// From where on the first message of a class is to be looked for in files, if it isn't known.
    pub(super) fn unknown_front(&self, priority: Priority) -> Option<Turn> {
        let (class, standing) = (class(priority), self.standing.as_ref()?);
        let at = usize::from(class);
        let front = standing.fronts.get(at).filter(|front| !front.is_met && standing.counts.get(at) > Some(&0))?;
        self.has_cold().then(|| Turn::new(front.rank.max(first_rank(class)), 0))
    }

    /// The first rank behind that place that is in files.
    pub(super) fn learn_front(&mut self, priority: Priority, cold: Option<u64>) {
        let class = class(priority);
        let cold = cold.filter(|rank| class_of(*rank) == class);
        let rank = cold.into_iter().chain(self.warm_front(class)).min().unwrap_or(first_rank(class));
        let known = self.standing.as_mut().and_then(|standing| standing.fronts.get_mut(usize::from(class)));
        known.into_iter().for_each(|known| *known = Front { rank, is_met: true });
    }

    /// A place before all that is in files, but not before what has long gone from there: that would have to be read over.
    pub(super) fn start(&self) -> Turn {
        let standing = self.standing.iter().flat_map(|standing| standing.counts.iter().zip(&standing.fronts));
        let first = (0..).zip(standing).find(|(_, (count, _))| **count > 0);
        first.map_or(Turn::START, |(class, (_, front))| Turn::new(front.rank.max(first_rank(class)), 0))
    }

    /// When the oldest message came, if that is known. Always so where all is in memory; then it isn't said here.
    pub(super) fn known_oldest_ms(&self) -> Option<u64> {
        self.standing.as_ref()?.oldest_ms.get()
    }

    pub(super) fn learn_oldest_ms(&self, oldest_ms: u64) {
        if let Some(standing) = &self.standing {
            standing.oldest_ms.set(Some(oldest_ms));
        }
    }
}

/// All recipients' queues.
#[derive(Debug, Default)]
pub(super) struct Queues {
    of: HashMap<NameId, RecipientQueue>,
    /// A part of each may be in files.
    is_split: bool,
}

impl Queues {
    /// From now on a part of each queue may be in files.
    pub(super) fn split(&mut self) {
        self.is_split = true;
    }

    pub(super) fn get(&self, recipient: NameId) -> Option<&RecipientQueue> {
        self.of.get(&recipient)
    }

    pub(super) fn get_mut(&mut self, recipient: NameId) -> Option<&mut RecipientQueue> {
        self.of.get_mut(&recipient)
    }

    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NameId, &RecipientQueue)> + '_ {
        self.of.iter().map(|(recipient, queue)| (*recipient, queue))
    }

    fn entry(&mut self, recipient: NameId) -> &mut RecipientQueue {
        let is_split = self.is_split;
        self.of.entry(recipient).or_insert_with(|| RecipientQueue::new(is_split))
    }

    /// Adds a message. Returns its rank, which [`Queues::remove`] wants back.
    pub(super) fn push(&mut self, item: Item, sender_of: SenderOf<'_>) -> u64 {
        let queue = self.entry(item.recipient);
        let rank = queue.place(item, sender_of);
        queue.count(item, Some(rank));
        rank
    }

    /// Adds a message that is in files.
    pub(super) fn count(&mut self, item: Item) {
        self.entry(item.recipient).count(item, None);
    }

    /// Gives a rank to a message that was counted, and puts it into memory.
    pub(super) fn place(&mut self, item: Item, sender_of: SenderOf<'_>) -> u64 {
        self.entry(item.recipient).place(item, sender_of)
    }

    /// Puts a message that is in files into memory, too.
    pub(super) fn show(&mut self, item: Item, rank: u64) {
        self.entry(item.recipient).show(item, rank);
    }

    /// Leaves a message to the files.
    pub(super) fn hide(&mut self, item: Item, rank: u64, holds_lane: bool) {
        if let Some(queue) = self.get_mut(item.recipient)
            && queue.hide(item, rank)
        {
            queue.unhold(item, holds_lane);
        }
    }

    /// Forgets what was read of a sender's part of a queue, unless it is in use.
    pub(super) fn let_go(&mut self, recipient: NameId, sender: NameId) {
        if let Some(queue) = self.get_mut(recipient) {
            queue.let_go(sender);
        }
    }

    /// Takes a message out that is in memory.
    pub(super) fn remove(&mut self, item: Item, rank: u64, holds_lane: bool) {
        let Some(queue) = self.get_mut(item.recipient) else { return };
        queue.remove(item, rank, holds_lane);
        if queue.used.messages == 0 && queue.turns.is_empty() {
            self.of.remove(&item.recipient);
        }
    }
}
