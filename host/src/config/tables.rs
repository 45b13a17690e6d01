//! Free tables that the host hands on: the configurations of plugins and bots.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

/// Words in a key's name that mark its value as a secret.
const SECRET_WORDS: [&str; 5] = ["secret", "password", "passphrase", "token", "invite"];

/// What stands in the place of a secret.
pub(super) const REDACTED: &str = "(hidden)";

/// Tables by name. Their values may be secrets, so `Debug` shows the names only.
#[derive(Clone, Default, PartialEq)]
pub struct Tables(BTreeMap<String, Value>);

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Tables {
    /// The table of that name as a JSON object, empty when there is none.
    pub fn json(&self, name: &str) -> Value {
        self.0.get(name).cloned().unwrap_or_else(|| Value::Object(Map::new()))
    }

    /// The names of the tables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Puts a table in its place.
    pub fn insert(&mut self, name: impl Into<String>, table: Value) {
        self.0.insert(name.into(), table);
    }

    /// The tables with their secrets hidden, for people to see.
    pub(super) fn shown(&self) -> BTreeMap<&str, Value> {
        self.0.iter().map(|(name, table)| (name.as_str(), hide_secrets(table))).collect()
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

fn hide_secrets(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| {
                let shown = if is_secret(key) { Value::from(REDACTED) } else { hide_secrets(value) };
                (key.clone(), shown)
            };
            Value::Object(map.iter().map(entry).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(hide_secrets).collect()),
        other => other.clone(),
    }
}

/// TOML as JSON; dates become texts.
pub(super) fn to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(flag) => Value::from(*flag),
        toml::Value::Datetime(date) => Value::from(date.to_string()),
        toml::Value::Array(items) => Value::Array(items.iter().map(to_json).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut tables = Tables::default();
        let table = serde_json::json!({ "port": 1, "api_token": "t0p", "list": [{ "Password": "t0p" }] });
        tables.insert("x", table.clone());
        let shown = serde_json::to_string(&tables.shown()).unwrap();
        assert!(!shown.contains("t0p") && shown.contains("\"port\":1"), "{shown}");
        assert!(!format!("{tables:?}").contains("t0p"));
        assert_eq!(tables.json("x"), table, "the plugin itself gets everything");
    }
}
