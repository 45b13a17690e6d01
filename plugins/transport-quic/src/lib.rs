//! Links between nodes over QUIC (RFC 9000), for the quicproquo mesh.
//!
//! ```text
//!  plugin ── the host's calls; owns the runtime
//!    └─ engine ── what the tasks share
//!         ├─ endpoint, tls ── sockets and handshake settings
//!         ├─ accept, dial ── how a link comes up
//!         └─ links ─ link ── one task for each link: queue → stream → host
//! ```
//!
//! TLS uses the node's identity key itself, as a raw public key (RFC 7250); the host signs, so the secret stays there.
#![forbid(unsafe_code)]

mod accept;
mod address;
mod config;
mod counters;
mod dial;
mod endpoint;
mod engine;
mod error;
mod limits;
mod link;
mod links;
mod plugin;
mod tls;

pub use config::Config;
pub use limits::{ALPN, EXPORTER_LABEL, MAX_FRAME};
pub use plugin::QuicTransport;

qpq_plugin_api::export_plugin! {
    transport: QuicTransport,
    id: "transport-quic",
    config_schema: include_str!("config.schema.json"),
    needs: "qpq.host.transport/1 qpq.host.identity/1",
    exclusive: true,
    overlaps: true,
}
