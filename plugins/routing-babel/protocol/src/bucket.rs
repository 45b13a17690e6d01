//! How often something costly may be asked for.

/// A token bucket that begins full.
#[derive(Debug, Default, Clone, Copy)]
pub struct Bucket {
    used: u64,
    since_ms: u64,
}

impl Bucket {
    /// Whether it may happen now: `burst` times in a row, and once in `every_ms` for long.
    pub fn take(&mut self, now_ms: u64, burst: u64, every_ms: u64) -> bool {
        self.take_many(now_ms, 1, burst, every_ms)
    }

    /// The same for something that counts `amount` times. It may happen while anything is left.
    pub fn take_many(&mut self, now_ms: u64, amount: u64, burst: u64, every_ms: u64) -> bool {
        let refilled = now_ms.saturating_sub(self.since_ms) / every_ms;
        self.since_ms += refilled * every_ms;
        self.used = self.used.saturating_sub(refilled);
        let free = self.used < burst;
        if free {
            self.used += amount;
        }
        free
    }

    /// When it may happen again.
    pub fn free_at(&self, burst: u64, every_ms: u64) -> u64 {
        self.since_ms + (self.used + 1).saturating_sub(burst) * every_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_rate() {
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, now| (0..10).filter(|_| bucket.take(now, 3, 100)).count();
        assert_eq!(taken(&mut bucket, 1_000), 3);
        assert_eq!(taken(&mut bucket, 1_099), 0);
        assert_eq!(taken(&mut bucket, 1_250), 2);
        assert_eq!(taken(&mut bucket, 9_000), 3);
    }

    #[test]
    fn more_than_is_left_is_paid_back_first() {
        let mut bucket = Bucket::default();
        assert!(bucket.take_many(1_000, 5, 3, 10));
        assert_eq!(bucket.free_at(3, 10), 1_030);
        assert!(!bucket.take_many(1_029, 1, 3, 10));
        assert!(bucket.take_many(1_030, 1, 3, 10));
    }
}
