//! For the tests of a transport in its own crate (feature `testing`): a host that writes down what it is told, and drives an
//! instance through the C ABI alone, as a node does. It belongs into `[dev-dependencies]`.
//!
//! ```ignore
//! let node = Node::create(&my_transport::QPQ_PLUGIN, Keys::default(), "{}").expect("the configuration fits");
//! node.start().expect("it starts");
//! let uri = node.listen("mine://127.0.0.1:0").expect("bound");
//! ```
//!
//! What no plugin may do, such as answering an operation twice, ends the process at once.

mod host;
mod node;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

pub use self::node::Node;
use crate::abi::Status;

/// How long anything may take that should happen at once.
pub const SOON: Duration = Duration::from_secs(10);

/// Makes an Ed25519 signature.
pub type Sign = Box<dyn Fn(&[u8]) -> [u8; 64] + Send + Sync>;

/// The identity of a node under test. What isn't there is refused.
#[derive(Default)]
pub struct Keys {
    /// The public key.
    pub public: [u8; 32],
    /// Signs with it, for TLS 1.3 alone.
    pub sign: Option<Sign>,
    /// The seed that only this plugin gets.
    pub subkey: Option<[u8; 32]>,
    /// The secret itself, for a plugin that is trusted with it.
    pub secret: Option<[u8; 32]>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("public", &self.public).finish_non_exhaustive()
    }
}

/// What the host was told of a link that came up.
#[derive(Debug, Clone)]
pub struct Up {
    /// The dial that made it, or 0.
    pub op: u64,
    /// This side opened it.
    pub outbound: bool,
    /// What is sent arrives in order, or the link ends.
    pub reliable: bool,
    /// Others forward its packets.
    pub relayed: bool,
    /// The proven key of the other node.
    pub peer: Option<[u8; 32]>,
    /// The other end, as a URI.
    pub remote: String,
    /// The largest frame in bytes.
    pub max_frame: u32,
    /// The bytes that only both ends share.
    pub channel_binding: Vec<u8>,
}

/// All that the host was told, and what it does in future.
#[derive(Debug)]
pub struct Told {
    /// Answers of operations.
    pub ops: HashMap<u64, (Status, String)>,
    /// Links that came up, by number.
    pub up: BTreeMap<u64, Up>,
    /// Why links went down, by number.
    pub down: BTreeMap<u64, String>,
    /// Path changes: link, remote, relayed.
    pub paths: Vec<(u64, String, bool)>,
    /// Frames that came in, by link.
    pub frames: BTreeMap<u64, Vec<Vec<u8>>>,
    /// Links that have room again, one entry for each call.
    pub writable: Vec<u64>,
    /// Frames that were handed back.
    pub unsent: Vec<Vec<u8>>,
    /// Calls of `fail`, and why `create` gave no instance.
    pub failures: Vec<String>,
    /// Lines of the log, each with its level (see [`log_level`](crate::abi::log_level)).
    pub log: Vec<(u32, String)>,
    /// How many frames the host takes before it says that it is full.
    pub room: usize,
    /// Refuse links that come up.
    pub refuse_links: bool,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            ops: HashMap::new(),
            up: BTreeMap::new(),
            down: BTreeMap::new(),
            paths: Vec::new(),
            frames: BTreeMap::new(),
            writable: Vec::new(),
            unsent: Vec::new(),
            failures: Vec::new(),
            log: Vec::new(),
            room: usize::MAX,
            refuse_links: false,
        }
    }
}
