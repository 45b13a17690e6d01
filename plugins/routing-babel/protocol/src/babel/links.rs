//! Links come and go.

use super::Babel;
use super::session::Hello;
use crate::cost::INFINITE;
use crate::limits::{DIGEST_MS, LIVED_MS, MAX_NEIGHBOURS, SETTLE_MS, SUSPECT_MS};
use crate::neighbour::{Link, Neighbour};
use crate::record::Key;
use crate::table::{NO_ROW, NO_SLOT, Slot};

impl Babel {
    pub(super) fn on_link_up(&mut self, link: u64, peer: Key) {
        // A number that is used again may stand for another neighbour.
        self.on_link_down(link);
        let Some(slot) = self.slot_for(peer) else { return };
        self.links.insert(link, slot);
        let now = self.now();
        self.settle_by.get_or_insert(now + SETTLE_MS);
        let first_digest = self.soon((DIGEST_MS * 3 / 4, DIGEST_MS));
        let Some(neighbour) = self.neighbour(slot) else { return };
        let further = neighbour.is_up();
        neighbour.links.push(Link::new(link, now));
        if !further {
            neighbour.digest_ms = first_digest;
            self.digest_ms = self.digest_ms.min(first_digest);
            self.changed.push(peer);
        } else if neighbour.acked {
            neighbour.suspect_until = Some(now + SUSPECT_MS);
            self.note_all_through(slot);
        }
        self.hello_by(slot, link, if further { Hello::Further } else { Hello::Want });
        self.update_cost(slot);
    }

    pub(super) fn on_link_down(&mut self, link: u64) {
        let Some(slot) = self.links.remove(&link) else { return };
        let Some(neighbour) = self.neighbour(slot) else { return };
        let Some(place) = neighbour.links.iter().position(|one| one.id == link) else { return };
        neighbour.links.remove(place);
        if neighbour.is_up() {
            if place == 0 && neighbour.table_sent {
                self.send_table(slot); // what was under way over the lost link is lost
            }
            return self.update_cost(slot);
        }
        let silent = !neighbour.acked;
        *neighbour = neighbour.parted();
        let key = neighbour.key;
        self.changed.push(key);
        self.by_key.remove(&key);
        self.part(slot);
        for row in 0..self.table.row_bound() {
            let row = self.table.row_mut(row);
            if row.poisoned == slot {
                row.poisoned = NO_SLOT;
            }
        }
        if silent {
            self.silent_until = self.now() + LIVED_MS; // perhaps it never heard of this life, and goes on through the one before
        }
        self.settle_if_due(self.now());
    }

    pub(super) fn on_measured(&mut self, link: u64, rtt_us: u64, loss_ppm: u32) {
        let Some(slot) = self.links.get(&link).copied() else { return };
        let Some(neighbour) = self.neighbour(slot) else { return };
        if let Some(link) = neighbour.links.iter_mut().find(|one| one.id == link) {
            link.measured(rtt_us, loss_ppm);
        }
        self.update_cost(slot);
    }

    /// Looks at what the best link to a neighbour costs, and chooses anew where that makes a difference.
    pub(super) fn update_cost(&mut self, slot: Slot) {
        let Some(neighbour) = self.neighbours.get(usize::from(slot)) else { return };
        let cost = neighbour.best_link().filter(|_| neighbour.acked).map_or(INFINITE, |link| link.cost);
        let Some(old) = self.costs.get_mut(usize::from(slot)) else { return };
        if *old == cost {
            return;
        }
        *old = cost;
        for row in 0..self.table.row_bound() {
            if self.table.cell(row, slot).is_finite() {
                self.reselect(row);
            }
        }
    }

    /// The place of a neighbour: its own from before, an empty one, or a new one.
    fn slot_for(&mut self, peer: Key) -> Option<Slot> {
        if let Some(slot) = self.by_key.get(&peer) {
            return Some(*slot);
        }
        let empty = |neighbour: &Neighbour| !neighbour.is_up();
        let place = self
            .neighbours
            .iter()
            .position(|neighbour| empty(neighbour) && neighbour.key == peer)
            .or_else(|| self.neighbours.iter().position(empty))
            .unwrap_or(self.neighbours.len());
        let slot = Slot::try_from(place).ok().filter(|slot| *slot < NO_SLOT - 1)?;
        let row = self.table.find(&peer).unwrap_or(NO_ROW);
        match self.neighbours.get_mut(place) {
            Some(old) if old.key == peer => old.row = row,
            Some(old) => *old = Neighbour { row, ..Neighbour::new(peer) },
            None => self.add_slot(Neighbour { row, ..Neighbour::new(peer) }),
        }
        self.by_key.insert(peer, slot);
        Some(slot)
    }

    fn add_slot(&mut self, neighbour: Neighbour) {
        self.neighbours.push(neighbour);
        if self.neighbours.len() <= MAX_NEIGHBOURS {
            self.costs.push(INFINITE);
            self.table.set_slots(self.costs.len());
        }
    }
}
