//! How long an answer takes.

/// Taken for the round-trip time before it was measured, in milliseconds.
const UNKNOWN_MS: u64 = 100;

/// The shortest wait for an answer, in milliseconds: the other side's scheduler may be late by that much on a busy machine.
const LEAST_WAIT_MS: u64 = 20;

/// For how long the smallest measurement counts at least, in milliseconds; at most twice as long. A path changes.
const MIN_AGE_MS: u64 = 5_000;

/// The round-trip time of one link, in milliseconds, smoothed in eighths (RFC 6298, section 2).
pub(super) struct Rtt {
    /// Smoothed mean and deviation, in microseconds.
    smoothed: Option<(u64, u64)>,
    latest: u64,
    /// The smallest since the time in the third place, and that of the period before.
    min: (u64, u64, u64),
}

impl Rtt {
    pub(super) fn new() -> Self {
        Self { smoothed: None, latest: UNKNOWN_MS, min: (u64::MAX, u64::MAX, 0) }
    }

    /// An answer to a packet that was sent so long ago; `delay_ms` says how long the neighbour kept it.
    pub(super) fn measured(&mut self, sample_ms: u64, delay_ms: u64, now: u64) {
        if now >= self.min.2 + MIN_AGE_MS {
            self.min = (u64::MAX, self.min.0, now);
        }
        self.min.0 = self.min.0.min(sample_ms);
        // The neighbour's word counts only as far as it explains something.
        self.latest = sample_ms.saturating_sub(delay_ms).max(self.min_ms().min(sample_ms));
        let sample = self.latest * 1_000;
        self.smoothed = Some(match self.smoothed {
            None => (sample, sample / 2),
            Some((mean, deviation)) => {
                (mean - mean / 8 + sample / 8, deviation - deviation / 4 + mean.abs_diff(sample) / 4)
            }
        });
    }

    /// Smoothed, in microseconds; `None` before the first answer.
    pub(super) fn smoothed_us(&self) -> Option<u64> {
        self.smoothed.map(|(mean, _)| mean)
    }

    /// Smoothed, in milliseconds.
    pub(super) fn smoothed_ms(&self) -> u64 {
        self.smoothed.map_or(UNKNOWN_MS, |(mean, _)| mean.div_ceil(1_000))
    }

    /// The smallest of the last seconds: the way without queues.
    pub(super) fn min_ms(&self) -> u64 {
        match self.min.0.min(self.min.1) {
            u64::MAX => UNKNOWN_MS,
            min => min,
        }
    }

    /// The larger of the smoothed and the last one: what a packet may well take.
    pub(super) fn likely_ms(&self) -> u64 {
        self.smoothed_ms().max(self.latest)
    }

    /// After how long without any answer to ask again. `ack_delay_ms` is what the neighbour may keep its answer.
    pub(super) fn patience_ms(&self, ack_delay_ms: u64) -> u64 {
        let deviation = self.smoothed.map_or(UNKNOWN_MS * 1_000 / 4, |(_, deviation)| deviation);
        self.smoothed_ms() + (4 * deviation).div_ceil(1_000).max(LEAST_WAIT_MS) + ack_delay_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_neighbours_delay_is_taken_off_but_never_below_the_smallest() {
        let mut rtt = Rtt::new();
        rtt.measured(50, 0, 0);
        assert_eq!((rtt.smoothed_ms(), rtt.min_ms()), (50, 50));
        rtt.measured(60, 10, 10);
        assert_eq!(rtt.latest, 50);
        rtt.measured(60, 60_000, 20);
        assert_eq!(rtt.latest, 50);
    }

    #[test]
    fn the_smallest_is_forgotten_in_time() {
        let mut rtt = Rtt::new();
        rtt.measured(10, 0, 0);
        for step in 1..=30 {
            rtt.measured(80, 0, step * 500);
        }
        assert_eq!(rtt.min_ms(), 80);
        assert!((70..=80).contains(&rtt.smoothed_ms()));
    }
}
