//! The plugin's configuration: one struct, and the JSON Schema that the host checks it against.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

/// What an admin can set. Every key may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Only these interfaces; all when empty. A name may end with `*`.
    pub interfaces: Vec<String>,
    /// Never these interfaces. A name may end with `*`.
    pub ignore: Vec<String>,
    /// Also the loopback interface.
    pub loopback: bool,
    /// Over IPv4.
    pub ipv4: bool,
    /// Over IPv6.
    pub ipv6: bool,
    /// UDP port. All nodes must have the same; 5353 is that of multicast DNS.
    pub port: u16,
    /// The service, in place of the one that the host asks for. All nodes must have the same.
    pub service: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            ignore: Vec::new(),
            loopback: false,
            ipv4: true,
            ipv6: true,
            port: mdns_sd::MDNS_PORT,
            service: None,
        }
    }
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// The text names the key and what it may be.
    pub fn from_json(json: Value) -> Result<Self, String> {
        let config: Self = serde_json::from_value(json).map_err(|e| e.to_string())?;
        if !config.ipv4 && !config.ipv6 {
            return Err("`ipv4` and `ipv6` are both false; leave one of them on, or the plugin out".to_owned());
        }
        if config.port == 0 {
            return Err("`port` must be 1 to 65535".to_owned());
        }
        match config.service.as_deref() {
            Some(service) if !is_service(service) => {
                Err(format!("`service` is {service:?}; it must be like _quicproquo._udp"))
            }
            _ => Ok(config),
        }
    }

    /// Whether this address of an interface is used.
    pub fn allows(&self, interface: &str, address: IpAddr) -> bool {
        let family = if address.is_ipv4() { self.ipv4 } else { self.ipv6 };
        let named = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, interface));
        let wanted = self.interfaces.is_empty() || named(&self.interfaces);
        family && wanted && !named(&self.ignore) && (self.loopback || !address.is_loopback())
    }

    /// The service to announce and to look for, with its domain, when the host asks for `asked`.
    pub fn service(&self, asked: &str) -> String {
        let service = self.service.as_deref().unwrap_or(asked).trim_end_matches('.').trim_end_matches(".local");
        format!("{service}.local.")
    }
}

/// Whether the name of an interface fits a pattern, which may end with `*`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// `_name._udp` or `_name._tcp`, the name of 1 to 15 letters, digits and hyphens (RFC 6335, section 5.1).
fn is_service(service: &str) -> bool {
    let name = service.strip_suffix("._udp").or_else(|| service.strip_suffix("._tcp"));
    let Some(name) = name.and_then(|name| name.strip_prefix('_')) else { return false };
    (1..=15).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_schema() {
        let schema: Value = serde_json::from_str(include_str!("config.schema.json")).unwrap();
        let with_default = |(key, about): (&String, &Value)| Some((key.clone(), about.get("default")?.clone()));
        let defaults = schema["properties"].as_object().unwrap().iter().filter_map(with_default).collect();
        assert_eq!(Config::from_json(Value::Object(defaults)).unwrap(), Config::default());
    }

    #[test]
    fn loopback_is_left_out_unless_wanted() {
        let [lo, lan] = ["127.0.0.1", "192.168.1.2"].map(|ip| ip.parse().unwrap());
        let config = Config::default();
        assert!(config.allows("eth0", lan) && !config.allows("lo", lo));
        assert!(Config { loopback: true, ..config }.allows("lo", lo));
    }

    #[test]
    fn interfaces_are_chosen_by_name_and_family() {
        let [v4, v6] = ["192.168.1.2", "fe80::1"].map(|ip| ip.parse().unwrap());
        let config = Config::from_json(json!({"interfaces": ["bat*", "eth0"], "ignore": ["bat9"]})).unwrap();
        assert!(config.allows("bat0", v4) && config.allows("eth0", v6));
        assert!(!config.allows("bat9", v4) && !config.allows("eth01", v4));
        let config = Config::from_json(json!({"ipv4": false})).unwrap();
        assert!(config.allows("x", v6) && !config.allows("x", v4));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        for (bad, key) in [
            (json!({"interface": []}), "interface"),
            (json!({"port": 0}), "port"),
            (json!({"ipv4": false, "ipv6": false}), "ipv4"),
            (json!({"service": "quicproquo"}), "service"),
            (json!({"service": "_a-name-that-is-too-long._udp"}), "service"),
        ] {
            assert!(Config::from_json(bad).unwrap_err().contains(key), "{key}");
        }
    }

    #[test]
    fn a_service_ends_with_its_domain_once() {
        let config = Config::default();
        for asked in ["_quicproquo._udp", "_quicproquo._udp.local", "_quicproquo._udp.local."] {
            assert_eq!(config.service(asked), "_quicproquo._udp.local.");
        }
        let config = Config::from_json(json!({"service": "_lab._udp"})).unwrap();
        assert_eq!(config.service("_quicproquo._udp.local."), "_lab._udp.local.");
    }
}
