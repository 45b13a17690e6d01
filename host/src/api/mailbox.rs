//! What a node offers to people who have no node of their own: a mailbox for each key.

use bytes::Bytes;
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::Reply;

/// Ids that are acknowledged in one call at most.
pub const MAX_ACKS: usize = 1_000;
/// Topics that one mailbox subscribes at most.
pub const MAX_TOPICS: usize = 256;

/// The mailboxes of a node. `owner` is a key that the caller has proven to hold.
pub trait MailboxApi: Send + Sync + 'static {
    /// Makes the mailbox of that key, if there is none. From then on its mail waits here. Durable.
    fn open(&self, owner: PeerId) -> Reply<()>;
    /// Direct messages that were not acknowledged, then broadcasts of the subscribed topics.
    fn fetch(&self, owner: PeerId, query: MailboxQuery) -> Reply<MailPage>;
    /// The owner has these messages on its disk. Returns how many copies the node drops for that.
    fn acknowledge(&self, owner: PeerId, ids: Vec<MessageId>) -> Reply<u32>;
    /// Broadcasts of these topics belong to the mailbox as well. Durable.
    fn subscribe(&self, owner: PeerId, topics: Vec<TopicId>) -> Reply<()>;
    /// They no longer do. Durable.
    fn unsubscribe(&self, owner: PeerId, topics: Vec<TopicId>) -> Reply<()>;
    /// Takes in the owner's own signed node record and spreads it.
    fn publish(&self, owner: PeerId, record: Bytes) -> Reply<()>;
    /// The signed record of whom a text means: a key, a beginning of at least 8 digits, or a nickname. Empty when nobody is
    /// known, an error when several are meant.
    fn look_up(&self, who: String) -> Reply<Vec<Bytes>>;
    /// What waits, and how much may.
    fn figures(&self, owner: PeerId) -> Reply<MailFigures>;
}

/// Which messages [`MailboxApi::fetch`] shall return.
#[derive(Debug, Clone, Copy, Default)]
pub struct MailboxQuery {
    /// Broadcasts must have a larger sequence number.
    pub after: u64,
    /// At most that many (0 takes 100; capped at 1,000).
    pub limit: usize,
    /// When there is nothing, wait so long for something, in milliseconds (capped at 60,000).
    pub wait_ms: u64,
}

/// A stretch of a mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailPage {
    /// Direct messages first, the most urgent before others and in turn by their senders, then broadcasts in order of arrival.
    pub items: Vec<MailItem>,
    /// Pass this as `after` to go on.
    pub next_after: u64,
}

/// A message as it lies in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailItem {
    /// Place in the node's order of arrival.
    pub seq: u64,
    /// As its sender signed it.
    pub envelope: Vec<u8>,
    /// When it arrived, Unix time in milliseconds.
    pub received_ms: u64,
}

/// What waits in a mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MailFigures {
    /// Direct messages and receipts that were not acknowledged.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// How many may wait.
    pub max_messages: u64,
    /// How many bytes may wait.
    pub max_bytes: u64,
    /// The subscribed topics.
    pub topics: Vec<TopicId>,
}
