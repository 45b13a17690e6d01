//! Two neighbours agree on who they are, so that nobody goes through a node that has forgotten its feasibility distances.
//!
//! A new instance chooses no way until each neighbour has said that it knows the instance, and so has dropped what it knew
//! from the one before. Where others are older it also waits until everybody has noticed which links died with a former life that
//! it may have had. A further link to a neighbour may lead to its next life while the old link's death isn't
//! noticed yet: nothing goes to it until it has said who it is.

use super::Babel;
use crate::limits::{DIGEST_MS, LIVED_MS, MAX_SETTLE_MS, SAME_AGE_MS, TABLE_BURST, TABLE_MIN_ROWS, TABLE_ROW_MS};
use crate::neighbour::Neighbour;
use crate::record::Key;
use crate::table::{Cell, NO_ROW, Slot, fingerprint};
use crate::wire::{Message, Writer};

/// What a HELLO is sent for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hello {
    /// To have the whole table.
    Want,
    /// To show who is at the other end of a link beside others.
    Further,
}

impl Babel {
    /// Sends a HELLO over a certain link.
    pub(super) fn hello_by(&mut self, slot: Slot, link: u64, why: Hello) {
        let (want, further) = (why == Hello::Want, why == Hello::Further);
        let now = self.now();
        let Some(neighbour) = self.neighbour(slot) else { return };
        if let Some(link) = neighbour.links.iter_mut().find(|one| one.id == link) {
            link.hello_ms = want.then_some(now);
        }
        let mut writer = Writer::default();
        writer.push(&self.hello(slot, want, further));
        self.post_links.push((link, writer));
    }

    /// Who this node is, and what it knows of a neighbour.
    fn hello(&self, slot: Slot, want: bool, further: bool) -> Message {
        let neighbour = self.neighbours.get(usize::from(slot));
        let swapped = neighbour.is_some_and(|one| one.swapped);
        let yours = neighbour.map_or(0, |one| one.instance);
        let age_ms = self.now().saturating_add(self.eldest_ms);
        Message::Hello { instance: self.instance, yours, want, further, swapped, age_ms }
    }

    /// Somebody was there before this node, so it may have been there before, too, and others may still go through its former
    /// life. Then it waits. Everybody that it knows must hear of it, since they may be as young.
    fn hear_of_age(&mut self, age_ms: u64) {
        let older_ms = age_ms.saturating_sub(self.now());
        let news = older_ms > SAME_AGE_MS && self.eldest_ms <= SAME_AGE_MS;
        self.eldest_ms = self.eldest_ms.max(older_ms);
        if !news || self.now() >= LIVED_MS || self.is_swapped() {
            return;
        }
        self.unsettle();
        for slot in 0..self.costs.len() as Slot {
            if self.neighbours.get(usize::from(slot)).is_some_and(|neighbour| neighbour.acked) {
                let hello = self.hello(slot, false, false);
                self.send(slot, &hello);
            }
        }
    }

    /// Whether this instance took over from another while the links were up, so that its node went on living. One that begins
    /// can't know; its neighbours can, and most of them have to say so. Such an instance is given its links as it begins, so only those
    /// count: else whoever dials a node that was restarted could have it go on before everybody has noticed.
    fn is_swapped(&self) -> bool {
        let said = self.neighbours.iter().filter_map(|neighbour| neighbour.says_swapped);
        said.map(|swapped| if swapped { 1 } else { -1 }).sum::<i32>() > 0
    }

    fn hear_of_swap(&mut self, slot: Slot, link: u64, swapped: bool) {
        let before = self.is_swapped();
        let Some(neighbour) = self.neighbour(slot) else { return };
        let may_tell = neighbour.links.iter().any(|one| one.id == link && one.up_ms == 0);
        if swapped && !may_tell {
            return;
        }
        neighbour.says_swapped = Some(swapped);
        if before && !self.is_swapped() && self.now() < self.hold_until() {
            self.unsettle();
        }
    }

    /// Chooses no way any more for a while.
    fn unsettle(&mut self) {
        if !std::mem::take(&mut self.settled) {
            return;
        }
        let now = self.now();
        for row in 0..self.table.row_bound() {
            if Some(row) == self.own || self.table.row(row).next_hop().is_none() {
                continue;
            }
            let one = self.table.row_mut(row);
            one.select(None, now);
            let key = one.key;
            self.changed.push(key);
            self.schedule(row);
        }
    }

    /// Until when no way is chosen, whatever the neighbours have said.
    fn hold_until(&self) -> u64 {
        if self.is_swapped() {
            return self.silent_until.min(MAX_SETTLE_MS);
        }
        if self.eldest_ms > SAME_AGE_MS { LIVED_MS } else { 0 }
    }

