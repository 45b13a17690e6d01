//! Addresses as URIs.
//!
//! - To dial: `iroh://KEY[?direct=IP:PORT&direct=…&relay=URL]`, KEY being the peer's public key as 64 hexadecimal digits.
//! - To listen: `iroh://IP:PORT`, with an IPv6 address in brackets. Names are not looked up.

use std::fmt::Write as _;
use std::net::SocketAddr;

use iroh::{EndpointId, RelayUrl, TransportAddr};
use qpq_quic_common::canonical;

use crate::error::Error;
use crate::limits::{MAX_URI, MAX_URI_ADDRESSES, PEER_TEXT};

/// The scheme of this transport, with its separator.
const SCHEME: &str = "iroh://";

/// Whom to dial, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The peer's key.
    pub(crate) peer: EndpointId,
    /// IP addresses and ports.
    pub(crate) direct: Vec<SocketAddr>,
    /// Relays where the peer may be.
    pub(crate) relays: Vec<RelayUrl>,
}

impl Target {
    /// Reads a URI to dial. The error says what is wrong and shows the right form.
    pub(crate) fn parse(uri: &str) -> Result<Self, Error> {
        let wrong = |why| Error::Uri { uri: printable(uri), why };
        let rest = strip_scheme(uri).map_err(wrong)?;
        let (key, query) = rest.split_once('?').unwrap_or((rest, ""));
        let peer = key.strip_suffix('/').unwrap_or(key);
        let mut target = Self { peer: key_of(peer).map_err(wrong)?, direct: Vec::new(), relays: Vec::new() };
        for (n, part) in query.split('&').filter(|part| !part.is_empty()).enumerate() {
            if n >= MAX_URI_ADDRESSES {
                return Err(wrong("it names too many addresses"));
            }
            target.add(part).map_err(wrong)?;
        }
        Ok(target)
    }

    fn add(&mut self, part: &str) -> Result<(), &'static str> {
        match part.split_once('=') {
            Some(("direct", addr)) => {
                let addr: SocketAddr = addr.parse().map_err(|_| "`direct` must be IP:PORT")?;
                if addr.port() == 0 || addr.ip().is_unspecified() {
                    return Err("`direct` must be an address that a node can be reached at");
                }
                self.direct.push(addr);
            }
            Some(("relay", url)) => self.relays.push(url.parse().map_err(|_| "`relay` must be a URL")?),
            _ => return Err("after `?` only `direct` and `relay` are known"),
        }
        Ok(())
    }
}

/// Reads a URI to listen at.
pub(crate) fn parse_listen(uri: &str) -> Result<SocketAddr, Error> {
    let wrong = |why| Error::Uri { uri: printable(uri), why };
    let rest = strip_scheme(uri).map_err(wrong)?;
    rest.parse().map_err(|_| wrong("to listen, write iroh://IP:PORT with an IP address of this machine"))
}

fn strip_scheme(uri: &str) -> Result<&str, &'static str> {
    if uri.len() > MAX_URI {
        return Err("it is too long");
    }
    uri.strip_prefix(SCHEME).ok_or("it must begin with `iroh://`")
}

fn key_of(hex: &str) -> Result<EndpointId, &'static str> {
    let mut key = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err("the peer's key must have 64 hexadecimal digits");
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16).map_or(0, |n| n as u8);
    for (byte, pair) in key.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = pair.iter().fold(0, |so_far, digit| so_far << 4 | nibble(*digit));
    }
    EndpointId::from_bytes(&key).map_err(|_| "the peer's key is no Ed25519 key")
}

/// The URI of a peer at those addresses.
pub(crate) fn uri_of<'a>(peer: &EndpointId, addrs: impl IntoIterator<Item = &'a TransportAddr>) -> String {
    let mut uri = format!("{SCHEME}{}", hex(peer.as_bytes()));
    let mut separator = '?';
    for addr in addrs {
        let written = match addr {
            TransportAddr::Ip(addr) => write!(uri, "{separator}direct={}", canonical(*addr)),
            TransportAddr::Relay(url) => write!(uri, "{separator}relay={url}"),
            _ => continue,
        };
        debug_assert!(written.is_ok(), "a string takes all");
        separator = '&';
    }
    uri
}

