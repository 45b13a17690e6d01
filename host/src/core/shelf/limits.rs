//! How much is kept, for whom.

use serde::{Deserialize, Serialize};

/// Messages that may wait for one recipient.
pub const RECIPIENT_MESSAGES: u32 = 1_000;
/// Bytes that may wait for one recipient: 4 MiB.
pub const RECIPIENT_BYTES: u64 = 4 << 20;
/// Share of a recipient's room that one sender may fill, in percent. So four strangers together are needed to
/// shut a recipient off, and keys alone don't help a flooder that comes in by one link.
pub const SENDER_SHARE_PERCENT: u32 = 25;
/// Messages of one sender that may wait here for all recipients together.
pub const SENDER_MESSAGES: u32 = 10_000;
/// Bytes of one sender that may wait here for all recipients together: 32 MiB.
pub const SENDER_BYTES: u64 = 32 << 20;
/// Envelopes kept here in all. At 200 bytes of memory each, the indexes stay under 40 MB.
pub const TOTAL_MESSAGES: u32 = 200_000;
/// Bytes of envelopes kept here in all: 512 MiB.
pub const TOTAL_BYTES: u64 = 512 << 20;
/// Broadcasts kept for late joiners of one topic.
pub const TOPIC_MESSAGES: u32 = 1_000;
/// Bytes of broadcasts kept for one topic: 4 MiB.
pub const TOPIC_BYTES: u64 = 4 << 20;
/// How old a broadcast may become that is kept for late joiners, in seconds: 30 days, the longest time to live.
pub const TOPIC_AGE_SECS: u32 = 30 * 24 * 60 * 60;
/// A broadcast that is older than this came late. It doesn't push out a newer one, in milliseconds.
pub const PAST_MS: u64 = 600_000;
/// Messages in this node's own inbox.
pub const INBOX_MESSAGES: u32 = 10_000;
/// Bytes in this node's own inbox: 64 MiB.
pub const INBOX_BYTES: u64 = 64 << 20;
/// Ids remembered of messages that are no longer here. At about 65 bytes each, 65 MB.
pub const SEEN_IDS: u32 = 1_000_000;
/// How long an id is remembered beyond its message's end: the accepted difference of clocks, in milliseconds.
pub const SEEN_GRACE_MS: u64 = 300_000;
/// After how many seconds a sender may try again whose message met a full queue.
pub const RETRY_RECIPIENT_FULL_SECS: u16 = 60;
/// The same for a sender that used up its own share.
pub const RETRY_SENDER_FULL_SECS: u16 = 30;
/// The same when this node as a whole is full.
pub const RETRY_RELAY_FULL_SECS: u16 = 30;

/// Limits of what a node keeps. The defaults are the constants of this module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreLimits {
    /// Messages that may wait for one recipient. Default 1,000.
    pub recipient_messages: u32,
    /// Bytes that may wait for one recipient. Default 4 MiB.
    pub recipient_bytes: u64,
    /// Share of a recipient's room that one sender may fill, in percent (1 to 100). Default 25.
    pub sender_share_percent: u32,
    /// Messages of one sender that may wait for all recipients together. Default 10,000.
    pub sender_messages: u32,
    /// Bytes of one sender that may wait for all recipients together. Default 32 MiB.
    pub sender_bytes: u64,
    /// Envelopes kept in all. Default 200,000.
    pub total_messages: u32,
    /// Bytes of envelopes kept in all. Default 512 MiB.
    pub total_bytes: u64,
    /// Broadcasts kept for late joiners of one topic. Default 1,000.
    pub topic_messages: u32,
    /// Bytes of broadcasts kept for one topic. Default 4 MiB.
    pub topic_bytes: u64,
    /// How old a broadcast may become that is kept for late joiners, in seconds. Default 30 days.
    pub topic_age_secs: u32,
    /// Messages in this node's own inbox. Default 10,000.
    pub inbox_messages: u32,
    /// Bytes in this node's own inbox. Default 64 MiB.
    pub inbox_bytes: u64,
    /// Ids remembered of messages that are no longer here. Beyond it, the neighbour that brought the most has some of its own
    /// forgotten early. Default 1,000,000.
    pub seen_ids: u32,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            recipient_messages: RECIPIENT_MESSAGES,
            recipient_bytes: RECIPIENT_BYTES,
            sender_share_percent: SENDER_SHARE_PERCENT,
            sender_messages: SENDER_MESSAGES,
            sender_bytes: SENDER_BYTES,
            total_messages: TOTAL_MESSAGES,
            total_bytes: TOTAL_BYTES,
            topic_messages: TOPIC_MESSAGES,
            topic_bytes: TOPIC_BYTES,
            topic_age_secs: TOPIC_AGE_SECS,
            inbox_messages: INBOX_MESSAGES,
            inbox_bytes: INBOX_BYTES,
            seen_ids: SEEN_IDS,
        }
    }
}

impl StoreLimits {
    /// A quota for all of one kind, as one sender's share of it (at least one message).
    pub(super) fn share(&self, of: Room) -> Room {
        let percent = u64::from(self.sender_share_percent.clamp(1, 100));
        let messages = u64::from(of.messages) * percent / 100;
        Room { messages: u32::try_from(messages).unwrap_or(u32::MAX).max(1), bytes: of.bytes / 100 * percent }
    }

    pub(super) fn recipient(&self) -> Room {
        Room { messages: self.recipient_messages, bytes: self.recipient_bytes }
    }

    pub(super) fn sender(&self) -> Room {
        Room { messages: self.sender_messages, bytes: self.sender_bytes }
    }

    pub(super) fn total(&self) -> Room {
        Room { messages: self.total_messages, bytes: self.total_bytes }
    }

    pub(super) fn topic(&self) -> Room {
        Room { messages: self.topic_messages, bytes: self.topic_bytes }
    }

    pub(super) fn inbox(&self) -> Room {
        Room { messages: self.inbox_messages, bytes: self.inbox_bytes }
    }
}

/// A number of messages and bytes: a quota, or what is used of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Room {
    pub(super) messages: u32,
    pub(super) bytes: u64,
}

impl Room {
    pub(super) fn add(&mut self, len: u32) {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u64::from(len));
    }

    pub(super) fn sub(&mut self, len: u32) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(u64::from(len));
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { messages: self.messages.saturating_add(other.messages), bytes: self.bytes.saturating_add(other.bytes) }
    }

    /// Whether a message of `len` bytes fits into `quota` on top of what is used.
    pub(super) fn fits(self, quota: Self, len: u32) -> bool {
        self.messages < quota.messages && self.bytes.saturating_add(u64::from(len)) <= quota.bytes
    }
}
