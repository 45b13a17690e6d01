//! Addresses as URIs: `quic://HOST:PORT`, where HOST is an IPv4 address, an IPv6 address in brackets (with `%zone` for
//! link-local ones), or a DNS name.

use std::net::SocketAddr;

use qpq_quic_common::{HostPort, canonical};

use crate::error::Error;
use crate::limits::PEER_TEXT;

/// The scheme of this transport, with its separator.
const SCHEME: &str = "quic://";

/// Reads a URI. The error says what is wrong and shows the right form.
pub(crate) fn parse(uri: &str) -> Result<HostPort, Error> {
    let wrong = |why: &'static str| Error::Uri { uri: printable(uri), why };
    let rest = uri.strip_prefix(SCHEME).ok_or_else(|| wrong("it must begin with `quic://`"))?;
    HostPort::parse(rest).map_err(wrong)
}

/// The URI of a socket address. IPv4 addresses inside IPv6 ones are shown as IPv4.
pub(crate) fn uri_of(addr: SocketAddr) -> String {
    format!("{SCHEME}{}", canonical(addr))
}

/// Text from outside, fit for a message.
pub(crate) fn printable(text: &str) -> String {
    qpq_quic_common::printable(text, PEER_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str) -> (String, u16) {
        let address = parse(uri).unwrap();
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
            let error = parse(uri).unwrap_err().to_string();
            assert!(error.contains(why), "{uri}: {error}");
        }
    }

    #[test]
    fn messages_never_carry_control_characters_on() {
        let error = parse("quic://\u{1b}[2J").unwrap_err().to_string();
        assert!(error.is_ascii() && !error.contains('\u{1b}'), "{error}");
    }

    #[test]
    fn mapped_addresses_are_shown_as_ipv4() {
        assert_eq!(uri_of("[::ffff:10.0.0.1]:5".parse().unwrap()), "quic://10.0.0.1:5");
        assert_eq!(uri_of("[fe80::1%3]:5".parse().unwrap()), "quic://[fe80::1%3]:5");
        for uri in ["quic://10.0.0.1:5", "quic://[2001:db8::1]:5"] {
            assert_eq!(uri_of(parse(uri).unwrap().socket_addr().unwrap()), uri);
        }
    }
}
