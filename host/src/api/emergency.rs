//! Emergency notices: what a node says of one.

use qpq_schemas::{PeerId, TopicId};
use serde::{Deserialize, Serialize};

/// A notice, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeInfo {
    /// The notice as one word of text, to be handed on to the next admin. No secret.
    pub notice: String,
    /// What it says.
    pub text: String,
    /// When it is over, Unix time in milliseconds.
    pub until_ms: u64,
    /// The channel that it is for, if that is this node's channel for emergencies.
    pub channel: Option<String>,
    /// The channel's topic id on the wire.
    pub topic_id: TopicId,
    /// Who has signed it. Bad signatures were left out.
    pub signed: Vec<NoticeKey>,
    /// The admins that this node's configuration names and that have not.
    pub missing: Vec<NoticeKey>,
    /// How many admins have signed.
    pub counted: u32,
    /// How many must have; 0 when the configuration names no admins.
    pub quorum: u32,
}

/// Who has signed a notice, or could.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeKey {
    /// The key.
    pub key: PeerId,
    /// Its nickname in this node's directory.
    pub name: Option<String>,
    /// Whether this node's configuration names it as an admin.
    pub admin: bool,
    /// Whether it is this node's own.
    pub own: bool,
}

/// What stands on a message that is a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeMark {
    /// When it is over, Unix time in milliseconds.
    pub until_ms: u64,
    /// Who has signed it. Bad signatures were left out.
    pub signed: Vec<PeerId>,
    /// How many of them this node's configuration names as admins.
    pub counted: u32,
    /// How many must have signed; 0 when the configuration names no admins.
    pub quorum: u32,
}
