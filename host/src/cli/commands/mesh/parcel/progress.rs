//! A line that says how far long work is, on the standard error output of a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Between two changes of the line. Work that is done sooner shows none.
const PAUSE: Duration = Duration::from_millis(500);

/// The line.
pub(super) struct Progress {
    what: &'static str,
    last: Instant,
    shown: bool,
    on: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, last: Instant::now(), shown: false, on: stderr().is_terminal() }
    }

    /// So much is done, of so much where that is known.
    pub(super) fn show(&mut self, done: u64, of: Option<u64>) {
        if !self.on || self.last.elapsed() < PAUSE {
            return;
        }
        (self.last, self.shown) = (Instant::now(), true);
        let share = of.and_then(|of| done.saturating_mul(100).checked_div(of)).map(|share| format!(" ({share} %)"));
        _ = write!(stderr(), "\r{done} {}{}", self.what, share.unwrap_or_default()); // whoever closed it doesn't want to know
    }

    /// Takes the line away.
    pub(super) fn end(self) {
        if self.shown {
            _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
