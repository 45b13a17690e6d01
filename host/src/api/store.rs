//! What the store holds, for whom, and what it did not take.

use std::collections::BTreeMap;

use qpq_schemas::{MessageId, PeerId};
use serde::{Deserialize, Serialize};

/// Figures of the store.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StoreStats {
    /// Envelopes waiting for a next hop or their recipient.
    pub waiting: usize,
    /// Their size in bytes.
    pub waiting_bytes: u64,
    /// Recipients with something waiting.
    pub recipients: usize,
    /// The longest queues: recipient, messages, bytes.
    pub longest: Vec<QueueInfo>,
    /// Broadcasts kept for late joiners.
    pub broadcasts: usize,
    /// Their size in bytes.
    pub broadcast_bytes: u64,
    /// Messages in the inbox.
    pub inbox: usize,
    /// Ids remembered for deduplication.
    pub seen: usize,
    /// When the oldest waiting envelope arrived, Unix time in milliseconds.
    pub oldest_ms: Option<u64>,
    /// Counters since the start of the process: accepted, duplicate, forwarded, delivered, expired, evicted and each refusal by its code.
    pub counters: BTreeMap<String, u64>,
    /// Records found damaged and set aside.
    pub damaged: u64,
    /// Size of the database on disk, in bytes.
    pub disk_bytes: u64,
    /// The store takes no new messages, and why (disk full, failed sync).
    pub read_only: Option<String>,
    /// What files that vanished took away, and what helps. It stays until `qpq store repair` puts it away.
    pub lost: Option<String>,
    /// The queues whose oldest messages have waited longest.
    pub oldest: Vec<QueueInfo>,
    /// The senders of whom most waits here.
    pub senders: Vec<SenderUse>,
    /// Messages that made room since the start of the process, by the bound that was met.
    pub evicted: BTreeMap<String, u64>,
    /// Messages that were not taken since the start of the process, by the bound that was met.
    pub refused: BTreeMap<String, u64>,
    /// Envelopes kept in all, in whatever place.
    pub total: usize,
    /// Their size in bytes.
    pub total_bytes: u64,
    /// Size of the inbox in bytes.
    pub inbox_bytes: u64,
    /// Waiting envelopes of which a neighbour holds a copy as well: they make room before anything is refused.
    pub replicas: usize,
    /// The bounds.
    pub quotas: StoreQuotas,
}

/// One recipient's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueInfo {
    /// The recipient.
    pub recipient: PeerId,
    /// The recipient's nickname in this node's directory.
    #[serde(default)]
    pub nickname: Option<String>,
    /// Messages waiting.
    pub messages: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// When the oldest arrived, Unix time in milliseconds.
    pub oldest_ms: u64,
}

/// What waits here of one sender, for all recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderUse {
    /// The sender.
    pub sender: PeerId,
    /// The sender's nickname in this node's directory.
    pub nickname: Option<String>,
    /// Messages waiting.
    pub messages: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// How much is kept, for whom. The keys `store.*` of the configuration set it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreQuotas {
    /// Messages that may wait for one recipient.
    pub recipient_messages: u64,
    /// Bytes that may wait for one recipient.
    pub recipient_bytes: u64,
    /// Share of a recipient's room that one sender may fill, in percent.
    pub sender_share_percent: u64,
    /// Messages of one sender that may wait for all recipients.
    pub sender_messages: u64,
    /// Bytes of one sender that may wait for all recipients.
    pub sender_bytes: u64,
    /// Broadcasts kept of one topic.
    pub topic_messages: u64,
    /// Bytes of broadcasts kept of one topic.
    pub topic_bytes: u64,
    /// Messages in the inbox.
    pub inbox_messages: u64,
    /// Bytes in the inbox.
    pub inbox_bytes: u64,
    /// Envelopes in all.
    pub total_messages: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Messages that one neighbour may bring in a minute.
    pub link_messages_per_minute: u64,
    /// Bytes that one neighbour may bring in a minute.
    pub link_bytes_per_minute: u64,
}

/// Which messages [`super::NodeApi::queue`] shall return.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct QueueQuery {
    /// Whose queue: 64 hex digits, a unique prefix of at least 8, or a nickname.
    pub recipient: String,
    /// So many of its messages are passed over.
    pub after: u64,
    /// At most that many (0 takes 100; capped at 1,000).
    pub limit: u32,
}

/// A stretch of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePage {
    /// The recipient.
    pub recipient: PeerId,
    /// The recipient's nickname in this node's directory.
    pub nickname: Option<String>,
    /// Messages in the whole queue.
    pub messages: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Messages that may wait.
    pub max_messages: u64,
    /// Bytes that may wait.
    pub max_bytes: u64,
    /// The messages, in the order in which they go.
    pub items: Vec<QueuedItem>,
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedItem {
    /// The message's id.
    pub id: MessageId,
    /// Who signed it.
    pub from: PeerId,
    /// The sender's nickname in this node's directory.
    pub from_name: Option<String>,
    /// 0 low … 3 emergency.
    pub priority: u8,
    /// Its size on the wire.
    pub bytes: u64,
    /// When the sender made it, Unix time in milliseconds, by the sender's clock.
    pub created_ms: u64,
    /// When it arrived here, Unix time in milliseconds.
    pub received_ms: u64,
    /// When it dies.
    pub expires_ms: u64,
    /// The neighbour that brought it; this node's own key when it came out of a file. `None` when it was handed in here.
    pub source: Option<PeerId>,
}
