//! A bound on how fast lines of one kind are logged, so that a neighbour can't fill the disk with what it does wrong.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::callsite::Identifier;

/// Lines from one place in the code that may come at once.
const BURST: f64 = 100.0;
/// Lines from one place in the code in a second, in the long run.
const PER_SECOND: f64 = 5.0;

/// Whether a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is, after so many like it were not.
    Write { left_out: u64 },
    /// It is left out.
    LeaveOut,
}

/// What was logged lately. The number of places in the code bounds its size.
#[derive(Default)]
pub(super) struct Limiter(Mutex<HashMap<Identifier, Bucket>>);

struct Bucket {
    tokens: f64,
    filled: Instant,
    left_out: u64,
}

impl Limiter {
    /// Whether a line from that place in the code is written now.
    pub(super) fn look(&self, place: Identifier, now: Instant) -> Verdict {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.entry(place).or_insert(Bucket { tokens: BURST, filled: now, left_out: 0 }).take(now)
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> Verdict {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + since * PER_SECOND).min(BURST);
        self.filled = now;
        if self.tokens < 1.0 {
            self.left_out += 1;
            return Verdict::LeaveOut;
        }
        self.tokens -= 1.0;
        Verdict::Write { left_out: std::mem::take(&mut self.left_out) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_of_equal_lines_is_thinned_out_and_counted() {
        let start = Instant::now();
        let mut bucket = Bucket { tokens: BURST, filled: start, left_out: 0 };
        let written = (0..1_000).filter(|_| bucket.take(start) != Verdict::LeaveOut).count();
        assert_eq!(written, 100);
        let later = start + Duration::from_secs(1);
        assert_eq!(bucket.take(later), Verdict::Write { left_out: 900 });
        assert_eq!(bucket.take(later), Verdict::Write { left_out: 0 });
    }
}
