//! Every byte of a quicproquo mesh that crosses a wire or a disk. No I/O.
#![forbid(unsafe_code)]

mod ids;

pub use ids::{MessageId, ParseIdError, PeerId, TopicId};

/// The client interface of a node, generated from `node.capnp`. See `capnp.md` for how to generate it anew.
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, unused_qualifications, rust_2018_idioms, reason = "generated")]
#[allow(clippy::all, clippy::pedantic, clippy::unimplemented, reason = "generated")]
pub mod node_capnp;