    pub(super) fn on_hello(&mut self, slot: Slot, link: u64, message: &Message) {
        let Message::Hello { instance, yours, want, further, swapped, age_ms } = *message else { return };
        if usize::from(slot) >= self.costs.len() || instance == 0 {
            return; // one neighbour too many
        }
        let (ours, now, rows) = (self.instance, self.now(), u64::from(self.table.row_bound()));
        let Some(neighbour) = self.neighbour(slot) else { return };
        let another = neighbour.instance != instance;
        if another && !neighbour.may_cost(now, rows) {
            self.counters.too_much += 1;
            return; // it is greeted again with the next digest
        }
        if another || further {
            neighbour.meet(link, instance);
            neighbour.prefer(link); // the older links may be dead, or lead to its former life
        }
        if another {
            self.part(slot);
        }
        if yours == ours {
            self.hear_of_swap(slot, link, swapped);
        }
        self.hear_of_age(age_ms);
        let Some(neighbour) = self.neighbour(slot) else { return };
        let trusted_again = neighbour.suspect_until.take().is_some();
        if yours == ours && !neighbour.acked {
            neighbour.acked = true;
        }
        if yours == ours
            && let Some(one) = neighbour.links.iter_mut().find(|one| one.id == link)
            && let Some(sent) = one.hello_ms.take()
            && one.rtt_us == 0
        {
            one.cost = crate::cost::link_cost((now - sent) * 1_000, 0);
        }
        neighbour.wants_table |= want || further || !neighbour.table_sent;
        self.send_wanted_table(slot);
        if trusted_again {
            self.note_all_through(slot);
        }
        self.update_cost(slot);
        self.settle_if_due(now);
    }

    /// Tells a neighbour everything if it waits for that and may have it.
    fn send_wanted_table(&mut self, slot: Slot) {
        let (now, rows) = (self.now(), self.table.len() as u64);
        let Some(neighbour) = self.neighbour(slot).filter(|neighbour| neighbour.wants_table) else { return };
        if neighbour.tables.take_many(now, rows.max(TABLE_MIN_ROWS), TABLE_BURST, TABLE_ROW_MS) {
            neighbour.wants_table = false;
            self.send_table(slot);
        }
    }

    /// When the next neighbour may have the table that it waits for.
    pub(super) fn next_table(&self) -> Option<u64> {
        let waiting = self.neighbours.iter().filter(|neighbour| neighbour.wants_table && neighbour.is_up());
        waiting.map(|neighbour| neighbour.tables.free_at(TABLE_BURST, TABLE_ROW_MS)).min()
    }

    /// Sends the tables that were put off.
    pub(super) fn send_tables_if_due(&mut self, now: u64) {
        if self.next_table().is_some_and(|due| due <= now) {
            (0..self.costs.len() as Slot).for_each(|slot| self.send_wanted_table(slot));
        }
    }

    /// Tells a neighbour everything, from the beginning.
    pub(super) fn send_table(&mut self, slot: Slot) {
        let Some(neighbour) = self.neighbour(slot) else { return };
        let first = !std::mem::replace(&mut neighbour.table_sent, true);
        let hello = self.hello(slot, false, false);
        self.send(slot, &hello);
        self.send(slot, &Message::Begin);
        for row in 0..self.table.row_bound() {
            if !first {
                self.table.cell_mut(row, slot).untell();
            }
            let told = self.told_to(row, slot);
            if told.is_finite() {
                self.send_way(slot, row, &told);
            }
        }
        self.send(slot, &Message::End);
    }

    /// Drops all that a neighbour said and was told: it is gone, or has begun a new life.
    pub(super) fn part(&mut self, slot: Slot) {
        if usize::from(slot) >= self.costs.len() {
            return;
        }
        let Some(neighbour) = self.neighbour(slot) else { return };
        (neighbour.acked, neighbour.table_sent) = (false, false);
        (neighbour.finite, neighbour.heard_sum, neighbour.heard_on, neighbour.marks) = (0, 0, 0, None);
        neighbour.suspect_until = None;
        neighbour.numbers = Vec::new();
        if let Some(cost) = self.costs.get_mut(usize::from(slot)) {
            *cost = crate::cost::INFINITE;
        }
        for row in 0..self.table.row_bound() {
            let cell = self.table.cell_mut(row, slot);
            let said = cell.is_finite();
            *cell = Cell::EMPTY;
            if said || self.table.owner(row) == slot {
                self.look_for_owner(row);
            }
            if said {
                self.reselect(row);
            }
        }
    }

