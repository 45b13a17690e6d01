//! Which node a client wants: `[KEY@]HOST:PORT`.

use std::fmt;
use std::str::FromStr;

use qpq_schemas::PeerId;

/// Longest address, in bytes.
const MAX_ADDRESS: usize = 256;

/// A node and where it serves clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The key that it must have. Without one, the first that answers is noted and must stay.
    pub key: Option<PeerId>,
    /// `HOST:PORT`, in lower case.
    pub address: String,
}

impl Target {
    /// The host, without the brackets of an IPv6 address, and the port.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        split(&self.address)
    }
}

fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?,
        None if host.contains(':') => return None, // an IPv6 address without brackets has no clear end
        None => host,
    };
    let port: u16 = port.parse().ok()?;
    (!host.is_empty() && port != 0).then_some((host, port))
}

/// A text that names no node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetError(String);

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; expected [KEY@]HOST:PORT, such as mesh.example.org:7002", self.0)
    }
}

impl std::error::Error for TargetError {}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        let (key, address) = match text.split_once('@') {
            Some((key, address)) => {
                let parsed =
                    key.parse().map_err(|error| TargetError(format!("before the @ stands no key: {error}")))?;
                (Some(parsed), address)
            }
            None => (None, text),
        };
        let printable = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
        if address.len() > MAX_ADDRESS || !printable || split(address).is_none() {
            let shown: String = address.chars().take(80).filter(|c| !c.is_control()).collect();
            return Err(TargetError(format!("`{shown}` is not HOST:PORT")));
        }
        Ok(Self { key, address: address.to_ascii_lowercase() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_an_address_and_perhaps_a_key() {
        let key = "ab".repeat(32);
        let target: Target = format!("{key}@Mesh.Example:7002").parse().unwrap();
        assert_eq!((target.key, target.address.as_str()), (Some(PeerId([0xab; 32])), "mesh.example:7002"));
        let target: Target = "[::1]:7002".parse().unwrap();
        assert_eq!((target.key, target.host_and_port()), (None, Some(("::1", 7002))));
    }

    #[test]
    fn what_names_no_node_is_refused() {
        let twice = format!("{}@a@host:1", "ab".repeat(32));
        assert!(twice.parse::<Target>().is_err());
        for bad in ["", "host", "host:", ":7002", "host:0", "host:70000", "::1:7002", "[::1:7002", "ab@host:1", "a b:1"]
        {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
