//! Doors for fuzzing: moments and durations, as a bot writes them, and the entries of boards.

use super::board;
use super::cron::Cron;
use super::duration;

/// Moments from which the next one is asked for, Unix time in seconds: the first, one before a leap day, one far ahead.
const AFTER: [i64; 3] = [0, 1_709_164_770, 250_000_000_000];

/// Reads a text as a duration, and as moments that come again.
///
/// # Panics
/// When a moment is not ahead and on a whole minute, or a duration is none.
pub fn schedule(text: &str) {
    if let Ok(secs) = duration::parse(text) {
        assert!(secs.is_finite() && secs >= 0.0, "{text:?} lasts {secs} s");
    }
    let Ok(cron) = Cron::parse(text) else { return };
    for after in AFTER {
        let next = cron.next(after);
        assert!(next.is_none_or(|next| next > after && next % 60 == 0), "{text:?} after {after}: {next:?}");
    }
}

/// Reads a text as an entry of a board.
///
/// # Panics
/// When an entry reads otherwise once it was written.
pub fn board_entry(text: &str) {
    board::fuzz(text);
}
