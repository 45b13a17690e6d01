//! Cap'n Proto RPC over one bidirectional stream of a connection. All of it runs on one thread of its own, since the
//! library's objects stay where they were made.

pub(crate) mod arguments;
mod inbound;
mod meter;
mod outbound;
mod service;
mod session;
mod sink;
mod system;
mod thread;

pub(crate) use inbound::inbound;
pub(crate) use outbound::{Dialled, outbound};
pub(crate) use session::Session;
pub(crate) use sink::{carry_out, read as read_frames};
pub(crate) use system::system;
pub(crate) use thread::{Local, RpcThread, spawn};
