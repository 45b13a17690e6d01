//! What a link is told when it is made.

use std::sync::Arc;

use qpq_schemas::PeerId;
use qpq_schemas::link::Role;

use crate::identity::{Identity, PeerSet};

/// How long both HELLO and AUTH may take, in milliseconds.
pub const HANDSHAKE_MS: u64 = 5_000;

/// After how long without sending anything a PING is sent, in milliseconds.
pub const HELLO_MS: u64 = 1_000;

/// How many of the neighbour's hellos may fail to come before the link counts as dead.
pub const MISSED_HELLOS: u64 = 2;

/// A neighbour that says that its transport is being replaced is believed when its link has lived for so long, in
/// milliseconds. Else one that always says so would be dialled without pause for ever.
pub const BELIEVED_AFTER_MS: u64 = 200;

/// How long the pieces of one block may take to arrive, in milliseconds.
pub const REASSEMBLY_MS: u64 = 60_000;

/// The settings that all links of a node share.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Bits for what this node can do beyond the protocol's version.
    pub features: u32,
    /// See [`HANDSHAKE_MS`].
    pub handshake_ms: u64,
    /// See [`HELLO_MS`].
    pub hello_ms: u64,
    /// See [`MISSED_HELLOS`].
    pub missed_hellos: u64,
    /// See [`REASSEMBLY_MS`].
    pub reassembly_ms: u64,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            features: 0,
            handshake_ms: HANDSHAKE_MS,
            hello_ms: HELLO_MS,
            missed_hellos: MISSED_HELLOS,
            reassembly_ms: REASSEMBLY_MS,
        }
    }
}

/// What is known of a link when its transport has made the connection.
pub struct LinkSetup {
    /// Whether this node dialled.
    pub role: Role,
    /// Who this node is.
    pub identity: Arc<Identity>,
    /// Whose links are refused.
    pub blocked: PeerSet,
    /// Who was dialled, where that is known.
    pub expected: Option<PeerId>,
    /// Whom the transport found on the other side, where it can tell. It must agree with what the neighbour proves here.
    pub proven_by_transport: Option<PeerId>,
    /// What ties the proof to this very connection: the same bytes on both sides, empty where the transport has none.
    pub binding: Vec<u8>,
    /// The most bytes that the transport takes in one frame.
    pub max_frame: usize,
    /// Whether the transport delivers everything, once, and in order. Where it doesn't, the link numbers and repeats.
    pub reliable: bool,
}
