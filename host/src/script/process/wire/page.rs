//! A page of the inbox on the wire: with every field in its place, and keys as they are.

use qpq_schemas::{MessageId, PeerId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::api::{InboxItem, InboxPage, NoticeMark};

#[derive(Serialize, Deserialize)]
struct Page {
    items: Vec<Item>,
    next_after: u64,
}

/// [`InboxItem`], which leaves fields out where it is written as JSON.
#[derive(Serialize, Deserialize)]
struct Item {
    seq: u64,
    id: [u8; 32],
    from: [u8; 32],
    from_name: Option<String>,
    topic: Option<String>,
    payload: Vec<u8>,
    sealed: bool,
    automatic: bool,
    created_ms: u64,
    received_ms: u64,
    expires_ms: u64,
    priority: u8,
    hops: u8,
    own: bool,
    problem: Option<String>,
    reply_to: Option<[u8; 32]>,
    reaction: bool,
    max_hops: u8,
    /// As JSON; it is rare.
    notice: Option<String>,
}

impl From<&InboxItem> for Item {
    fn from(item: &InboxItem) -> Self {
        let InboxItem {
            seq,
            id,
            from,
            from_name,
            topic,
            payload,
            sealed,
            automatic,
            created_ms,
            received_ms,
            expires_ms,
            priority,
            hops,
            own,
            problem,
            reply_to,
            reaction,
            max_hops,
            notice,
        } = item.clone();
        Self {
            seq,
            id: id.0,
            from: from.0,
            from_name,
            topic,
            payload,
            sealed,
            automatic,
            created_ms,
            received_ms,
            expires_ms,
            priority,
            hops,
            own,
            problem,
            reply_to: reply_to.map(|id| id.0),
            reaction,
            max_hops,
            notice: notice.and_then(|notice| serde_json::to_string(&notice).ok()),
        }
    }
}

impl Item {
    fn open(self) -> serde_json::Result<InboxItem> {
        let notice = self.notice.as_deref().map(serde_json::from_str::<NoticeMark>).transpose()?;
        Ok(InboxItem {
            seq: self.seq,
            id: MessageId(self.id),
            from: PeerId(self.from),
            from_name: self.from_name,
            topic: self.topic,
            payload: self.payload,
            sealed: self.sealed,
            automatic: self.automatic,
            created_ms: self.created_ms,
            received_ms: self.received_ms,
            expires_ms: self.expires_ms,
            priority: self.priority,
            hops: self.hops,
            own: self.own,
            problem: self.problem,
            reply_to: self.reply_to.map(MessageId),
            reaction: self.reaction,
            max_hops: self.max_hops,
            notice,
        })
    }
}

pub(super) fn serialize<S: Serializer>(page: &InboxPage, serializer: S) -> Result<S::Ok, S::Error> {
    Page { items: page.items.iter().map(Item::from).collect(), next_after: page.next_after }.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<InboxPage, D::Error> {
    let Page { items, next_after } = Page::deserialize(deserializer)?;
    let items = items.into_iter().map(Item::open).collect::<Result<_, _>>().map_err(serde::de::Error::custom)?;
    Ok(InboxPage { items, next_after })
}
