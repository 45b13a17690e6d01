//! What others announce. Anybody on the network can write anything there, so everything is bounded, and what doesn't fit its
//! form is left out.

use std::net::Ipv6Addr;

use serde_json::{Map, Value, json};

use crate::limits::{MAX_ADDRESSES, MAX_DOMAIN, MAX_INSTANCE, MAX_SERVER, MAX_STRINGS, MAX_URI};
use crate::record::{VERSION, address_key};

/// A resolved service instance, as it came from the network.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Full name of the instance.
    pub fullname: String,
    /// The service's type with its domain, which the full name ends with.
    pub service: String,
    /// Keys and values of the TXT record.
    pub strings: Vec<(String, Vec<u8>)>,
    /// The interface that it was heard on: name and index.
    pub interface: Option<(String, u32)>,
}

/// A node that was found: as much of its answer as makes sense.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Name of its service instance; unique on the network, if nobody cheats.
    pub id: String,
    /// Its key, 64 hex digits. Claimed, not proven.
    pub peer: Option<String>,
    /// Transport URIs. Claimed, too.
    pub addresses: Vec<String>,
    /// `HOST:PORT`.
    pub server: Option<String>,
    /// Its domain.
    pub domain: Option<String>,
    /// The interface that it was heard on.
    pub interface: Option<String>,
}

impl Node {
    /// Reads an answer. `None` when nothing in it is of use, or it is of another version.
    pub fn read(answer: &Answer) -> Option<Self> {
        let id = instance(&answer.fullname, &answer.service)?;
        let text = |key: &str| value(answer, key);
        if text("ver").is_some_and(|version| version != VERSION) {
            return None;
        }
        let scope = answer.interface.as_ref().map(|(_, index)| *index);
        let uris = (0..MAX_ADDRESSES).map_while(|place| text(&address_key(place)));
        let node = Self {
            id,
            peer: text("peer").filter(|key| is_key(key)).map(str::to_ascii_lowercase),
            addresses: uris.filter(|uri| is_uri(uri)).map(|uri| with_scope(uri, scope)).collect(),
            server: text("server").filter(|server| is_server(server)).map(str::to_owned),
            domain: text("domain").filter(|domain| is_domain(domain)).map(str::to_ascii_lowercase),
            interface: answer.interface.as_ref().map(|(name, _)| name.clone()),
        };
        (node.server.is_some() || !node.addresses.is_empty()).then_some(node)
    }

    /// The record as the host takes it.
    pub fn to_json(&self) -> Value {
        let mut record = Map::new();
        record.insert("id".to_owned(), json!(self.id));
        record.insert("addresses".to_owned(), json!(self.addresses));
        let texts =
            [("peer", &self.peer), ("server", &self.server), ("domain", &self.domain), ("interface", &self.interface)];
        for (key, text) in texts {
            if let Some(text) = text {
                record.insert(key.to_owned(), json!(text));
            }
        }
        Value::Object(record)
    }
}

/// The name of an instance without its service. Names that a terminal would act on are nobody's who means well.
fn instance(fullname: &str, service: &str) -> Option<String> {
    let split = fullname.len().checked_sub(service.len() + 1)?;
    let (name, rest) = (fullname.get(..split)?, fullname.get(split..)?);
    let same = rest.strip_prefix('.').is_some_and(|rest| rest.eq_ignore_ascii_case(service));
    let clean = !name.is_empty() && name.len() <= MAX_INSTANCE && !name.chars().any(char::is_control);
    (same && clean).then(|| name.to_owned())
}

/// The first value of that key (RFC 6763, section 6.4: case doesn't matter), if it is text.
fn value<'a>(answer: &'a Answer, key: &str) -> Option<&'a str> {
    let mut strings = answer.strings.iter().take(MAX_STRINGS);
    let (_, value) = strings.find(|(name, _)| name.eq_ignore_ascii_case(key))?;
    std::str::from_utf8(value).ok()
}

fn is_key(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `scheme://something`, of the characters that a URI may have (RFC 3986, section 2; `%` before a zone too). The others are
/// what a shell or a report in JSON would need escapes for.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    (1..=MAX_URI).contains(&text.len())
        && !scheme.is_empty()
        && scheme.bytes().all(lower)
        && !rest.is_empty()
        && rest.bytes().all(|b| b.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&b))
}

