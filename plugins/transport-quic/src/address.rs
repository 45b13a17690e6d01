//! Addresses as URIs: `quic://HOST:PORT`, where HOST is an IPv4 address, an IPv6 address in brackets (with `%zone` for
//! link-local ones), or a DNS name.

use std::net::{IpAddr, SocketAddr};

use crate::error::Error;

/// The scheme of this transport, with its separator.
const SCHEME: &str = "quic://";

/// Longest host part in bytes: a DNS name has at most 253, an IPv6 address with a zone stays well below.
const MAX_HOST: usize = 253;

/// A parsed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// An IP address without brackets, or a DNS name.
    pub(crate) host: String,
    /// The UDP port; 0 lets the system choose one when listening.
    pub(crate) port: u16,
}

impl Address {
    /// Reads a URI. The error says what is wrong and shows the right form.
    pub(crate) fn parse(uri: &str) -> Result<Self, Error> {
        let wrong = |why: &'static str| Error::Uri { uri: printable(uri), why };
        let rest = uri.strip_prefix(SCHEME).ok_or_else(|| wrong("it must begin with `quic://`"))?;
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").ok_or_else(|| wrong("`]:PORT` is missing"))?,
            None => rest.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?,
        };
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or_else(|| wrong("the port must be 0 to 65535"))?;
        if rest.starts_with('[') {
            check_ipv6(host).map_err(wrong)?;
        } else {
            check_name(host).map_err(wrong)?;
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// The socket address, if the host part is a plain IP address; names and zones need a look-up.
    pub(crate) fn socket_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse::<IpAddr>().ok()?, self.port))
    }
}

/// The URI of a socket address. IPv4 addresses inside IPv6 ones are shown as IPv4.
pub(crate) fn uri_of(addr: SocketAddr) -> String {
    let ip = addr.ip().to_canonical();
    match addr {
        SocketAddr::V6(v6) if ip.is_ipv6() => format!("{SCHEME}{v6}"),
        _ => format!("{SCHEME}{ip}:{}", addr.port()),
    }
}

fn check_ipv6(host: &str) -> Result<(), &'static str> {
    let (ip, zone) = host.split_once('%').unwrap_or((host, "0"));
    let zone_ok = (1..=15).contains(&zone.len()) && zone.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    match ip.parse::<std::net::Ipv6Addr>() {
        Ok(_) if zone_ok => Ok(()),
        _ => Err("what stands in brackets must be an IPv6 address"),
    }
}

fn check_name(host: &str) -> Result<(), &'static str> {
    let letters = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    match host.len() {
        0 => Err("the host is missing"),
        1..=MAX_HOST if letters => Ok(()),
        1..=MAX_HOST if host.contains(':') => Err("an IPv6 address must stand in brackets"),
        1..=MAX_HOST => Err("the host has characters that a name can't have"),
        _ => Err("the host is too long"),
    }
}

/// Text from outside, fit for a message: printable ASCII only, and not too long.
pub(crate) fn printable(text: &str) -> String {
    let shown = text.chars().take(crate::limits::PEER_TEXT);
    shown.map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str) -> (String, u16) {
        let address = Address::parse(uri).unwrap();
        (address.host, address.port)
    }

    #[test]
    fn the_three_forms_are_read() {
        assert_eq!(parts("quic://127.0.0.1:4433"), ("127.0.0.1".into(), 4433));
        assert_eq!(parts("quic://[::1]:0"), ("::1".into(), 0));
        assert_eq!(parts("quic://[fe80::1%eth0]:7"), ("fe80::1%eth0".into(), 7));
        assert_eq!(parts("quic://node.example.org:65535"), ("node.example.org".into(), 65535));
    }

    #[test]
    fn wrong_forms_are_refused_with_a_reason() {
        for (uri, why) in [
            ("tcp://a:1", "quic://"),
            ("quic://a", "port"),
            ("quic://a:", "port"),
            ("quic://a:+1", "port"),
            ("quic://a:65536", "port"),
            ("quic://:1", "host"),
            ("quic://::1:1", "brackets"),
            ("quic://[::1]", "PORT"),
            ("quic://[a]:1", "IPv6"),
            ("quic://[fe80::1%]:1", "IPv6"),
            ("quic://a b:1", "characters"),
            ("quic://a/b:1", "characters"),
        ] {
            let error = Address::parse(uri).unwrap_err().to_string();
            assert!(error.contains(why), "{uri}: {error}");
        }
    }

    #[test]
    fn messages_never_carry_control_characters_on() {
        let error = Address::parse("quic://\u{1b}[2J").unwrap_err().to_string();
        assert!(error.is_ascii() && !error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn mapped_addresses_are_shown_as_ipv4() {
        assert_eq!(uri_of("[::ffff:10.0.0.1]:5".parse().unwrap()), "quic://10.0.0.1:5");
        assert_eq!(uri_of("[fe80::1%3]:5".parse().unwrap()), "quic://[fe80::1%3]:5");
        for uri in ["quic://10.0.0.1:5", "quic://[2001:db8::1]:5"] {
            assert_eq!(uri_of(Address::parse(uri).unwrap().socket_addr().unwrap()), uri);
        }
    }
}
