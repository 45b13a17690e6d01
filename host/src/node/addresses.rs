//! Where this node can be reached: what it listens at, with 0.0.0.0 and [::] replaced by the addresses of the interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of interfaces that are looked at. A router with many tunnels has some dozens.
const MAX_LOCAL: usize = 256;
/// Addresses in the answer.
pub(super) const MAX_REACHABLE: usize = 16;

/// An address of one of this machine's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Local {
    pub(super) ip: IpAddr,
    /// How many bits of it are the network's.
    pub(super) prefix: u8,
}

impl Local {
    /// Whether an address is in the same network, so that no router stands between.
    fn reaches(&self, other: IpAddr) -> bool {
        let same = |own: u128, other: u128, bits: u32| {
            let host_bits = bits.saturating_sub(self.prefix.into());
            own.checked_shr(host_bits) == other.checked_shr(host_bits)
        };
        match (self.ip, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

/// The addresses of the interfaces that are up, loopback left out, in a fixed order. None when the system doesn't tell.
pub(super) fn local() -> Vec<Local> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let usable = interfaces.iter().filter(|interface| !interface.is_loopback() && interface.is_oper_up());
    let address = |interface: &if_addrs::Interface| {
        let prefix = match &interface.addr {
            if_addrs::IfAddr::V4(v4) => v4.netmask.to_bits().leading_ones(),
            if_addrs::IfAddr::V6(v6) => v6.netmask.to_bits().leading_ones(),
        };
        Local { ip: interface.ip(), prefix: prefix as u8 }
    };
    let mut local: Vec<Local> = usable.take(MAX_LOCAL).map(address).collect();
    local.sort_unstable();
    local.dedup();
    local
}

/// The URIs at which others can reach this node, IPv4 first. Link-local IPv6 addresses are only of use to who knows the
/// interface, so they are left out unless `link_local`.
pub(super) fn reachable(listening: &[String], local: &[Local], link_local: bool) -> Vec<String> {
    let mut uris: Vec<String> = Vec::new();
    for uri in listening {
        for expanded in expand(uri, local) {
            let ip = host(&expanded).and_then(|host| host.parse::<IpAddr>().ok());
            if !ip.is_some_and(|ip| is_useless(ip, link_local)) && !uris.contains(&expanded) {
                uris.push(expanded);
            }
        }
    }
    uris.truncate(MAX_REACHABLE);
    uris
}

/// The addresses behind a wildcard; any other one as it is.
fn expand(uri: &str, local: &[Local]) -> Vec<String> {
    let wildcard: Option<IpAddr> = host(uri).and_then(|host| host.parse().ok()).filter(IpAddr::is_unspecified);
    let Some(wildcard) = wildcard else { return vec![uri.to_owned()] };
    // On Linux, a socket at [::] takes IPv4, too.
    let fitting = local.iter().filter(|local| wildcard.is_ipv6() || local.ip.is_ipv4());
    fitting.map(|local| with_host(uri, local.ip)).collect()
}

fn is_useless(ip: IpAddr, link_local: bool) -> bool {
    let unscoped = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    ip.is_loopback() || ip.is_unspecified() || (unscoped && !link_local)
}

/// The addresses of a found node in the order in which to try them: those in a network of ours first. Our own addresses are
/// left out: two machines may both have 172.17.0.1 behind them, and mean themselves.
pub(super) fn in_order(uris: &[String], local: &[Local]) -> Vec<String> {
    let ip = |uri: &String| host(uri).and_then(|host| host.split('%').next()?.parse::<IpAddr>().ok());
    let foreign = |uri: &&String| !ip(uri).is_some_and(|ip| local.iter().any(|local| local.ip == ip));
    let mut uris: Vec<String> = uris.iter().filter(foreign).cloned().collect();
    uris.sort_by_key(|uri| !ip(uri).is_some_and(|ip| local.iter().any(|local| local.reaches(ip))));
    uris
}

/// `HOST:PORT` of an address, where it has one that is an IP address.
pub(super) fn host_and_port(uri: &str) -> Option<&str> {
    let authority = authority(uri)?;
    let ip: IpAddr = host(uri)?.parse().ok()?;
    (!ip.is_unspecified() && authority.len() > host(uri)?.len()).then_some(authority)
}

/// What stands between `://`, or a domain and `@`, and the path or the query.
fn authority(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.rsplit_once('@').map_or(authority, |(_, place)| place))
}

/// The host of a URI, without brackets.
fn host(uri: &str) -> Option<&str> {
    let authority = authority(uri)?;
    match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(host, _)| host),
        None => Some(authority.rsplit_once(':').map_or(authority, |(host, _)| host)),
    }
}

fn with_host(uri: &str, ip: IpAddr) -> String {
    let unspecified = ["://", "@"].map(|before| {
        [
            (format!("{before}{}", Ipv4Addr::UNSPECIFIED), before),
            (format!("{before}[{}]", Ipv6Addr::UNSPECIFIED), before),
        ]
    });
    let shown = match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let found = unspecified.iter().flatten().find(|(old, _)| uri.contains(old.as_str()));
    found.map_or_else(|| uri.to_owned(), |(old, start)| uri.replacen(old.as_str(), &format!("{start}{shown}"), 1))
}

#[cfg(test)]
mod tests;
