//! How nodes reach the relay: an IPv4 address or a name.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use rustls::pki_types::ServerName;

/// An address or name that stands in the relay's URL and in its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// An IPv4 address.
    Address(Ipv4Addr),
    /// A name, as nodes look it up (DNS or `/etc/hosts`).
    Name(String),
}

impl Host {
    /// What a certificate must name.
    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.to_string()).ok()
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        match bare.parse() {
            Ok(IpAddr::V4(address)) => return Ok(Self::Address(address)),
            // The relay's clients look for a certificate that names "[2001:db8::1]", which none can.
            Ok(IpAddr::V6(_)) => {
                return Err("nodes can't check a certificate for a bare IPv6 address. Give the relay a name, \
                     which may stand in /etc/hosts of each node, or use an IPv4 address."
                    .to_owned());
            }
            Err(_) => {}
        }
        let all_digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if text.contains('*') || all_digits || ServerName::try_from(text).is_err() {
            return Err(format!(
                "{text:?} is neither an IPv4 address nor a host name. Write 192.0.2.1 or relay.example, without https:// and port."
            ));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        assert_eq!("192.0.2.1".parse(), Ok(Host::Address(Ipv4Addr::new(192, 0, 2, 1))));
        assert_eq!("Relay.Example".parse(), Ok(Host::Name("relay.example".to_owned())));
    }

    #[test]
    fn what_cannot_stand_in_a_certificate_is_refused_with_a_remedy() {
        for text in
            ["", "https://relay.example", "relay.example:443", "192.0.2.1:443", "*.example", "a b", "192.0.2.256"]
        {
            let error = text.parse::<Host>().unwrap_err();
            assert!(error.contains("Write 192.0.2.1"), "{text}: {error}");
        }
        for text in ["::1", "[2001:db8::1]"] {
            assert!(text.parse::<Host>().unwrap_err().contains("IPv6"), "{text}");
        }
    }
}
