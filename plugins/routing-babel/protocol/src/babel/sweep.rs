//! Old destinations are forgotten, a part of the table at a time.

use super::Babel;
use crate::limits::{FORGET_MS, SWEEP_MS, SWEEP_ROWS};
use crate::table::{Flag, NO_ROW, RowId, Slot, Told};

impl Babel {
    pub(super) fn sweep_if_due(&mut self, now: u64) {
        if self.sweep_ms > now {
            return;
        }
        self.sweep_ms = now + SWEEP_MS;
        self.forget_wanted(now);
        self.graves.sweep(now);
        for row in self.some_rows(SWEEP_ROWS) {
            self.table.settle_pace(row, now);
            if Some(row) != self.own && self.is_over(self.table.row(row).not_after) {
                self.expire(row);
            }
            if self.is_idle(row) && self.table.row(row).age_ms(now) >= FORGET_MS {
                self.forget(row);
            }
        }
    }

    /// The next rows in turn.
    pub(super) fn some_rows(&mut self, count: usize) -> Vec<RowId> {
        let bound = self.table.row_bound();
        let count = count.min(usize::from(bound)) as RowId;
        let begin = self.sweep_at;
        self.sweep_at = (begin + count) % bound.max(1);
        let turn = (0..count).map(|offset| ((u32::from(begin) + u32::from(offset)) % u32::from(bound)) as RowId);
        turn.filter(|row| self.table.is_used(*row)).collect()
    }

    /// The origin's word has run out: what rests on it is no way any more.
    pub(super) fn expire(&mut self, row: RowId) {
        for slot in 0..self.costs.len() as Slot {
            if self.table.cell(row, slot).is_finite() {
                self.hear(slot, row, &Told::NOTHING);
            }
        }
    }

    /// Whether nobody knows a way, and nobody was told one.
    pub(super) fn is_idle(&self, row: RowId) -> bool {
        let one = self.table.row(row);
        let busy = [Flag::Active, Flag::Prompt, Flag::Lazy, Flag::Starved].into_iter().any(|flag| one.has(flag));
        !busy && !one.told().is_finite() && self.table.cells(row).iter().all(|cell| !cell.is_finite())
    }

    pub(super) fn forget(&mut self, row: RowId) {
        self.wanted.remove(&row);
        self.starving.remove(&row);
        for neighbour in &mut self.neighbours {
            neighbour.numbers.iter_mut().filter(|one| **one == row).for_each(|one| *one = NO_ROW);
            if neighbour.row == row {
                neighbour.row = NO_ROW;
            }
        }
        self.table.remove(row);
    }
}
