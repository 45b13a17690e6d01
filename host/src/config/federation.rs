//! What the configuration says of federation, in the form that the core and the plugin want it.

use std::path::PathBuf;

use qpq_schemas::channel::ChannelKey;
use serde_json::{Map, Value, json};

use super::Config;
use crate::core::federation::{FederationPolicy, Limit};

/// The plugin that federates where the configuration names no other.
pub const FEDERATION_PLUGIN: &str = "federation-capnp";

/// What stands before the names of federation plugins.
pub const FEDERATION_PREFIX: &str = "federation-";

impl Config {
    /// Whether this node relays between domains: as `federation_enabled` says, else once all that it needs is set.
    pub fn federates(&self) -> bool {
        self.node.federation_enabled.unwrap_or_else(|| self.federation_lacks().is_empty())
    }

    /// The keys that federation needs and that are not set.
    pub(super) fn federation_lacks(&self) -> Vec<&'static str> {
        let node = &self.node;
        let set = |path: &Option<PathBuf>| path.is_some();
        let needed = [
            ("domain", node.domain.is_some()),
            ("federation_cert", set(&node.federation_cert)),
            ("federation_key", set(&node.federation_key)),
            ("federation_ca", set(&node.federation_ca)),
        ];
        needed.into_iter().filter(|(_, set)| !set).map(|(key, _)| key).collect()
    }

    /// What the core lets through between domains; nothing where this node does not federate.
    pub fn federation_policy(&self) -> Option<FederationPolicy> {
        let domain = self.node.domain.as_deref().filter(|_| self.federates())?;
        let federation = &self.federation;
        let topics = federation.channels.iter().filter_map(|name| ChannelKey::open(name).ok());
        Some(FederationPolicy {
            allow: federation.allow.iter().cloned().collect(),
            block: federation.block.iter().cloned().collect(),
            transit: federation.transit,
            topics: topics.map(|channel| channel.topic_id()).collect(),
            quota: Limit {
                messages_per_minute: federation.messages_per_minute,
                bytes_per_minute: federation.bytes_per_minute,
            },
            ..FederationPolicy::new(domain)
        })
    }

    /// Where the federation plugin listens, as a URI.
    pub fn federation_uri(&self) -> Option<String> {
        let address = self.node.federation_listen.as_ref().filter(|_| self.federates())?;
        Some(format!("federation://{address}"))
    }

    /// The domains to keep links to, as URIs.
    pub fn federation_peers(&self) -> Vec<String> {
        let peers = self.federation.peers.iter().filter(|_| self.federates());
        peers.map(|peer| format!("federation://{peer}")).collect()
    }

    /// What a federation plugin gets from the keys outside of its own table; what stands in that table counts more.
    pub(super) fn federation_config(&self, name: &str) -> Map<String, Value> {
        if !name.starts_with(FEDERATION_PREFIX) || !self.federates() {
            return Map::new();
        }
        let (node, federation) = (&self.node, &self.federation);
        let config = json!({
            "domain": node.domain,
            "cert": node.federation_cert,
            "key": node.federation_key,
            "ca": node.federation_ca,
            "allow": federation.allow,
            "block": federation.block,
            "legacy_payloads": federation.legacy_payloads.word(),
        });
        match config {
            Value::Object(config) => config,
            _ => Map::new(),
        }
    }

    /// Loads the usual plugin where federation is wanted and none is named.
    pub(super) fn add_federation_plugin(&mut self) {
        if self.federates() && !self.plugins.load.iter().any(|name| name.starts_with(FEDERATION_PREFIX)) {
            self.plugins.load.push(FEDERATION_PLUGIN.to_owned());
        }
    }
}
