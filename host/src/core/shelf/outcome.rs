//! What the shelf answers.

use super::limits::{RETRY_RECIPIENT_FULL_SECS, RETRY_RELAY_FULL_SECS, RETRY_SENDER_FULL_SECS};
use qpq_schemas::{MessageId, PeerId};

use crate::store::{Batch, Filed, Head, Quota, SeenEntry, SeenState};

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectCode {
    /// It is here already, or was.
    Known(SeenState),
    /// Its time is over.
    Expired,
    /// Its recipient's queue (or this node's inbox) is full.
    RecipientFull,
    /// Its sender has used up its share, at this recipient or in all.
    SenderFull,
    /// This node is full.
    RelayFull,
    /// It is from the past, and all that is kept of its topic is newer.
    Outranked,
}

/// A refusal, and when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub code: RejectCode,
    /// Seconds after which another try makes sense; 0 when none ever does.
    pub retry_after_secs: u16,
    /// The bound that was met, where one was.
    pub quota: Option<Quota>,
}

impl Reject {
    pub(super) fn full(code: RejectCode, quota: Quota) -> Self {
        Self { quota: Some(quota), ..Self::from(code) }
    }
}

impl Reject {
    /// The name of the refusal, as a counter and for clients.
    pub fn name(&self) -> &'static str {
        match self.code {
            RejectCode::Known(_) => "duplicate",
            RejectCode::Expired => "expired-on-arrival",
            RejectCode::RecipientFull => "recipient-full",
            RejectCode::SenderFull => "sender-full",
            RejectCode::RelayFull => "relay-full",
            RejectCode::Outranked => "outranked",
        }
    }
}

impl From<RejectCode> for Reject {
    fn from(code: RejectCode) -> Self {
        let retry_after_secs = match code {
            RejectCode::Known(_) | RejectCode::Expired | RejectCode::Outranked => 0,
            RejectCode::RecipientFull => RETRY_RECIPIENT_FULL_SECS,
            RejectCode::SenderFull => RETRY_SENDER_FULL_SECS,
            RejectCode::RelayFull => RETRY_RELAY_FULL_SECS,
        };
        Self { code, retry_after_secs, quota: None }
    }
}

/// A message that left the shelf. Its record is to be removed from disk, and `seen` to be stored, in one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    /// The message, as it stood on the shelf.
    pub head: Head,
    /// How its id is remembered from now on.
    pub seen: SeenEntry,
    /// Its rank in its queue, when it is to be taken out of the files as well.
    pub rank: Option<u64>,
}

impl Gone {
    /// Adds to a batch what makes it gone from disk as well.
    pub fn put_into(&self, batch: &mut Batch) {
        batch.remove.push(self.head.seq);
        batch.seen.push(self.seen);
        self.unfile(batch);
    }

    /// Adds to a batch what takes it out of the files.
    pub fn unfile(&self, batch: &mut Batch) {
        batch.unfile.extend(self.rank.map(|rank| Filed { head: self.head, rank }));
    }
}

/// A message in a recipient's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Its record in the store.
    pub seq: u64,
    /// Its id.
    pub id: MessageId,
    /// The neighbour that it came from; `None` when it was made here.
    pub source: Option<PeerId>,
    /// When it arrived here, Unix time in milliseconds.
    pub received_ms: u64,
    /// When it dies, Unix time in milliseconds.
    pub expires_ms: u64,
    /// Length of the envelope on the wire, in bytes.
    pub wire_len: u32,
}

impl From<&Filed> for Waiting {
    fn from(filed: &Filed) -> Self {
        let head = &filed.head;
        Self {
            seq: head.seq,
            id: head.id,
            source: head.source,
            received_ms: head.received_ms,
            expires_ms: head.expires_ms,
            wire_len: head.wire_len,
        }
    }
}
