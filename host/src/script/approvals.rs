//! What the admin has granted to bots, for good.
//!
//! A bot may always answer, read, publish and remember: that is what it was put into the folder for. What reaches beyond
//! (writing to anybody, seeing the mesh, changing the node, reading sources) it asks for in `bot.toml`, and it waits until
//! the admin has said yes. A new version that asks for more waits again, and the old one goes on meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api::ApiError;

use super::host::BotConfig;
use super::manifest::{Permissions, SINGLE_FILE_NEEDS};
use super::store::{BotStore, StoreOp};

/// The name under which approvals stand in the bots' store. No bot can have it: a dot is in no bot's name.
const PLACE: &str = ".approvals";

/// What was granted to one bot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub needs: Vec<String>,
    /// Whether it may run inside the node's own process.
    #[serde(default)]
    pub trusted: bool,
}

/// All grants, by the bots' names.
pub(crate) struct Approvals {
    kv: Arc<dyn BotStore>,
    grants: BTreeMap<String, Grant>,
}

impl Approvals {
    /// Reads what was granted before. What can't be read counts as not granted.
    pub(crate) fn load(kv: Arc<dyn BotStore>) -> Self {
        let entries = futures::executor::block_on(kv.load(PLACE)).unwrap_or_else(|error| {
            tracing::warn!(target: "qpq::script", "approvals of bots not read: {error}");
            Vec::new()
        });
        let grant = |(name, value, _): (Vec<u8>, Vec<u8>, _)| {
            Some((String::from_utf8(name).ok()?, serde_json::from_slice(&value).ok()?))
        };
        Self { kv, grants: entries.into_iter().filter_map(grant).collect() }
    }

    pub(crate) fn of(&self, bot: &str) -> Option<&Grant> {
        self.grants.get(bot)
    }

    /// Grants, or with `None` takes back. Durable when it returns.
    pub(crate) fn set(&mut self, bot: &str, grant: Option<Grant>) -> Result<(), ApiError> {
        let key = bot.as_bytes().to_vec();
        let op = match &grant {
            Some(grant) => {
                let value = serde_json::to_vec(grant).map_err(|e| ApiError::new("internal", e.to_string()))?;
                StoreOp::Put { key, value, expires_ms: None }
            }
            None => StoreOp::Delete { key },
        };
        futures::executor::block_on(self.kv.commit(PLACE, vec![op]))?;
        match grant {
            Some(grant) => _ = self.grants.insert(bot.to_owned(), grant),
            None => _ = self.grants.remove(bot),
        }
        Ok(())
    }

    /// What a bot asks for that nobody has granted yet: neither the configuration, nor an approval.
    pub(crate) fn missing(&self, bot: &str, needs: &[String], config: &BotConfig) -> Vec<String> {
        let free = SINGLE_FILE_NEEDS.map(str::to_owned).to_vec();
        // Where the configuration names what is granted, that alone counts, beside what was approved.
        let mut granted = config.granted.clone().unwrap_or(free);
        granted.extend(self.of(bot).into_iter().flat_map(|grant| grant.needs.iter().cloned()));
        missing(needs, granted)
    }
}

/// What of these needs was not granted.
pub(crate) fn missing(needs: &[String], granted: Vec<String>) -> Vec<String> {
    Permissions::new(needs.to_vec()).missing_from(&Permissions::new(granted))
}

#[cfg(test)]
mod tests {
    use super::super::store::MemoryStore;
    use super::*;

    fn strings<const N: usize>(texts: [&str; N]) -> Vec<String> {
        texts.map(str::to_owned).to_vec()
    }

    #[test]
    fn what_reaches_beyond_answering_waits_for_the_admin_and_outlives_a_restart() {
        let kv: Arc<dyn BotStore> = Arc::new(MemoryStore::default());
        let mut approvals = Approvals::load(Arc::clone(&kv));
        let (needs, config) = (strings(["reply", "broadcast:news", "send", "peers"]), BotConfig::default());
        assert_eq!(approvals.missing("news", &needs, &config), ["send", "peers"]);
        approvals.set("news", Some(Grant { needs: strings(["send"]), trusted: false })).unwrap();
        assert_eq!(approvals.missing("news", &needs, &config), ["peers"]);
        assert_eq!(approvals.missing("other", &needs, &config), ["send", "peers"]);
        let again = Approvals::load(Arc::clone(&kv));
        assert_eq!(again.missing("news", &needs, &config), ["peers"]);
        approvals.set("news", None).unwrap();
        assert_eq!(Approvals::load(kv).missing("news", &needs, &config), ["send", "peers"]);
    }

    #[test]
    fn where_the_configuration_says_what_is_granted_nothing_else_is() {
        let approvals = Approvals::load(Arc::new(MemoryStore::default()));
        let config = BotConfig { granted: Some(strings(["send"])), ..BotConfig::default() };
        assert_eq!(approvals.missing("news", &strings(["reply", "send"]), &config), ["reply"]);
    }
}
