//! Room in a full table. What is farthest gives way to what is clearly nearer, and each neighbour's destinations take up a
//! share of its own: so whoever makes destinations up can push out only what lies behind the same neighbour, and farther
//! from here than he is himself. A neighbour is a key, and keys cost nothing: against many of them there is no more than a bound on
//! what they can do in a while.

use super::Babel;
use crate::cost::INFINITE;
use crate::limits::{FORGET_MS, NO_ROOM_MS, ROOM_BURST, ROOM_EVERY_MS};
use crate::table::{Cell, NO_SLOT, RowId, Slot, Told};

/// A quarter of the table is divided evenly among the neighbours: so much each has in any case. The rest belongs to whoever
/// comes first.
const DIVIDED: usize = 4;

/// Rows looked at for one that may be forgotten.
const LOOKS: usize = 64;

/// How often each row counts as looked at where a place is looked for, and another destination gives way.
const ROWS_OF_A_SEARCH: u64 = 4;

/// Where a new destination may stand.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// There is room.
    Free,
    /// Another one gives way.
    Instead(RowId),
}

impl Babel {
    /// A place for a destination that a neighbour names, and that is so far from it.
    pub(super) fn place_for(&mut self, slot: Slot, metric: u32) -> Option<Place> {
        let (most, owned) = (self.settings.max_destinations, self.table.owned(slot));
        let full = self.table.len() >= most;
        if !full && owned < most / 4 * 3 {
            return Some(Place::Free);
        }
        let (now, metric) = (self.now(), metric.saturating_add(self.cost(slot)));
        if full && let Some(row) = self.long_gone() {
            return Some(Place::Instead(row));
        }
        let entitled = full && owned < self.least_share();
        let share = if entitled { self.table.largest_owner() } else { slot };
        let (farthest, until_ms) = self.neighbour(slot)?.farthest;
        let hopeless = !entitled && now < until_ms && !is_nearer(metric, farthest);
        if hopeless || !self.graves.have_room(entitled) {
            return None;
        }
        let rows = self.table.len() as u64 * ROWS_OF_A_SEARCH;
        let neighbour = self.neighbour(slot)?;
        if !neighbour.may_cost(now, rows) || !neighbour.room.take(now, ROOM_BURST, ROOM_EVERY_MS) {
            return None;
        }
        let (distance, row) = self.farthest(share, full)?;
        if entitled || is_nearer(metric, distance) {
            return Some(Place::Instead(row));
        }
        self.neighbour(slot)?.farthest = (distance, now + NO_ROOM_MS);
        None
    }

    /// One of the next rows that nobody has named for so long that it may be forgotten.
    fn long_gone(&mut self) -> Option<RowId> {
        let (now, rows) = (self.now(), self.some_rows(LOOKS));
        rows.into_iter().find(|row| self.is_idle(*row) && self.table.row(*row).age_ms(now) >= FORGET_MS)
    }

    /// How many destinations each neighbour may have in any case.
    fn least_share(&self) -> usize {
        let neighbours = self.neighbours.iter().filter(|neighbour| neighbour.is_up()).count();
        self.settings.max_destinations / DIVIDED / neighbours.max(1)
    }

    /// The farthest destination of a neighbour's share, and how far it is; one that nobody has a way to goes first, and with
    /// `any` it may be of any share. Of equal ones that which has been as it is for the longest time.
    fn farthest(&self, share: Slot, any: bool) -> Option<(u32, RowId)> {
        let now = self.now();
        let rank = |row: RowId| {
            let (one, in_share) = (self.table.row(row), self.table.owner(row) == share);
            let gone = one.next_hop().is_none() && (any || in_share) && self.is_idle(row);
            let distance = if gone { INFINITE + 1 } else { self.way(row).metric };
            (gone || in_share).then(|| (distance, one.age_ms(now), row))
        };
        let all = self.table.used().filter(|row| Some(*row) != self.own);
        all.filter_map(rank).max().map(|(distance, _, row)| (distance, row))
    }

    /// Empties a place.
    pub(super) fn make_way(&mut self, place: Place) {
        let Place::Instead(row) = place else { return };
        self.expire(row);
        self.retract(row);
        let (now, one) = (self.now(), self.table.row(row));
        let (key, age_ms) = (one.key, one.age_ms(now));
        if let Some((lag, metric)) = one.feasibility().filter(|_| age_ms < FORGET_MS) {
            let distance = Told { seqno: one.newest - u64::from(lag), metric, hops: 0 };
            self.graves.keep(&key, &distance, now);
        }
        self.counters.gave_way += 1;
        self.forget(row);
    }

    /// A destination that its owner names no more belongs to the share of another neighbour that does, or to none.
    pub(super) fn look_for_owner(&mut self, row: RowId) {
        let cells = self.table.cells(row);
        if cells.get(usize::from(self.table.owner(row))).is_some_and(Cell::is_finite) {
            return;
        }
        let heir = cells.iter().position(Cell::is_finite);
        self.table.set_owner(row, heir.map_or(NO_SLOT, |heir| heir as Slot));
    }
}

/// Whether something at that distance is clearly nearer than another: by more than an eighth of it.
fn is_nearer(metric: u32, than: u32) -> bool {
    metric < than - than / 8
}
