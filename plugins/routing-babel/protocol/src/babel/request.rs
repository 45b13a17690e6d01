//! Requests for a higher sequence number: answered by whoever has it, passed on along the way towards the origin.

use super::Babel;
use crate::limits::{FORWARD_MS, WANTED_MS};
use crate::table::{RowId, Slot};
use crate::wire::{About, Message};

/// Somebody waits for a sequence number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// At least this one.
    pub(super) seqno: u64,
    /// Forgotten then.
    until_ms: u64,
    /// When a request was passed on last.
    forwarded_ms: Option<u64>,
}

impl Babel {
    /// Notes that a sequence number shall be told at once when it comes.
    pub(super) fn want(&mut self, row: RowId, seqno: u64) {
        let until_ms = self.now() + WANTED_MS;
        let wanted = self.wanted.entry(row).or_insert(Wanted { seqno, until_ms, forwarded_ms: None });
        wanted.seqno = wanted.seqno.max(seqno);
        wanted.until_ms = until_ms;
    }

    pub(super) fn on_request(&mut self, slot: Slot, about: &About, seqno: u64, ttl: u8) {
        let Some(row) = self.row_about(slot, about, None) else { return };
        let newest = self.table.row(row).newest;
        if seqno > newest.saturating_add(1) {
            self.counters.unproven += 1;
            return;
        }
        if Some(row) == self.own {
            self.raise_on_request(row, seqno);
            return self.answer(slot, row, seqno);
        }
        let way = self.way(row);
        if way.is_finite() && way.seqno >= seqno && self.poison(row) != slot {
            if self.table.row(row).told().seqno < seqno {
                self.want(row, seqno);
                self.schedule(row);
            }
            return self.answer(slot, row, seqno);
        }
        self.forward(slot, row, seqno, ttl);
    }

    /// Says again what was told already: the one who asks may have lost it.
    fn answer(&mut self, slot: Slot, row: RowId, seqno: u64) {
        let told = self.told_to(row, slot);
        if told.is_finite() && told.seqno >= seqno {
            self.send_way(slot, row, &told);
        }
    }

    fn forward(&mut self, from: Slot, row: RowId, seqno: u64, ttl: u8) {
        let now = self.now();
        let recent =
            |wanted: &Wanted| wanted.seqno >= seqno && wanted.forwarded_ms.is_some_and(|at| now < at + FORWARD_MS);
        if ttl <= 1 || self.wanted.get(&row).is_some_and(recent) {
            return;
        }
        self.want(row, seqno);
        let Some(to) = self.towards(row, from) else { return };
        if let Some(wanted) = self.wanted.get_mut(&row) {
            wanted.forwarded_ms = Some(now);
        }
        self.counters.forwarded += 1;
        self.send_request(to, row, seqno, ttl - 1);
    }

    /// Where a request goes: along the own way; without one, or if it came from there, to whoever says to be nearest.
    fn towards(&self, row: RowId, from: Slot) -> Option<Slot> {
        if let Some(next) = self.table.row(row).next_hop().filter(|next| *next != from) {
            return Some(next);
        }
        let others = self.table.cells(row).iter().zip(&self.costs).enumerate();
        others
            .map(|(slot, (cell, cost))| (cell.metric().saturating_add(*cost), slot as Slot))
            .filter(|(metric, slot)| *metric < crate::cost::INFINITE && *slot != from)
            .min()
            .map(|(_, slot)| slot)
    }

    pub(super) fn send_request(&mut self, to: Slot, row: RowId, seqno: u64, ttl: u8) {
        let about = self.about(to, row, seqno.saturating_sub(1));
        self.send(to, &Message::Request { about, seqno, ttl });
    }

    pub(super) fn forget_wanted(&mut self, now: u64) {
        self.wanted.retain(|_, wanted| wanted.until_ms > now);
    }
}
