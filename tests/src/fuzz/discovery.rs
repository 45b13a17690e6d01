//! What is announced on a network, and what a discovery plugin tells the host of it.

use qpq_host::fuzz;
use qpq_mdns::fuzz as mdns;
use serde_json::Value;

use super::{Seeds, Target};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "announcement", feed: feed_announcement, seeds: mdns::announcements },
    Target { name: "discovered", feed: feed_report, seeds: reports },
];

/// The host takes each node that the plugin makes of an announcement as the plugin tells it.
fn feed_announcement(bytes: &[u8]) {
    let Some(report) = mdns::announcement(bytes) else { return };
    let told: Value = serde_json::from_str(&report).unwrap_or_default();
    let Some((id, mut uris)) = fuzz::discovered(report.as_bytes()) else { panic!("the host refuses {report}") };
    assert_eq!(told["id"], id);
    let mut listed: Vec<&str> = told["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let server = told["server"].as_str().map(|server| format!("quic://{server}"));
    if listed.is_empty() {
        listed.extend(server.as_deref());
    }
    listed.sort_unstable();
    uris.sort_unstable();
    assert_eq!(uris, listed);
}

fn reports() -> Seeds {
    mdns::announcements().iter().filter_map(|seed| mdns::announcement(seed)).map(String::into_bytes).collect()
}

/// Any JSON as a report.
fn feed_report(bytes: &[u8]) {
    fuzz::discovered(bytes);
}
