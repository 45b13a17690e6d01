//! The values in effect, and where each came from.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::load::Loaded;
use super::tables::to_json;

impl Loaded {
    /// As a configuration file, with the origin of each value behind it. Secrets in free tables are hidden.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = String::new();
        for (key, value) in ordered(self) {
            let (table, name) = key.rsplit_once('.').unwrap_or(("", &key));
            if table != section {
                table.clone_into(&mut section);
                let _ = write!(text, "\n[{section}]\n");
            }
            let origin = self.origins.get(&key).map(ToString::to_string).unwrap_or_default();
            match value {
                Some(value) => _ = writeln!(text, "{name} = {value}  # {origin}"),
                None => _ = writeln!(text, "# {name} is not set"),
            }
        }
        text.push_str(&self.free_tables());
        text
    }

    fn free_tables(&self) -> String {
        let plugins = self.config.plugin_tables.shown().into_iter().map(|(name, value)| ("plugins", name, value));
        let scripts =
            self.config.script_tables.shown().into_iter().map(|(name, value)| ("scripts.config", name, value));
        let bots = self.config.bot_tables.shown().into_iter().map(|(name, value)| ("scripts.bots", name, value));
        let mut text = String::new();
        for (section, name, value) in plugins.chain(scripts).chain(bots) {
            let origin = self.origins.get(&format!("{section}.{name}")).map(ToString::to_string).unwrap_or_default();
            let body = toml::to_string(&value).unwrap_or_default();
            let _ = write!(text, "\n[{section}.{name}]  # {origin}\n{body}");
        }
        text
    }

    /// As JSON: for each key its value, origin and variable.
    pub fn to_json(&self) -> Value {
        let keys: serde_json::Map<String, Value> = ordered(self)
            .into_iter()
            .map(|(key, value)| {
                let origin = self.origins.get(&key).map(ToString::to_string);
                let entry = json!({ "value": value.as_ref().map(to_json), "origin": origin });
                (key, entry)
            })
            .collect();
        json!({
            "home": self.config.home,
            "file": self.file,
            "keys": keys,
            "plugins": self.config.plugin_tables.shown(),
            "scripts": self.config.script_tables.shown(),
            "bots": self.config.bot_tables.shown(),
            "warnings": self.warnings,
        })
    }
}

/// The values in the order of the reference.
fn ordered(loaded: &Loaded) -> Vec<(String, Option<toml::Value>)> {
    let values = loaded.config.values();
    super::keys()
        .map(|key| {
            let name = key.full_name();
            let value = values.get(&name).cloned().flatten();
            (name, value)
        })
        .collect()
}
