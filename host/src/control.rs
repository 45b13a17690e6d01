//! The control socket: the node's door for the REPL, the command line and other programs.
//!
//! `node.capnp` is served on a Unix socket in the data directory, which only its owner can open. The server
//! ([`serve`]) hands each call to a [`NodeApi`](crate::api::NodeApi); the client ([`RemoteNode`]) is a `NodeApi`
//! again, so that whoever talks to a node needs to know nothing of the socket.

mod client;
mod fault;
mod server;
mod service;
mod slots;
mod socket;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{ConnectError, RemoteNode};
pub use server::{ControlServer, Limits, ServeError, serve};

/// Name of the control socket in the data directory.
pub const SOCKET_NAME: &str = "node.sock";

/// How many methods `NodeService` has: what `health` reports as `apiLevel`.
pub const API_LEVEL: u32 = 30;
