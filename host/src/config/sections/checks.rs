//! Checks of values, beyond their type.

use qpq_schemas::emergency::MAX_SIGNATURES;
use toml::Value;

use crate::config::setting::{Fault, Setting};
use crate::script::Isolation;
use crate::store::IndexPlace;

/// Longest nickname, in characters.
const MAX_NICKNAME: usize = 32;

/// Longest domain, in bytes (RFC 1035).
const MAX_DOMAIN: usize = 253;

/// The transport of an address that names none.
const DEFAULT_TRANSPORT: &str = "quic";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object on each line.
    Json,
}

/// What becomes of payloads that are no envelopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LegacyPayloads {
    /// Their sender is told that they are refused.
    #[default]
    Refuse,
    /// They are kept for their recipients as they are.
    Store,
}

impl LegacyPayloads {
    /// The value's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Store => "store",
        }
    }
}

impl Setting for LegacyPayloads {
    const KIND: &'static str = "refuse or store";

    fn from_value(value: &Value) -> Result<Self, Fault> {
        match value.as_str() {
            Some("refuse") => Ok(Self::Refuse),
            Some("store") => Ok(Self::Store),
            _ => Err(Fault::new("expected \"refuse\" or \"store\"")),
        }
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::String(self.word().to_owned()))
    }
}

impl Setting for Isolation {
    const KIND: &'static str = "thread or process";

    fn from_value(value: &Value) -> Result<Self, Fault> {
        match value.as_str() {
            Some("thread") => Ok(Self::Thread),
            Some("process") => Ok(Self::Process),
            _ => Err(Fault::new("expected \"thread\" or \"process\"")),
        }
    }

    fn to_value(&self) -> Option<Value> {
        let name = match self {
            Self::Thread => "thread",
            Self::Process => "process",
        };
        Some(Value::String(name.to_owned()))
    }
}

impl Setting for IndexPlace {
    const KIND: &'static str = "memory or disk";

    fn from_value(value: &Value) -> Result<Self, Fault> {
        match value.as_str() {
            Some("memory") => Ok(Self::Memory),
            Some("disk") => Ok(Self::Disk),
            _ => Err(Fault::new("expected \"memory\" or \"disk\"")),
        }
    }

    fn to_value(&self) -> Option<Value> {
        let name = match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        };
        Some(Value::String(name.to_owned()))
    }
}

impl Setting for LogFormat {
    const KIND: &'static str = "text or json";

    fn from_value(value: &Value) -> Result<Self, Fault> {
        match value.as_str() {
            Some("text") => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            _ => Err(Fault::new("expected \"text\" or \"json\"")),
        }
    }

    fn to_value(&self) -> Option<Value> {
        let name = match self {
            Self::Text => "text",
            Self::Json => "json",
        };
        Some(Value::String(name.to_owned()))
    }
}

pub(super) fn nickname(value: Option<String>) -> Result<Option<String>, Fault> {
    match value {
        Some(name) if name.trim().is_empty() => Err(Fault::new("a nickname can't be empty")),
        Some(name) if name.chars().count() > MAX_NICKNAME => {
            Err(Fault::new(format!("a nickname has at most {MAX_NICKNAME} characters")))
        }
        value => Ok(value),
    }
}

