//! The SDK through its own C ABI: a fake host calls the entries that `export_plugin!` would export.
//!
//! All of it runs under Miri, see the crate's README.
#![allow(unsafe_code, reason = "plays the host's part of the C boundary")]

mod fake_host;
mod frames;
mod identity;
mod life;
mod other_kinds;
mod outbox;
mod queue;
mod task;
#[cfg(feature = "tracing")]
mod tracing;
