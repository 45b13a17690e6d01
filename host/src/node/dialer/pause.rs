//! When an address that failed is dialled again.

use rand::RngExt;
use rand::rngs::StdRng;

/// Failures beyond which the pause grows no more; it has reached any sensible maximum long before.
const MAX_FAILURES: u32 = 24;

/// Shortest and longest pause before a server is dialled again, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(in crate::node) struct Pauses {
    pub(in crate::node) min_ms: u64,
    pub(in crate::node) max_ms: u64,
}

/// A peer that replaces its transport is dialled without pauses for so long, in milliseconds.
const EXPECTED_MS: u64 = 2_000;

/// The pause before such a dial when the one before it came too early, in milliseconds: the port changes hands within that
/// time.
const HANDOVER_MS: u64 = 2;

/// The memory of failures, and when the next dial is due.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Retry {
    failures: u32,
    pub(super) due_ms: u64,
    /// Until then it is expected back at any moment.
    expected_until_ms: u64,
}

impl Retry {
    /// Dial at once, and forget what failed.
    pub(super) fn now(&mut self, now_ms: u64) {
        *self = Self { failures: 0, due_ms: now_ms, ..*self };
    }

    /// It said that it will be back at once: as its link has ended, whoever takes over is there.
    pub(super) fn restarts(&mut self, now_ms: u64) {
        *self = Self { failures: 0, due_ms: now_ms, expected_until_ms: now_ms + EXPECTED_MS };
    }

    /// Dial at once if the pause was for failures; a moment later if there were none, so that a change does not find
    /// all nodes dialling in the same instant.
    pub(super) fn after(&mut self, delay_ms: u64, now_ms: u64) {
        *self = Self { failures: 0, due_ms: self.due_ms.min(now_ms + delay_ms), ..*self };
    }

    /// One more failure: the pause doubles. Half of it is left to chance, so that nodes that failed together don't
    /// come together.
    pub(super) fn failed(&mut self, pauses: Pauses, now_ms: u64, rng: &mut StdRng) {
        if now_ms < self.expected_until_ms {
            self.due_ms = now_ms + HANDOVER_MS;
            return;
        }
        let doubled = pauses.min_ms.saturating_mul(1 << self.failures.min(MAX_FAILURES));
        let pause = doubled.min(pauses.max_ms);
        self.failures = (self.failures + 1).min(MAX_FAILURES);
        self.due_ms = now_ms + rng.random_range(pause / 2..=pause);
    }

    /// A link that was good has ended: begin with the shortest pause.
    pub(super) fn ended(&mut self, pauses: Pauses, now_ms: u64, rng: &mut StdRng) {
        self.failures = 0;
        self.failed(pauses, now_ms, rng);
        self.failures = 0;
    }

    /// The other side does not want us: the longest pause, whatever came before.
    pub(super) fn unwanted(&mut self, pauses: Pauses, now_ms: u64, rng: &mut StdRng) {
        self.failures = MAX_FAILURES;
        self.failed(pauses, now_ms, rng);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_with_half_left_to_chance() {
        let pauses = Pauses { min_ms: 500, max_ms: 15_000 };
        let mut rng = StdRng::seed_from_u64(1);
        let mut retry = Retry::default();
        for pause in [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000] {
            retry.failed(pauses, 0, &mut rng);
            assert!((pause / 2..=pause).contains(&retry.due_ms), "{} is not about {pause}", retry.due_ms);
        }
        retry.ended(pauses, 0, &mut rng);
        retry.failed(pauses, 0, &mut rng);
        assert!(retry.due_ms <= 500);
        for _ in 0..1_000 {
            retry.failed(Pauses { min_ms: u64::MAX, max_ms: u64::MAX / 2 }, 0, &mut rng);
        }
        retry.unwanted(pauses, 0, &mut rng);
        assert!(retry.due_ms >= 7_500);
    }
}
