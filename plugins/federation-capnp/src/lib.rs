//! Links between domains: Cap'n Proto RPC over QUIC with certificates on both sides, for the quicproquo mesh.
//!
//! ```text
//!  plugin ── the host's calls; owns the network's runtime
//!    └─ engine ── what the tasks share
//!         ├─ certs, verify, tls ── who may connect
//!         ├─ endpoint, accept, dial, dns ── how a connection comes up
//!         └─ rpc (a thread of its own)
//!              ├─ service, sink ── what others may call; frames as calls
//!              ├─ link ── one link: queue → calls → host
//!              └─ bridge ── links to servers of the older kind, whose far end is played here
//! ```
//!
//! What two domains say to each other stands in `schemas/federation.capnp`.
#![forbid(unsafe_code)]

mod accept;
mod address;
mod bridge;
mod certs;
mod config;
mod counters;
mod der;
mod dial;
mod dns;
mod endpoint;
mod engine;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod handshakes;
mod limits;
mod link;
mod links;
mod peers;
mod plugin;
mod refusal;
mod refused;
mod rpc;
mod tls;
mod verify;

pub use config::{Config, LegacyPayloads};
pub use limits::{ALPN, DEFAULT_PORT, EXPORTER_LABEL, MAX_FRAME, MAX_INTERMEDIATES, RELAY_VERSION};
pub use plugin::FederationCapnp;

qpq_plugin_api::export_plugin! {
    federation: FederationCapnp,
    id: "federation-capnp",
    config_schema: include_str!("config.schema.json"),
    needs: "qpq.host.transport/1 qpq.host.identity/1",
    exclusive: true,
    overlaps: true,
    schemes: "federation",
}
