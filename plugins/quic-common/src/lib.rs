//! What the plugins share whose links run over QUIC: a library, no plugin. It knows no protocol and no configuration; a
//! plugin says what its links carry, why they end, and how that is told.
//!
//! ```text
//!  Runtime ── the threads of an instance, from `start` to `stop`
//!  Table ── its links by number, and how all of them end
//!  Flow ── one link: what waits, who asked for its end, what is flushed before
//!  HostPort, Lookups, race ── from the address in a URI to a connection
//!  Ports ── (feature `quinn`) UDP ports, and how a successor gets them
//!  Verifier ── (feature `quinn`) a check of the peer, as rustls wants it
//! ```
#![forbid(unsafe_code)]

mod address;
mod counters;
mod dial;
mod flow;
#[cfg(feature = "quinn")]
mod ports;
mod runtime;
#[cfg(feature = "quinn")]
mod socket;
mod table;
#[cfg(feature = "quinn")]
mod tls;

pub use address::{HostPort, MAX_HOST, canonical, printable};
pub use counters::Counter;
pub use dial::{ADDRESS_STAGGER, Lookups, MAX_ADDRESSES, race};
pub use flow::{Bearer, Flow, LINGER, LinkEnd};
#[cfg(feature = "quinn")]
pub use ports::{BIND_PATIENCE, BindError, Ports, Settings};
pub use runtime::{FAREWELL, Runtime, Threads, spawn};
pub use table::Table;
#[cfg(feature = "quinn")]
pub use tls::{PeerCheck, Role, Verifier};

/// What [`counters!`] expands to; not for use by hand.
#[doc(hidden)]
pub use serde_json;
