//! The destinations and what each neighbour says of them, packed: a mesh of thousands has one of these on each node.

mod cell;
mod graves;
mod index;
mod owners;
mod pace;
mod row;

pub use cell::{Cell, MAX_LAG};
pub use graves::Graves;
use index::Index;
use owners::Owners;
use pace::Pace;
pub use pace::Toll;
pub use row::{CHANGED_UNIT_MS, Flag, Row, Told};

use crate::random::mix;
use crate::record::{Key, Record};

/// The number of a destination's row.
pub type RowId = u16;
/// No row.
pub const NO_ROW: RowId = u16::MAX;
/// The number of a neighbour: its column in the table.
pub type Slot = u16;
/// No neighbour.
pub const NO_SLOT: Slot = u16::MAX;
/// The node itself, as the next hop to its own row.
pub const SELF_SLOT: Slot = u16::MAX - 1;

/// Vectors grow by this part of their length, so that little stands empty.
const GROWTH: usize = 64;

/// Rows by key, and the cells: one for each row and neighbour.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Row>,
    /// Row after row, [`Self::slots`] cells each.
    cells: Vec<Cell>,
    slots: usize,
    index: Index,
    owners: Owners,
    pace: Pace,
    free: Vec<RowId>,
}

impl Table {
    /// An empty table. `seed` keeps outsiders from choosing keys that collide.
    pub fn new(seed: u64) -> Self {
        Self {
            rows: Vec::new(),
            cells: Vec::new(),
            slots: 0,
            index: Index::new(seed),
            owners: Owners::default(),
            pace: Pace::default(),
            free: Vec::new(),
        }
    }

    /// Number of destinations.
    pub fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One past the highest row number in use.
    pub fn row_bound(&self) -> RowId {
        self.rows.len() as RowId
    }

