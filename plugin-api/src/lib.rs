//! The C ABI of quicproquo mesh plugins, and the safe Rust SDK over it.
//!
//! A plugin is a shared library that exports one symbol. In Rust it is a crate of type `cdylib` with a type that implements
//! [`Plugin`] and one of [`Transport`], [`Discovery`], [`Store`] (or [`Routing`] alone), and one call of [`export_plugin!`]:
//!
//! ```
//! use qpq_plugin_api::{Error, Host, Plugin, RouteContext, RouteKind, RouteLinks, RouteQuery, Routing, export_plugin};
//!
//! struct Nowhere;
//!
//! impl Routing for Nowhere {
//!     fn create(_host: Host, _instance: &str, _config: serde_json::Value) -> Result<Self, Error> {
//!         Ok(Self)
//!     }
//!     fn route(&mut self, _: &mut RouteContext<'_>, _: &RouteQuery, _: &mut RouteLinks<'_>) -> RouteKind {
//!         RouteKind::Unknown
//!     }
//! }
//!
//! export_plugin! {
//!     routing: Nowhere,
//!     id: "routing-nowhere",
//!     config_schema: r#"{"type": "object", "additionalProperties": false}"#,
//! }
//! # fn main() {}
//! ```
//!
//! What the SDK takes over: no `unsafe` in the plugin, a panic in any entry becomes a reported failure, operations
//! complete exactly once, frames are copied or handed over as their size asks, queues are bounded.
//! A plugin brings its own runtime (tokio or none); nothing that belongs to a runtime crosses the boundary.

pub mod abi;
#[cfg(feature = "kit")]
pub mod kit;
mod sdk;
#[cfg(feature = "testing")]
pub mod testing;

pub use abi::Status;
pub use bytes::Bytes;
pub use sdk::discovery::{Discovery, DiscoveryHost, PeerEvent};
pub use sdk::error::Error;
pub use sdk::frames::{COPY_LIMIT, FrameBatch, offer};
pub use sdk::guard::{Caught, catch};
pub use sdk::host::Host;
pub use sdk::identity::Identity;
pub use sdk::op::Op;
pub use sdk::outbox::{Next, Outbox};
pub use sdk::plugin::Plugin;
pub use sdk::queue::{FrameQueue, MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES, QueueLimits, Taken};
pub use sdk::routing::{LinkState, RouteContext, RouteKind, RouteLink, RouteLinks, RouteQuery, Routing};
pub use sdk::store::{Store, StoreHost, StoredItem};
pub use sdk::task::guarded;
pub use sdk::transport::{LinkUp, Transport, TransportHost};

/// Frames with their lengths on a byte stream.
pub mod stream {
    pub use crate::sdk::stream::{Decoder, HEADER_LEN, Oversize, encode};
}

/// What [`export_plugin!`] expands to; not for use by hand.
#[doc(hidden)]
pub mod export {
    pub use crate::sdk::discovery::vtable as discovery;
    pub use crate::sdk::glue::{Exported, Parts, find_interface};
    pub use crate::sdk::routing::{Shared, vtable as routing};
    pub use crate::sdk::store::vtable as store;
    pub use crate::sdk::transport::vtable as transport;
}
