//! A transport for quicproquo nodes. It carries frames over TCP, each with its length before it.
//!
//! Begin in `wire.rs` (what travels) and `link.rs` (how one connection works); `plugin.rs` is what the node calls.
#![forbid(unsafe_code)]

mod config;
mod link;
mod plugin;
mod shared;
mod wire;

pub use plugin::Tcp;

qpq_plugin_api::export_plugin! {
    transport: Tcp,
    id: "transport-example",
    config_schema: include_str!("config.schema.json"),
    needs: "qpq.host.transport/1",
    exclusive: true, // a port belongs to one instance
}
