//! When a failed plugin starts again: a state machine without a clock.

use std::collections::VecDeque;
use std::time::Duration;

/// Wait before the first restart.
pub const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait before a restart.
pub const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// So many failures within [`FAILURE_WINDOW`] switch a plugin off: from then on it is only tried now and then.
pub const MAX_FAILURES: usize = 5;
/// How long a failure counts, and how long a plugin that was switched off must run to count as mended.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(600);
/// Wait before a plugin that was switched off is tried again.
pub const FIRST_RETRY: Duration = Duration::from_secs(120);
/// The longest wait between two tries. What was wrong, such as a cable or a port in use, may be mended by then.
pub const MAX_RETRY: Duration = Duration::from_secs(3_600);

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again after this time.
    Restart(Duration),
    /// It is switched off. Try it after this time, once.
    Disable(Duration),
}

/// The memory of one plugin's failures. Times are read from one monotonic clock, as durations since any fixed moment.
#[derive(Debug, Clone)]
pub struct RestartPolicy {
    failures: VecDeque<Duration>,
    first_retry: Duration,
    /// While it is switched off, or was until a moment ago.
    off: Option<Off>,
}

/// A plugin that was switched off.
#[derive(Debug, Clone, Copy)]
struct Off {
    /// When it is tried.
    retry: Duration,
    /// The wait before that, without jitter.
    wait: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self::with_first_retry(FIRST_RETRY)
    }
}

impl RestartPolicy {
    /// A policy that tries what was switched off after `first_retry` for the first time.
    pub fn with_first_retry(first_retry: Duration) -> Self {
        Self { failures: VecDeque::new(), first_retry, off: None }
    }

    /// Notes a failure at `now`. `jitter`, from 0 to 1, spreads the wait between half and all of its length, so that
    /// plugins that fail together don't come back together.
    pub fn failed(&mut self, now: Duration, jitter: f64) -> Verdict {
        self.forget(now);
        self.failures.push_back(now);
        let spread = |wait: Duration| wait.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        let failed_retry = self.off.take().filter(|off| now.saturating_sub(off.retry) < FAILURE_WINDOW);
        if failed_retry.is_some() || self.failures.len() >= MAX_FAILURES {
            let wait = failed_retry.map_or(self.first_retry, |off| off.wait.saturating_mul(2)).min(MAX_RETRY);
            self.off = Some(Off { retry: now.saturating_add(spread(wait)), wait });
            return Verdict::Disable(spread(wait));
        }
        let doublings = u32::try_from(self.failures.len() - 1).unwrap_or(u32::MAX).min(16);
        Verdict::Restart(spread(FIRST_BACKOFF.saturating_mul(1 << doublings).min(MAX_BACKOFF)))
    }

    /// How many failures count at `now`.
    pub fn recent(&mut self, now: Duration) -> u32 {
        self.forget(now);
        u32::try_from(self.failures.len()).unwrap_or(u32::MAX)
    }

    /// The admin acted: nothing counts any more.
    pub fn clear(&mut self) {
        self.failures.clear();
        self.off = None;
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
        assert_eq!(policy.failed(at(2), NO_JITTER), Verdict::Disable(FIRST_RETRY));
        assert_eq!(policy.recent(at(2)), 5);
    }

    /// A policy whose plugin was just switched off at 0, and is tried at [`FIRST_RETRY`].
    fn switched_off() -> RestartPolicy {
        let mut policy = RestartPolicy::default();
        for _ in 0..MAX_FAILURES {
            policy.failed(at(0), NO_JITTER);
        }
        policy
    }

    #[test]
    fn what_is_switched_off_is_tried_once_each_time_and_ever_more_seldom_up_to_an_hour() {
        let (mut policy, mut now) = (switched_off(), FIRST_RETRY);
        for minutes in [4, 8, 16, 32, 60, 60, 60] {
            let wait = Duration::from_secs(minutes * 60);
            assert_eq!(policy.failed(now + at(1), NO_JITTER), Verdict::Disable(wait));
            now += wait + at(1);
        }
    }

    #[test]
    fn what_ran_for_ten_minutes_after_a_try_counts_as_mended() {
        let mut policy = switched_off();
        let later = FIRST_RETRY + FAILURE_WINDOW;
        assert_eq!(policy.failed(later, NO_JITTER), Verdict::Restart(FIRST_BACKOFF));
        let mut policy = switched_off();
        assert!(matches!(policy.failed(later - at(1), NO_JITTER), Verdict::Disable(_)), "not before that");
    }

    #[test]
    fn no_jitter_makes_a_try_come_at_once() {
        let mut policy = RestartPolicy::default();
        let last = (0..MAX_FAILURES).map(|_| policy.failed(at(0), 0.0)).last();
        assert_eq!(last, Some(Verdict::Disable(FIRST_RETRY / 2)));
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
                Verdict::Disable(_) => panic!("four failures in ten minutes are allowed"),
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
