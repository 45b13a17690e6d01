//! How much one neighbour or one domain may bring in: a token bucket for messages, one for bytes, each holding a minute's worth.

const MINUTE_MS: u64 = 60_000;

/// What one neighbour of this mesh may bring in a minute, in messages: a hundred thousand a second, above what two cores check.
/// So it stops nobody who is heard at all until an admin sets it lower.
pub const LINK_MESSAGES_PER_MINUTE: u64 = 6_000_000;

/// The same in bytes: 4 GiB.
pub const LINK_BYTES_PER_MINUTE: u64 = 4 << 30;

/// What one neighbour or domain may bring in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Messages in a minute.
    pub messages_per_minute: u64,
    /// Bytes in a minute.
    pub bytes_per_minute: u64,
}

impl Limit {
    /// What a neighbour may bring in where the configuration says nothing.
    pub const LINK: Self =
        Self { messages_per_minute: LINK_MESSAGES_PER_MINUTE, bytes_per_minute: LINK_BYTES_PER_MINUTE };
}

/// For a domain: a thousand messages a second, as much as a busy town sends in an hour; and their bytes at 1 KiB each.
impl Default for Limit {
    fn default() -> Self {
        Self { messages_per_minute: 60_000, bytes_per_minute: 64 << 20 }
    }
}

/// What one neighbour or domain has used, and what it brought in all.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    messages: Bucket,
    bytes: Bucket,
    /// Envelopes taken in.
    pub(super) taken: u64,
    /// Their bytes.
    pub(super) taken_bytes: u64,
    /// How many times an envelope was put off for this.
    pub(super) put_off: u64,
}

impl Quota {
    pub(super) fn new(limit: Limit, now_ms: u64) -> Self {
        let messages = Bucket::new(limit.messages_per_minute, now_ms);
        let bytes = Bucket::new(limit.bytes_per_minute, now_ms);
        Self { messages, bytes, taken: 0, taken_bytes: 0, put_off: 0 }
    }

    /// Counts an envelope of that length; where there is no room, in how many seconds there will be.
    pub(super) fn take(&mut self, bytes: u64, now_ms: u64) -> Result<(), u16> {
        let wait_ms = self.messages.wait_ms(1, now_ms).max(self.bytes.wait_ms(bytes, now_ms));
        if wait_ms > 0 {
            self.put_off += 1;
            return Err(u16::try_from(wait_ms.div_ceil(1_000)).unwrap_or(u16::MAX));
        }
        self.messages.left -= 1.0;
        self.bytes.left -= bytes as f64;
        self.taken += 1;
        self.taken_bytes += bytes;
        Ok(())
    }

    /// An envelope that was counted was put off for another reason: it comes again, and shall count once.
    pub(super) fn give_back(&mut self, bytes: u64) {
        self.messages.give_back(1.0);
        self.bytes.give_back(bytes as f64);
        self.taken = self.taken.saturating_sub(1);
        self.taken_bytes = self.taken_bytes.saturating_sub(bytes);
    }
}

/// A bucket that is full after a minute.
#[derive(Debug, Clone)]
struct Bucket {
    per_minute: f64,
    left: f64,
    filled_ms: u64,
}

impl Bucket {
    fn new(per_minute: u64, now_ms: u64) -> Self {
        Self { per_minute: per_minute as f64, left: per_minute as f64, filled_ms: now_ms }
    }

    fn give_back(&mut self, amount: f64) {
        self.left = (self.left + amount).min(self.per_minute);
    }

    /// In how many milliseconds there is room for so much; what is larger than the bucket needs it full.
    fn wait_ms(&mut self, amount: u64, now_ms: u64) -> u64 {
        let passed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = now_ms; // also back, when the clock was set back
        self.left = (self.left + self.per_minute * passed_ms as f64 / MINUTE_MS as f64).min(self.per_minute);
        let lacking = (amount as f64).min(self.per_minute) - self.left;
        if lacking <= 0.0 { 0 } else { (lacking * MINUTE_MS as f64 / self.per_minute).ceil() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_at_once_and_then_as_fast_as_the_bucket_fills() {
        let mut quota = Quota::new(Limit { messages_per_minute: 60, bytes_per_minute: 1 << 20 }, 0);
        assert!((0..60).all(|_| quota.take(100, 0).is_ok()));
        assert_eq!(quota.take(100, 0), Err(1));
        assert_eq!(quota.take(100, 1_000), Ok(()));
        assert_eq!(quota.take(100, 1_000), Err(1));
        assert_eq!((quota.taken, quota.put_off), (61, 2));
    }

    #[test]
    fn bytes_count_too_and_what_is_too_large_for_the_bucket_passes_when_it_is_full() {
        let mut quota = Quota::new(Limit { messages_per_minute: 1_000, bytes_per_minute: 60_000 }, 0);
        assert_eq!(quota.take(100_000, 0), Ok(()));
        assert_eq!(quota.take(1, 0), Err(41), "it went into debt");
        assert_eq!(quota.take(1, 42_000), Ok(()));
    }

    #[test]
    fn what_is_given_back_can_be_used_again() {
        let mut quota = Quota::new(Limit { messages_per_minute: 1, bytes_per_minute: 1_000 }, 0);
        for _ in 0..100 {
            assert_eq!(quota.take(900, 0), Ok(()));
            quota.give_back(900);
        }
        assert_eq!((quota.take(900, 0), quota.taken, quota.taken_bytes), (Ok(()), 1, 900));
        assert!(quota.take(900, 0).is_err());
    }

    #[test]
    fn a_clock_set_back_gives_nothing_and_stops_nothing() {
        let mut quota = Quota::new(Limit { messages_per_minute: 60, bytes_per_minute: 1 << 20 }, 100_000);
        assert!((0..60).all(|_| quota.take(1, 100_000).is_ok()));
        assert_eq!(quota.take(1, 0), Err(1));
        assert_eq!(quota.take(1, 1_000), Ok(()));
    }
}
