//! When a failed plugin starts again: a state machine without a clock.

use std::collections::VecDeque;
use std::time::Duration;

/// Wait before the first restart.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait before a restart.
pub const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// So many failures within [`FAILURE_WINDOW`] disable a plugin until the admin acts.
pub const MAX_FAILURES: usize = 5;
/// How long a failure counts.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(600);

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again after this time.
    Restart(Duration),
    /// Leave it off until the admin enables it.
    Disable,
}

/// The memory of one plugin's failures. Times are read from one monotonic clock, as durations since any fixed moment.
#[derive(Debug, Default, Clone)]
pub struct RestartPolicy {
    failures: VecDeque<Duration>,
}

impl RestartPolicy {
    /// Notes a failure at `now`. `jitter`, from 0 to 1, spreads the wait between half and all of its length, so that
    /// plugins that fail together don't come back together.
    pub fn failed(&mut self, now: Duration, jitter: f64) -> Verdict {
        self.forget(now);
        self.failures.push_back(now);
        if self.failures.len() >= MAX_FAILURES {
            return Verdict::Disable;
        }
        let doublings = u32::try_from(self.failures.len() - 1).unwrap_or(u32::MAX).min(16);
        let wait = FIRST_BACKOFF.saturating_mul(1 << doublings).min(MAX_BACKOFF);
        Verdict::Restart(wait.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0)))
    }

    /// How many failures count at `now`.
    pub fn recent(&mut self, now: Duration) -> u32 {
        self.forget(now);
        u32::try_from(self.failures.len()).unwrap_or(u32::MAX)
    }

    /// The admin acted: nothing counts any more.
    pub fn clear(&mut self) {
        self.failures.clear();
    }

    fn forget(&mut self, now: Duration) {
        while self.failures.front().is_some_and(|at| now.saturating_sub(*at) >= FAILURE_WINDOW) {
            self.failures.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_JITTER: f64 = 1.0;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_wait_doubles_and_the_fifth_failure_disables() {
        let mut policy = RestartPolicy::default();
        for wait_ms in [500, 1000, 2000, 4000] {
            assert_eq!(policy.failed(at(1), NO_JITTER), Verdict::Restart(Duration::from_millis(wait_ms)));
        }
        assert_eq!(policy.failed(at(2), NO_JITTER), Verdict::Disable);
        assert_eq!(policy.recent(at(2)), 5);
    }

    #[test]
    fn failures_are_forgotten_after_ten_minutes() {
        let mut policy = RestartPolicy::default();
        for n in 0..20 {
            let verdict = policy.failed(at(n * 600), NO_JITTER);
            assert_eq!(verdict, Verdict::Restart(FIRST_BACKOFF), "failure {n}");
        }
    }

    #[test]
    fn one_failure_in_three_minutes_never_disables_and_never_waits_over_a_minute() {
        let mut policy = RestartPolicy::default();
        for n in 0..100 {
            match policy.failed(at(n * 180), NO_JITTER) {
                Verdict::Restart(wait) => assert!(wait <= MAX_BACKOFF),
                Verdict::Disable => panic!("four failures in ten minutes are allowed"),
            }
        }
    }

    #[test]
    fn enabling_starts_afresh() {
        let mut policy = RestartPolicy::default();
        for _ in 0..5 {
            policy.failed(at(0), NO_JITTER);
        }
        policy.clear();
        assert_eq!(policy.failed(at(1), NO_JITTER), Verdict::Restart(FIRST_BACKOFF));
    }

    #[test]
    fn jitter_stays_between_half_and_all_of_the_wait() {
        for jitter in [-1.0, 0.0, 0.3, 1.0, 7.0] {
            let Verdict::Restart(wait) = RestartPolicy::default().failed(at(0), jitter) else { panic!("disabled") };
            assert!(wait >= FIRST_BACKOFF / 2 && wait <= FIRST_BACKOFF, "{wait:?}");
        }
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_does_no_harm() {
        let mut policy = RestartPolicy::default();
        policy.failed(at(1000), NO_JITTER);
        assert_eq!(policy.recent(at(10)), 1);
        policy.failed(at(10), NO_JITTER);
        assert_eq!(policy.recent(at(1700)), 0);
    }
}
