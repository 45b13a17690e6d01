//! What the admin has granted to bots, for good.
//!
//! A bot may always answer, read, publish and remember: that is what it was put into the folder for. What reaches beyond
//! (writing to anybody, seeing the mesh, changing the node, reading sources) it asks for in `bot.toml`, and it waits until
//! the admin has said yes. A new version that asks for more waits again, and the old one goes on meanwhile. What the admin
//! saw and didn't grant the bot does without.

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
    /// What it asked for at the time and was not granted: it does without.
    #[serde(default)]
    pub denied: Vec<String>,
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

    /// What of a bot's needs it has, and what not.
    pub(crate) fn standing(&self, bot: &str, needs: &[String], config: &BotConfig) -> Standing {
        let grant = self.of(bot).cloned().unwrap_or_default();
        let granted = granted(config, &grant.needs);
        let denied = Permissions::new(grant.denied);
        let (denied, missing) =
            missing(needs, granted.clone()).into_iter().partition(|need| denied.needs().contains(need));
        let has = Permissions::new(needs.to_vec()).within(&Permissions::new(granted));
        Standing { has, denied, missing }
    }
}

/// What of its needs a bot has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub has: Permissions,
    /// What the admin saw and didn't grant.
    pub denied: Vec<String>,
    /// What nobody has decided on: neither the configuration, nor an approval.
    pub missing: Vec<String>,
}

impl Grant {
    /// Grants these of all that a bot asks for, and denies the rest.
    pub(crate) fn of(needs: Vec<String>, asked: &[String], config: &BotConfig, trusted: bool) -> Self {
        let denied = missing(asked, granted(config, &needs));
        Self { needs, denied, trusted }
    }

    /// Whether it leaves less than another one.
    pub(crate) fn is_less_than(&self, other: &Self) -> bool {
        other.trusted && !self.trusted || !missing(&other.needs, self.needs.clone()).is_empty()
    }
}

/// What a bot may do whose approval names these. Where the configuration names what is granted, that stands in place of
/// what every bot may do.
fn granted(config: &BotConfig, approved: &[String]) -> Vec<String> {
    let free = || SINGLE_FILE_NEEDS.map(str::to_owned).to_vec();
    let mut granted = config.granted.clone().unwrap_or_else(free);
    granted.extend_from_slice(approved);
    granted
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
        assert_eq!(approvals.standing("news", &needs, &config).missing, ["send", "peers"]);
        approvals.set("news", Some(Grant { needs: strings(["send"]), ..Grant::default() })).unwrap();
        assert_eq!(approvals.standing("news", &needs, &config).missing, ["peers"]);
        assert_eq!(approvals.standing("other", &needs, &config).missing, ["send", "peers"]);
        let again = Approvals::load(Arc::clone(&kv));
        assert_eq!(again.standing("news", &needs, &config).missing, ["peers"]);
        approvals.set("news", None).unwrap();
        assert_eq!(Approvals::load(kv).standing("news", &needs, &config).missing, ["send", "peers"]);
    }

    #[test]
    fn where_the_configuration_says_what_is_granted_nothing_else_is() {
        let approvals = Approvals::load(Arc::new(MemoryStore::default()));
        let config = BotConfig { granted: Some(strings(["send"])), ..BotConfig::default() };
        assert_eq!(approvals.standing("news", &strings(["reply", "send"]), &config).missing, ["reply"]);
    }

    #[test]
    fn what_the_admin_saw_and_did_not_grant_a_bot_does_without_and_what_is_new_waits() {
        let kv: Arc<dyn BotStore> = Arc::new(MemoryStore::default());
        let (mut approvals, config) = (Approvals::load(Arc::clone(&kv)), BotConfig::default());
        let asked = strings(["reply", "send", "peers"]);
        let grant = Grant::of(strings(["peers"]), &asked, &config, false);
        assert!(grant.is_less_than(&Grant { needs: asked.clone(), ..Grant::default() }));
        approvals.set("news", Some(grant.clone())).unwrap();
        let standing = Approvals::load(kv).standing("news", &asked, &config);
        assert_eq!((standing.has.needs(), standing.denied), (&strings(["reply", "peers"])[..], strings(["send"])));
        assert!(standing.missing.is_empty());
        let more = approvals.standing("news", &strings(["reply", "send", "routes"]), &config);
        assert_eq!((more.denied, more.missing), (strings(["send"]), strings(["routes"])));
        let all = Grant::of(asked.clone(), &asked, &config, false);
        assert!(all.denied.is_empty() && !all.is_less_than(&grant));
    }
}
