//! The plugin's configuration.

use serde_json::Value;

use crate::table::Limits;

/// Reads a configuration; keys that are left out take the defaults of the schema. The error names the key.
pub(crate) fn limits(config: &Value) -> Result<Limits, String> {
    let keys = ["max_origins", "lifetime_secs", "hold_down_ms"];
    let given = config.as_object().ok_or("the configuration must be a table")?;
    if let Some(unknown) = given.keys().find(|key| !keys.contains(&key.as_str())) {
        return Err(format!("`{unknown}` is no key of routing-flood; it has {}", keys.join(", ")));
    }
    let number = |key: &str, default: u64, least: u64, most: u64| match given.get(key) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| format!("`{key}` is {value}; it must be a number between {least} and {most}")),
    };
    Ok(Limits {
        max_origins: number("max_origins", 65_536, 1, 1_048_576)? as usize,
        lifetime_ms: number("lifetime_secs", 900, 1, 86_400)? * 1_000,
        hold_down_ms: number("hold_down_ms", 10_000, 0, 600_000)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_schema() {
        let schema: Value = serde_json::from_str(include_str!("config.schema.json")).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let defaults: serde_json::Map<String, Value> =
            properties.iter().map(|(key, about)| (key.clone(), about["default"].clone())).collect();
        assert_eq!(limits(&Value::Object(defaults)), limits(&json!({})));
        for (key, about) in properties {
            assert!(limits(&json!({ key.as_str(): about["minimum"] })).is_ok());
            assert!(limits(&json!({ key.as_str(): about["maximum"] })).is_ok());
            assert!(limits(&json!({ key.as_str(): about["maximum"].as_u64().unwrap() + 1 })).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        assert!(limits(&json!({"max_origin": 1})).unwrap_err().contains("max_origin"));
        assert!(limits(&json!({"lifetime_secs": 0})).unwrap_err().contains("lifetime_secs"));
        assert!(limits(&json!({"hold_down_ms": -1})).unwrap_err().contains("hold_down_ms"));
    }
}
