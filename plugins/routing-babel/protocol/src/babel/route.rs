//! Where an envelope goes.

use super::Babel;
use crate::limits::{MAX_SPRAY, SPRAY_TURN_MS};
use crate::neighbour::Neighbour;
use crate::random::mix;
use crate::record::Key;
use crate::table::{SELF_SLOT, Slot};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Query {
    /// The recipient.
    pub destination: Key,
    /// For everybody.
    pub broadcast: bool,
    /// The link that it came in by.
    pub from: Option<u64>,
}

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This link leads there.
    Known(u64),
    /// Nobody knows: copies may go over these, the likeliest first. May be empty.
    Spray(Vec<u64>),
}

impl Babel {
    /// Over which links an envelope should go. Never back to the neighbour that it came from.
    pub fn route(&mut self, host_ms: u64, query: &Query) -> Answer {
        self.clock.advance(host_ms);
        let from = query.from.and_then(|link| self.links.get(&link)).copied();
        if query.broadcast {
            return Answer::Spray(self.all_but(from));
        }
        match self.next_hop(&query.destination) {
            // It came from where it has to go: that one knows better, or will soon.
            Some(slot) if Some(slot) == from => Answer::Spray(Vec::new()),
            Some(slot) => self.best_link(slot).map_or(Answer::Spray(Vec::new()), Answer::Known),
            None => Answer::Spray(self.spray(&query.destination, from)),
        }
    }

    /// The neighbour on the way to a destination; a neighbour is on the way to itself.
    fn next_hop(&self, destination: &Key) -> Option<Slot> {
        let chosen = self.table.find(destination).and_then(|row| self.table.row(row).next_hop());
        let trusted = |slot: &Slot| {
            *slot != SELF_SLOT && self.neighbours.get(usize::from(*slot)).is_some_and(|one| one.suspect_until.is_none())
        };
        chosen.filter(trusted).or_else(|| self.by_key.get(destination).copied())
    }

    fn best_link(&self, slot: Slot) -> Option<u64> {
        self.neighbours.get(usize::from(slot)).and_then(Neighbour::best_link).map(|link| link.id)
    }

    fn others(&self, from: Option<Slot>) -> impl Iterator<Item = (Slot, &Neighbour)> {
        let all = self.neighbours.iter().enumerate().map(|(slot, neighbour)| (slot as Slot, neighbour));
        all.filter(move |(slot, neighbour)| Some(*slot) != from && neighbour.is_up())
    }

    fn all_but(&self, from: Option<Slot>) -> Vec<u64> {
        let mut links: Vec<u64> = self.others(from).filter_map(|(slot, _)| self.best_link(slot)).collect();
        links.sort_unstable();
        links
    }

    /// Without a way: new contacts first, then who was the next hop last, then the others in an order that changes each
    /// minute. So in the life of a message each contact gets its chance, and no message goes to all at once.
    fn spray(&self, destination: &Key, from: Option<Slot>) -> Vec<u64> {
        let now = self.clock.now();
        let last = self.table.find(destination).map(|row| self.table.row(row).last_hop());
        let turn = mix(now / SPRAY_TURN_MS);
        let rank = |slot: Slot, neighbour: &Neighbour| {
            let up_ms = neighbour.links.iter().map(|link| link.up_ms).max().unwrap_or(0);
            let age = now.saturating_sub(up_ms);
            match age < SPRAY_TURN_MS {
                true => (0, age),
                false if last == Some(slot) => (1, 0),
                false => (2, mix(turn ^ u64::from(slot))),
            }
        };
        let mut all: Vec<_> = self.others(from).map(|(slot, neighbour)| (rank(slot, neighbour), slot)).collect();
        all.sort_unstable();
        all.truncate(MAX_SPRAY);
        all.into_iter().filter_map(|(_, slot)| self.best_link(slot)).collect()
    }
}
