//! What waits, by recipient: classes of priority, and within a class a lane for each sender.

use std::collections::{HashMap, VecDeque};

use super::limits::Room;
use super::names::NameId;

/// A class and a sender. Sorts the most urgent class first.
type LaneKey = (u8, NameId);
/// Place in the sort order of the class: 0 emergency … 3 low.
fn class(priority: u8) -> u8 {
    3 - priority.min(3)
}

#[derive(Debug)]
struct Lane {
    key: LaneKey,
    /// Slots in order of arrival.
    slots: VecDeque<u32>,
    used: Room,
}

/// One recipient's queue.
#[derive(Debug, Default)]
pub(super) struct RecipientQueue {
    /// Sorted by key. Most recipients have few, so they grow one by one at first.
    lanes: Vec<Lane>,
    used: Room,
}

impl RecipientQueue {
    fn find(&self, key: LaneKey) -> Result<usize, usize> {
        self.lanes.binary_search_by_key(&key, |lane| lane.key)
    }

    fn lane(&mut self, key: LaneKey) -> Option<&mut Lane> {
        let place = self.find(key).unwrap_or_else(|place| {
            if self.lanes.len() < 4 {
                self.lanes.reserve_exact(1);
            }
            self.lanes.insert(place, Lane { key, slots: VecDeque::with_capacity(1), used: Room::default() });
            place
        });
        self.lanes.get_mut(place)
    }

    fn class(&self, class: u8) -> &[Lane] {
        let from = self.lanes.partition_point(|lane| lane.key.0 < class);
        let to = self.lanes.partition_point(|lane| lane.key.0 <= class);
        self.lanes.get(from..to).unwrap_or_default()
    }

    /// What waits in all.
    pub(super) fn used(&self) -> Room {
        self.used
    }

    /// What of it one sender sent.
    pub(super) fn used_by(&self, sender: NameId) -> Room {
        let lanes = (0..4).filter_map(|class| self.lanes.get(self.find((class, sender)).ok()?));
        lanes.fold(Room::default(), |sum, lane| sum.plus(lane.used))
    }

    /// The oldest slot of each lane.
    pub(super) fn fronts(&self) -> impl Iterator<Item = u32> + '_ {
        self.lanes.iter().filter_map(|lane| lane.slots.front().copied())
    }

    /// All slots: the most urgent class first, in it one of each sender in turn.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = u32> + '_ {
        (0..4).flat_map(move |class| {
            let lanes = self.class(class);
            let longest = lanes.iter().map(|lane| lane.slots.len()).max().unwrap_or(0);
            (0..longest).flat_map(move |turn| lanes.iter().filter_map(move |lane| lane.slots.get(turn).copied()))
        })
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

    /// Adds a slot behind those that arrived before it. `later` tells whether a slot arrived after the new one.
    pub(super) fn push(
        &mut self,
        recipient: NameId,
        (sender, priority, len): (NameId, u8, u32),
        slot: u32,
        later: impl Fn(u32) -> bool,
    ) {
        let queue = self.0.entry(recipient).or_default();
        let Some(lane) = queue.lane((class(priority), sender)) else { return };
        let place = lane.slots.iter().rposition(|other| !later(*other)).map_or(0, |place| place + 1);
        lane.slots.insert(place, slot);
        lane.used.add(len);
        queue.used.add(len);
    }

    /// Takes a slot out.
    pub(super) fn remove(&mut self, recipient: NameId, (sender, priority, len): (NameId, u8, u32), slot: u32) {
        let Some(queue) = self.0.get_mut(&recipient) else { return };
        let Ok(at) = queue.find((class(priority), sender)) else { return };
        let Some(lane) = queue.lanes.get_mut(at) else { return };
        let Some(place) = lane.slots.iter().position(|other| *other == slot) else { return };
        lane.slots.remove(place);
        lane.used.sub(len);
        queue.used.sub(len);
        if lane.slots.is_empty() {
            queue.lanes.remove(at);
        }
        if queue.lanes.is_empty() {
            self.0.remove(&recipient);
        }
    }
}
