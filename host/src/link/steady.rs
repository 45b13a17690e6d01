//! A clock that no leap of the outer one upsets.

/// The largest step taken at once, in milliseconds. More means that the process stood still (or its clock was set), and then
/// the neighbour gets a chance to be heard before it counts as dead.
const MAX_STEP_MS: u64 = 1_500;

/// How far ahead a deadline is told at most, in milliseconds; below [`MAX_STEP_MS`], so that waiting loses no time.
const MAX_WAIT_MS: u64 = 1_000;

/// Time since the link was made, which only grows, and never by more than [`MAX_STEP_MS`] at once.
pub(super) struct Steady {
    outer: u64,
    inner: u64,
}

impl Steady {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { outer: now_ms, inner: 0 }
    }

    pub(super) fn advance(&mut self, now_ms: u64) {
        self.inner += now_ms.saturating_sub(self.outer).min(MAX_STEP_MS);
        self.outer = now_ms;
    }

    /// The steady time, in milliseconds.
    pub(super) fn now(&self) -> u64 {
        self.inner
    }

    /// A steady moment in the outer time, or an earlier one to look again.
    pub(super) fn outside(&self, at: u64) -> u64 {
        self.outer.saturating_add(at.saturating_sub(self.inner).min(MAX_WAIT_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_steps_are_taken_as_they_are() {
        let mut clock = Steady::new(1_000_000);
        clock.advance(1_000_700);
        clock.advance(1_001_400);
        assert_eq!(clock.now(), 1_400);
        assert_eq!(clock.outside(1_500), 1_001_500);
        assert_eq!(clock.outside(10), 1_001_400);
    }

    #[test]
    fn leaps_in_either_direction_cost_little() {
        let mut clock = Steady::new(1_000_000);
        clock.advance(u64::MAX);
        assert_eq!(clock.now(), MAX_STEP_MS);
        clock.advance(5);
        assert_eq!((clock.now(), clock.outside(MAX_STEP_MS + 100)), (MAX_STEP_MS, 105));
        clock.advance(6);
        assert_eq!(clock.now(), MAX_STEP_MS + 1);
    }

    #[test]
    fn a_far_deadline_is_reached_in_short_waits() {
        let mut clock = Steady::new(0);
        let mut now = 0;
        while clock.now() < 5_000 {
            now = clock.outside(5_000);
            clock.advance(now);
        }
        assert_eq!(now, 5_000);
    }
}
