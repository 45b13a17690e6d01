//! The C ABI: what crosses the boundary between the host and a plugin, as `include/qpq_plugin.h` states it for C.
//!
//! Rules that hold for every struct and function here:
//!
//! - Structs that may grow begin with their size in bytes. A reader uses `min(their size, its own)`; an absent trailing
//!   field, like a function that is NULL, means "not supported". A new *required* function is a new interface id (`…/2`).
//! - No `bool`, no C enum, no NUL-terminated string and no Rust type crosses the boundary.
//! - No panic or exception crosses the boundary.
//!
//! Plugin authors in Rust need nothing of this module: the traits of the crate root hide it.

mod basic;
mod discovery;
mod host;
mod identity;
mod plugin;
mod routing;
mod status;
mod store;
mod transport;

pub use basic::{Buf, Frame, Out, Slice, Str, StrError, frame_flags};
pub use discovery::{Discovery, HostDiscovery, peer_event};
pub use host::{Host, log_level};
pub use identity::{HostIdentity, sign_purpose};
pub use plugin::{ABI_MAJOR, ABI_MINOR, ENTRY_SYMBOL, EntryFn, MAGIC, Plugin, plugin_flags};
pub use routing::{HostRouting, RouteLink, RouteQuery, Routing, link_change, route_flags};
pub use status::Status;
pub use store::{HostStore, Store, StoreItem, StoreSink};
pub use transport::{HostTransport, LinkEvent, Transport, link_event, link_flags};

/// Ids of the interfaces of this revision.
pub mod interface {
    /// A transport, implemented by a plugin.
    pub const TRANSPORT: &str = "qpq.transport/1";
    /// A discovery service, implemented by a plugin.
    pub const DISCOVERY: &str = "qpq.discovery/1";
    /// A routing protocol, implemented by a plugin.
    pub const ROUTING: &str = "qpq.routing/1";
    /// A message store, implemented by a plugin.
    pub const STORE: &str = "qpq.store/1";
    /// The host's side of a transport.
    pub const HOST_TRANSPORT: &str = "qpq.host.transport/1";
    /// The host's side of a discovery service.
    pub const HOST_DISCOVERY: &str = "qpq.host.discovery/1";
    /// The host's side of a routing protocol.
    pub const HOST_ROUTING: &str = "qpq.host.routing/1";
    /// The host's side of a store.
    pub const HOST_STORE: &str = "qpq.host.store/1";
    /// Signing with the node's identity, and keys derived from it.
    pub const HOST_IDENTITY: &str = "qpq.host.identity/1";
}
