//! Envelopes that travel in a file.

use qpq_schemas::MessageId;
use serde::{Deserialize, Serialize};

/// Which envelopes [`super::NodeApi::export_mail`] shall return. Nothing set: all that wait for somebody.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ExportQuery {
    /// Only what waits for that peer.
    pub recipient: Option<String>,
    /// Only the broadcasts that are kept of that channel.
    pub topic: Option<String>,
    /// What waits, and the broadcasts of all topics.
    pub all: bool,
    /// Where to go on: [`ExportPage::next`] of the page before; 0 at the beginning.
    pub place: u64,
}

/// A stretch of them, about 1 MiB at most.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ExportPage {
    /// The envelopes on the wire.
    pub envelopes: Vec<Vec<u8>>,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
    /// Records that could not be read and were set aside.
    pub damaged: u64,
    /// All envelopes that are held here, to tell how far the work is.
    pub held: u64,
}

/// How one imported envelope fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportOutcome {
    /// The message's id, where the envelope could be read.
    pub id: Option<MessageId>,
    /// `new`, `known`, `expired`, or the code of the refusal.
    pub code: String,
    /// Why it was refused, for a person.
    pub message: Option<String>,
}