pub(super) fn domain(value: Option<String>) -> Result<Option<String>, Fault> {
    let good = |domain: &String| {
        let label = |label: &str| {
            !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        domain.len() <= MAX_DOMAIN && domain.split('.').all(label)
    };
    match value {
        Some(domain) if !good(&domain) => Err(Fault::new(format!("`{domain}` is no domain name"))),
        value => Ok(value.map(|domain| domain.to_ascii_lowercase())),
    }
}

/// A domain name that doesn't come from the configuration, by the same rule: in lower case.
pub(crate) fn domain_name(text: &str) -> Result<String, String> {
    domain(Some(text.to_owned())).map(Option::unwrap_or_default).map_err(|fault| fault.message)
}

pub(super) fn domains(values: Vec<String>) -> Result<Vec<String>, Fault> {
    let one = |(place, value)| domain(Some(value)).map_err(|fault| fault.at(place)).map(Option::unwrap_or_default);
    values.into_iter().enumerate().map(one).collect()
}

/// `DOMAIN` or `DOMAIN@HOST:PORT`.
pub(super) fn domain_peers(values: Vec<String>) -> Result<Vec<String>, Fault> {
    let one = |(place, value): (usize, String)| {
        let (name, address) = match value.split_once('@') {
            Some((name, address)) => (name.to_owned(), Some(address.to_owned())),
            None => (value, None),
        };
        let address = socket_address(address).map_err(|fault| fault.at(place))?;
        let name = domain(Some(name)).map_err(|fault| fault.at(place))?.unwrap_or_default();
        Ok(address.map_or(name.clone(), |address| format!("{name}@{address}")))
    };
    values.into_iter().enumerate().map(one).collect()
}

/// The name of an open channel.
pub(super) fn channel(value: String) -> Result<String, Fault> {
    match qpq_schemas::channel::ChannelKey::open(&value) {
        Ok(_) => Ok(value),
        Err(error) => Err(Fault::new(format!("`{value}`: {error}"))),
    }
}

/// Keys of admins, each once: one who is named twice would count twice in the eyes of whoever reads the list.
pub(super) fn emergency_admins(values: Vec<String>) -> Result<Vec<String>, Fault> {
    let values = peer_keys(values)?;
    if values.len() > MAX_SIGNATURES {
        return Err(Fault::new(format!("at most {MAX_SIGNATURES} keys, as a notice has no room for more signatures")));
    }
    let twice =
        |(place, key): &(usize, &String)| values.iter().take(*place).any(|other| other.eq_ignore_ascii_case(key));
    match values.iter().enumerate().find(twice) {
        Some((place, _)) => Err(Fault::new("this key is named twice").at(place)),
        None => Ok(values),
    }
}

/// Names of open channels.
pub(super) fn channels(values: Vec<String>) -> Result<Vec<String>, Fault> {
    for (place, name) in values.iter().enumerate() {
        if let Err(error) = qpq_schemas::channel::ChannelKey::open(name) {
            return Err(Fault::new(format!("`{name}`: {error}")).at(place));
        }
    }
    Ok(values)
}

/// `HOST:PORT`, with an address of IPv6 in brackets.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good_host = match bracketed {
        Some(address) => address.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains([':', '/', '[', ']', ' ', '@']),
    };
    good_host && port.parse::<u16>().is_ok()
}

/// An address with its transport: `HOST:PORT` becomes `quic://HOST:PORT`.
fn uri(text: &str) -> Result<String, Fault> {
    if is_host_and_port(text) {
        return Ok(format!("{DEFAULT_TRANSPORT}://{text}"));
    }
    match text.split_once("://") {
        Some((scheme, rest))
            if !scheme.is_empty()
                && !rest.is_empty()
                && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b)) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(Fault::new(format!("`{text}` is neither HOST:PORT nor TRANSPORT://ADDRESS"))),
    }
}

pub(super) fn uris(values: Vec<String>) -> Result<Vec<String>, Fault> {
    values.into_iter().enumerate().map(|(place, text)| uri(&text).map_err(|fault| fault.at(place))).collect()
}

pub(super) fn socket_address(value: Option<String>) -> Result<Option<String>, Fault> {
    match value {
        Some(text) if !is_host_and_port(&text) => Err(Fault::new(format!("`{text}` is not HOST:PORT"))),
        value => Ok(value),
    }
}

pub(super) fn socket_addresses(values: Vec<String>) -> Result<Vec<String>, Fault> {
    for (place, text) in values.iter().enumerate() {
        socket_address(Some(text.clone())).map_err(|fault| fault.at(place))?;
    }
    Ok(values)
}

