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
        assert_eq!(by_key(&PeerId([0xab; 32])), format!("iroh://{}", "ab".repeat(32)));
    }
}
