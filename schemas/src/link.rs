//! What two neighbours say to each other: the frames of a link.
//!
//! A transport carries blocks of bytes; a block packs one frame or more, each `u32 length ‖ u8 type ‖ body`.
//! The byte tables stand in `schemas/spec/link.md`.

mod block;
mod body;
mod custody;
mod error;
mod fragment;
mod frame;
mod hello;
mod reconcile;
mod resolve;
mod tree;

pub use block::{Unpack, unpack};
pub use custody::{Answer, Verdict};
pub use error::FrameError;
pub use fragment::{Fragment, fragments};
pub use frame::{Close, CloseCode, Frame, SubscriptionChange, Sync};
pub use hello::{Hello, LINK_VERSION, Role, auth_message, sign_auth, verify_auth};
pub use reconcile::{FINGERPRINT_LEN, Part, Place, Range, Reconcile, Sum};
pub use resolve::{Home, Resolve};
pub use tree::{Announced, Tree};

use crate::envelope::{LARGEST_PAYLOAD, OVERHEAD};
use crate::record::MAX_RECORD_LEN;

/// Bytes in front of a frame's body: length and type.
pub const FRAME_HEADER_LEN: usize = 5;
/// Largest body of HELLO, in bytes. Version 1 uses 69; later fields are ignored but signed.
pub const MAX_HELLO_BODY: usize = 256;
/// Body of AUTH, in bytes.
pub const AUTH_BODY: usize = 64;
/// Largest body of ENVELOPES, in bytes: the largest envelope always fits.
pub const MAX_ENVELOPES_BODY: usize = LARGEST_PAYLOAD + OVERHEAD + 4;
/// Most envelopes in one frame.
pub const MAX_ENVELOPES: usize = 1_024;
/// Most answers in one CUSTODY frame.
pub const MAX_ANSWERS: usize = 1_024;
/// Most topics in one SUBSCRIPTIONS frame; more follow as additions.
pub const MAX_TOPICS: usize = 1_024;
/// Most ids in one SYNC frame.
pub const MAX_SYNC_IDS: usize = 1_024;
/// Largest body of ROUTE, in bytes.
pub const MAX_ROUTE_BODY: usize = 65_536;
/// Most records in one RECORDS frame.
pub const MAX_RECORDS: usize = 64;
/// Largest body of RECORDS, in bytes.
pub const MAX_RECORDS_BODY: usize = MAX_RECORDS * (2 + MAX_RECORD_LEN);
/// Most peers in one RESOLVE frame, asked for or answered.
pub const MAX_RESOLVED: usize = 32;
/// Largest body of RESOLVE, in bytes: a key, a length and a record for each peer.
pub const MAX_RESOLVE_BODY: usize = 1 + MAX_RESOLVED * (34 + MAX_RECORD_LEN);
/// Most ids in one TREE frame, announced or asked for.
pub const MAX_ANNOUNCED: usize = 1_024;
/// Most stretches in one RECONCILE frame.
pub const MAX_RANGES: usize = 512;
/// Most ids in one RECONCILE frame, over all its stretches.
pub const MAX_RECONCILE_IDS: usize = 512;
/// Longest reason in CLOSE, in bytes of UTF-8.
pub const MAX_REASON_LEN: usize = 256;
/// Most fragments that a block may come in.
pub const MAX_FRAGMENTS: u16 = 4_096;
/// Largest block, in bytes, whole or put together from fragments.
pub const MAX_BLOCK: usize = MAX_ENVELOPES_BODY + FRAME_HEADER_LEN;
/// Smallest largest-frame that a transport may state, in bytes: HELLO, AUTH and a fragment with some use must fit.
pub const MIN_TRANSPORT_FRAME: usize = 512;
/// Largest body of an optional frame that this node doesn't know (types 128 to 255), in bytes.
pub const MAX_OPTIONAL_BODY: usize = 65_536;

#[cfg(test)]
mod tests;