/// Public keys. Nicknames open no doors: anybody can take one.
pub(super) fn peer_keys(values: Vec<String>) -> Result<Vec<String>, Fault> {
    for (place, text) in values.iter().enumerate() {
        if text.parse::<qpq_schemas::PeerId>().is_err() {
            let text = "expected a public key of 64 hexadecimal digits, as `qpq mesh identity` shows it there";
            return Err(Fault::new(text).at(place));
        }
    }
    Ok(values)
}

/// Names of plugins: they become names of files, so they can't have a slash or a dot.
pub(super) fn names(values: Vec<String>) -> Result<Vec<String>, Fault> {
    let good = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    for (place, name) in values.iter().enumerate() {
        if !good(name) {
            return Err(Fault::new(format!("`{name}` is no name of a plugin, such as transport-quic")).at(place));
        }
        if values.iter().take(place).any(|earlier| earlier == name) {
            return Err(Fault::new(format!("`{name}` is named twice")).at(place));
        }
    }
    Ok(values)
}

pub(super) fn digests(values: Vec<String>) -> Result<Vec<String>, Fault> {
    let good = |digest: &str| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    match values.iter().position(|digest| !good(digest)) {
        Some(place) => Err(Fault::new("expected a SHA-256 digest of 64 hexadecimal digits").at(place)),
        None => Ok(values.into_iter().map(|digest| digest.to_ascii_lowercase()).collect()),
    }
}

pub(super) fn filter(value: String) -> Result<String, Fault> {
    match tracing_subscriber::EnvFilter::builder().parse(&value) {
        Ok(_) => Ok(value),
        Err(error) => Err(Fault::new(format!("`{value}` is no log filter: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_transport_is_quic() {
        let given = ["0.0.0.0:7000", "[::]:7000", "[fe80::1%eth0]:1", "node.example:1", "tcp+x://a"];
        let wanted = [
            "quic://0.0.0.0:7000",
            "quic://[::]:7000",
            "quic://[fe80::1%eth0]:1",
            "quic://node.example:1",
            "tcp+x://a",
        ];
        assert_eq!(uris(given.map(str::to_owned).to_vec()).unwrap(), wanted);
    }

    #[test]
    fn what_is_no_address_is_refused_at_its_place() {
        for bad in ["", "host", "host:", "host:65536", "::1:7000", "[zz]:1", "://x", "quic://", "QUIC://x", "a b:1"] {
            let fault = uris(vec!["ok:1".into(), bad.into()]).unwrap_err();
            assert_eq!(fault.element, Some(1), "{bad}");
        }
    }

    #[test]
    fn a_domain_may_come_with_its_address() {
        let given = ["B.mesh.local", "c.mesh.local@192.0.2.7:7001", "d.mesh.local@[2001:db8::1]:7001"];
        let wanted = ["b.mesh.local", "c.mesh.local@192.0.2.7:7001", "d.mesh.local@[2001:db8::1]:7001"];
        assert_eq!(domain_peers(given.map(str::to_owned).to_vec()).unwrap(), wanted);
        for bad in ["", "@1.2.3.4:1", "a..b", "b.mesh@", "b.mesh@host", "b.mesh@a@b:1", "federation://b"] {
            assert_eq!(domain_peers(vec!["ok.mesh".into(), bad.into()]).unwrap_err().element, Some(1), "{bad}");
        }
    }

    #[test]
    fn names_of_plugins_are_no_paths() {
        for bad in ["", "../x", "a/b", "a.so", "A"] {
            assert!(names(vec![bad.into()]).is_err(), "{bad}");
        }
        assert_eq!(names(vec!["a".into(), "a".into()]).unwrap_err().element, Some(1));
    }

    #[test]
    fn domains_and_nicknames_are_bounded() {
        assert_eq!(domain(Some("Node1.mesh.local".into())).unwrap().as_deref(), Some("node1.mesh.local"));
        assert!(domain(Some("a..b".into())).is_err());
        assert!(domain(Some("a_b".into())).is_err());
        assert!(nickname(Some("x".repeat(33))).is_err());
        assert!(nickname(Some(" ".into())).is_err());
    }
}
