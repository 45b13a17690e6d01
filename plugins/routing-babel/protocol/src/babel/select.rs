//! Which neighbour leads to a destination.

use super::{Babel, Queue};
use crate::cost::{INFINITE, differs};
use crate::limits::{LAZY_MS, MAX_HOPS, PROMPT_MS, URGENT_MS};
use crate::table::{Flag, NO_SLOT, RowId, SELF_SLOT, Slot, Told, Toll};

/// How much cheaper than the present next hop another must be, so that two equal ways don't take turns.
const HYSTERESIS: u32 = 16;

/// How soon the neighbours must hear.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Haste {
    Urgent,
    Prompt,
    Lazy,
}

impl Babel {
    /// Chooses the cheapest feasible way, and has the neighbours told where it matters to them.
    pub(super) fn reselect(&mut self, row: RowId) {
        if !self.settled || Some(row) == self.own || !self.table.is_used(row) {
            return;
        }
        let old = self.table.row(row).next_hop();
        let (new, starved) = self.best(row, old);
        if new != old {
            let now = self.now();
            let row = self.table.row_mut(row);
            row.select(new, now);
            let key = row.key;
            self.changed.push(key);
            self.counters.moves += 1;
        }
        if starved != self.table.row(row).has(Flag::Starved) {
            self.set_starved(row, starved);
        }
        self.schedule(row);
    }

    /// The cheapest feasible neighbour; without one, whether there are others.
    fn best(&self, row: RowId, current: Option<Slot>) -> (Option<Slot>, bool) {
        let one = self.table.row(row);
        let (mut best, mut least, mut unfeasible) = (None, u32::MAX, false);
        for (slot, (cell, cost)) in self.table.cells(row).iter().zip(&self.costs).enumerate() {
            let (slot, cost) = (slot as Slot, cell.metric() + cost);
            let weighed = cost + if Some(slot) == current { 0 } else { HYSTERESIS };
            if cost >= INFINITE || cell.hops() == MAX_HOPS || weighed >= least {
                continue;
            }
            if one.is_feasible(cell.lag, cell.metric()) || self.settings.ignore_feasibility {
                (best, least) = (Some(slot), weighed);
            } else {
                unfeasible = true;
            }
        }
        (best, best.is_none() && unfeasible)
    }

    /// What there is to tell of a destination now.
    pub(super) fn way(&self, row: RowId) -> Told {
        let one = self.table.row(row);
        match one.next_hop() {
            None => Told::NOTHING,
            Some(SELF_SLOT) => Told { seqno: one.newest, metric: 0, hops: 0 },
            Some(slot) => {
                let heard = self.heard(row, slot);
                Told { metric: heard.metric + self.cost(slot), hops: heard.hops.saturating_add(1), ..heard }
            }
        }
    }

    /// The neighbour that a way leads through, as the neighbours are to be told.
    pub(super) fn poison(&self, row: RowId) -> Slot {
        self.table.row(row).next_hop().unwrap_or(NO_SLOT)
    }

    /// Puts a row into a queue if the neighbours have to hear about it.
    pub(super) fn schedule(&mut self, row: RowId) {
        match self.haste(row) {
            Some(haste) if self.is_restless(row) => {
                self.counters.put_off += u64::from(haste != Haste::Lazy);
                self.enqueue(row, Haste::Lazy);
            }
            Some(haste) => self.enqueue(row, haste),
            None => {}
        }
    }

    /// Whether a row has a way, but another one all the time: then the neighbours hear of it later. A loss never waits.
    pub(super) fn is_restless(&self, row: RowId) -> bool {
        self.way(row).is_finite() && !self.table.may_tell(row, self.now(), self.toll(row))
    }

    /// How soon the neighbours must hear of a row, if at all.
    fn haste(&self, row: RowId) -> Option<Haste> {
        let (one, way) = (self.table.row(row), self.way(row));
        let told = one.told();
        if !way.is_finite() {
            return told.is_finite().then_some(Haste::Urgent);
        }
        if !told.is_finite() || self.is_asked_for(row) {
            Some(Haste::Urgent)
        } else if one.poisoned != self.poison(row) || differs(told.metric, way.metric) {
            Some(Haste::Prompt)
        } else {
            (way.seqno > told.seqno).then_some(Haste::Lazy)
        }
    }

    /// Whether there is a sequence number to tell that somebody waits for.
    fn is_asked_for(&self, row: RowId) -> bool {
        let (told, way) = (self.table.row(row).told().seqno, self.way(row));
        self.wanted.get(&row).is_some_and(|wanted| told < wanted.seqno && wanted.seqno <= way.seqno)
    }

    /// What telling the neighbours of a row uses up. One that says again what was told before is a change like any other.
    pub(super) fn toll(&self, row: RowId) -> Toll {
        let (one, way) = (self.table.row(row), self.way(row));
        let newer = one.feasibility().is_none_or(|(lag, _)| way.seqno > one.newest - u64::from(lag));
        if newer && self.is_asked_for(row) { Toll::Asked } else { Toll::Change }
    }

    fn enqueue(&mut self, row: RowId, haste: Haste) {
        let (flag, range) = match haste {
            Haste::Urgent => (Flag::Prompt, URGENT_MS),
            Haste::Prompt => (Flag::Prompt, PROMPT_MS),
            Haste::Lazy => (Flag::Lazy, LAZY_MS),
        };
        let queued = self.table.row(row).has(flag);
        if queued && !matches!(haste, Haste::Urgent) {
            return;
        }
        let now = self.now();
        let latest = now + range.1;
        let queue = self.queue(haste);
        let due = queue.due;
        if !queued {
            queue.rows.push(row);
        }
        if due.is_none_or(|due| due > latest) {
            let due = self.soon(range);
            self.queue(haste).hasten(due);
        }
        self.table.row_mut(row).set(flag, true);
    }

    fn queue(&mut self, haste: Haste) -> &mut Queue {
        match haste {
            Haste::Urgent | Haste::Prompt => &mut self.prompt,
            Haste::Lazy => &mut self.lazy,
        }
    }
}
