//! Whose share of the table a destination takes up, two bytes a row.

use super::{NO_SLOT, RowId, Slot, reserve};

/// The owner of each row, and how many rows each neighbour owns.
#[derive(Debug, Default)]
pub(super) struct Owners {
    of: Vec<Slot>,
    counts: Vec<u32>,
}

impl Owners {
    pub(super) fn bytes(&self) -> usize {
        self.of.capacity() * size_of::<Slot>() + self.counts.capacity() * size_of::<u32>()
    }

    pub(super) fn of(&self, row: RowId) -> Slot {
        self.of.get(usize::from(row)).copied().unwrap_or(NO_SLOT)
    }

    pub(super) fn set(&mut self, row: RowId, owner: Slot) {
        let place = usize::from(row);
        if self.of.len() <= place {
            let more = place + 1 - self.of.len();
            reserve(&mut self.of, more);
            self.of.resize(place + 1, NO_SLOT);
        }
        let before = std::mem::replace(&mut self.of[place], owner);
        if let Some(count) = self.counts.get_mut(usize::from(before)) {
            *count -= 1;
        }
        if owner == NO_SLOT {
            return;
        }
        if self.counts.len() <= usize::from(owner) {
            self.counts.resize(usize::from(owner) + 1, 0);
        }
        self.counts[usize::from(owner)] += 1;
    }

    pub(super) fn count(&self, slot: Slot) -> usize {
        self.counts.get(usize::from(slot)).map_or(0, |count| *count as usize)
    }

    /// Of equal ones the first.
    pub(super) fn largest(&self) -> Slot {
        let counts = self.counts.iter().enumerate();
        counts.max_by_key(|(slot, count)| (**count, std::cmp::Reverse(*slot))).map_or(NO_SLOT, |(slot, _)| slot as Slot)
    }
}
