//! A line of the file.

use qpq_schemas::{MessageId, PeerId};
use serde::{Deserialize, Serialize};

use super::Progress;
use crate::api::InboxItem;

/// The format of the file.
pub(super) const SCHEMA: &str = "qpq.client-inbox/1";

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub(super) enum Line {
    /// The first one.
    Head { schema: String, next_seq: u64 },
    /// Messages that were here.
    Seen { ids: Vec<MessageId> },
    /// How far a node's mail was fetched.
    Progress { node: PeerId, after: u64, published_ms: u64 },
    /// How far somebody has read.
    Read { reader: String, seq: u64 },
    /// A message.
    Message(Box<Message>),
}

/// A message, its payload as text where it is one, else as hexadecimal digits.
#[derive(Serialize, Deserialize)]
pub(super) struct Message {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
    #[serde(flatten)]
    item: InboxItem,
}

impl Line {
    /// Whether it tells of a place in the inbox beyond that one.
    pub(super) fn is_beyond(&self, last: u64) -> bool {
        match self {
            Self::Head { next_seq, .. } => *next_seq > last,
            Self::Message(message) => message.item.seq >= last,
            Self::Seen { .. } | Self::Progress { .. } | Self::Read { .. } => false,
        }
    }

    pub(super) fn message(item: &InboxItem) -> Self {
        let text = std::str::from_utf8(&item.payload).ok().map(str::to_owned);
        let payload_hex = text.is_none().then(|| item.payload.iter().map(|byte| format!("{byte:02x}")).collect());
        let item = InboxItem { payload: Vec::new(), ..item.clone() };
        Self::Message(Box::new(Message { text, payload_hex, item }))
    }

    pub(super) fn progress(node: PeerId, progress: Progress) -> Self {
        Self::Progress { node, after: progress.after, published_ms: progress.published_ms }
    }
}

impl Message {
    pub(super) fn into_item(self) -> InboxItem {
        let payload = match (self.text, self.payload_hex) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(hex)) => bytes_of(&hex),
            (None, None) => Vec::new(),
        };
        InboxItem { payload, ..self.item }
    }
}

/// The bytes that the digits stand for; up to the first that is none.
fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?);
    hex.as_bytes().chunks(2).map_while(pair).collect()
}

/// The line with its end.
pub(super) fn encode(line: &Line) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
