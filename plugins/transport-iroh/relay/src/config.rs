//! The configuration file.

use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use iroh_base::EndpointId;
use serde::{Deserialize, Deserializer};

use crate::host::Host;
use crate::problem::Problem;
use crate::secret_file::{self, Secrecy};

/// The name of the configuration file that `init` makes.
pub(crate) const CONFIG_FILE: &str = "relay.toml";

/// TCP port of the relay, as of any HTTPS server.
const HTTPS_PORT: u16 = 443;

/// UDP port where nodes look for the address discovery of a relay, unless they are told another.
pub(crate) const QAD_PORT: u16 = 7842;

/// Most nodes at the same time, unless the configuration says otherwise.
const MAX_CLIENTS: usize = 1000;

/// What the admin decides. Relative paths are relative to the folder of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// How nodes reach the relay; the certificate must name each. The first stands in the URL.
    #[serde(deserialize_with = "each")]
    pub(crate) hosts: Vec<Host>,
    /// Where to listen for the relay itself (HTTPS, TCP).
    #[serde(default = "https")]
    pub(crate) https: SocketAddr,
    /// Where to listen for address discovery (QUIC, UDP).
    #[serde(default = "qad")]
    pub(crate) qad: SocketAddr,
    /// The relay's certificate.
    pub(crate) certificate: PathBuf,
    /// Its secret key.
    pub(crate) key: PathBuf,
    /// The authority's certificate, which the nodes have too.
    pub(crate) ca: PathBuf,
    /// The peer ids of the nodes that may use the relay. Without it, all that know the address may.
    #[serde(default, deserialize_with = "each_if_any")]
    pub(crate) allow: Option<Vec<EndpointId>>,
    /// Where to serve figures in the OpenMetrics form (HTTP, TCP); nowhere without it.
    pub(crate) metrics: Option<SocketAddr>,
    /// What nodes may use.
    #[serde(default)]
    pub(crate) limits: Limits,
}

/// What nodes may use.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Most nodes at the same time.
    pub(crate) max_clients: usize,
    /// Most bytes a second that are taken from one node; unlimited without it.
    pub(crate) node_bytes_per_second: Option<NonZeroU32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_clients: MAX_CLIENTS, node_bytes_per_second: None }
    }
}

impl Config {
    /// Reads a file.
    pub(crate) fn load(path: &Path) -> Result<Self, Problem> {
        let text = secret_file::read(path, Secrecy::Public)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(&text, folder).map_err(|text| Problem::Config { path: path.to_owned(), text })
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let mut config: Self = toml::from_str(text).map_err(|error| format!("\n{error}"))?;
        for path in [&mut config.certificate, &mut config.key, &mut config.ca] {
            *path = folder.join(&*path);
        }
        if config.hosts.is_empty() {
            return Err("`hosts` is empty. Name the address or name by which nodes reach this relay.".to_owned());
        }
        if config.limits.max_clients == 0 {
            return Err("`limits.max_clients` is 0, which lets nobody in. Give at least 2.".to_owned());
        }
        Ok(config)
    }
}

fn https() -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, HTTPS_PORT).into()
}

fn qad() -> SocketAddr {
    (Ipv6Addr::UNSPECIFIED, QAD_PORT).into()
}

/// Reads each entry of a list from its text.
fn each<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: std::fmt::Display>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts
        .iter()
        .map(|text| text.parse().map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}"))))
        .collect()
}

fn each_if_any<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: std::fmt::Display>,
{
    each(deserializer).map(Some)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::authority::{CA_CERTIFICATE, RELAY_CERTIFICATE, RELAY_KEY};

    /// The configuration of a relay whose files lie in that folder as `init` makes them.
    pub(crate) fn in_folder(folder: &Path, hosts: &[&str]) -> Config {
        let text = format!(
            "hosts = {hosts:?}\nhttps = \"127.0.0.1:0\"\nqad = \"127.0.0.1:0\"\n\
             certificate = \"{RELAY_CERTIFICATE}\"\nkey = \"{RELAY_KEY}\"\nca = \"ca/{CA_CERTIFICATE}\"\n"
        );
        Config::parse(&text, folder).unwrap()
    }

    const FILES: &str = "certificate = \"a\"\nkey = \"/b\"\nca = \"c\"\n";

    #[test]
    fn the_rest_has_defaults_and_paths_begin_at_the_folder() {
        let config = Config::parse(&format!("hosts = [\"192.0.2.1\"]\n{FILES}"), Path::new("/etc/relay")).unwrap();
        assert_eq!(config.certificate, Path::new("/etc/relay/a"));
        assert_eq!(config.key, Path::new("/b"));
        assert_eq!((config.https.port(), config.qad.port()), (443, 7842));
        assert!(config.allow.is_none() && config.metrics.is_none());
        assert_eq!(config.limits.max_clients, 1000);
    }

    #[test]
    fn mistakes_are_told_with_what_would_be_right() {
        let cases = [
            ("hosts = []\n", "`hosts` is empty"),
            ("hosts = [\"https://x\"]\n", "without https://"),
            ("hosts = [\"a\"]\nport = 1\n", "unknown field `port`"),
            ("hosts = [\"a\"]\nallow = [\"abc\"]\n", "abc"),
            ("hosts = [\"a\"]\nlimits = { max_clients = 0 }\n", "lets nobody in"),
            ("hosts = [\"a\"]\nhttps = \"443\"\n", "socket address"),
        ];
        for (text, reason) in cases {
            let told = Config::parse(&format!("{text}{}", FILES), Path::new(".")).unwrap_err();
            assert!(told.contains(reason), "{text}: {told}");
        }
    }

    #[test]
    fn an_empty_list_of_nodes_lets_nobody_in() {
        let config = Config::parse(&format!("hosts = [\"a\"]\nallow = []\n{FILES}"), Path::new(".")).unwrap();
        assert_eq!(config.allow, Some(Vec::new()));
    }
}
