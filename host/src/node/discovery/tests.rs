use serde_json::json;

use super::*;

fn record(n: usize) -> Value {
    json!({ "id": n.to_string(), "peer": format!("{n:064x}"), "addresses": ["quic://192.0.2.1:7"] })
}

#[test]
fn what_is_reported_is_listed_until_it_is_lost() {
    let discovery = Discovery::new(DiscoveryConfig::default(), None);
    (1..=1_000).for_each(|n| discovery.reported("m", PeerEvent::Found, &record(n)));
    assert_eq!(discovery.list().len(), 1_000);
    discovery.reported("m", PeerEvent::Changed, &record(1));
    discovery.reported("other", PeerEvent::Lost, &record(1));
    assert_eq!(discovery.list().len(), 1_000);
    discovery.reported("m", PeerEvent::Lost, &record(1));
    discovery.reported("m", PeerEvent::Found, &json!({"id": "useless"}));
    assert_eq!(discovery.list().len(), 999);
}

#[test]
fn only_wanted_domains_are_connected_to() {
    let connect_domains = vec!["mesh.local".to_owned()];
    let discovery = Discovery::new(DiscoveryConfig { connect_domains, ..DiscoveryConfig::default() }, None);
    for (domain, wanted) in [("mesh.local", true), ("a.mesh.local", true), ("notmesh.local", false), ("local", false)] {
        assert_eq!(discovery.wants(&[domain.to_owned()]), wanted, "{domain}");
    }
    assert!(!discovery.wants(&[]));
}

/// `connect_domains` once kept gateways from the domains that they were to federate with.
#[test]
fn a_domain_that_stays_by_itself_still_federates_with_others() {
    let connect_domains = vec!["a.mesh".to_owned()];
    let mut policy = FederationPolicy::new("a.mesh");
    policy.block.insert("c.mesh".to_owned());
    let settings = DiscoveryConfig { connect_domains, ..DiscoveryConfig::default() };
    let discovery = Discovery::new(settings.clone(), Some(policy));
    for (uri, domain, dialled) in [
        ("quic://192.0.2.1:7000", "a.mesh", true),
        ("quic://192.0.2.1:7000", "b.mesh", false),
        ("federation://b.mesh@192.0.2.1:7001", "b.mesh", true),
        ("federation://c.mesh@192.0.2.1:7001", "c.mesh", false),
        ("federation://a.mesh@192.0.2.1:7001", "a.mesh", false),
    ] {
        assert_eq!(discovery.may_dial(uri, discovery.wants(&[domain.to_owned()])), dialled, "{uri} of {domain}");
    }
    let alone = Discovery::new(settings, None);
    assert!(!alone.may_dial("federation://b.mesh@192.0.2.1:7001", true));
}

#[test]
fn the_log_is_bounded() {
    let discovery = Discovery::new(DiscoveryConfig::default(), None);
    let lines = (0..10_000).filter(|_| discovery.may_log()).count();
    assert!(lines <= 2 * MAX_LOGGED as usize, "{lines} lines");
}
