//! What can be read off a transport's addresses without knowing the transport.

use qpq_schemas::PeerId;

/// The scheme of addresses that are a key: a transport that serves it finds a node by its key alone.
const BY_KEY: &str = "iroh";

/// What stands before `://`: which kind of transport the address is for.
pub(in crate::node) fn scheme(uri: &str) -> &str {
    uri.split_once("://").map_or("", |(scheme, _)| scheme)
}

/// The host of an address, without port, path and query: two links with the same one run over the same path, as far as
/// can be told.
pub(in crate::node) fn host(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, _)) => address,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

/// Host and port of an address.
pub(in crate::node) fn place(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// The same address with another port; nothing for one that has no port.
pub(in crate::node) fn at_port(uri: &str, port: u16) -> Option<String> {
    let (before, place) = (uri.find("://")? + 3, place(uri));
    let (host, old) = place.rsplit_once(':')?;
    old.parse::<u16>().ok()?;
    let after = uri.get(before + place.len()..)?;
    Some(format!("{}{host}:{port}{after}", uri.get(..before)?))
}

/// The port of an address.
pub(in crate::node) fn port(uri: &str) -> Option<u16> {
    place(uri).rsplit_once(':')?.1.parse().ok()
}

/// Whether the host of an address is an IPv6 address.
pub(in crate::node) fn is_ipv6(uri: &str) -> bool {
    place(uri).rsplit_once('@').map_or(place(uri), |(_, place)| place).starts_with('[')
}

/// The address of a node of which nothing but the key is known.
pub(super) fn by_key(peer: &PeerId) -> String {
    format!("{BY_KEY}://{peer}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_falls_into_scheme_and_host() {
        for (uri, parts) in [
            ("quic://10.0.0.1:7000", ("quic", "10.0.0.1", "10.0.0.1:7000")),
            ("quic://[fe80::1%eth0]:7000", ("quic", "fe80::1%eth0", "[fe80::1%eth0]:7000")),
            ("quic://node.example:7000/x", ("quic", "node.example", "node.example:7000")),
            ("iroh://abcd?direct=10.0.0.1:9&relay=https://r/", ("iroh", "abcd", "abcd")),
            ("10.0.0.1:7000", ("", "10.0.0.1", "10.0.0.1:7000")),
            ("quic://", ("quic", "", "")),
        ] {
            assert_eq!((scheme(uri), host(uri), place(uri)), parts, "{uri}");
        }
        for (uri, other) in [
            ("quic://10.0.0.1:7000", Some("quic://10.0.0.1:9")),
            ("quic://[fe80::1%eth0]:7000/x?y", Some("quic://[fe80::1%eth0]:9/x?y")),
            ("federation://a.mesh@10.0.0.1:0", Some("federation://a.mesh@10.0.0.1:9")),
            ("iroh://abcd?direct=10.0.0.1:9", None),
            ("quic://[::1]", None),
            ("10.0.0.1:7000", None),
        ] {
            assert_eq!(at_port(uri, 9).as_deref(), other, "{uri}");
        }
        assert!(
            is_ipv6("quic://[::]:7000") && is_ipv6("federation://a.mesh@[::1]:1") && !is_ipv6("quic://10.0.0.1:7000")
        );
        assert_eq!(by_key(&PeerId([0xab; 32])), format!("iroh://{}", "ab".repeat(32)));
    }
}
