//! Nodes with an instance of the plugin, and what may come between them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod intruder;
pub mod relay;

use std::ops::Deref;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use qpq_plugin_api::testing::{self, Keys};

/// How long anything may take that should happen at once: iroh looks for paths first.
pub const SOON: Duration = Duration::from_secs(30);

/// One instance of the plugin and its host.
pub struct Node(testing::Node);

impl Node {
    /// A started instance with the identity of that seed.
    pub fn new(seed: u8, config: &str) -> Self {
        let node = Self::create(seed, config, true).expect("the configuration fits");
        assert_eq!(node.start(), Ok(String::new()));
        node
    }

    /// A started instance with the default configuration.
    pub fn with_defaults(seed: u8) -> Self {
        Self::new(seed, "{}")
    }

    /// An instance, trusted with the key or not, or why there is none.
    pub fn create(seed: u8, config: &str, trusted: bool) -> Result<Self, String> {
        let secret = [seed; 32];
        let public = SigningKey::from_bytes(&secret).verifying_key().to_bytes();
        let keys = Keys { public, secret: trusted.then_some(secret), ..Keys::default() };
        let mut node = testing::Node::create(&qpq_transport_iroh::QPQ_PLUGIN, keys, config)?;
        node.patience = SOON;
        Ok(Self(node))
    }

    /// Listens on a free port of the loopback interface; returns where to dial.
    pub fn listen_anywhere(&self) -> String {
        self.listen("iroh://127.0.0.1:0").unwrap()
    }

    /// The address with nothing but the key.
    pub fn uri(&self) -> String {
        format!("iroh://{}", hex(&self.key()))
    }
}

impl Deref for Node {
    type Target = testing::Node;

    fn deref(&self) -> &testing::Node {
        &self.0
    }
}

/// A pair of nodes with a link from the first to the second: (dialler, its link, listener, its link).
pub fn linked(config: &str) -> (Node, u64, Node, u64) {
    let (dialler, listener) = (Node::new(1, config), Node::new(2, config));
    let uri = listener.listen_anywhere();
    let link = dialler.dial(&uri, Some(listener.key())).unwrap();
    let other = listener.link_from(dialler.key());
    (dialler, link, listener, other)
}

/// A key in hexadecimal digits.
pub fn hex(key: &[u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The direct address in a URI.
pub fn direct(uri: &str) -> std::net::SocketAddr {
    uri.split_once("direct=").unwrap().1.split('&').next().unwrap().parse().unwrap()
}
