//! What a node has in memory against what it would find on its disk if it started now.

use std::collections::BTreeMap;

use qpq_host::core::shelf::{Head, Places, SeenState, Shelf};
use qpq_schemas::MessageId;

use super::World;
use crate::Outcome;
use crate::sim::node::Node;

/// How often disks are looked at until they rest, in microseconds.
const LOOK_US: u64 = 1_000;

/// After so many looks a disk that still writes is taken as it is: left out.
const MAX_LOOKS: u32 = 10_000;

/// Messages and ids that are looked through at a time.
const STEP: u32 = 1_024;

/// An id that ends within this time may be forgotten in memory, and not yet on disk, in milliseconds.
const ABOUT_TO_END_MS: u64 = 120_000;

/// Differences that are named.
const MAX_NAMED: usize = 10;

/// What outlives a start: the messages that are held, with their places, and what is remembered of other ids.
#[derive(Default)]
struct Durable {
    held: BTreeMap<MessageId, (u64, Places)>,
    remembered: BTreeMap<MessageId, SeenState>,
}

impl Durable {
    /// All of a shelf that is on disk, but for what ends before `until_ms`.
    fn of(shelf: &Shelf, until_ms: u64) -> Self {
        let mut found = Self::default();
        let mut place = Some(0);
        while let Some(from) = place {
            let (heads, next) = shelf.walk(from, STEP);
            let lasting = heads.into_iter().filter(|head: &Head| head.expires_ms > until_ms);
            found.held.extend(lasting.map(|head| (head.id, (head.seq, head.places))));
            place = next;
        }
        let mut place = Some(0);
        while let Some(from) = place {
            let (ids, next) = shelf.search(|_| true, from, STEP);
            let entries = ids.iter().filter_map(|id| shelf.seen_entry(id)).filter(|entry| entry.expires_ms > until_ms);
            let gone = entries.filter(|entry| entry.state != SeenState::Held);
            found.remembered.extend(gone.map(|entry| (entry.id, entry.state)));
            place = next;
        }
        found
    }

    /// A message that was passed on, came back and could not be written is forgotten in memory, so that it can be fetched again.
    /// On disk its note stays, which lets it come again as well, a little later: no difference.
    fn differences(&self, mut disk: Self) -> Vec<String> {
        let may_come = |state: &SeenState| matches!(state, SeenState::PassedOn { .. });
        disk.remembered.retain(|id, state| self.remembered.contains_key(id) || !may_come(state));
        let held = differing(&self.held, &disk.held);
        let remembered = differing(&self.remembered, &disk.remembered);
        held.chain(remembered).take(MAX_NAMED).collect()
    }
}

fn differing<'a, T: PartialEq + std::fmt::Debug>(
    memory: &'a BTreeMap<MessageId, T>,
    disk: &'a BTreeMap<MessageId, T>,
) -> impl Iterator<Item = String> + 'a {
    let only_on_disk = disk.keys().filter(|id| !memory.contains_key(*id));
    memory
        .keys()
        .chain(only_on_disk)
        .filter(|id| memory.get(*id) != disk.get(*id))
        .map(|id| format!("{}: in memory {:?}, on disk {:?}", id.short(), memory.get(id), disk.get(id)))
}

impl Node {
    /// The shelf that it would have after a start.
    fn reopened(&self) -> Shelf {
        let mut shelf = self.recovered();
        self.topics.iter().for_each(|topic| shelf.into_inbox(topic));
        shelf
    }
}

impl World {
    /// Lets disks write what they were given, and compares each node that runs with its disk. Each difference is named.
    ///
    /// # Errors
    /// As [`World::run_until`].
    pub fn compare_with_disks(&mut self) -> Outcome<Vec<String>> {
        let mut found = Vec::new();
        for number in 0..self.nodes.len() {
            for _ in 0..MAX_LOOKS {
                if self.nodes[number].disk.is_at_rest() {
                    break;
                }
                self.run_for(LOOK_US)?;
            }
            let node = &self.nodes[number];
            let Some(core) = node.core.as_ref().filter(|_| node.disk.is_at_rest()) else { continue };
            let until_ms = node.clock_ms(self.now_us) + ABOUT_TO_END_MS;
            let (memory, disk) = (Durable::of(core.shelf(), until_ms), Durable::of(&node.reopened(), until_ms));
            found.extend(memory.differences(disk).into_iter().map(|what| format!("node {number}, {what}")));
        }
        Ok(found)
    }
}
