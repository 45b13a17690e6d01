//! Whether the clock can be believed when it says that a message's time is over.
//!
//! A clock leaps: a board without a battery starts years off until it has heard the time, an admin mistypes a date, a receiver
//! of radio time goes mad. What expires can't be brought back, so nothing expires until the clock has gone on calmly for a while.

/// A larger step than that is a leap, in milliseconds: the accepted difference of clocks. The core looks at the clock every
/// second at least, so a smaller one is the time that has passed, or a correction of no account.
pub(super) const LEAP_MS: u64 = 5 * 60_000;

/// For so long the clock must have gone on without a leap, in milliseconds. Time services take minutes to put a clock right; a
/// person takes longer, but an hour more on the disk is all that waiting costs.
pub(super) const CALM_MS: u64 = 60 * 60_000;

/// A clock beside the outer one, which is behind it while that one is not to be believed.
#[derive(Debug, Default)]
pub(super) struct Calm {
    last_ms: Option<u64>,
    calm_ms: u64,
    sure_ms: u64,
}

impl Calm {
    /// Looks at the clock. Returns whether it was set back.
    pub(super) fn advance(&mut self, now_ms: u64) -> bool {
        let was_set_back = self.last_ms.is_some_and(|last| now_ms < last);
        match self.last_ms.and_then(|last| now_ms.checked_sub(last)) {
            Some(step) if step <= LEAP_MS => {
                self.calm_ms = self.calm_ms.saturating_add(step);
                self.sure_ms = self.sure_ms.saturating_add(step);
            }
            _ => self.calm_ms = 0,
        }
        if self.calm_ms >= CALM_MS {
            self.sure_ms = now_ms;
        }
        self.last_ms = Some(now_ms);
        was_set_back
    }

    /// The clock went on step by step up to that moment.
    pub(super) fn go_on(&mut self, now_ms: u64) {
        while let Some(next) = self.last_ms.map(|last| last.saturating_add(LEAP_MS)).filter(|next| *next < now_ms) {
            self.advance(next);
        }
    }

    /// It is as late as that for certain, Unix time in milliseconds.
    pub(super) fn sure_ms(&self) -> u64 {
        self.sure_ms.min(self.last_ms.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    /// Lets the clock go on by so much.
    fn go_on(calm: &mut Calm, from_ms: u64, for_ms: u64) -> u64 {
        let mut now = from_ms;
        while now < from_ms + for_ms {
            now += 1_000;
            calm.advance(now);
        }
        now
    }

    #[test]
    fn after_a_start_and_after_a_leap_the_clock_is_believed_only_once_it_was_calm() {
        let mut calm = Calm::default();
        calm.advance(NOW);
        let now = go_on(&mut calm, NOW, CALM_MS - 1_000);
        assert!(calm.sure_ms() < NOW, "it may have started years ahead");
        let now = go_on(&mut calm, now, 1_000);
        assert_eq!(calm.sure_ms(), now);
        let ahead = now + 10 * 365 * 86_400_000;
        calm.advance(ahead);
        go_on(&mut calm, ahead, CALM_MS / 2);
        assert_eq!(calm.sure_ms(), now + CALM_MS / 2, "time goes on, the leap doesn't count");
        let back = go_on(&mut calm, now + CALM_MS / 2, CALM_MS + 1_000);
        assert_eq!(calm.sure_ms(), back);
    }

    #[test]
    fn a_clock_that_is_set_back_never_makes_it_later() {
        let mut calm = Calm::default();
        calm.advance(NOW);
        let now = go_on(&mut calm, NOW, CALM_MS);
        let before = now - 3_600_000;
        calm.advance(before);
        assert_eq!(calm.sure_ms(), before);
        calm.advance(now + 1_000);
        assert!(calm.sure_ms() <= now + 1_000);
    }
    #[test]
    fn time_that_was_skipped_on_purpose_is_no_leap() {
        let mut calm = Calm::default();
        calm.advance(NOW);
        let later = NOW + 61 * 86_400_000;
        calm.go_on(later);
        calm.advance(later);
        assert_eq!(calm.sure_ms(), later);
    }
}
