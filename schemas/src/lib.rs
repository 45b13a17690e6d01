//! Every byte of a quicproquo mesh that crosses a wire or a disk. No I/O.
//!
//! Each format has a module here, a page with its byte table in `schemas/spec/`, and test vectors in `schemas/vectors/`
//! that a second implementation, in Python, reads as well.
#![forbid(unsafe_code)]

pub mod channel;
pub mod content;
pub mod emergency;
pub mod envelope;
mod ids;
pub mod link;
pub mod packet;
pub mod parcel;
pub mod receipt;
pub mod record;
pub mod sealing;
pub mod signature;
mod wire;

pub use ids::{MessageId, ParseIdError, PeerId, TopicId};

/// What two domains say to each other, generated from `federation.capnp`. See `capnp.md` for how to generate it anew.
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, unused_qualifications, rust_2018_idioms, reason = "generated")]
#[allow(clippy::all, clippy::pedantic, clippy::unimplemented, reason = "generated")]
pub mod federation_capnp;
/// The client interface of a node, generated from `node.capnp`. See `capnp.md` for how to generate it anew.
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, unused_qualifications, rust_2018_idioms, reason = "generated")]
#[allow(clippy::all, clippy::pedantic, clippy::unimplemented, reason = "generated")]
pub mod node_capnp;
