//! The node's configuration: one table of keys, and the places their values come from.
//!
//! A value comes from the first of these that sets it: a command-line flag, a `QPQ_*` variable of the environment,
//! the file `qpq-server.toml` in the data directory, the default. The table of keys stands in [`sections`]; the
//! structs, the checks, the names of the variables and the reference are all made from it.

mod convert;
mod error;
mod federation;
mod file;
mod home;
mod key;
mod load;
mod reference;
pub mod sections;
mod setting;
mod show;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use error::{ConfigError, ConfigErrors, Place};
pub use federation::{FEDERATION_PLUGIN, FEDERATION_PREFIX};
pub use file::MAX_FILE_BYTES;
pub(crate) use file::nearest;
pub use home::{HOME_VARIABLE, NoHome, default_home};
pub use key::Key;
pub use load::{Flag, Loaded, Origin, Sources};
pub use reference::reference;
pub use sections::{
    ClientsConfig, ControlConfig, DiscoveryConfig, EmergencyConfig, FederationConfig, LegacyPayloads, LinksConfig,
    LogConfig, LogFormat, MessagesConfig, NodeConfig, PluginsConfig, ScriptLimitsConfig, ScriptsConfig, StorageConfig,
    keys,
};
pub use tables::Tables;

/// Name of the configuration file in the data directory.
pub const FILE_NAME: &str = "qpq-server.toml";

/// All that the admin decides about a node.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The data directory. Made with mode 0700 when the node starts.
    pub home: PathBuf,
    /// Keys outside of any table: the node itself.
    pub node: NodeConfig,
    /// Where `peers` were set.
    pub peers_origin: Place,
    /// Where all of it came from, to read it anew. `None` where it was put together by hand.
    pub sources: Option<Sources>,
    /// `[plugins]`
    pub plugins: PluginsConfig,
    /// `[plugins.NAME]`: what the plugin of that name gets as its configuration.
    pub plugin_tables: Tables,
    /// `[store]`
    pub store: StorageConfig,
    /// `[messages]`
    pub messages: MessagesConfig,
    /// `[links]`
    pub links: LinksConfig,
    /// `[discovery]`
    pub discovery: DiscoveryConfig,
    /// `[federation]`
    pub federation: FederationConfig,
    /// `[scripts]`
    pub scripts: ScriptsConfig,
    /// `[scripts.limits]`
    pub script_limits: ScriptLimitsConfig,
    /// `[scripts.bots.NAME]`: what is different for the bot of that name. Checked already.
    pub bot_tables: Tables,
    /// `[scripts.config.NAME]`: what the bot of that name gets as its configuration.
    pub script_tables: Tables,
    /// `[control]`
    pub control: ControlConfig,
    /// `[clients]`
    pub clients: ClientsConfig,
    /// `[emergency]`
    pub emergency: EmergencyConfig,
    /// `[log]`
    pub log: LogConfig,
}

impl Config {
    /// The defaults, for a data directory.
    pub fn in_home(home: impl Into<PathBuf>) -> Self {
        Self { home: home.into(), ..Self::default() }
    }

    /// Where plugins are looked for, in this order.
    pub fn plugin_dirs(&self) -> Vec<PathBuf> {
        if self.plugins.dirs.is_empty() { home::default_plugin_dirs(&self.home) } else { self.plugins.dirs.clone() }
    }

    /// Where bots are looked for.
    pub fn script_dirs(&self) -> Vec<PathBuf> {
        if self.scripts.dirs.is_empty() { vec![self.home.join("scripts")] } else { self.scripts.dirs.clone() }
    }

    /// The configuration of a plugin, as JSON; an empty object when there is none.
    pub fn plugin_config(&self, name: &str) -> serde_json::Value {
        let mut config = serde_json::Value::Object(self.federation_config(name));
        if let (Some(config), serde_json::Value::Object(table)) =
            (config.as_object_mut(), self.plugin_tables.json(name))
        {
            config.extend(table);
        }
        config
    }

    /// The configuration of a bot, as JSON; an empty object when there is none.
    pub fn script_config(&self, name: &str) -> serde_json::Value {
        self.script_tables.json(name)
    }

    /// The values of all keys, by their full name. `None` is a key that is not set and has no default.
    fn values(&self) -> BTreeMap<String, Option<toml::Value>> {
        keys().map(|key| (key.full_name(), sections::value(self, key))).collect()
    }
}