/// A key in hexadecimal digits.
pub(crate) fn hex(key: &[u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text from outside, fit for a message.
pub(crate) fn printable(text: &str) -> String {
    qpq_quic_common::printable(text, PEER_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public key of the secret 7777….
    fn peer() -> EndpointId {
        iroh::SecretKey::from_bytes(&[7; 32]).public()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let key = hex(peer().as_bytes());
        for tail in [
            String::new(),
            "?direct=127.0.0.1:4433".into(),
            "?direct=192.0.2.1:1&direct=[2001:db8::1]:2&relay=https://relay.example.org:3340/".into(),
        ] {
            let uri = format!("iroh://{key}{tail}");
            let target = Target::parse(&uri).unwrap();
            let direct = target.direct.iter().map(|addr| TransportAddr::Ip(*addr));
            let addrs: Vec<_> = direct.chain(target.relays.iter().cloned().map(TransportAddr::Relay)).collect();
            assert_eq!(uri_of(&target.peer, &addrs), uri);
            assert_eq!(target.peer, peer());
        }
        assert_eq!(Target::parse(&format!("iroh://{}/", key.to_uppercase())).unwrap().peer, peer());
    }

    #[test]
    fn wrong_forms_are_refused_with_a_reason() {
        let key = hex(peer().as_bytes());
        for (uri, why) in [
            ("quic://a:1".to_owned(), "iroh://"),
            ("iroh://".to_owned(), "64"),
            (format!("iroh://{}", "g".repeat(64)), "64"),
            (format!("iroh://{}é", "0".repeat(62)), "64"),
            (format!("iroh://{key}?port=1"), "only `direct` and `relay`"),
            (format!("iroh://{key}?direct=a:1"), "IP:PORT"),
            (format!("iroh://{key}?direct=1.2.3.4:0"), "reached at"),
            (format!("iroh://{key}?direct=0.0.0.0:1"), "reached at"),
            (format!("iroh://{key}?relay=nonsense"), "URL"),
            (format!("iroh://{key}?{}", "direct=1.2.3.4:5&".repeat(17)), "too many"),
            (format!("iroh://{key}?{}", "x".repeat(3_000)), "too long"),
        ] {
            let error = Target::parse(&uri).unwrap_err().to_string();
            assert!(error.contains(why), "{uri}: {error}");
        }
    }

    /// They stand in the records of others, so anything may stand there.
    #[test]
    fn a_damaged_address_is_refused_or_read_again_from_what_it_is_written_as() {
        let key = hex(peer().as_bytes());
        let whole =
            format!("iroh://{key}?direct=192.0.2.1:1&direct=[2001:db8::1%3]:2&relay=https://relay.example.org:3340/x");
        let odd = b" \0\x1b%&=?:/[]@.-0aZ\xff";
        let mut number = 7_u64;
        let mut below = |limit: usize| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (number >> 33) as usize % limit
        };
        let mut taken = 0;
        for _ in 0..50_000 {
            let mut uri = whole.clone().into_bytes();
            for _ in 0..=below(3) {
                let at = below(uri.len());
                match below(3) {
                    0 => uri[at] = odd[below(odd.len())],
                    1 => drop(uri.remove(at)),
                    _ => uri.insert(at, whole.as_bytes()[below(whole.len())]),
                }
            }
            let uri = String::from_utf8_lossy(&uri);
            match Target::parse(&uri) {
                Ok(target) => {
                    let direct = target.direct.iter().map(|addr| TransportAddr::Ip(*addr));
                    let relays = target.relays.iter().cloned().map(TransportAddr::Relay);
                    let written = uri_of(&target.peer, &direct.chain(relays).collect::<Vec<_>>());
                    let again = Target::parse(&written).unwrap();
                    assert_eq!((again.peer, again.relays), (target.peer, target.relays), "{uri}");
                    assert!(
                        again.direct.iter().eq(target
                            .direct
                            .iter()
                            .map(|addr| canonical(*addr))
                            .collect::<Vec<_>>()
                            .iter())
                    );
                    taken += 1;
                }
                Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error}"),
            }
        }
        assert!(taken > 1_000, "{taken}");
    }

    #[test]
    fn listening_takes_ip_addresses_of_both_kinds() {
        assert_eq!(parse_listen("iroh://0.0.0.0:4433").unwrap(), "0.0.0.0:4433".parse().unwrap());
        assert_eq!(parse_listen("iroh://[::]:0").unwrap(), "[::]:0".parse().unwrap());
        for uri in ["iroh://localhost:1", "iroh://127.0.0.1", "quic://127.0.0.1:1"] {
            assert!(parse_listen(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn messages_never_carry_control_characters_on() {
        let error = Target::parse("iroh://\u{1b}[2J").unwrap_err().to_string();
        assert!(error.is_ascii() && !error.contains('\u{1b}'), "{error}");
    }
}
