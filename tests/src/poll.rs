//! Waiting for something to become true, with a deadline instead of a sleep.

use std::time::{Duration, Instant};

use crate::{Failure, Outcome};

/// How long a test waits for what should take well under a second. Generous: test machines are slow and shared.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks.
const STEP: Duration = Duration::from_millis(50);

/// Looks again and again until `look` finds something, for at most [`PATIENCE`].
pub fn until<T>(what: &str, look: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    until_within(PATIENCE, what, look)
}

/// Looks again and again until `look` finds something, for at most `patience`.
pub fn until_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().map_err(|failure| failure.during(what))? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("waited {} s in vain: {what}", patience.as_secs())));
        }
        std::thread::sleep(STEP);
    }
}
