//! Addresses, and text from outside.

use std::net::{IpAddr, SocketAddr};

/// Longest host part in bytes: a DNS name has at most 253 (RFC 1035, 2.3.4), an IPv6 address with a zone stays well below.
pub const MAX_HOST: usize = 253;

/// Where something listens: an IP address or a DNS name, and a UDP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// An IP address without brackets, or a DNS name.
    pub host: String,
    /// The UDP port; 0 lets the system choose one when listening.
    pub port: u16,
}

impl HostPort {
    /// Reads `HOST:PORT`, where HOST is an IPv4 address, an IPv6 address in brackets (with `%zone` for link-local ones), or a
    /// DNS name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once("]:").ok_or("`]:PORT` is missing")?,
            None => text.rsplit_once(':').ok_or("the port is missing")?,
        };
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or("the port must be 0 to 65535")?;
        if text.starts_with('[') {
            check_ipv6(host)?;
        } else {
            check_name(host)?;
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// The socket address, if the host part is a plain IP address; names and zones need a look-up.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.parse::<IpAddr>().ok()?, self.port))
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

/// The address with IPv4 inside IPv6 unwrapped.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip if ip == addr.ip() => addr,
        ip => SocketAddr::new(ip, addr.port()),
    }
}

/// Text from outside, fit for a message: printable ASCII only, and no more than `max` characters.
pub fn printable(text: &str, max: usize) -> String {
    let shown = text.chars().take(max);
    shown.map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
