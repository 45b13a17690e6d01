//! The channels that this node has joined, kept in `channels.json`.
//!
//! The file holds the keys of private channels, so it gets the same care as the identity.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use qpq_schemas::TopicId;
use qpq_schemas::channel::ChannelKey;
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, ChannelInfo};
use crate::identity::{IdentityError, private_file};

/// The file's name in the data directory.
pub(super) const CHANNELS_FILE: &str = "channels.json";
/// The subscriber that stands for the node's user.
pub(super) const USER: &str = "user";
/// Channels joined at most.
const MAX_CHANNELS: usize = 1_024;
/// Largest file read, in bytes.
const MAX_FILE: u64 = 1 << 20;
const SCHEMA: &str = "qpq.channels/1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    channels: Vec<Entry>,
}

/// A channel in the file: an open one by its name, a private one by its invite.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invite: Option<String>,
    subscribers: BTreeSet<String>,
}

struct Joined {
    key: ChannelKey,
    subscribers: BTreeSet<String>,
}

/// The joined channels by topic id.
pub(super) struct Channels {
    path: PathBuf,
    joined: BTreeMap<TopicId, Joined>,
}
