//! The plugin's configuration: one struct, and the JSON Schema that the host checks it against.

use std::path::PathBuf;
use std::time::Duration;

use iroh::RelayUrl;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::limits::{MAX_FRAME, MAX_RELAYS};

/// What an admin can set. Every key may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Threads that do the network work, 1 to 8.
    pub worker_threads: usize,
    /// URLs of the relays that may be used, such as `https://relay.example.org:3340`. None by default; no other is ever used.
    pub relays: Vec<String>,
    /// PEM files with the certificates of the authorities that the relays' certificates must come from. Without any, the public
    /// authorities count. A single file may stand without a list.
    #[serde(deserialize_with = "one_or_many")]
    pub relay_ca: Vec<PathBuf>,
    /// UDP port of the relays' address discovery (QAD), without which no NAT is crossed. 0: they have none.
    pub relay_qad_port: u16,
    /// Whether links go through relays only, so that peers don't learn this node's addresses. It then listens nowhere.
    pub relay_only: bool,
    /// A direct path that is silent for so long is given up, in milliseconds: the link goes on through a relay, or ends.
    pub path_idle_ms: u32,
    /// A quiet path is probed this often, in milliseconds. Must be at most half of `path_idle_ms`.
    pub keep_alive_ms: u32,
    /// A link whose peer is silent on all paths for so long is dead, in milliseconds. The smaller value of both ends counts.
    pub idle_timeout_ms: u32,
    /// Time for a link that this node opens to come up, in milliseconds.
    pub dial_timeout_ms: u32,
    /// Time for a link that another node opens to come up, once its first packet is here, in milliseconds.
    pub handshake_timeout_ms: u32,
    /// Links at the same time, in both directions together.
    pub max_links: usize,
    /// Inbound links from one IP address at the same time.
    pub max_links_per_address: usize,
    /// Inbound links from one peer at the same time.
    pub max_links_per_peer: usize,
    /// Inbound links at the same time that came through a relay: their addresses can't be told apart.
    pub max_relayed_links: usize,
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
            relays: Vec::new(),
            relay_ca: Vec::new(),
            relay_qad_port: 7_842,
            relay_only: false,
            path_idle_ms: 1_500,
            keep_alive_ms: 500,
            idle_timeout_ms: 2_500,
            dial_timeout_ms: 10_000,
            handshake_timeout_ms: 5_000,
            max_links: 1_024,
            max_links_per_address: 64,
            max_links_per_peer: 4,
            max_relayed_links: 512,
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

    /// How long a new outbound link may take to come up.
    pub(crate) fn dial_timeout(&self) -> Duration {
        Duration::from_millis(self.dial_timeout_ms.into())
    }

    /// How long a new inbound link may take to come up.
    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms.into())
    }

    /// The relays, parsed.
    pub(crate) fn relay_urls(&self) -> Result<Vec<RelayUrl>, String> {
        self.relays.iter().map(|url| relay_url(url)).collect()
    }

    fn check(&self) -> Result<(), String> {
        in_range("worker_threads", self.worker_threads as u64, 1, 8)?;
        in_range("path_idle_ms", self.path_idle_ms.into(), 500, 15_000)?;
        in_range("keep_alive_ms", self.keep_alive_ms.into(), 100, (u64::from(self.path_idle_ms) / 2).min(5_000))?;
        in_range("idle_timeout_ms", self.idle_timeout_ms.into(), self.path_idle_ms.into(), 600_000)?;
        in_range("dial_timeout_ms", self.dial_timeout_ms.into(), 100, 18_000)?;
        in_range("handshake_timeout_ms", self.handshake_timeout_ms.into(), 100, 60_000)?;
        in_range("max_links", self.max_links as u64, 1, 65_536)?;
        in_range("max_links_per_address", self.max_links_per_address as u64, 1, 65_536)?;
        in_range("max_links_per_peer", self.max_links_per_peer as u64, 1, 65_536)?;
        in_range("max_relayed_links", self.max_relayed_links as u64, 0, 65_536)?;
        in_range("max_handshakes", self.max_handshakes as u64, 1, 4_096)?;
        let frame = MAX_FRAME as u64;
        in_range("receive_window", self.receive_window.into(), frame, 1 << 28)?;
        in_range("send_window", self.send_window.into(), frame, 1 << 28)?;
        if self.relays.len() > MAX_RELAYS {
            return Err(format!("`relays` has {} entries; at most {MAX_RELAYS} are used", self.relays.len()));
        }
        if self.relay_only && self.relays.is_empty() {
            return Err(
                "`relay_only` is set and `relays` is empty: name a relay, or set `relay_only` to false".to_owned()
            );
        }
        self.relay_urls().map(drop)
    }
}

