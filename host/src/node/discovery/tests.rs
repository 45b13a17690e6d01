use serde_json::json;

use super::*;

fn discovery(settings: DiscoveryConfig) -> (Arc<Discovery>, Queue) {
    Discovery::new(settings)
}

fn record(n: usize) -> Value {
    json!({ "id": n.to_string(), "peer": format!("{n:064x}"), "addresses": ["quic://192.0.2.1:7"] })
}

#[test]
fn a_service_is_told_when_there_is_no_room() {
    let (discovery, mut queue) = discovery(DiscoveryConfig::default());
    let taken = (1..=1_000).filter(|n| discovery.reported("m", PeerEvent::Found, &record(*n))).count();
    assert_eq!(taken, MAX_WAITING);
    assert_eq!(discovery.list().len(), 1_000, "they are listed all the same");
    assert_eq!(queue.try_recv().unwrap().to_string(), format!("{:064x}", 1));
    assert!(discovery.reported("m", PeerEvent::Lost, &record(1)));
    assert_eq!(discovery.list().len(), 999);
}

#[test]
fn with_connecting_switched_off_nodes_are_only_listed() {
    let (discovery, mut queue) = discovery(DiscoveryConfig { connect: false, ..DiscoveryConfig::default() });
    assert!((1..=1_000).all(|n| discovery.reported("m", PeerEvent::Found, &record(n))));
    assert!(queue.try_recv().is_err());
}

#[test]
fn only_wanted_domains_are_connected_to() {
    let connect_domains = vec!["mesh.local".to_owned()];
    let (discovery, _queue) = discovery(DiscoveryConfig { connect_domains, ..DiscoveryConfig::default() });
    for (domain, wanted) in [("mesh.local", true), ("a.mesh.local", true), ("notmesh.local", false), ("local", false)] {
        assert_eq!(discovery.wants(&[domain.to_owned()]), wanted, "{domain}");
    }
    assert!(!discovery.wants(&[]));
}

#[test]
fn the_log_is_bounded() {
    let (discovery, _queue) = discovery(DiscoveryConfig::default());
    let lines = (0..10_000).filter(|_| discovery.may_log()).count();
    assert!(lines <= 2 * MAX_LOGGED as usize, "{lines} lines");
}
