//! The simplest correct routing for the quicproquo mesh: flood, and remember the way that things came in by.
//!
//! [`flood`] holds the rules, [`table`] what was learned; neither knows of plugins, clocks or threads.
#![forbid(unsafe_code)]

mod config;
pub mod flood;
mod plugin;
pub mod table;

pub use plugin::FloodRouting;

qpq_plugin_api::export_plugin! {
    routing: FloodRouting,
    id: "routing-flood",
    config_schema: include_str!("config.schema.json"),
    needs: "qpq.host.routing/1",
}
