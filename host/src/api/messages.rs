//! Messages on their way in and out, and what became of those that went out.

use qpq_schemas::{MessageId, PeerId};
use serde::{Deserialize, Serialize};

use super::NoticeMark;

/// A direct message to be sent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SendRequest {
    /// 64 hex digits, a unique prefix of at least 8, or a nickname from the directory.
    pub to: String,
    /// The text, as bytes.
    pub payload: Vec<u8>,
    /// Time to live in seconds; `None` takes the configured default.
    pub ttl_secs: Option<u32>,
    /// 0 low, 1 normal, 2 high, 3 emergency; `None` is normal.
    pub priority: Option<u8>,
    /// Ask the recipient for a signed delivery receipt.
    pub receipt: bool,
    /// Send without sealing, readable by every relay. Off unless the sender asks for it.
    pub plain: bool,
    /// Made by a program, not by a person: other bots don't answer it.
    pub automatic: bool,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// A reaction to that message, such as an emoji, and not a text.
    pub reaction: bool,
}

/// A message to be published on a channel.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BroadcastRequest {
    /// The channel's name; an open channel of that name is used when none was joined.
    pub topic: String,
    /// The text, as bytes.
    pub payload: Vec<u8>,
    /// Time to live in seconds; `None` takes the configured default.
    pub ttl_secs: Option<u32>,
    /// 0 low, 1 normal, 2 high, 3 emergency; `None` is normal.
    pub priority: Option<u8>,
    /// Made by a program, not by a person: other bots don't answer it.
    pub automatic: bool,
    /// Links that it may cross, at least 1: how far it goes. `None` takes the configured default.
    pub max_hops: Option<u8>,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
    /// A reaction to that message, such as an emoji, and not a text.
    pub reaction: bool,
}

/// An accepted message: it is on this node's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The message's id.
    pub id: MessageId,
    /// When the message dies, Unix time in milliseconds.
    pub expires_ms: u64,
}

/// Which messages [`super::NodeApi::inbox`] shall return.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct InboxQuery {
    /// Only messages with a larger sequence number; `None` starts at the reader's acknowledged place, or at the oldest.
    pub after: Option<u64>,
    /// Whose acknowledged place to start from, when `after` is not given.
    pub reader: Option<String>,
    /// At most that many (0 takes 100; capped at 1,000).
    pub limit: usize,
    /// The newest `limit` messages instead of the oldest.
    pub newest: bool,
    /// Only broadcasts of this channel, by its name.
    pub topic: Option<String>,
    /// When there is none yet, wait so long for one, in milliseconds (capped at 60,000).
    pub wait_ms: u64,
}

/// A stretch of the inbox.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct InboxPage {
    /// The messages, oldest first.
    pub items: Vec<InboxItem>,
    /// Pass this as `after` to go on.
    pub next_after: u64,
}

/// One message, opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxItem {
    /// Place in this node's inbox; grows with each arrival.
    pub seq: u64,
    /// The message's id.
    pub id: MessageId,
    /// Who signed it.
    pub from: PeerId,
    /// The sender's nickname in this node's directory.
    pub from_name: Option<String>,
    /// The channel's name for a broadcast, `None` for a direct message.
    pub topic: Option<String>,
    /// The opened payload. Empty when `problem` says why it could not be opened.
    pub payload: Vec<u8>,
    /// Whether the payload travelled closed to relays.
    pub sealed: bool,
    /// Made by a program, not by a person.
    pub automatic: bool,
    /// When the sender made it, Unix time in milliseconds, by the sender's clock.
    pub created_ms: u64,
    /// When it arrived here, Unix time in milliseconds.
    pub received_ms: u64,
    /// When it dies.
    pub expires_ms: u64,
    /// 0 low … 3 emergency.
    pub priority: u8,
    /// How many links it crossed, as the relays say (unsigned).
    pub hops: u8,
    /// Whether this node's own identity sent it.
    pub own: bool,
    /// Why the payload could not be opened.
    pub problem: Option<String>,
    /// The message that this one answers, as its sender says.
    #[serde(default)]
    pub reply_to: Option<MessageId>,
    /// A reaction to that message, such as an emoji, and not a text.
    #[serde(default)]
    pub reaction: bool,
    /// How many links it may cross.
    #[serde(default)]
    pub max_hops: u8,
    /// It is an emergency notice, with these signatures; `payload` is its text.
    #[serde(default)]
    pub notice: Option<NoticeMark>,
}

/// Which receipts [`super::NodeApi::deliveries`] shall return.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct DeliveryQuery {
    /// Only receipts with a larger sequence number; `None` asks for none, only for the place to go on from.
    pub after: Option<u64>,
    /// When there is none yet, wait so long for one, in milliseconds (capped at 60,000).
    pub wait_ms: u64,
}

/// A stretch of the receipts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DeliveryPage {
    /// The receipts, oldest first.
    pub items: Vec<Delivery>,
    /// Pass this as `after` to go on.
    pub next_after: u64,
}

/// A message's recipient has signed that it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its place among the receipts, counted from the start of the node.
    pub seq: u64,
    /// The message.
    pub id: MessageId,
    /// The recipient.
    pub peer: PeerId,
    /// The recipient's nickname in this node's directory.
    pub peer_name: Option<String>,
    /// When the receipt came, Unix time in milliseconds.
    pub at_ms: u64,
}
