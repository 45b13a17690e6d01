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
        let refilled = now_ms.saturating_sub(self.since_ms) / every_ms;
        self.since_ms += refilled * every_ms;
        self.used = self.used.saturating_sub(refilled);
        let free = self.used < burst;
        self.used += u64::from(free);
        free
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
}
