//! The channels that this node has joined, kept in `channels.json`.
//!
//! The file holds the keys of private channels, so it gets the same care as the identity.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use qpq_schemas::TopicId;
use qpq_schemas::channel::{ChannelKey, InviteError, normalise};
use serde::{Deserialize, Serialize};

use crate::api::{ApiError, ChannelInfo};
use crate::identity::private_json::{self, Secret, Seed};
use crate::identity::{IdentityError, private_file};

/// The file's name in the data directory.
const CHANNELS_FILE: &str = "channels.json";
/// The format of the file.
const SCHEMA: &str = "qpq.channels/1";
/// Largest file read, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Channels joined at most.
const MAX_CHANNELS: usize = 1_024;
/// The subscriber that stands for the node's user.
pub(crate) const USER: &str = "user";
/// The one that stands for all bots of the node.
pub(crate) const BOTS: &str = "bots";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: String,
    channels: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// The random key of a private channel; an open one is derived from its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Seed>,
    #[serde(default)]
    epoch: u32,
    /// `user`, `bots`. Kept for bots too, so that what arrives before they have loaded after a restart is theirs.
    #[serde(default)]
    subscribers: BTreeSet<String>,
}

struct Joined {
    key: ChannelKey,
    subscribers: BTreeSet<String>,
}

/// The joined channels by topic id.
pub(crate) struct Channels {
    /// Nowhere for those that are never written down.
    path: Option<PathBuf>,
    joined: BTreeMap<TopicId, Joined>,
}

impl Channels {
    pub(crate) fn open(home: &Path) -> Result<Self, IdentityError> {
        let path = home.join(CHANNELS_FILE);
        private_file::sweep(&path);
        let entries = match private_file::read(&path, MAX_FILE)? {
            Some(bytes) => private_json::parse::<File>(&path, &bytes, SCHEMA)?.channels,
            None => Vec::new(),
        };
        let mut channels = Self { path: Some(path), joined: BTreeMap::new() };
        for entry in entries {
            let subscribers = entry.subscribers.clone();
            if let Some(key) = entry.into_key() {
                channels.joined.insert(key.topic_id(), Joined { key, subscribers });
            }
        }
        Ok(channels)
    }

    /// None joined yet, and never written down: for nodes that live in memory.
    pub(crate) fn in_memory() -> Self {
        Self { path: None, joined: BTreeMap::new() }
    }

    /// The topics joined.
    pub(crate) fn topics(&self) -> Vec<TopicId> {
        self.joined.keys().copied().collect()
    }

    /// The key of a joined channel.
    pub(crate) fn key(&self, topic: &TopicId) -> Option<&ChannelKey> {
        self.joined.get(topic).map(|joined| &joined.key)
    }

    /// The key to publish with: a joined channel of that name (a private one first), else the open one.
    pub(crate) fn key_for(&self, name: &str) -> Result<ChannelKey, ApiError> {
        let name = normalise(name).map_err(|error| ApiError::new("bad-topic", error.to_string()))?;
        let mut named = self.joined.values().map(|joined| &joined.key).filter(|key| key.name() == name);
        match named.clone().find(|key| key.is_private()).or_else(|| named.next()) {
            Some(key) => Ok(key.clone()),
            None => open_channel(&name),
        }
    }

    /// Joins by name or invite.
    pub(crate) fn join(&mut self, topic: &str, subscriber: &str) -> Result<ChannelInfo, ApiError> {
        let key = match ChannelKey::from_invite(topic.trim()) {
            Ok(key) => key,
            Err(InviteError::NoInvite) => self.key_for(topic)?,
            Err(error) => return Err(ApiError::new("bad-invite", error.to_string())),
        };
        self.join_key(key, subscriber)
    }

    /// Makes a private channel and joins it.
    ///
    /// A name that is in use here is refused: two channels of one name can't be told apart by those who publish.
    pub(crate) fn create_private(&mut self, name: &str) -> Result<ChannelInfo, ApiError> {
        let wanted = normalise(name).unwrap_or_default();
        if let Some(joined) = self.joined.values().find(|joined| joined.key.name() == wanted) {
            let by: Vec<&str> = joined.subscribers.iter().map(String::as_str).collect();
            let kind = if joined.key.is_private() { "a private" } else { "an open" };
            let by = by.join(" and ");
            let text = format!(
                "{kind} channel `{wanted}` is joined here already (by {by}); choose another name, or leave it first"
            );
            return Err(ApiError::new("name-in-use", text));
        }
        let key = ChannelKey::private(name, &mut rand::rng());
        self.join_key(key.map_err(|error| ApiError::new("bad-topic", error.to_string()))?, USER)
    }

    fn join_key(&mut self, key: ChannelKey, subscriber: &str) -> Result<ChannelInfo, ApiError> {
        let topic = key.topic_id();
        if self.joined.len() >= MAX_CHANNELS && !self.joined.contains_key(&topic) {
            let remedy = format!("{MAX_CHANNELS} channels are joined; leave one with `mesh unsubscribe` first");
            return Err(ApiError::new("too-many-channels", remedy));
        }
        let joined = self.joined.entry(topic).or_insert_with(|| Joined { key, subscribers: BTreeSet::new() });
        let new = joined.subscribers.insert(subscriber.to_owned());
        let info = joined.info();
        if new && let Err(error) = self.save() {
            self.forget(topic, subscriber); // what is not on disk is not joined
            return Err(error);
        }
        Ok(info)
    }

