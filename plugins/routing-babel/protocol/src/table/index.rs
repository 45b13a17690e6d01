//! Rows by key: a hash table of row numbers alone, two bytes a place.

use std::hash::Hasher;

use super::{NO_ROW, RowId};
use crate::record::Key;

/// Open addressing with linear probing; at most three quarters full.
#[derive(Debug)]
pub(super) struct Index {
    /// A power of two of places.
    places: Vec<RowId>,
    count: usize,
    seed: u64,
}

impl Index {
    pub(super) fn new(seed: u64) -> Self {
        Self { places: Vec::new(), count: 0, seed }
    }

    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<RowId>()
    }

    /// The row for which `is_it` holds.
    pub(super) fn find(&self, key: &Key, is_it: impl Fn(RowId) -> bool) -> Option<RowId> {
        if self.places.is_empty() {
            return None;
        }
        let mut place = self.home(key);
        loop {
            match self.places[place] {
                NO_ROW => return None,
                row if is_it(row) => return Some(row),
                _ => place = self.after(place),
            }
        }
    }

    /// Adds a row that isn't there yet.
    pub(super) fn insert<'k>(&mut self, row: RowId, key_of: impl Fn(RowId) -> &'k Key) {
        if (self.count + 1) * 4 > self.places.len() * 3 {
            let places = (self.places.len() * 2).max(16);
            let old = std::mem::replace(&mut self.places, vec![NO_ROW; places]);
            old.into_iter().filter(|row| *row != NO_ROW).for_each(|row| self.put(row, key_of(row)));
        }
        self.put(row, key_of(row));
        self.count += 1;
    }

    /// Takes a row out, and moves those behind it up that would not be found any more.
    pub(super) fn remove<'k>(&mut self, row: RowId, key_of: impl Fn(RowId) -> &'k Key) {
        if self.places.is_empty() {
            return;
        }
        let mut hole = self.home(key_of(row));
        while self.places[hole] != row {
            if self.places[hole] == NO_ROW {
                return;
            }
            hole = self.after(hole);
        }
        self.places[hole] = NO_ROW;
        self.count -= 1;
        let mut place = self.after(hole);
        while self.places[place] != NO_ROW {
            let home = self.home(key_of(self.places[place]));
            if self.distance(home, place) >= self.distance(hole, place) {
                self.places.swap(hole, place);
                hole = place;
            }
            place = self.after(place);
        }
    }

    fn put(&mut self, row: RowId, key: &Key) {
        let mut place = self.home(key);
        while self.places[place] != NO_ROW {
            place = self.after(place);
        }
        self.places[place] = row;
    }

    fn home(&self, key: &Key) -> usize {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher.write(key);
        hasher.finish() as usize & (self.places.len() - 1)
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }
}