    /// Number of columns.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Number of bytes that the table takes.
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
            + self.cells.capacity() * size_of::<Cell>()
            + self.free.capacity() * size_of::<RowId>()
            + self.index.bytes()
            + self.owners.bytes()
            + self.pace.bytes()
    }

    /// The row of a destination.
    pub fn find(&self, key: &Key) -> Option<RowId> {
        self.index.find(key, |row| self.rows.get(usize::from(row)).is_some_and(|row| row.key == *key))
    }

    /// A row of a number in use.
    pub fn row(&self, row: RowId) -> &Row {
        &self.rows[usize::from(row)]
    }

    /// See [`Self::row`].
    pub fn row_mut(&mut self, row: RowId) -> &mut Row {
        &mut self.rows[usize::from(row)]
    }

    /// Whether that number stands for a destination.
    pub fn is_used(&self, row: RowId) -> bool {
        self.rows.get(usize::from(row)).is_some_and(|row| row.has(Flag::Used))
    }

    /// All destinations.
    pub fn used(&self) -> impl Iterator<Item = RowId> {
        (0..self.row_bound()).filter(|row| self.is_used(*row))
    }

    /// What all neighbours say of a destination, by slot.
    pub fn cells(&self, row: RowId) -> &[Cell] {
        let begin = usize::from(row) * self.slots;
        &self.cells[begin..begin + self.slots]
    }

    /// See [`Self::cells`].
    pub fn cells_mut(&mut self, row: RowId) -> &mut [Cell] {
        let begin = usize::from(row) * self.slots;
        &mut self.cells[begin..begin + self.slots]
    }

    /// What one neighbour says.
    pub fn cell(&self, row: RowId, slot: Slot) -> &Cell {
        &self.cells[usize::from(row) * self.slots + usize::from(slot)]
    }

    /// See [`Self::cell`].
    pub fn cell_mut(&mut self, row: RowId, slot: Slot) -> &mut Cell {
        &mut self.cells[usize::from(row) * self.slots + usize::from(slot)]
    }

    /// The neighbour in whose share a destination stands: the first that named it, of those that still do.
    pub fn owner(&self, row: RowId) -> Slot {
        self.owners.of(row)
    }

    /// See [`Self::owner`].
    pub fn set_owner(&mut self, row: RowId, owner: Slot) {
        self.owners.set(row, owner);
    }

    /// Number of destinations in a neighbour's share.
    pub fn owned(&self, slot: Slot) -> usize {
        self.owners.count(slot)
    }

    /// The neighbour with the largest share.
    pub fn largest_owner(&self) -> Slot {
        self.owners.largest()
    }

    /// Whether the neighbours may be told of a destination soon again.
    pub fn may_tell(&self, row: RowId, now_ms: u64, toll: Toll) -> bool {
        self.pace.allows(row, now_ms, toll)
    }

    /// They were told.
    pub fn note_told(&mut self, row: RowId, now_ms: u64, toll: Toll) {
        self.pace.note(row, now_ms, toll);
    }

    /// To be called for each row every few hours.
    pub fn settle_pace(&mut self, row: RowId, now_ms: u64) {
        self.pace.settle(row, now_ms);
    }

    /// Nobody was told of a destination yet.
    pub fn begin_pace(&mut self, row: RowId, now_ms: u64) {
        self.pace.clear(row, now_ms);
    }

    /// A new row. The caller has seen that the key has none, and that there is room below [`NO_ROW`].
    pub fn add(&mut self, key: &Key, record: &Record, at: u32) -> RowId {
        let fresh = Row::new(*key, record, at);
        let row = match self.free.pop() {
            Some(row) => {
                self.rows[usize::from(row)] = fresh;
                self.cells_mut(row).fill(Cell::EMPTY);
                row
            }
            None => {
                reserve(&mut self.rows, 1);
                self.rows.push(fresh);
                reserve(&mut self.cells, self.slots);
                self.cells.resize(self.rows.len() * self.slots, Cell::EMPTY);
                (self.rows.len() - 1) as RowId
            }
        };
        let rows = &self.rows;
        self.index.insert(row, |row| rows.get(usize::from(row)).map_or(&[0; 32], |row| &row.key));
        row
    }

    /// Forgets a destination.
    pub fn remove(&mut self, row: RowId) {
        let rows = &self.rows;
        self.index.remove(row, |row| rows.get(usize::from(row)).map_or(&[0; 32], |row| &row.key));
        self.row_mut(row).clear();
        self.owners.set(row, NO_SLOT);
        self.cells_mut(row).fill(Cell::EMPTY);
        self.free.push(row);
    }

    /// Changes the number of columns; those beyond are lost.
    pub fn set_slots(&mut self, slots: usize) {
        let mut cells = Vec::new();
        cells.reserve_exact(self.rows.len() * slots);
        for row in 0..self.row_bound() {
            let kept = self.cells(row).iter().copied().chain(std::iter::repeat(Cell::EMPTY));
            cells.extend(kept.take(slots));
        }
        (self.cells, self.slots) = (cells, slots);
    }

    /// Notes a higher sequence number of the origin; what was said before keeps its own.
    pub fn raise(&mut self, row: RowId, record: &Record) {
        let by = record.seqno.saturating_sub(self.row(row).newest);
        self.row_mut(row).raise(record, by);
        for cell in self.cells_mut(row) {
            cell.fall_behind(by);
        }
    }
}

/// A number that differs, most likely, for any other statement about any other destination. Sums of it are the digests.
pub fn fingerprint(key: &Key, told: &Told) -> u64 {
    if !told.is_finite() {
        return 0;
    }
    let mut first = [0; 8];
    first.copy_from_slice(key.split_at(8).0);
    mix(u64::from_be_bytes(first) ^ mix(told.seqno ^ mix(u64::from(told.metric) << 8 | u64::from(told.hops))))
}

/// Makes room for `more`, and little besides.
fn reserve<T>(vector: &mut Vec<T>, more: usize) {
    if vector.capacity() - vector.len() < more {
        vector.reserve_exact(more.max(vector.len() / GROWTH));
    }
}

#[cfg(test)]
mod tests;
