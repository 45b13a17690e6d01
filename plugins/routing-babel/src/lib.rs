//! Routing for the quicproquo mesh: a distance vector without loops, after Babel (RFC 8966).
//!
//! [`babel`] holds the rules, [`table`] what is known, [`wire`] what crosses the links; none of them knows of plugins, clocks
//! or threads.
#![forbid(unsafe_code)]

pub mod babel;
pub mod bucket;
pub mod clock;
pub mod config;
pub mod cost;
pub mod counters;
pub mod fuzz;
pub mod limits;
pub mod neighbour;
#[cfg(test)]
mod net;
mod plugin;
pub mod random;
pub mod record;
pub mod table;
#[cfg(test)]
mod testing;
pub mod wire;

pub use plugin::BabelRouting;

qpq_plugin_api::export_plugin! {
    routing: BabelRouting,
    id: "routing-babel",
    config_schema: include_str!("config.schema.json"),
    needs: "qpq.host.routing/1 qpq.host.identity/1",
}
