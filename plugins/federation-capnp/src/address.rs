//! Addresses as URIs: `federation://HOST:PORT` to listen, `federation://DOMAIN` or `federation://DOMAIN@HOST:PORT` to dial.

use std::net::SocketAddr;

use qpq_quic_common::{HostPort, canonical};

use crate::error::Error;
use crate::limits::{MAX_DOMAIN, PEER_TEXT};

/// The scheme of this transport, with its separator.
const SCHEME: &str = "federation://";

/// Longest label of a domain name in bytes (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// Whom to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The domain that the certificate of the other end must name.
    pub(crate) domain: String,
    /// Where it is; looked up when missing.
    pub(crate) address: Option<HostPort>,
}

/// Reads what `listen` is given: a URI with an address, and perhaps a domain, which is ours and means nothing.
pub(crate) fn parse_listen(uri: &str) -> Result<HostPort, Error> {
    let wrong = |why: &'static str| Error::Uri { uri: printable(uri), why };
    let rest = without_scheme(uri).map_err(wrong)?;
    let (_, address) = rest.split_once('@').unwrap_or(("", rest));
    HostPort::parse(address).map_err(wrong)
}

impl Target {
    /// Reads what `dial` is given.
    pub(crate) fn parse(uri: &str) -> Result<Self, Error> {
        let wrong = |why: &'static str| Error::Uri { uri: printable(uri), why };
        let rest = without_scheme(uri).map_err(wrong)?;
        let (domain, address) = match rest.split_once('@') {
            Some((domain, address)) => (domain, Some(HostPort::parse(address).map_err(wrong)?)),
            None => (rest, None),
        };
        if address.as_ref().is_some_and(|address| address.port == 0) {
            return Err(wrong("no domain can be reached at port 0"));
        }
        Ok(Self { domain: domain_of(domain).map_err(wrong)?, address })
    }
}

fn without_scheme(uri: &str) -> Result<&str, &'static str> {
    uri.strip_prefix(SCHEME).ok_or("it must begin with `federation://`")
}

/// A domain name in the one form that is compared: lower case, without a final dot. The error says what is wrong.
pub(crate) fn domain_of(text: &str) -> Result<String, &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let letters = |label: &str| label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match name.len() {
        0 => return Err("the domain is missing"),
        1..=MAX_DOMAIN => {}
        _ => return Err("the domain is longer than 253 characters"),
    }
    if name.bytes().any(|b| b == b':') {
        return Err("the domain is missing in front of the address, as in DOMAIN@HOST:PORT");
    }
    let good = |label: &str| (1..=MAX_LABEL).contains(&label.len()) && letters(label) && !label.starts_with('-');
    if name.split('.').all(good) { Ok(name) } else { Err("a domain has labels of letters, digits and `-`") }
}

/// The URI of a domain at an address. IPv4 addresses inside IPv6 ones are shown as IPv4.
pub(crate) fn uri_of(domain: &str, addr: SocketAddr) -> String {
    format!("{SCHEME}{domain}@{}", canonical(addr))
}

/// Text from outside, fit for a message.
pub(crate) fn printable(text: &str) -> String {
    qpq_quic_common::printable(text, PEER_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> (String, Option<(String, u16)>) {
        let target = Target::parse(uri).unwrap();
        (target.domain, target.address.map(|address| (address.host, address.port)))
    }

    #[test]
    fn the_forms_of_a_target_are_read() {
        assert_eq!(target("federation://b.example"), ("b.example".into(), None));
        assert_eq!(target("federation://B.example."), ("b.example".into(), None));
        assert_eq!(target("federation://b@10.0.0.1:7001"), ("b".into(), Some(("10.0.0.1".into(), 7001))));
        assert_eq!(target("federation://b@[::1]:1"), ("b".into(), Some(("::1".into(), 1))));
        assert_eq!(target("federation://b@host.b:2"), ("b".into(), Some(("host.b".into(), 2))));
    }

    #[test]
    fn a_bound_uri_can_be_listened_at_again() {
        for uri in ["federation://127.0.0.1:0", "federation://a.example@127.0.0.1:0"] {
            assert_eq!(parse_listen(uri).unwrap().socket_addr(), "127.0.0.1:0".parse().ok());
        }
    }

    #[test]
    fn wrong_forms_are_refused_with_a_reason() {
        for (uri, why) in [
            ("quic://a", "federation://"),
            ("federation://", "domain is missing"),
            ("federation://127.0.0.1:7001", "DOMAIN@HOST:PORT"),
            ("federation://b@h", "port"),
            ("federation://b@h:0", "port 0"),
            ("federation://b@h:65536", "port"),
            ("federation://b@:1", "host"),
            ("federation://b@::1:1", "brackets"),
            ("federation://-b", "labels"),
            ("federation://b..c", "labels"),
            ("federation://*.b", "labels"),
            ("federation://b/c", "labels"),
        ] {
            let error = Target::parse(uri).unwrap_err().to_string();
            assert!(error.contains(why), "{uri}: {error}");
        }
        assert!(domain_of(&"a.".repeat(200)).is_err());
    }

    #[test]
    fn messages_never_carry_control_characters_on() {
        let error = Target::parse("federation://\u{1b}[2J").unwrap_err().to_string();
        assert!(error.is_ascii() && !error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn what_is_shown_can_be_dialled() {
        for addr in ["10.0.0.1:5", "[2001:db8::1]:5"] {
            let uri = uri_of("b.example", addr.parse().unwrap());
            assert_eq!(Target::parse(&uri).unwrap().address.unwrap().socket_addr(), addr.parse().ok());
        }
        assert_eq!(uri_of("b", "[::ffff:10.0.0.1]:5".parse().unwrap()), "federation://b@10.0.0.1:5");
    }
}
