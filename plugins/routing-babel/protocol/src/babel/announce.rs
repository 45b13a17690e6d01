//! What the neighbours are told: all of them the same, but nothing to the one that the way leads through (it would come back),
//! and nothing to the destination itself.

use super::Babel;
use crate::cost::differs;
use crate::table::{Flag, NO_SLOT, RowId, Slot, Told, fingerprint};
use crate::wire::{About, Message};

impl Babel {
    /// Tells of a row from a queue, if it still waits. `exact`: small differences count, too.
    pub(super) fn announce_queued(&mut self, row: RowId, exact: bool) {
        let flag = if exact { Flag::Lazy } else { Flag::Prompt };
        if !self.table.is_used(row) || !self.table.row(row).has(flag) {
            return;
        }
        self.table.row_mut(row).set(flag, false);
        if !exact && self.is_restless(row) {
            return self.schedule(row);
        }
        self.announce(row, exact);
    }

    /// Tells the neighbours what has changed for them.
    pub(super) fn announce(&mut self, row: RowId, exact: bool) {
        let (before, was_poisoned, toll) = (self.table.row(row).told(), self.table.row(row).poisoned, self.toll(row));
        let way = self.way(row);
        let same = before.is_finite() && way.seqno == before.seqno && !differs(before.metric, way.metric);
        let after = if same && way.is_finite() && !exact { before } else { way };
        let poisoned = if after.is_finite() { self.poison(row) } else { NO_SLOT };
        self.say(row, &after, poisoned);
        if after.is_finite() && (after, poisoned) != (before, was_poisoned) {
            self.table.note_told(row, self.now(), toll);
        }
        self.table.row_mut(row).lower(&after);
        if self.wanted.get(&row).is_some_and(|wanted| after.is_finite() && wanted.seqno <= after.seqno) {
            self.wanted.remove(&row);
        }
    }

    /// Tells all neighbours that there is no way, whether there is one or not.
    pub(super) fn retract(&mut self, row: RowId) {
        self.say(row, &Told::NOTHING, NO_SLOT);
    }

    fn say(&mut self, row: RowId, after: &Told, poisoned: Slot) {
        let (before, was_poisoned) = (self.table.row(row).told(), self.table.row(row).poisoned);
        for slot in 0..self.costs.len() as Slot {
            self.tell(slot, row, (&before, was_poisoned), (after, poisoned));
        }
        self.count_told(row, &before, was_poisoned, false);
        self.count_told(row, after, poisoned, true);
        let one = self.table.row_mut(row);
        one.tell(after);
        one.poisoned = poisoned;
    }

    /// Tells one neighbour, if its own view changes.
    fn tell(&mut self, slot: Slot, row: RowId, before: (&Told, Slot), after: (&Told, Slot)) {
        let Some(neighbour) = self.neighbours.get(usize::from(slot)) else { return };
        if !neighbour.table_sent || neighbour.row == row {
            return;
        }
        let view = |(told, poisoned): (&Told, Slot)| if poisoned == slot { Told::NOTHING } else { *told };
        let (before, after) = (view(before), view(after));
        if after.is_finite() && after != before {
            self.send_way(slot, row, &after);
        } else if before.is_finite() && !after.is_finite() {
            self.send(slot, &Message::Retraction(row));
        }
    }

    /// What a neighbour was told of a row.
    pub(super) fn told_to(&self, row: RowId, slot: Slot) -> Told {
        let hidden = self.table.row(row).poisoned == slot
            || self.neighbours.get(usize::from(slot)).is_none_or(|neighbour| neighbour.row == row);
        if hidden { Told::NOTHING } else { self.table.row(row).told() }
    }

    pub(super) fn send_way(&mut self, slot: Slot, row: RowId, told: &Told) {
        let about = self.about(slot, row, told.seqno);
        self.send(slot, &Message::Way(about, *told));
    }

    /// How to name a row to a neighbour, with all that it needs to believe that sequence number.
    pub(super) fn about(&mut self, slot: Slot, row: RowId, seqno: u64) -> About {
        let one = self.table.row(row);
        let cell = self.table.cell(row, slot);
        let knows = cell.record_told() || (cell.is_finite() && one.newest - u64::from(cell.lag) >= seqno);
        let about =
            About { number: row, key: (!cell.key_told()).then_some(one.key), record: (!knows).then(|| one.record()) };
        let cell = self.table.cell_mut(row, slot);
        cell.tell_key();
        if !knows {
            cell.tell_record();
        }
        about
    }

    /// Keeps the sums from which the digests are made.
    fn count_told(&mut self, row: RowId, told: &Told, poisoned: Slot, add: bool) {
        let print = fingerprint(&self.table.row(row).key, told);
        let print = if add { print } else { print.wrapping_neg() };
        self.told_sum = self.told_sum.wrapping_add(print);
        if let Some(neighbour) = self.neighbour(poisoned) {
            neighbour.poison_sum = neighbour.poison_sum.wrapping_add(print);
        }
    }
}
