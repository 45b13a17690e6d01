//! Putting back very many messages at once, at a start.
//!
//! One by one, each message touches the id index, its recipient's queue and the order of expiry at random places of memory, and
//! waits for all of them. Here what was found is gathered, and each index is then filled in its own order.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use super::entry::Entry;
use super::seen::secs;
use super::{Head, SeenEntry, Shelf};
use qpq_schemas::MessageId;

/// Messages that are gathered at most: 20 bytes of memory each, for a moment.
const PORTION: usize = 1 << 20;

/// What is being put back. Complete when it is dropped.
#[derive(Debug)]
pub struct Restoring<'a> {
    shelf: &'a mut Shelf,
    /// Slots in order of arrival whose entries stand in no index yet.
    slots: Vec<u32>,
}

impl Shelf {
    /// Puts back what stood in the store at open, as [`Shelf::restore`] and [`Shelf::restore_seen`] do, but many times faster.
    pub fn restoring(&mut self) -> Restoring<'_> {
        Restoring { shelf: self, slots: Vec::new() }
    }
}

impl Restoring<'_> {
    /// See [`Shelf::restore`].
    pub fn message(&mut self, head: &Head) {
        if self.shelf.files_away(head) {
            return self.shelf.restore_cold(head);
        }
        let entry = Entry::new(head, &mut self.shelf.names, false);
        self.slots.push(self.shelf.entries.insert(entry));
        if self.slots.len() >= PORTION {
            self.settle();
        }
    }

    /// See [`Shelf::restore_seen`].
    pub fn seen(&mut self, entry: &SeenEntry) {
        self.settle();
        self.shelf.restore_seen(entry);
    }

    /// Enters what was gathered into the indexes.
    fn settle(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        let mut slots = std::mem::take(&mut self.slots);
        let doubles = self.shelf.index_all(&slots);
        if !doubles.is_empty() {
            slots.retain(|slot| !doubles.contains(slot));
        }
        self.shelf.order_all(&slots);
        // Stable, so each recipient's messages keep their order of arrival.
        slots.sort_by_cached_key(|slot| self.shelf.entries.get(*slot).map(|entry| entry.destination));
        for slot in slots {
            self.shelf.enter(slot);
        }
    }
}

impl Drop for Restoring<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

impl Shelf {
    /// Enters slots into the index of ids. Of two with one id the first stays; the slots of the others are emptied and
    /// returned.
    fn index_all(&mut self, slots: &[u32]) -> BTreeSet<u32> {
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash = |slot: u32| hasher.hash_one(entries.get(slot).map_or(MessageId([0; 32]), |entry| entry.id));
        self.index.reserve(slots.len(), |slot| hash(*slot));
        // The table's places in their order: whatever lies beside is in the processor's cache then.
        let places = (self.index.capacity() as u64).next_power_of_two() - 1;
        let mut order: Vec<(u64, u32)> = slots.iter().map(|slot| (hash(*slot), *slot)).collect();
        order.sort_by_key(|(hash, _)| *hash & places);
        let mut doubles = BTreeSet::new();
        for (of, slot) in order {
            let id = entries.get(slot).map(|entry| entry.id);
            if self.index.find(of, |other| entries.get(*other).map(|entry| entry.id) == id).is_some() {
                doubles.insert(slot);
            } else {
                self.index.insert_unique(of, slot, |slot| hash(*slot));
            }
        }
        for slot in &doubles {
            if let Some(entry) = self.entries.remove(*slot) {
                entry.release(&mut self.names);
            }
        }
        doubles
    }

    /// Counts slots, and enters them into the order of expiry.
    fn order_all(&mut self, slots: &[u32]) {
        let mut ends = Vec::with_capacity(slots.len());
        for slot in slots {
            let Some(entry) = self.entries.get(*slot) else { continue };
            self.used.add(entry.len);
            ends.push((secs(entry.expires_ms), *slot));
            self.seen.remove(&entry.id);
        }
        self.expiry.append(&mut ends.into_iter().collect());
    }
}