    /// When to look whether ways may be chosen.
    pub(super) fn settle_due(&self) -> Option<u64> {
        let by = self.settle_by.filter(|_| !self.settled && !self.links.is_empty())?;
        let hold = self.hold_until();
        Some(if hold > self.now() { hold } else { by.max(hold) })
    }

    pub(super) fn settle_if_due(&mut self, now: u64) {
        if self.settled || self.links.is_empty() || now < self.hold_until() {
            return;
        }
        let waits = |neighbour: &Neighbour| neighbour.is_up() && !neighbour.acked;
        if self.settle_by.is_none_or(|by| now < by) && self.neighbours.iter().any(waits) {
            return;
        }
        self.settled = true;
        for row in 0..self.table.row_bound() {
            self.reselect(row);
        }
    }

    pub(super) fn next_suspicion(&self) -> Option<u64> {
        self.neighbours.iter().filter_map(|neighbour| neighbour.suspect_until).min()
    }

    /// Who has not said in time who it is counts as another.
    pub(super) fn end_suspicions(&mut self, now: u64) {
        if self.next_suspicion().is_none_or(|due| due > now) {
            return;
        }
        for slot in 0..self.costs.len() as Slot {
            let Some(neighbour) = self.neighbour(slot) else { continue };
            if neighbour.suspect_until.is_some_and(|due| due <= now) {
                let link = neighbour.links.last().map(|link| link.id);
                self.part(slot);
                if let Some(neighbour) = self.neighbour(slot) {
                    neighbour.instance = 0;
                }
                link.into_iter().for_each(|link| self.hello_by(slot, link, Hello::Want));
            }
        }
    }

    /// The answers for all destinations behind a neighbour are others now.
    pub(super) fn note_all_through(&mut self, slot: Slot) {
        let through = |row: &_| self.table.row(*row).next_hop() == Some(slot);
        let keys: Vec<Key> = self.table.used().filter(through).map(|row| self.table.row(row).key).collect();
        self.changed.extend(keys);
    }

    /// Each minute neighbours compare what was told with what was heard; and who hasn't shaken hands is greeted again.
    pub(super) fn send_digests(&mut self, now: u64) {
        if self.digest_ms > now {
            return;
        }
        self.digest_ms = u64::MAX;
        for slot in 0..self.costs.len() as Slot {
            let sum = self.digest_for(slot);
            let Some(neighbour) = self.neighbour(slot).filter(|neighbour| neighbour.is_up()) else { continue };
            let due = neighbour.digest_ms <= now;
            if due {
                neighbour.digest_ms = now + DIGEST_MS;
            }
            let (next, ready) = (neighbour.digest_ms, neighbour.acked && neighbour.table_sent);
            let link = neighbour.links.first().map(|link| link.id).filter(|_| due);
            self.digest_ms = self.digest_ms.min(next);
            match link {
                Some(_) if ready => self.send(slot, &Message::Digest(sum)),
                Some(link) => self.hello_by(slot, link, Hello::Want),
                None => {}
            }
        }
    }

    /// The sum over all that a neighbour was told.
    fn digest_for(&self, slot: Slot) -> u64 {
        let Some(neighbour) = self.neighbours.get(usize::from(slot)) else { return 0 };
        let mut sum = self.told_sum.wrapping_sub(neighbour.poison_sum);
        if neighbour.row != NO_ROW && self.table.row(neighbour.row).poisoned != slot {
            let row = self.table.row(neighbour.row);
            sum = sum.wrapping_sub(fingerprint(&row.key, &row.told()));
        }
        sum
    }

    /// The sum over all that a neighbour was told, if it was told the table.
    #[cfg(test)]
    pub(crate) fn sum_told(&self, peer: &Key) -> Option<u64> {
        let slot = self.by_key.get(peer)?;
        self.neighbours[usize::from(*slot)].table_sent.then(|| self.digest_for(*slot))
    }

    /// The sum over all that a neighbour said, if its word counts.
    #[cfg(test)]
    pub(crate) fn sum_heard(&self, peer: &Key) -> Option<u64> {
        let neighbour = &self.neighbours[usize::from(*self.by_key.get(peer)?)];
        neighbour.acked.then_some(neighbour.heard_sum)
    }

    pub(super) fn on_digest(&mut self, slot: Slot, sum: u64) {
        let now = self.now();
        let Some(neighbour) = self.neighbour(slot).filter(|neighbour| neighbour.acked) else { return };
        if neighbour.heard_sum == sum {
            return neighbour.agrees(now);
        }
        self.counters.differed += 1;
        let Some(neighbour) = self.neighbour(slot) else { return };
        if !neighbour.may_repair(now) {
            return;
        }
        if let Some(link) = neighbour.links.first().map(|link| link.id) {
            self.hello_by(slot, link, Hello::Want);
        }
    }
}