/// A relay's URL: `http` or `https`, a host, and nothing that would make a URI of this plugin ambiguous.
fn relay_url(text: &str) -> Result<RelayUrl, String> {
    let wrong = |why: &str| {
        let text = crate::address::printable(text);
        format!("`relays` has {text:?}, which is no relay: {why}; write https://HOST:PORT")
    };
    let url: RelayUrl = text.parse().map_err(|_| wrong("it is no URL"))?;
    match url.scheme() {
        "https" | "http" if url.host_str().is_none() => Err(wrong("it has no host")),
        "https" | "http" if !url.username().is_empty() || url.password().is_some() => Err(wrong("it has a password")),
        "https" | "http" if url.query().is_some() || url.fragment().is_some() || url.path().contains('&') => {
            Err(wrong("`?`, `#` and `&` can't be part of it"))
        }
        "https" | "http" => Ok(url),
        _ => Err(wrong("it must begin with `https://`")),
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a file name or a list of them")]
    enum Given {
        One(PathBuf),
        Many(Vec<PathBuf>),
    }
    Ok(match Given::deserialize(from)? {
        Given::One(file) => vec![file],
        Given::Many(files) => files,
    })
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
        assert_eq!(defaults.len(), 17);
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
                let parse = |value: i64| Config::from_json(json!({ key.as_str(): value }));
                assert!(parse(value + step).is_err(), "{key} = {}", value + step);
            }
        }
    }

    #[test]
    fn an_empty_configuration_takes_the_defaults_and_names_no_relay() {
        assert_eq!(Config::from_json(json!({})), Ok(Config::default()));
        assert!(Config::default().relays.is_empty());
    }

    #[test]
    fn unknown_keys_and_contradictions_are_refused() {
        assert!(Config::from_json(json!({"max_link": 3})).unwrap_err().contains("max_link"));
        let error = Config::from_json(json!({"path_idle_ms": 1000, "keep_alive_ms": 900})).unwrap_err();
        assert_eq!(error, "`keep_alive_ms` is 900; it must be between 100 and 500");
        assert!(Config::from_json(json!({"relay_only": true})).unwrap_err().contains("name a relay"));
    }

    #[test]
    fn one_authority_needs_no_list() {
        let roots = |given: Value| Config::from_json(json!({ "relay_ca": given })).unwrap().relay_ca;
        assert_eq!(roots(json!("/a.pem")), roots(json!(["/a.pem"])));
        assert!(Config::from_json(json!({"relay_ca": 3})).unwrap_err().contains("file name"));
    }

    #[test]
    fn what_is_no_relay_is_refused_with_the_right_form() {
        for url in ["", "relay", "ftp://a", "https://", "https://u:p@a", "https://a/?x", "https://a/#x", "https://a/&b"]
        {
            let error = Config::from_json(json!({ "relays": [url] })).unwrap_err();
            assert!(error.contains("https://HOST:PORT"), "{url}: {error}");
        }
        for url in ["https://relay.example.org:3340", "http://127.0.0.1:3340", "https://[2001:db8::1]"] {
            assert!(Config::from_json(json!({ "relays": [url] })).is_ok(), "{url}");
        }
        let many = vec!["https://a.example"; MAX_RELAYS + 1];
        assert!(Config::from_json(json!({ "relays": many })).unwrap_err().contains("at most 8"));
    }
}
