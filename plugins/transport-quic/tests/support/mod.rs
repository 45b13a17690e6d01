//! Nodes with an instance of the plugin, and what may come between them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod intruder;
pub mod relay;

use std::ops::Deref;

use ed25519_dalek::{Signer, SigningKey};
use qpq_plugin_api::testing::{self, Keys};

/// One instance of the plugin and its host.
pub struct Node(testing::Node);

impl Node {
    /// A started instance with the identity of that seed.
    pub fn new(seed: u8, config: &str) -> Self {
        let node = Self::create(seed, config).expect("the configuration fits");
        assert_eq!(node.start(), Ok(String::new()));
        node
    }

    /// A started instance with the default configuration.
    pub fn with_defaults(seed: u8) -> Self {
        Self::new(seed, "{}")
    }

    /// An instance, or why there is none.
    pub fn create(seed: u8, config: &str) -> Result<Self, String> {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = key.verifying_key().to_bytes();
        let keys = Keys {
            public,
            sign: Some(Box::new(move |message: &[u8]| key.sign(message).to_bytes())),
            ..Keys::default()
        };
        testing::Node::create(&qpq_transport_quic::QPQ_PLUGIN, keys, config).map(Self)
    }

    /// Listens on a free port of the loopback interface.
    pub fn listen_anywhere(&self) -> String {
        self.listen("quic://127.0.0.1:0").unwrap()
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
