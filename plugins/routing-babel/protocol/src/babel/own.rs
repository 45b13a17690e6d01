//! The node's own word: its row, and when its sequence number rises.
//!
//! The first sequence number of a life is the host's time in seconds, and each further one is one more, so that a later life
//! begins higher even if nothing was kept. If the clock was wrong, somebody still holds a higher one: whoever asks for a
//! sequence number shows it, and it is outbid.

use super::Babel;
use crate::limits::{CLOCK_SET_SECS, CLOCK_SKEW_SECS, LIFETIME_REFRESHES, RAISE_BURST, RAISE_EVERY_MS};
use crate::record::NO_END;
use crate::table::{RowId, SELF_SLOT};

impl Babel {
    pub(super) fn begin_own(&mut self) {
        if !self.settings.announce {
            return;
        }
        let first = self.clock.host_secs().max(1);
        let Some(record) = self.sign(first, self.end()) else { return };
        let row = self.table.add(&self.key.clone(), &record, 0);
        self.table.row_mut(row).select(Some(SELF_SLOT), 0);
        self.own = Some(row);
        self.announce(row, true);
        self.refresh_ms = self.random.between(self.settings.refresh_ms / 4, self.settings.refresh_ms);
    }

    /// Until when a record made now is good.
    fn end(&self) -> u32 {
        let now = self.clock.host_secs();
        if now < CLOCK_SET_SECS {
            return NO_END;
        }
        let end = now + LIFETIME_REFRESHES * self.settings.refresh_ms / 1_000 + CLOCK_SKEW_SECS;
        u32::try_from(end).unwrap_or(NO_END)
    }

    pub(super) fn refresh_if_due(&mut self, now: u64) {
        if self.refresh_ms > now {
            return;
        }
        let spread = self.settings.refresh_ms / 20;
        self.refresh_ms = now + self.settings.refresh_ms - self.random.between(0, spread);
        if let Some(row) = self.own {
            self.raise_own(row, self.table.row(row).newest.saturating_add(1));
        }
    }

    /// Somebody holds a sequence number of ours that is higher than ours: from a former life.
    pub(super) fn outbid(&mut self, seqno: u64) {
        if let Some(row) = self.own {
            self.want(row, seqno.saturating_add(1));
            self.raise_own(row, seqno.saturating_add(1));
        }
    }

    /// Somebody needs the next sequence number.
    pub(super) fn raise_on_request(&mut self, row: RowId, seqno: u64) {
        if seqno > self.table.row(row).newest && self.raises.take(self.clock.now(), RAISE_BURST, RAISE_EVERY_MS) {
            self.want(row, seqno);
            self.raise_own(row, seqno);
        }
    }

    /// The highest number is the last: nothing comes after it.
    fn raise_own(&mut self, row: RowId, seqno: u64) {
        if seqno <= self.table.row(row).newest {
            return;
        }
        if let Some(record) = self.sign(seqno, self.end()) {
            self.raise(row, &record);
            self.counters.raised += 1;
            self.schedule(row);
        }
    }
}
