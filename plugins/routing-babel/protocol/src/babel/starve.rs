//! Destinations with ways, but no feasible one: the origin is asked for a higher sequence number, by timer, for as long as it
//! takes.

use super::Babel;
use crate::cost::INFINITE;
use crate::limits::{ASK_AGAIN_MS, ASK_DOUBLINGS, ASK_MS, ASK_STEP_MS, REQUEST_TTL};
use crate::table::{Flag, RowId, Slot};

/// A destination whose origin is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Starving {
    due_ms: u64,
    asked: u32,
}

impl Babel {
    pub(super) fn set_starved(&mut self, row: RowId, starved: bool) {
        self.table.row_mut(row).set(Flag::Starved, starved);
        if !starved {
            self.starving.remove(&row);
            return;
        }
        self.counters.starved += 1;
        let due_ms = self.soon(ASK_MS).next_multiple_of(ASK_STEP_MS);
        self.starving.insert(row, Starving { due_ms, asked: 0 });
        self.ask_ms = Some(self.ask_ms.map_or(due_ms, |old| old.min(due_ms)));
    }

    /// There is something new, so asking may help now: the long pauses are for when nothing happens.
    pub(super) fn hasten_ask(&mut self, row: RowId) {
        let due_ms = self.soon(ASK_MS).next_multiple_of(ASK_STEP_MS);
        if let Some(starving) = self.starving.get_mut(&row).filter(|starving| starving.due_ms > due_ms) {
            starving.due_ms = due_ms;
            self.ask_ms = Some(self.ask_ms.map_or(due_ms, |old| old.min(due_ms)));
        }
    }

    pub(super) fn next_ask(&self) -> Option<u64> {
        self.ask_ms
    }

    pub(super) fn ask_if_due(&mut self, now: u64) {
        if self.ask_ms.is_none_or(|due| due > now) {
            return;
        }
        let due: Vec<RowId> = self.starving.iter().filter(|(_, one)| one.due_ms <= now).map(|(row, _)| *row).collect();
        for row in due {
            self.ask(row, now);
        }
        self.ask_ms = self.starving.values().map(|one| one.due_ms).min();
    }

    fn ask(&mut self, row: RowId, now: u64) {
        let Some(starving) = self.starving.get_mut(&row) else { return };
        let first = starving.asked == 0;
        let pause = ASK_AGAIN_MS << starving.asked.min(ASK_DOUBLINGS);
        starving.asked += 1;
        starving.due_ms = (now + pause).next_multiple_of(ASK_STEP_MS);
        let one = self.table.row(row);
        let Some((lag, _)) = one.feasibility() else { return };
        let Some(seqno) = (one.newest - u64::from(lag)).checked_add(1) else { return };
        let mut targets: Vec<(u32, Slot)> = self
            .table
            .cells(row)
            .iter()
            .zip(&self.costs)
            .enumerate()
            .map(|(slot, (cell, cost))| (cell.metric().saturating_add(*cost), slot as Slot))
            .filter(|(metric, _)| *metric < INFINITE)
            .collect();
        targets.sort_unstable();
        targets.truncate(if first { 1 } else { targets.len() });
        self.counters.asked += 1;
        for (_, slot) in targets {
            self.send_request(slot, row, seqno, REQUEST_TTL);
        }
    }
}
