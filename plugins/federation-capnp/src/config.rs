//! The plugin's configuration: one struct, and the JSON Schema that the host checks it against.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::address::domain_of;
use crate::limits::MAX_FRAME;

/// What an admin can set. The first four keys are needed; every other one may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The domain that this node speaks for. Its certificate must name it.
    pub domain: String,
    /// The certificate of this node, with the intermediate ones behind it; PEM, or DER for one alone.
    pub cert: PathBuf,
    /// Its private key: PKCS#8 or SEC1, PEM or DER.
    pub key: PathBuf,
    /// The certificates of the CAs that are trusted to say who speaks for a domain; PEM, or DER for one alone.
    pub ca: PathBuf,
    /// The domains that may connect; empty for all with a good certificate.
    pub allow: Vec<String>,
    /// Domains that may not connect, whatever `allow` says.
    pub block: Vec<String>,
    /// What becomes of a payload from a server of the older kind that is no envelope.
    pub legacy_payloads: LegacyPayloads,
    /// Threads that do the network work, 1 to 8. One more speaks Cap'n Proto.
    pub worker_threads: usize,
    /// A link whose peer is silent for so long is dead, in milliseconds. The smaller value of both ends counts.
    pub idle_timeout_ms: u32,
    /// A quiet link is probed this often, in milliseconds. Must be at most half the idle timeout.
    pub keep_alive_ms: u32,
    /// Time for a new link to come up, in milliseconds. Up to half of it is for the look-up of the domain.
    pub handshake_timeout_ms: u32,
    /// Connections at the same time, in both directions together.
    pub max_links: usize,
    /// Inbound connections from one domain at the same time.
    pub max_links_per_domain: usize,
    /// Inbound handshakes at the same time. Beyond half of it, addresses must prove themselves first (QUIC Retry); beyond
    /// all of it, the oldest unfinished one is given up.
    pub max_handshakes: usize,
    /// Inbound handshakes from one IP address at the same time.
    pub max_handshakes_per_address: usize,
    /// Bytes that a peer may have under way to us on one link, before they were read.
    pub receive_window: u32,
    /// Bytes of one link that are sent and not yet acknowledged, kept for retransmission.
    pub send_window: u32,
}

/// What becomes of a payload that is no envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LegacyPayloads {
    /// The call fails with the reason.
    #[default]
    Refuse,
    /// It goes to the recipient in a plain envelope that says where it came from.
    Store,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domain: String::new(),
            cert: PathBuf::new(),
            key: PathBuf::new(),
            ca: PathBuf::new(),
            allow: Vec::new(),
            block: Vec::new(),
            legacy_payloads: LegacyPayloads::Refuse,
            worker_threads: 1,
            idle_timeout_ms: 4_000,
            keep_alive_ms: 1_000,
            handshake_timeout_ms: 5_000,
            max_links: 1_024,
            max_links_per_domain: 16,
            max_handshakes: 256,
            max_handshakes_per_address: 128,
            receive_window: 1 << 20,
            send_window: 1 << 20,
        }
    }
}

impl Config {
    /// Reads and checks a configuration. The error names the key and what it may be.
    pub(crate) fn from_json(json: Value) -> Result<Self, String> {
        let mut config: Self = serde_json::from_value(json).map_err(|e| e.to_string())?;
        config.check_files()?;
        config.check_numbers()?;
        config.domain = name("domain", &config.domain)?;
        for (key, list) in [("allow", &mut config.allow), ("block", &mut config.block)] {
            *list = list.iter().map(|domain| name(key, domain)).collect::<Result<_, _>>()?;
        }
        Ok(config)
    }

    /// How long a new link may take to come up.
    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms.into())
    }

    fn check_files(&self) -> Result<(), String> {
        for (key, path, what) in [
            ("cert", &self.cert, "certificate of this node"),
            ("key", &self.key, "key of that certificate"),
            ("ca", &self.ca, "certificate of the CA that the domains trust"),
        ] {
            if path.as_os_str().is_empty() {
                return Err(format!("`{key}` is missing: the file with the {what}"));
            }
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), String> {
        in_range("worker_threads", self.worker_threads as u64, 1, 8)?;
        in_range("idle_timeout_ms", self.idle_timeout_ms.into(), 200, 600_000)?;
        in_range("keep_alive_ms", self.keep_alive_ms.into(), 50, u64::from(self.idle_timeout_ms) / 2)?;
        in_range("handshake_timeout_ms", self.handshake_timeout_ms.into(), 100, 60_000)?;
        in_range("max_links", self.max_links as u64, 1, 65_536)?;
        in_range("max_links_per_domain", self.max_links_per_domain as u64, 1, 65_536)?;
        in_range("max_handshakes", self.max_handshakes as u64, 1, 4_096)?;
        in_range("max_handshakes_per_address", self.max_handshakes_per_address as u64, 1, 4_096)?;
        let frame = MAX_FRAME as u64;
        in_range("receive_window", self.receive_window.into(), frame, 1 << 28)?;
        in_range("send_window", self.send_window.into(), frame, 1 << 28)
    }
}

fn name(key: &str, domain: &str) -> Result<String, String> {
    domain_of(domain).map_err(|why| format!("`{key}`: {domain:?} is no domain name: {why}"))
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

    fn with(key: &str, value: Value) -> Value {
        let mut all = json!({"domain": "a.example", "cert": "c", "key": "k", "ca": "a"});
        all[key] = value;
        all
    }

    #[test]
    fn the_schema_states_the_keys_and_defaults_of_the_struct() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let defaults: serde_json::Map<String, Value> =
            properties.iter().filter_map(|(key, about)| Some((key.clone(), about.get("default")?.clone()))).collect();
        assert_eq!((properties.len(), defaults.len()), (17, 13));
        let config: Config = serde_json::from_value(Value::Object(defaults)).unwrap();
        assert_eq!(config, Config::default());
        assert!(properties.values().all(|about| about["description"].is_string()));
    }

    #[test]
    fn every_bound_of_the_schema_is_checked_here_too() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        for (key, about) in schema["properties"].as_object().unwrap() {
            for (bound, step) in [("minimum", -1), ("maximum", 1)] {
                let Some(value) = about[bound].as_i64() else { continue };
                assert!(Config::from_json(with(key, json!(value + step))).is_err(), "{key} = {}", value + step);
            }
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for key in ["domain", "cert", "key", "ca"] {
            let error = Config::from_json(with(key, json!(""))).unwrap_err();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
    }

    #[test]
    fn domains_are_compared_in_lower_case() {
        let config = Config::from_json(with("block", json!(["B.Example", "c.example."]))).unwrap();
        assert_eq!(config.block, ["b.example", "c.example"]);
        let error = Config::from_json(with("allow", json!(["no domain"]))).unwrap_err();
        assert!(error.contains("`allow`") && error.contains("no domain"), "{error}");
    }

    #[test]
    fn unknown_keys_and_contradictions_are_refused() {
        assert!(Config::from_json(with("max_link", json!(3))).unwrap_err().contains("max_link"));
        assert!(Config::from_json(with("keep_alive_ms", json!(2_001))).unwrap_err().contains("keep_alive_ms"));
        assert!(Config::from_json(with("legacy_payloads", json!("keep"))).is_err());
    }
}
