//! The node's door for the REPL, the command line and other programs.
//!
//! `node.capnp` is served on a Unix socket in the data directory, which only its owner can open, and, where the admin wants
//! it, over QUIC ([`quic`]). The server ([`serve`]) hands each call to a [`NodeApi`](crate::api::NodeApi); the client
//! ([`RemoteNode`]) is a `NodeApi` again, so that whoever talks to a node needs to know nothing of the way to it. For
//! somebody with a mailbox at a node, [`HomeClient`] is one as well.

mod access;
mod client;
mod counted;
mod fault;
mod home_client;
mod known_nodes;
mod mail_service;
pub mod quic;
mod server;
mod service;
mod slots;
mod socket;
#[cfg(any(test, feature = "fuzz-doors"))]
#[cfg_attr(not(test), allow(dead_code, reason = "fuzzing needs a part of it"))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod wire;

pub use access::Role;
#[cfg(feature = "fuzz-doors")]
pub use client::fuzz::{answers, answers_seeds};
pub use client::{ConnectError, RemoteNode, Welcome};
#[cfg(feature = "fuzz-doors")]
pub use home_client::fuzz as client_files;
pub use home_client::{HomeClient, OpenError, identity_of};
#[cfg(feature = "fuzz-doors")]
pub use server::speak_to_a_double;
pub use server::{ControlServer, Limits, ServeError, serve};

/// Name of the control socket in the data directory.
pub const SOCKET_NAME: &str = "node.sock";

/// How many methods `NodeService` has: what `health` reports as `apiLevel`.
pub const API_LEVEL: u32 = 44;
