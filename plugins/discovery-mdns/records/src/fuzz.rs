//! Announcements from outside, for the project's fuzz targets: a name, and a TXT record in wire form.

use crate::answer::{Answer, Node};
use crate::limits::{MAX_ADDRESSES, MAX_INSTANCE, MAX_REPORT, MAX_STRINGS, MAX_URI};
use crate::record::{Own, address_key};

const SERVICE: &str = "_quicproquo._udp.local.";

/// The index of the interface that all is heard on: the longest that there is.
const INTERFACE: u32 = u32::MAX;

/// Reads a length of one byte, a name of that length, and the strings of a TXT record, each behind its length (RFC 6763,
/// section 6.1). Returns the report for the host, if there is a node in it.
///
/// # Panics
/// When something is taken that should not be.
pub fn announcement(bytes: &[u8]) -> Option<String> {
    let (name, strings) = next(bytes)?;
    let answer = Answer {
        fullname: format!("{}.{SERVICE}", String::from_utf8_lossy(name)),
        service: SERVICE.to_owned(),
        strings: pairs(strings),
        interface: Some(("en-with-15-char".to_owned(), INTERFACE)),
    };
    let node = Node::read(&answer)?;
    check(&node);
    let report = node.to_json().to_string();
    assert!(report.len() <= MAX_REPORT, "the host takes no report of {} bytes", report.len());
    Some(report)
}

fn check(node: &Node) {
    assert!(node.id.len() <= MAX_INSTANCE && node.addresses.len() <= MAX_ADDRESSES);
    assert!(node.server.is_some() || !node.addresses.is_empty(), "nobody could be dialled");
    assert!(!node.id.chars().any(char::is_control), "{:?} would reach a terminal", node.id);
    let texts = [&node.peer, &node.server, &node.domain].into_iter().flatten().chain(&node.addresses);
    for text in texts {
        assert!(
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()),
            "{text:?} would reach a terminal"
        );
    }
}

/// What an honest node announces, a foreign program that knows no key, and the longest announcement that there can be.
pub fn announcements() -> Vec<Vec<u8>> {
    let own = Own {
        peer: "ab".repeat(32),
        addresses: ["quic://192.0.2.1:7000", "quic://[fe80::1]:7000", "federation://b.mesh@[fe80::1]:7001"]
            .map(str::to_owned)
            .to_vec(),
        server: Some("192.0.2.1:7000".to_owned()),
        domain: Some("node1.mesh.local".to_owned()),
    };
    let honest: Vec<String> = own.strings().iter().map(|(key, value)| format!("{key}={value}")).collect();
    let foreign = ["server=[fe80::1]:7000".to_owned(), "a flag without a value".to_owned()];
    let uri = format!("{:a<MAX_URI$}", "quic://[fe80::1]:7000/");
    let long = (0..MAX_ADDRESSES).map(|place| format!("{}={uri}", address_key(place)));
    let longest: Vec<String> = long.chain(honest.iter().take(4).cloned()).collect();
    vec![
        record(b"abababababababab-00000001", &honest),
        record("Ñandú 3".as_bytes(), &foreign),
        record(&[b'"'; 63], &longest),
    ]
}

fn record(name: &[u8], strings: &[String]) -> Vec<u8> {
    let texts = std::iter::once(name).chain(strings.iter().map(String::as_bytes));
    texts.flat_map(|text| [&[text.len() as u8], text].concat()).collect()
}

/// A text behind its length, which may be cut off, and what follows it.
fn next(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    Some(rest.split_at(rest.len().min(usize::from(*len))))
}

/// Keys and values, as the responder hands them over: each key once, without those that have no name.
fn pairs(mut rest: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
    while let Some((string, tail)) = next(rest) {
        rest = tail;
        let at = string.iter().position(|byte| *byte == b'=').unwrap_or(string.len());
        let key = String::from_utf8_lossy(string.get(..at).unwrap_or_default()).into_owned();
        let value = string.get(at + 1..).unwrap_or_default();
        if !key.is_empty() && pairs.len() < 2 * MAX_STRINGS {
            pairs.push((key, value.to_vec()));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_seeds_are_nodes() {
        for seed in announcements() {
            let report = announcement(&seed).expect("a node");
            assert!(report.contains("7000"), "{report}");
        }
    }
}
