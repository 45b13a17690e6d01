//! Nodes with an instance of the plugin, their certificates, and others that speak to them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod bad;
pub mod pki;
pub mod server;
pub mod stranger;

use std::ops::Deref;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer, SigningKey};
use qpq_plugin_api::Status;
pub use qpq_plugin_api::testing::SOON;
use qpq_plugin_api::testing::{self, Keys, Up};

use self::pki::{Ca, Files};

/// One instance of the plugin and its host.
pub struct Node {
    node: testing::Node,
    files: Option<Files>,
}

impl Node {
    /// A started instance with the identity of that seed and these files.
    pub fn new(seed: u8, files: &Files, more: &serde_json::Value) -> Self {
        let mut node = Self::create(seed, &files.config(more)).expect("the configuration fits");
        node.files = Some(files.clone());
        assert_eq!(node.start(), Ok(String::new()));
        node
    }

    /// The same with the default settings.
    pub fn with(seed: u8, files: &Files) -> Self {
        Self::new(seed, files, &serde_json::json!({}))
    }

    /// An instance, or why there is none.
    pub fn create(seed: u8, config: &str) -> Result<Self, String> {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let (public, subkey) = (key.verifying_key().to_bytes(), key.to_bytes().map(|byte| !byte));
        let sign = move |message: &[u8]| key.sign(message).to_bytes();
        let keys = Keys { public, sign: Some(Box::new(sign)), subkey: Some(subkey), secret: None };
        let node = testing::Node::create(&qpq_federation_capnp::QPQ_PLUGIN, keys, config)?;
        Ok(Self { node, files: None })
    }

    /// Listens on a free port of the loopback interface.
    pub fn listen_anywhere(&self) -> String {
        self.listen("federation://127.0.0.1:0").unwrap()
    }

    /// Dials and returns the number of the link.
    pub fn dial(&self, uri: &str) -> Result<u64, (Status, String)> {
        self.node.dial(uri, None)
    }

    /// The inbound link from that domain.
    #[track_caller]
    pub fn link_from(&self, domain: &str) -> u64 {
        let prefix = format!("federation://{domain}@");
        self.wait("an inbound link", |told| {
            let found = |(_, up): &(&u64, &Up)| !up.outbound && up.remote.starts_with(&prefix);
            told.up.iter().filter(|(link, _)| !told.down.contains_key(link)).find(found).map(|(link, _)| *link)
        })
    }

    /// What `stats` says of a domain.
    pub fn peer(&self, domain: &str) -> serde_json::Value {
        let stats = self.stats();
        let peers = stats["peers"].as_array().unwrap();
        peers.iter().find(|peer| peer["domain"] == domain).cloned().unwrap_or_default()
    }

    /// The newest refusal with that code, once there is one.
    #[track_caller]
    pub fn refusal(&self, code: &str) -> serde_json::Value {
        let deadline = Instant::now() + SOON;
        loop {
            let refused = self.stats()["refused"].clone();
            let found = refused.as_array().unwrap().iter().find(|entry| entry["code"] == code);
            if let Some(found) = found {
                return found.clone();
            }
            assert!(Instant::now() < deadline, "in vain: {code}: {refused}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the log has a line with these words.
    #[track_caller]
    pub fn logged(&self, words: &str) -> String {
        self.wait("a line of the log", |told| {
            let found = told.log.iter().find(|(_, line)| line.contains(words))?;
            Some(found.1.clone())
        })
    }
}

impl Deref for Node {
    type Target = testing::Node;

    fn deref(&self) -> &testing::Node {
        &self.node
    }
}

/// A pair of nodes with a link from the first to the second: (dialler, its link, listener, its link).
pub fn linked() -> (Node, u64, Node, u64) {
    let ca = Ca::new("ca");
    let dialler = Node::with(1, &Files::good("a.example", &ca));
    let listener = Node::with(2, &Files::good("b.example", &ca));
    let link = dialler.dial(&listener.listen_anywhere()).unwrap();
    let other = listener.link_from("a.example");
    (dialler, link, listener, other)
}