/// `HOST:PORT`, an IPv6 address in brackets.
fn is_server(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good_host = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    text.len() <= MAX_SERVER && good_host && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_domain(text: &str) -> bool {
    let label =
        |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    text.len() <= MAX_DOMAIN && text.split('.').all(label)
}

/// A link-local address counts only together with the interface that its announcement came in by; without it nobody could
/// be dialled.
fn with_scope(uri: &str, scope: Option<u32>) -> String {
    let scoped = || {
        let (head, rest) = uri.split_once('[')?;
        let (address, tail) = rest.split_once(']')?;
        let is_host = head.ends_with("://") || head.ends_with('@');
        let link_local = is_host && address.parse::<Ipv6Addr>().ok()?.is_unicast_link_local();
        link_local.then_some(format!("{head}[{address}%{}]{tail}", scope?))
    };
    scoped().unwrap_or_else(|| uri.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "_quicproquo._udp.local.";

    fn answer(strings: &[(&str, &str)]) -> Answer {
        Answer {
            fullname: format!("node.{SERVICE}"),
            service: SERVICE.to_owned(),
            strings: strings.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect(),
            interface: Some(("eth0".to_owned(), 7)),
        }
    }

    #[test]
    fn a_full_answer_is_read() {
        let peer = "ab".repeat(32);
        let node = Node::read(&answer(&[
            ("ver", "1"),
            ("server", "192.168.1.42:7000"),
            ("domain", "Node1.mesh.local"),
            ("peer", &peer.to_uppercase()),
            ("addr", "quic://192.168.1.42:7000"),
            ("ADDR2", "quic://[fe80::1]:7000"),
        ]))
        .unwrap();
        let wanted = json!({
            "id": "node", "peer": peer, "server": "192.168.1.42:7000", "domain": "node1.mesh.local", "interface": "eth0",
            "addresses": ["quic://192.168.1.42:7000", "quic://[fe80::1%7]:7000"],
        });
        assert_eq!(node.to_json(), wanted);
    }

    /// Only the first form once got its interface, so domains were not reached where there is nothing but link-local addresses.
    #[test]
    fn a_link_local_address_behind_a_domain_gets_its_interface_too() {
        for (uri, scoped) in [
            ("quic://[fe80::1]:7000", "quic://[fe80::1%7]:7000"),
            ("federation://b.mesh@[fe80::1]:7001", "federation://b.mesh@[fe80::1%7]:7001"),
            ("federation://b.mesh@[2001:db8::1]:7001", "federation://b.mesh@[2001:db8::1]:7001"),
            ("quic://host:7000/[fe80::1]", "quic://host:7000/[fe80::1]"),
        ] {
            assert_eq!(Node::read(&answer(&[("addr", uri)])).unwrap().addresses, [scoped]);
        }
    }

    #[test]
    fn a_stranger_with_nothing_but_a_server_is_taken() {
        let node = Node::read(&answer(&[("server", "192.168.1.42:7000")])).unwrap();
        assert_eq!((node.peer, node.addresses.len()), (None, 0));
        assert!(Node::read(&answer(&[("ver", "1")])).is_none());
        assert!(Node::read(&answer(&[("ver", "2"), ("server", "192.168.1.42:7000")])).is_none());
    }

    #[test]
    fn what_has_not_its_form_is_left_out() {
        let long = "x".repeat(300);
        for (key, bad) in [
            ("server", "192.168.1.42"),
            ("server", ":7000"),
            ("server", "a:0"),
            ("server", "a b:7"),
            ("server", "a\u{1b}[2J:7"),
            ("server", "[zz]:7"),
            ("addr", "quic"),
            ("addr", "quic://"),
            ("addr", "quic://a\nb:1"),
            ("addr", "QUIC://a:1"),
            ("addr", "quic://a\0:1"),
            ("addr", &format!("quic://{long}:1")),
        ] {
            assert_eq!(Node::read(&answer(&[(key, bad)])), None, "{key}={bad:?}");
        }
        for (key, bad) in
            [("peer", "ab"), ("peer", &*"zz".repeat(32)), ("domain", "a..b"), ("domain", "a\u{7}"), ("domain", &long)]
        {
            let node = Node::read(&answer(&[("server", "a:1"), (key, bad)])).unwrap();
            assert_eq!((node.peer, node.domain), (None, None), "{key}={bad:?}");
        }
    }

    #[test]
    fn names_for_the_terminal_are_refused() {
        for name in ["", "a\u{1b}[31m", "a\0b", "a\nb", "\u{9b}1m"] {
            let answer = Answer { fullname: format!("{name}.{SERVICE}"), ..answer(&[("server", "a:1")]) };
            assert_eq!(Node::read(&answer), None, "{name:?}");
        }
        let other = Answer { fullname: "node._other._udp.local.".to_owned(), ..answer(&[("server", "a:1")]) };
        assert_eq!(Node::read(&other), None);
        let named = Answer { fullname: format!("Ñandú 3.{SERVICE}"), ..answer(&[("server", "a:1")]) };
        assert_eq!(Node::read(&named).unwrap().id, "Ñandú 3");
    }

    #[test]
    fn addresses_are_counted() {
        let keys: Vec<String> = (0..40).map(address_key).collect();
        let many: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "quic://192.0.2.1:7000")).collect();
        assert_eq!(Node::read(&answer(&many)).unwrap().addresses.len(), MAX_ADDRESSES);
        let longest = format!("quic://{}", "a".repeat(MAX_URI - 7));
        let many: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), longest.as_str())).collect();
        let domain = format!("{}{}", format!("{}.", "d".repeat(63)).repeat(3), "d".repeat(61));
        let texts = [("peer", "a".repeat(64)), ("server", format!("{}:1", "s".repeat(251))), ("domain", domain)];
        let all: Vec<_> = many.iter().copied().chain(texts.iter().map(|(k, v)| (*k, v.as_str()))).collect();
        let mut full = answer(&all);
        full.fullname = format!("{}.{SERVICE}", "\"".repeat(MAX_INSTANCE));
        let node = Node::read(&full).unwrap();
        assert!(node.domain.is_some() && node.server.is_some() && node.peer.is_some());
        let length = node.to_json().to_string().len();
        assert!(length <= 4_096, "the host takes 4 KiB, this is {length}");
    }

    #[test]
    fn bytes_that_are_no_text_are_no_value() {
        let mut bad = answer(&[("server", "a:1")]);
        bad.strings.insert(0, ("peer".to_owned(), vec![0xff; 64]));
        assert_eq!(Node::read(&bad).unwrap().peer, None);
    }
}
