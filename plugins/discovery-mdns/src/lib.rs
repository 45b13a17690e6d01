//! Finds neighbours by multicast DNS (RFC 6762) and DNS service discovery (RFC 6763), and is found by them.
//!
//! [`record`] writes what this node announces and [`answer`] reads what others do: a crate of their own, `qpq-mdns`. [`nodes`]
//! remembers who was found. None of them knows of sockets, threads or clocks. [`engine`] owns the responder and its thread,
//! `plugin` is the way in.
#![forbid(unsafe_code)]

mod config;
mod daemon;
pub mod engine;
pub mod nodes;
mod plugin;
mod valve;

pub use config::Config;
pub use plugin::MdnsDiscovery;
pub use qpq_mdns::{answer, limits, record};

qpq_plugin_api::export_plugin! {
    discovery: MdnsDiscovery,
    id: "discovery-mdns",
    config_schema: include_str!("config.schema.json"),
    needs: "qpq.host.discovery/1",
}
