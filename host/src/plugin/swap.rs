//! The memory of one plugin's swaps: what was tried, what is not tried again, and what to go back to. Without I/O.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::loader::Image;
use crate::api::SwapReport;
use std::sync::Arc;

/// How long the old instance may flush, in a swap, before it is stopped. What it did not send is in custody.
pub const DRAIN: Duration = Duration::from_millis(500);
/// An instance that fails so soon after its swap makes way for the library before it.
pub const PROBATION: Duration = Duration::from_secs(10);
/// Reports that are kept of each plugin.
pub const MAX_REPORTS: usize = 8;
/// Libraries of each plugin that are remembered as bad; the oldest is forgotten first.
pub const MAX_QUARANTINED: usize = 64;

/// Libraries that the watcher does not try again, by digest, with the reason.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    bad: BTreeMap<String, (u64, String)>,
    last: u64,
}

impl Quarantine {
    /// Remembers a library as bad.
    pub(super) fn add(&mut self, sha256: &str, why: &str) {
        self.last += 1;
        self.bad.insert(sha256.to_owned(), (self.last, why.to_owned()));
        while self.bad.len() > MAX_QUARANTINED {
            let oldest = self.bad.iter().min_by_key(|(_, (number, _))| *number).map(|(sha256, _)| sha256.clone());
            let Some(oldest) = oldest else { return };
            self.bad.remove(&oldest);
        }
    }

    /// Why it is bad, if it is.
    pub(super) fn why(&self, sha256: &str) -> Option<&str> {
        self.bad.get(sha256).map(|(_, why)| why.as_str())
    }

    /// The admin asks for it.
    pub(super) fn pardon(&mut self, sha256: &str) {
        self.bad.remove(sha256);
    }
}

/// The library that ran before the last swap, while the new one has yet to prove itself.
pub(super) struct Probation {
    before: Arc<Image>,
    until: Instant,
}

impl Probation {
    pub(super) fn new(before: Arc<Image>, now: Instant) -> Self {
        Self { before, until: now + PROBATION }
    }

    /// The library to go back to, when the new one fails at that time.
    pub(super) fn fallback(self, now: Instant) -> Option<Arc<Image>> {
        (now < self.until).then_some(self.before)
    }
}

/// Keeps the last reports.
pub(super) fn keep(reports: &mut Vec<SwapReport>, report: SwapReport) {
    if reports.len() >= MAX_REPORTS {
        reports.remove(0);
    }
    reports.push(report);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_bad_library_is_forgotten_first() {
        let mut quarantine = Quarantine::default();
        for n in 0..=MAX_QUARANTINED {
            quarantine.add(&format!("{n:03}"), "bad");
        }
        assert_eq!(quarantine.why("000"), None);
        assert_eq!(quarantine.why("001"), Some("bad"));
        quarantine.pardon("001");
        assert_eq!(quarantine.why("001"), None);
    }

    #[test]
    fn only_the_last_reports_are_kept() {
        let mut reports = Vec::new();
        for at_ms in 0..20 {
            keep(&mut reports, SwapReport { at_ms, ..SwapReport::default() });
        }
        assert_eq!(reports.len(), MAX_REPORTS);
        assert_eq!(reports.last().map(|report| report.at_ms), Some(19));
    }
}
