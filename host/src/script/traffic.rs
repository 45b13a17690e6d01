//! The quotas that fill up again: what a bot sends, logs, computes and writes.

use std::time::Instant;

use super::bucket::Bucket;
use super::limits::{CPU_WINDOW, ScriptLimits};
use crate::api::ApiError;

/// The buckets that bound what a bot sends, logs and computes.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub messages: Bucket,
    pub broadcasts: Bucket,
    pub bytes: Bucket,
    pub log: Bucket,
    /// CPU in seconds.
    pub cpu: Bucket,
    /// Bytes written to the store.
    pub stored: Bucket,
    /// The limits in force: those of the bot's last version.
    pub limits: ScriptLimits,
}

/// Answers that a version which ends may give beyond its quota, so that none is lost for which it had no room yet.
pub(crate) const LAST_ANSWERS: u32 = 16;
/// Length of such an answer, in bytes.
const LAST_ANSWER_BYTES: usize = 4_096;

/// What else there is to do about a quota.
const MORE: &str = "have the admin raise its `limits` in the configuration; `qpq script top` tells which";

impl Traffic {
    pub(crate) fn new(limits: &ScriptLimits, now: Instant) -> Self {
        let [messages, broadcasts, bytes, log, cpu, stored] =
            sizes(limits).map(|(capacity, per_second)| Bucket::new(capacity, per_second, now));
        Self { messages, broadcasts, bytes, log, cpu, stored, limits: limits.clone() }
    }

    /// Takes the limits of another version of the bot; what is used of them stays used.
    pub(crate) fn limit(&mut self, limits: &ScriptLimits, now: Instant) {
        let resize =
            |(bucket, (capacity, per_second)): (&mut Bucket, (f64, f64))| bucket.resize(capacity, per_second, now);
        self.buckets().into_iter().zip(sizes(limits)).for_each(resize);
        self.limits = limits.clone();
    }

    /// Charges for a message of that many bytes, or says how long the bot has to wait. What is `published` unasked has a
    /// smaller quota than messages and answers.
    pub(crate) fn admit(&mut self, published: bool, bytes: usize, now: Instant) -> Result<(), ApiError> {
        let wait = self.wait(published, bytes, now);
        let (what, bucket) = self.counted(published);
        if wait > 0.0 {
            let message = if wait.is_finite() {
                format!("the bot's quota of {what} is used up for {:.0} s; send fewer, or {MORE}", wait.ceil())
            } else {
                format!("the bot's quota never has room for such {what}; send shorter ones, or {MORE}")
            };
            return Err(ApiError::new("rate-limited", message));
        }
        bucket.take(1.0);
        self.bytes.take(bytes as f64);
        Ok(())
    }

    /// In how many seconds there is room for such a message.
    pub(crate) fn wait(&mut self, published: bool, bytes: usize, now: Instant) -> f64 {
        let wait = self.bytes.wait(bytes as f64, now);
        self.counted(published).1.wait(1.0, now).max(wait)
    }

    /// Whether an answer of that many bytes may be one that goes beyond the quota. What never has room has none at the end.
    pub(crate) fn may_go_last(&mut self, bytes: usize, now: Instant) -> bool {
        bytes <= LAST_ANSWER_BYTES && self.wait(false, bytes, now).is_finite()
    }

    /// What a message counts as, and its bucket.
    fn counted(&mut self, published: bool) -> (&'static str, &mut Bucket) {
        if published { ("broadcasts", &mut self.broadcasts) } else { ("messages", &mut self.messages) }
    }

    /// Whether so many bytes may be written to the store now. The disk of a small machine wears out by being written.
    pub(crate) fn may_store(&mut self, bytes: usize, now: Instant) -> Result<(), ApiError> {
        let wait = self.stored.wait(bytes as f64, now);
        if wait > 0.0 {
            let message = format!(
                "the bot's quota of writing to its store is used up for {:.0} s; write less often, or {MORE}",
                wait.ceil()
            );
            return Err(ApiError::new("rate-limited", message));
        }
        Ok(())
    }

    fn buckets(&mut self) -> [&mut Bucket; 6] {
        let Self { messages, broadcasts, bytes, log, cpu, stored, limits: _ } = self;
        [messages, broadcasts, bytes, log, cpu, stored]
    }

    /// How full the buckets are, for [`Traffic::set_levels`] in another process.
    pub(crate) fn levels(&mut self, now: Instant) -> Vec<f64> {
        self.buckets().map(|bucket| bucket.level(now)).into()
    }

    pub(crate) fn set_levels(&mut self, levels: &[f64], now: Instant) {
        self.buckets().into_iter().zip(levels).for_each(|(bucket, level)| bucket.set_level(*level, now));
    }
}

/// Capacity and pace of each of [`Traffic`]'s buckets, in their order.
fn sizes(limits: &ScriptLimits) -> [(f64, f64); 6] {
    let per = |n: u32, secs: f64| (f64::from(n), f64::from(n) / secs);
    let share = limits.cpu_percent as f64 / 100.0;
    [
        per(limits.messages_per_minute, 60.0),
        per(limits.broadcasts_per_minute, 60.0),
        per(limits.bytes_per_hour, 3_600.0),
        per(limits.log_lines_per_second, 1.0),
        (share * CPU_WINDOW.as_secs_f64(), share),
        per(limits.store_bytes_per_minute, 60.0),
    ]
}
