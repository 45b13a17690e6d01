//! The minimal host of a quicproquo mesh node.

pub mod api;
pub mod cli;
pub mod config;
pub mod control;
pub mod core;
#[cfg(feature = "fuzz-doors")]
pub mod fuzz;
pub mod identity;
pub mod link;
pub mod node;
pub mod pki;
pub mod plugin;
pub mod script;
pub mod sim;
pub mod store;
