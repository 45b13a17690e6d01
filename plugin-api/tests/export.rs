//! `export_plugin!` works where `unsafe` is forbidden, and fills the descriptor.
#![forbid(unsafe_code)]

use qpq_plugin_api::abi::{ABI_MAJOR, MAGIC, plugin_flags};
use qpq_plugin_api::{Error, Host, RouteContext, RouteKind, RouteLinks, RouteQuery, Routing, export_plugin};

struct Nowhere;

impl Routing for Nowhere {
    fn create(_host: Host, _instance: &str, _config: serde_json::Value) -> Result<Self, Error> {
        Ok(Self)
    }

    fn route(&mut self, _: &mut RouteContext<'_>, _: &RouteQuery, _: &mut RouteLinks<'_>) -> RouteKind {
        RouteKind::Unknown
    }
}

export_plugin! {
    routing: Nowhere,
    id: "routing-nowhere",
    config_schema: r#"{"type": "object", "additionalProperties": false}"#,
    schemes: "nowhere no+where",
}

#[test]
fn the_descriptor_says_what_the_macro_was_told() {
    assert!(std::ptr::eq(qpq_plugin_entry_v1(), &raw const QPQ_PLUGIN));
    assert_eq!(QPQ_PLUGIN.magic, MAGIC);
    assert_eq!(QPQ_PLUGIN.abi_major, ABI_MAJOR);
    assert_eq!(QPQ_PLUGIN.flags, plugin_flags::PANIC_UNWIND);
    assert_eq!(QPQ_PLUGIN.id.len, "routing-nowhere".len());
    assert_eq!(QPQ_PLUGIN.schemes.len, "nowhere no+where".len());
}
