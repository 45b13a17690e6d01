//! Token buckets: so much at once, so much over time.

use std::time::Instant;

/// A bucket that fills steadily up to its capacity.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    capacity: f64,
    per_second: f64,
    level: f64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(capacity: f64, per_second: f64, now: Instant) -> Self {
        Self { capacity, per_second, level: capacity, filled: now }
    }

    /// Takes another capacity and pace; what is used stays used.
    pub(crate) fn resize(&mut self, capacity: f64, per_second: f64, now: Instant) {
        self.fill(now);
        self.level += capacity - self.capacity;
        (self.capacity, self.per_second) = (capacity, per_second);
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.level = (self.level + passed * self.per_second).min(self.capacity);
        self.filled = now;
    }

    /// Seconds until `amount` is there; 0 when it is, infinite when it never will be.
    pub(crate) fn wait(&mut self, amount: f64, now: Instant) -> f64 {
        self.fill(now);
        if self.level >= amount {
            0.0
        } else if self.per_second > 0.0 && amount <= self.capacity {
            (amount - self.level) / self.per_second
        } else {
            f64::INFINITY
        }
    }

    /// What is used of the capacity at the moment, and the capacity.
    pub(crate) fn spent(&mut self, now: Instant) -> (f64, f64) {
        self.fill(now);
        (self.capacity - self.level, self.capacity)
    }

    /// What is there; less than nothing when more was used.
    pub(crate) fn level(&mut self, now: Instant) -> f64 {
        self.fill(now);
        self.level
    }

    /// Fills or empties it to what is there elsewhere.
    pub(crate) fn set_level(&mut self, level: f64, now: Instant) {
        self.level = level.min(self.capacity);
        self.filled = now;
    }

    /// Takes `amount`, even below zero: what was used can't be given back.
    pub(crate) fn take(&mut self, amount: f64) {
        self.level -= amount;
    }

    /// Takes `amount` if it is there.
    pub(crate) fn try_take(&mut self, amount: f64, now: Instant) -> bool {
        let there = self.wait(amount, now) <= 0.0;
        if there {
            self.take(amount);
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_of_another_size_has_as_much_used_as_before() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0, 0.0, start);
        bucket.take(4.0);
        bucket.resize(3.0, 1.0, start);
        assert_eq!(bucket.level(start), -1.0);
        assert!((bucket.wait(1.0, start) - 2.0).abs() < 0.01);
        bucket.resize(10.0, 1.0, start);
        assert_eq!(bucket.spent(start), (4.0, 10.0));
    }

    #[test]
    fn a_bucket_gives_its_capacity_and_then_waits() {
        let start = Instant::now();
        let mut bucket = Bucket::new(2.0, 0.5, start);
        assert!(bucket.try_take(1.0, start) && bucket.try_take(1.0, start));
        assert!(!bucket.try_take(1.0, start));
        assert!((bucket.wait(1.0, start) - 2.0).abs() < 0.01);
        assert!(bucket.try_take(1.0, start + Duration::from_secs(2)));
        assert!(bucket.wait(2.5, start).is_infinite());
    }
}
