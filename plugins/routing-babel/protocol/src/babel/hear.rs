//! What neighbours say.

use super::Babel;
use crate::cost::INFINITE;
use crate::limits::{BAD_SIGNATURE_WORK, CLOCK_SET_SECS, MAX_FRAME};
use crate::neighbour::is_marked;
use crate::record::{Key, NO_END, Record};
use crate::table::{CHANGED_UNIT_MS, Flag, MAX_LAG, NO_ROW, RowId, Slot, Told, fingerprint};
use crate::wire::{About, FrameError, Message, Reader};

impl Babel {
    pub(super) fn on_frame(&mut self, link: u64, frame: &[u8]) {
        let Some(slot) = self.links.get(&link).copied() else { return };
        if frame.len() > MAX_FRAME {
            self.counters.malformed += 1;
            return;
        }
        let Ok(reader) = Reader::new(frame) else {
            self.counters.foreign += 1;
            return;
        };
        for message in reader {
            match message {
                Ok(message) => self.on_message(slot, link, &message),
                Err(FrameError::Foreign | FrameError::Malformed) => self.counters.malformed += 1,
            }
        }
    }

    fn on_message(&mut self, slot: Slot, link: u64, message: &Message) {
        if let Message::Hello { .. } = message {
            return self.on_hello(slot, link, message);
        }
        let Some(neighbour) = self.neighbour(slot).filter(|neighbour| neighbour.acked) else {
            self.counters.early += 1; // said before it knew this instance: it may go through the one before
            return;
        };
        if let Message::Begin = message {
            neighbour.heard_on = link;
        }
        // Something that comes late over another link than the last table: it was said before that.
        let ordered = matches!(message, Message::Way(..) | Message::Retraction(_) | Message::End);
        if ordered && neighbour.heard_on != link {
            return;
        }
        match message {
            Message::Hello { .. } => {}
            Message::Begin => neighbour.marks = Some(Vec::new()),
            Message::End => self.on_end(slot),
            Message::Digest(sum) => self.on_digest(slot, *sum),
            Message::Retraction(number) => match neighbour.row_of(*number) {
                Some(row) => self.hear(slot, row, &Told::NOTHING),
                None => self.counters.unknown += 1,
            },
            Message::Way(about, told) => self.on_way(slot, about, told),
            Message::Request { about, seqno, ttl } => self.on_request(slot, about, *seqno, *ttl),
        }
    }

    fn on_way(&mut self, slot: Slot, about: &About, told: &Told) {
        self.counters.ways += 1;
        let Some(row) = self.row_about(slot, about, Some(told.metric)) else { return };
        if Some(row) == self.own {
            return;
        }
        if told.seqno > self.table.row(row).newest {
            self.counters.unproven += 1;
            return;
        }
        self.hear(slot, row, told);
    }

    /// What wasn't said since BEGIN, the neighbour has no way to.
    fn on_end(&mut self, slot: Slot) {
        let (now, rows) = (self.now(), u64::from(self.table.row_bound()));
        let Some(neighbour) = self.neighbour(slot) else { return };
        let Some(marks) = neighbour.marks.take() else { return };
        if neighbour.finite == 0 {
            return;
        }
        if !neighbour.may_cost(now, rows) {
            self.counters.too_much += 1;
            return;
        }
        for row in 0..self.table.row_bound() {
            if self.table.cell(row, slot).is_finite() && !is_marked(&marks, row) {
                self.hear(slot, row, &Told::NOTHING);
            }
        }
    }

    /// Notes a neighbour's word about a destination, and chooses anew if it matters.
    pub(super) fn hear(&mut self, slot: Slot, row: RowId, told: &Told) {
        if Some(row) == self.own {
            return; // whatever others say of the way here
        }
        let now = self.now();
        let before = self.heard(row, slot);
        let lag = self.table.row(row).newest.saturating_sub(told.seqno);
        self.table.cell_mut(row, slot).hear(told.metric.min(INFINITE), told.hops, lag, now);
        self.account(slot, row, &before);
        if told.is_finite()
            && let Some(neighbour) = self.neighbour(slot)
        {
            neighbour.mark(row);
        }
        self.consider(row, slot);
        if told.is_finite() && self.table.row(row).has(Flag::Starved) && before != self.heard(row, slot) {
            self.hasten_ask(row);
        }
    }

    /// What a neighbour says of a destination.
    pub(super) fn heard(&self, row: RowId, slot: Slot) -> Told {
        let cell = self.table.cell(row, slot);
        if !cell.is_finite() {
            return Told::NOTHING;
        }
        Told { seqno: self.table.row(row).newest - u64::from(cell.lag), metric: cell.metric(), hops: cell.hops() }
    }

    /// Keeps count of what a neighbour says after its word about a row has changed.
    fn account(&mut self, slot: Slot, row: RowId, before: &Told) {
        let after = self.heard(row, slot);
        let key = self.table.row(row).key;
        let Some(neighbour) = self.neighbour(slot) else { return };
        neighbour.finite = neighbour.finite + usize::from(after.is_finite()) - usize::from(before.is_finite());
        let difference = fingerprint(&key, &after).wrapping_sub(fingerprint(&key, before));
        neighbour.heard_sum = neighbour.heard_sum.wrapping_add(difference);
        self.look_for_owner(row);
    }

