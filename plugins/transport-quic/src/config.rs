//! The plugin's configuration: one struct, and the JSON Schema that the host checks it against.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::limits::MAX_FRAME;

/// What an admin can set. Every key may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Threads that do the network work, 1 to 8.
    pub worker_threads: usize,
    /// A link whose peer is silent for so long is dead, in milliseconds. The smaller value of both ends counts.
    pub idle_timeout_ms: u32,
    /// A quiet link is probed this often, in milliseconds. Must be at most half the idle timeout.
    pub keep_alive_ms: u32,
    /// Time for a new link to come up: handshake and opening of the stream, in milliseconds.
    pub handshake_timeout_ms: u32,
    /// Links at the same time, in both directions together.
    pub max_links: usize,
    /// Inbound links from one IP address at the same time.
    pub max_links_per_address: usize,
    /// Inbound handshakes at the same time. Beyond half of it, addresses must prove themselves first (QUIC Retry).
    pub max_handshakes: usize,
    /// Bytes that a peer may have under way to us on one link, before the host took them.
    pub receive_window: u32,
    /// Bytes of one link that are sent and not yet acknowledged, kept for retransmission.
    pub send_window: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            worker_threads: 1,
            idle_timeout_ms: 2_000,
            keep_alive_ms: 1_000,
            handshake_timeout_ms: 5_000,
            max_links: 1_024,
            max_links_per_address: 64,
            max_handshakes: 64,
            receive_window: 1 << 20,
            send_window: 1 << 20,
        }
    }
}

impl Config {
    /// Reads and checks a configuration. The error names the key and what it may be.
    pub(crate) fn from_json(json: Value) -> Result<Self, String> {
        let config: Self = serde_json::from_value(json).map_err(|e| e.to_string())?;
        config.check()?;
        Ok(config)
    }

    /// How long a new link may take to come up.
    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms.into())
    }

    fn check(&self) -> Result<(), String> {
        in_range("worker_threads", self.worker_threads as u64, 1, 8)?;
        in_range("idle_timeout_ms", self.idle_timeout_ms.into(), 200, 600_000)?;
        in_range("keep_alive_ms", self.keep_alive_ms.into(), 50, u64::from(self.idle_timeout_ms) / 2)?;
        in_range("handshake_timeout_ms", self.handshake_timeout_ms.into(), 100, 60_000)?;
        in_range("max_links", self.max_links as u64, 1, 65_536)?;
        in_range("max_links_per_address", self.max_links_per_address as u64, 1, 65_536)?;
        in_range("max_handshakes", self.max_handshakes as u64, 1, 4_096)?;
        let frame = MAX_FRAME as u64;
        in_range("receive_window", self.receive_window.into(), frame, 1 << 28)?;
        in_range("send_window", self.send_window.into(), frame, 1 << 28)
    }
}

fn in_range(key: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("`{key}` is {value}; it must be between {least} and {most}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = include_str!("config.schema.json");

    #[test]
    fn the_schema_states_the_keys_and_defaults_of_the_struct() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let defaults: serde_json::Map<String, Value> =
            properties.iter().map(|(key, about)| (key.clone(), about["default"].clone())).collect();
        assert_eq!(defaults.len(), 9);
        let config: Config = serde_json::from_value(Value::Object(defaults)).unwrap();
        assert_eq!(config, Config::default());
        assert!(properties.values().all(|about| about["description"].is_string()));
    }

    #[test]
    fn every_bound_of_the_schema_is_checked_here_too() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        for (key, about) in schema["properties"].as_object().unwrap() {
            for (bound, step) in [("minimum", -1), ("maximum", 1)] {
                let value = about[bound].as_i64().unwrap();
                let parse = |value: i64| Config::from_json(json!({ key.as_str(): value }));
                assert!(parse(value + step).is_err(), "{key} = {}", value + step);
            }
        }
    }

    #[test]
    fn an_empty_configuration_takes_the_defaults() {
        assert_eq!(Config::from_json(json!({})), Ok(Config::default()));
    }

    #[test]
    fn unknown_keys_and_contradictions_are_refused() {
        assert!(Config::from_json(json!({"max_link": 3})).unwrap_err().contains("max_link"));
        let error = Config::from_json(json!({"idle_timeout_ms": 1000, "keep_alive_ms": 900})).unwrap_err();
        assert_eq!(error, "`keep_alive_ms` is 900; it must be between 50 and 500");
    }
}
