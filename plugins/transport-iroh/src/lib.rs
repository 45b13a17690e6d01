//! Links between nodes over iroh: QUIC with the peer's key as its address, direct where the two ends reach each other and
//! through a relay where they don't.
//!
//! ```text
//!  plugin ── the host's calls; owns the runtime
//!    └─ engine ── what the tasks share
//!         ├─ net ── the iroh endpoint: sockets, relays, settings
//!         ├─ accept, dial ── how a link comes up
//!         ├─ watch ── looks after paths and relays, and tries to get off a relay
//!         └─ links ─ link ── one task for each link: queue → stream → host
//! ```
//!
//! The endpoint's key is the node's own, which the host hands over only if the admin says so.
#![forbid(unsafe_code)]

mod accept;
mod address;
mod book;
mod config;
mod counters;
mod dial;
mod engine;
mod error;
mod limits;
mod link;
mod links;
mod net;
mod path;
mod plugin;
mod relays;
mod watch;

pub use config::Config;
pub use limits::{ALPN, EXPORTER_LABEL, MAX_FRAME};
pub use plugin::IrohTransport;

qpq_plugin_api::export_plugin! {
    transport: IrohTransport,
    id: "transport-iroh",
    config_schema: include_str!("config.schema.json"),
    needs: "qpq.host.transport/1 qpq.host.identity/1",
    exclusive: true,
    schemes: "iroh",
}