    /// The row that a message is about; what it proves is noted. An unknown destination gets a row if a `metric` is told.
    pub(super) fn row_about(&mut self, slot: Slot, about: &About, metric: Option<u32>) -> Option<RowId> {
        let row = match &about.key {
            None => self.neighbours.get(usize::from(slot))?.row_of(about.number),
            Some(key) => {
                let row = self.table.find(key).or_else(|| self.add_row(slot, key, about.record.as_ref()?, metric?));
                self.number_row(slot, about.number, row.unwrap_or(NO_ROW));
                row
            }
        };
        let Some(row) = row.filter(|row| self.table.is_used(*row)) else {
            self.counters.unknown += 1;
            return None;
        };
        if let Some(record) = &about.record {
            self.take_record(slot, row, record);
        }
        Some(row)
    }

    /// Notes what a neighbour's number stands for. What it said under it before of another destination is void.
    fn number_row(&mut self, slot: Slot, number: RowId, row: RowId) {
        let Some(neighbour) = self.neighbour(slot) else { return };
        if let Some(old) = neighbour.set_row(number, row)
            && self.table.is_used(old)
        {
            self.hear(slot, old, &Told::NOTHING);
        }
    }

    fn take_record(&mut self, slot: Slot, row: RowId, record: &Record) {
        let (key, newest) = (self.table.row(row).key, self.table.row(row).newest);
        if record.seqno <= newest || !self.is_good(slot, &key, record) {
            return;
        }
        if Some(row) == self.own {
            return self.outbid(record.seqno);
        }
        self.raise(row, record);
    }

    /// Notes a higher sequence number. A way that lies too far behind it may be feasible no more.
    pub(super) fn raise(&mut self, row: RowId, record: &Record) {
        let by = record.seqno - self.table.row(row).newest;
        if self.table.row(row).forgets_told(by) {
            self.retract(row);
            self.schedule(row);
        }
        let slots = 0..self.costs.len() as Slot;
        let too_old = |slot: &Slot| {
            let cell = self.table.cell(row, *slot);
            cell.is_finite() && u64::from(cell.lag).saturating_add(by) > u64::from(MAX_LAG)
        };
        let before: Vec<(Slot, Told)> = slots.filter(too_old).map(|slot| (slot, self.heard(row, slot))).collect();
        self.table.raise(row, record);
        for (slot, before) in &before {
            self.account(*slot, row, before);
        }
        if !before.is_empty() {
            self.reselect(row);
        }
    }

    /// Whether a record is in force and its origin's. A neighbour that brought many that aren't is not listened to for a while.
    fn is_good(&mut self, slot: Slot, key: &Key, record: &Record) -> bool {
        if self.is_over(record.not_after) {
            self.counters.expired += 1;
            return false;
        }
        let now = self.now();
        if self.neighbour(slot).is_some_and(|neighbour| !neighbour.may_cost(now, 0)) {
            self.counters.too_much += 1;
            return false;
        }
        let good = record.is_signed_by(key);
        if !good {
            self.counters.bad_signature += 1;
            if let Some(neighbour) = self.neighbour(slot) {
                neighbour.may_cost(now, BAD_SIGNATURE_WORK);
            }
        }
        good
    }

    /// Whether a record's time is over. A clock that was never set can't tell.
    pub(super) fn is_over(&self, not_after: u32) -> bool {
        let now = self.clock.host_secs();
        not_after != NO_END && now >= CLOCK_SET_SECS && u64::from(not_after) < now
    }

    /// A row for a new destination, if its record is good and there is room.
    fn add_row(&mut self, slot: Slot, key: &Key, record: &Record, metric: u32) -> Option<RowId> {
        if *key == self.key {
            return None;
        }
        let distance = self.graves.find(key);
        let place = self.place_for(slot, metric);
        // An older record than what the distance rests on: nothing that is known here could be told apart from a loop.
        let Some(place) = place.filter(|_| distance.is_none_or(|distance| distance.seqno <= record.seqno)) else {
            self.counters.full += 1;
            return None;
        };
        if !self.is_good(slot, key, record) {
            return None;
        }
        self.make_way(place);
        let now = self.now();
        let row = self.table.add(key, record, (now / CHANGED_UNIT_MS) as u32);
        self.table.set_owner(row, slot);
        self.table.begin_pace(row, now);
        if let Some(distance) = distance {
            self.table.row_mut(row).lower(&distance);
            self.graves.remove(key);
        }
        if let Some(neighbour) = self.by_key.get(key).and_then(|slot| self.neighbours.get_mut(usize::from(*slot))) {
            neighbour.row = row;
        }
        Some(row)
    }

    /// Chooses anew if a neighbour's changed word can make a difference.
    fn consider(&mut self, row: RowId, slot: Slot) {
        let (one, cell) = (self.table.row(row), self.table.cell(row, slot));
        let matters = match one.next_hop() {
            Some(current) if current == slot => true,
            Some(current) => {
                let best = self.table.cell(row, current).metric() + self.cost(current);
                let offer = cell.metric() + self.cost(slot);
                offer < best && one.is_feasible(cell.lag, cell.metric())
            }
            None => cell.is_finite() || one.has(Flag::Starved),
        };
        if matters {
            self.reselect(row);
        }
    }
}
