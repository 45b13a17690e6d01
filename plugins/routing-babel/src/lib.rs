//! Routing for the quicproquo mesh: a distance vector without loops, after Babel (RFC 8966).
//!
//! The rules are those of `qpq_babel`; here they are put behind the plugin interface.
#![forbid(unsafe_code)]

mod plugin;

pub use plugin::BabelRouting;

qpq_plugin_api::export_plugin! {
    routing: BabelRouting,
    id: qpq_babel::record::PLUGIN_ID,
    config_schema: include_str!("config.schema.json"),
    needs: "qpq.host.routing/1 qpq.host.identity/1",
}
