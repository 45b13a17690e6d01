//! Tables that nobody can write for a moment: an admin looks into a running bot without changing it.

use std::collections::{HashSet, VecDeque};

use mlua::{Table, Value};

/// Entries of tables that are looked at for tables inside. What a bot keeps beyond so many stays open: a look must not take
/// long.
const ENTRIES: usize = 100_000;

/// Tables that were locked; they are opened when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Locked(Vec<Table>);

impl Locked {
    /// Locks all tables inside of these, those near first; not these themselves.
    pub(crate) fn below(roots: impl IntoIterator<Item = Table>) -> Self {
        let (mut locked, mut left) = (Self::default(), ENTRIES);
        let mut open: VecDeque<Table> = roots.into_iter().collect();
        let mut seen: HashSet<_> = open.iter().map(Table::to_pointer).collect();
        while let Some(table) = open.pop_front() {
            for inner in tables_in(&table, &mut left) {
                if seen.insert(inner.to_pointer()) {
                    locked.lock(&inner);
                    open.push_back(inner);
                }
            }
        }
        locked
    }

    /// One that is locked already stays so.
    fn lock(&mut self, table: &Table) {
        if !table.is_readonly() {
            table.set_readonly(true);
            self.0.push(table.clone());
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.iter().for_each(|table| table.set_readonly(false));
    }
}

/// The tables among a table's entries, as long as there are entries `left` to look at.
fn tables_in(table: &Table, left: &mut usize) -> Vec<Table> {
    let mut found = Vec::new();
    let look = |key: Value, value: Value| {
        *left = left.checked_sub(1).ok_or_else(|| mlua::Error::runtime("enough"))?;
        found.extend([key, value].into_iter().filter_map(|value| value.as_table().cloned()));
        Ok(())
    };
    // It ends early when it has seen enough.
    let _ = table.for_each(look);
    found
}