    /// Leaves the channel of that name for these subscribers, which need not all have joined it; the topic that nobody here wants
    /// any more, if so. Of two channels of that name the one is meant that the first of them has joined.
    pub(crate) fn leave(&mut self, name: &str, subscribers: &[&str]) -> Result<Option<TopicId>, ApiError> {
        let wanted = normalise(name).unwrap_or_default();
        let joined_by = |subscriber: &&str| {
            let of_name = |joined: &&Joined| joined.key.name() == wanted && joined.subscribers.contains(*subscriber);
            self.joined.values().find(of_name).map(|joined| joined.key.topic_id())
        };
        let topic = subscribers.iter().find_map(joined_by);
        let Some((topic, joined)) = topic.and_then(|topic| self.joined.remove_entry(&topic)) else {
            let remedy = format!("no channel `{name}` is joined; `mesh channels` lists them");
            return Err(ApiError::new("not-subscribed", remedy));
        };
        let mut left = joined.subscribers.clone();
        left.retain(|subscriber| !subscribers.contains(&subscriber.as_str()));
        let deserted = left.is_empty();
        if !deserted {
            self.joined.insert(topic, Joined { key: joined.key.clone(), subscribers: left });
        }
        if let Err(error) = self.save() {
            self.joined.insert(topic, joined); // what is not on disk is not left
            return Err(error);
        }
        Ok(deserted.then_some(topic))
    }

    /// Takes a subscriber off.
    fn forget(&mut self, topic: TopicId, subscriber: &str) {
        let Some(joined) = self.joined.get_mut(&topic) else { return };
        joined.subscribers.remove(subscriber);
        if joined.subscribers.is_empty() {
            self.joined.remove(&topic);
        }
    }

    /// All of them, for people.
    pub(crate) fn list(&self) -> Vec<ChannelInfo> {
        self.joined.values().map(Joined::info).collect()
    }

    fn save(&self) -> Result<(), ApiError> {
        let Some(path) = &self.path else { return Ok(()) };
        let channels = self.joined.values().map(Entry::of).collect();
        let content = Secret::json(&File { schema: SCHEMA.to_owned(), channels });
        private_file::replace(path, content.as_bytes())
            .map_err(|error| ApiError::new("channels-not-saved", error.to_string()))
    }
}

impl Entry {
    fn of(joined: &Joined) -> Self {
        let key = &joined.key;
        let secret = key.is_private().then(|| Seed::new(key.secret()));
        let subscribers = joined.subscribers.clone();
        Self { name: key.name().to_owned(), key: secret, epoch: key.epoch(), subscribers }
    }

    fn into_key(self) -> Option<ChannelKey> {
        match self.key {
            Some(secret) => ChannelKey::from_parts(&self.name, secret.bytes(), self.epoch).ok(),
            None => ChannelKey::open(&self.name).ok(),
        }
    }
}

impl Joined {
    fn info(&self) -> ChannelInfo {
        let private = self.key.is_private();
        ChannelInfo {
            name: self.key.name().to_owned(),
            topic_id: self.key.topic_id(),
            private,
            epoch: self.key.epoch(),
            subscribers: self.subscribers.iter().cloned().collect(),
            invite: private.then(|| self.key.invite().to_string()),
        }
    }
}

fn open_channel(name: &str) -> Result<ChannelKey, ApiError> {
    ChannelKey::open(name).map_err(|error| ApiError::new("bad-topic", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(channels: &Channels) -> Vec<(String, Vec<String>)> {
        channels.list().into_iter().map(|info| (info.name, info.subscribers)).collect()
    }

    #[test]
    fn a_channel_is_joined_until_the_last_who_wants_it_has_left() {
        let home = tempfile::tempdir().unwrap();
        let mut channels = Channels::open(home.path()).unwrap();
        let topic = channels.join("board", USER).unwrap().topic_id;
        channels.join("Board", BOTS).unwrap();
        assert_eq!(channels.leave("board", &[USER]).unwrap(), None);
        assert_eq!(channels.leave("board", &[USER]).unwrap_err().code, "not-subscribed");
        assert_eq!(names(&Channels::open(home.path()).unwrap()), [("board".into(), vec!["bots".into()])]);
        assert_eq!(channels.leave("board", &[USER, BOTS]).unwrap(), Some(topic));
        assert!(names(&Channels::open(home.path()).unwrap()).is_empty());
    }

    #[test]
    fn of_two_channels_of_a_name_the_one_is_left_that_the_user_has_joined() {
        let home = tempfile::tempdir().unwrap();
        let mut channels = Channels::open(home.path()).unwrap();
        let private = channels.create_private("board").unwrap().topic_id;
        let open = open_channel("board").unwrap();
        channels.join_key(open.clone(), BOTS).unwrap();
        assert_eq!(channels.leave("board", &[USER, BOTS]).unwrap(), Some(private));
        assert_eq!(channels.topics(), [open.topic_id()]);
    }
}
