//! What this node announces: its record as the host gives it, and as strings of a TXT record.

use serde::Deserialize;
use serde_json::Value;

use crate::limits::{MAX_ADDRESSES, MAX_DOMAIN, MAX_SERVER, MAX_TXT, MAX_TXT_STRING, MAX_URI};

/// The version of the TXT record's layout.
pub const VERSION: &str = "1";

/// This node, as the host describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Own {
    /// Its key, 64 hex digits.
    pub peer: String,
    /// Where it can be reached: transport URIs, the best first.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// `HOST:PORT` of the first of them, for programs that know no URIs.
    #[serde(default)]
    pub server: Option<String>,
    /// Its domain.
    #[serde(default)]
    pub domain: Option<String>,
}

impl Own {
    /// Reads the host's record.
    ///
    /// # Errors
    /// The text names what is wrong.
    pub fn from_json(record: Value) -> Result<Self, String> {
        let own: Self = serde_json::from_value(record).map_err(|e| format!("the record is not understood: {e}"))?;
        if own.peer.len() == 64 && own.peer.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self { peer: own.peer.to_ascii_lowercase(), ..own })
        } else {
            Err("the record's `peer` must be 64 hex digits".to_owned())
        }
    }

    /// The strings of the TXT record: key and value. What is too long is left out, and addresses at the end when all
    /// together are too many.
    pub fn strings(&self) -> Vec<(String, String)> {
        let mut strings = Strings::default();
        strings.push("ver", VERSION);
        if let Some(server) = self.server.as_deref().filter(|server| server.len() <= MAX_SERVER) {
            strings.push("server", server);
        }
        if let Some(domain) = self.domain.as_deref().filter(|domain| domain.len() <= MAX_DOMAIN) {
            strings.push("domain", domain);
        }
        strings.push("peer", &self.peer);
        let fitting = self.addresses.iter().filter(|uri| uri.len() <= MAX_URI);
        for (place, uri) in fitting.take(MAX_ADDRESSES).enumerate() {
            strings.push(&address_key(place), uri);
        }
        strings.taken
    }

    /// The port for the SRV record: that of `server`, or 0.
    pub fn port(&self) -> u16 {
        let port = self.server.as_deref().and_then(|server| server.rsplit_once(':')?.1.parse().ok());
        port.unwrap_or(0)
    }
}

/// `addr`, `addr2`, `addr3` …: a key may not appear twice (RFC 6763, section 6.4).
pub fn address_key(place: usize) -> String {
    if place == 0 { "addr".to_owned() } else { format!("addr{}", place + 1) }
}

#[derive(Default)]
struct Strings {
    taken: Vec<(String, String)>,
    bytes: usize,
}

impl Strings {
    fn push(&mut self, key: &str, value: &str) {
        let length = key.len() + 1 + value.len();
        // One byte before each string holds its length.
        if length <= MAX_TXT_STRING && self.bytes + length < MAX_TXT {
            self.bytes += length + 1;
            self.taken.push((key.to_owned(), value.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn own(addresses: &[String]) -> Own {
        let record = json!({
            "peer": "AB".repeat(32), "addresses": addresses, "server": "192.0.2.1:7000", "domain": "node1.mesh.local",
        });
        Own::from_json(record).unwrap()
    }

    #[test]
    fn the_strings_of_the_service_come_first() {
        let strings = own(&["quic://192.0.2.1:7000".to_owned(), "quic://[2001:db8::1]:7000".to_owned()]).strings();
        let shown: Vec<String> = strings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let peer = format!("peer={}", "ab".repeat(32));
        let wanted = [
            "ver=1",
            "server=192.0.2.1:7000",
            "domain=node1.mesh.local",
            &peer,
            "addr=quic://192.0.2.1:7000",
            "addr2=quic://[2001:db8::1]:7000",
        ];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let long = |n: usize| format!("quic://{}:1", "a".repeat(n));
        let strings = own(&[long(300), "quic://192.0.2.1:7000".to_owned()]).strings();
        assert!(strings.contains(&("addr".to_owned(), "quic://192.0.2.1:7000".to_owned())));
        let many: Vec<String> = (0..40).map(|n| long(200 + n % 9)).collect();
        let strings = own(&many).strings();
        let bytes: usize = strings.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
        assert!(bytes <= MAX_TXT && strings.len() > 5, "{bytes} bytes in {} strings", strings.len());
        assert!(strings.iter().all(|(key, value)| key.len() + 1 + value.len() <= MAX_TXT_STRING));
    }

    #[test]
    fn a_record_without_a_key_is_refused() {
        for peer in ["", "ab", &"zz".repeat(32)] {
            assert!(Own::from_json(json!({ "peer": peer })).unwrap_err().contains("peer"));
        }
        assert!(Own::from_json(json!([])).is_err());
    }

    #[test]
    fn the_port_is_that_of_the_server() {
        assert_eq!(own(&[]).port(), 7000);
        assert_eq!(Own { server: Some("[2001:db8::1]:9".into()), ..own(&[]) }.port(), 9);
        assert_eq!(Own { server: None, ..own(&[]) }.port(), 0);
        assert_eq!(Own { server: Some("x:99999".into()), ..own(&[]) }.port(), 0);
    }
}
