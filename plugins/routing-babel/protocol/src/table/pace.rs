//! How often each destination has had the neighbours told of late, two bytes a row.

use super::{RowId, reserve};
use crate::limits::{ASKED_BURST, ASKED_SECS, UPDATE_BURST, UPDATE_SECS};

/// What an update uses up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toll {
    /// A way that is new, or another than before.
    Change,
    /// A sequence number that was asked for.
    Asked,
}

impl Toll {
    /// Its cost, and up to which debt it may be run up, in seconds.
    fn terms(self) -> (u16, u16) {
        let most = UPDATE_BURST * UPDATE_SECS;
        match self {
            Self::Change => (UPDATE_SECS, most),
            Self::Asked => (ASKED_SECS, most + ASKED_BURST * ASKED_SECS),
        }
    }
}

/// Until when the updates of each destination are paid for, as a time in seconds that wraps. Only times that lie ahead by no more
/// than can be run up are believed, and [`Self::settle`] keeps the others from growing so old that they look like these.
#[derive(Debug, Default)]
pub(super) struct Pace {
    until: Vec<u16>,
}

fn secs(now_ms: u64) -> u16 {
    (now_ms / 1_000) as u16
}

impl Pace {
    pub(super) fn bytes(&self) -> usize {
        self.until.capacity() * size_of::<u16>()
    }

    fn debt(&self, row: RowId, now_ms: u64) -> u16 {
        let until = self.until.get(usize::from(row)).copied().unwrap_or(secs(now_ms));
        let debt = until.wrapping_sub(secs(now_ms));
        if debt <= Toll::Asked.terms().1 { debt } else { 0 }
    }

    fn set(&mut self, row: RowId, now_ms: u64, debt: u16) {
        let place = usize::from(row);
        if self.until.len() <= place {
            let more = place + 1 - self.until.len();
            reserve(&mut self.until, more);
            self.until.resize(place + 1, secs(now_ms));
        }
        self.until[place] = secs(now_ms).wrapping_add(debt);
    }

    pub(super) fn allows(&self, row: RowId, now_ms: u64, toll: Toll) -> bool {
        let (cost, most) = toll.terms();
        self.debt(row, now_ms) + cost <= most
    }

    pub(super) fn note(&mut self, row: RowId, now_ms: u64, toll: Toll) {
        let toll = if self.allows(row, now_ms, Toll::Change) { Toll::Change } else { toll };
        let ((cost, most), debt) = (toll.terms(), self.debt(row, now_ms));
        self.set(row, now_ms, debt.max((debt + cost).min(most)));
    }

    pub(super) fn settle(&mut self, row: RowId, now_ms: u64) {
        let debt = self.debt(row, now_ms);
        self.set(row, now_ms, debt);
    }

    /// The row stands for another destination now.
    pub(super) fn clear(&mut self, row: RowId, now_ms: u64) {
        self.set(row, now_ms, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_rate_and_what_was_asked_for_beyond_it() {
        let mut pace = Pace::default();
        let start_ms = 65_530_000; // shortly before it wraps
        let taken = |pace: &mut Pace, now_ms, toll| {
            let mut count = 0;
            while pace.allows(7, now_ms, toll) {
                pace.note(7, now_ms, toll);
                count += 1;
            }
            count
        };
        assert_eq!(taken(&mut pace, start_ms, Toll::Change), UPDATE_BURST);
        assert_eq!(taken(&mut pace, start_ms, Toll::Asked), ASKED_BURST);
        let (later_ms, burst_ms) = (u64::from(UPDATE_SECS) * 3_000, u64::from(ASKED_BURST * ASKED_SECS) * 1_000);
        assert_eq!(taken(&mut pace, start_ms + burst_ms + later_ms, Toll::Change), 3);
        assert_eq!(taken(&mut pace, start_ms + 10_000_000, Toll::Change), UPDATE_BURST);
        (0..10).for_each(|hour| pace.settle(7, start_ms + 20_000_000 + hour * 3_600_000));
        assert_eq!(taken(&mut pace, start_ms + 65_536_000, Toll::Change), UPDATE_BURST, "not taken for the future");
    }
}
