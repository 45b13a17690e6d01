//! The plugin's configuration.

use serde_json::Value;

/// What the admin may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How often the own sequence number rises, in milliseconds.
    pub refresh_ms: u64,
    /// Rows of the table at most.
    pub max_destinations: usize,
    /// Whether the node is a destination.
    pub announce: bool,
    /// For tests of the loop audit alone.
    pub ignore_feasibility: bool,
}

const KEYS: [&str; 4] = ["refresh_secs", "max_destinations", "announce", "unsafe_ignore_feasibility"];

impl Settings {
    /// Reads a configuration; keys that are left out take the defaults of the schema.
    ///
    /// # Errors
    /// A text that names the key that is unknown or out of range.
    pub fn read(config: &Value) -> Result<Self, String> {
        let given = config.as_object().ok_or("the configuration must be a table")?;
        if let Some(unknown) = given.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("`{unknown}` is no key of routing-babel; it has {}", KEYS.join(", ")));
        }
        let number = |key: &str, default: u64, least: u64, most: u64| match given.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_u64()
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| format!("`{key}` is {value}; it must be a number between {least} and {most}")),
        };
        let truth = |key: &str, default: bool| match given.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| format!("`{key}` is {value}; it must be true or false")),
        };
        Ok(Self {
            refresh_ms: number("refresh_secs", 900, 60, 86_400)? * 1_000,
            max_destinations: number("max_destinations", 16_384, 16, 65_000)? as usize,
            announce: truth("announce", true)?,
            ignore_feasibility: truth("unsafe_ignore_feasibility", false)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_schema() {
        let schema: Value = serde_json::from_str(include_str!("../../src/config.schema.json")).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), KEYS.len());
        let defaults: serde_json::Map<String, Value> =
            properties.iter().map(|(key, about)| (key.clone(), about["default"].clone())).collect();
        assert_eq!(Settings::read(&Value::Object(defaults)), Settings::read(&json!({})));
        for (key, about) in properties.iter().filter(|(_, about)| about["type"] == "integer") {
            assert!(Settings::read(&json!({ key.as_str(): about["minimum"] })).is_ok());
            assert!(Settings::read(&json!({ key.as_str(): about["maximum"] })).is_ok());
            assert!(Settings::read(&json!({ key.as_str(): about["maximum"].as_u64().unwrap() + 1 })).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        assert!(Settings::read(&json!({"refresh": 1})).unwrap_err().contains("refresh"));
        assert!(Settings::read(&json!({"refresh_secs": 59})).unwrap_err().contains("refresh_secs"));
        assert!(Settings::read(&json!({"announce": 1})).unwrap_err().contains("announce"));
    }
}
