use super::*;

fn local(addresses: &[(&str, u8)]) -> Vec<Local> {
    addresses.iter().map(|(ip, prefix)| Local { ip: ip.parse().unwrap(), prefix: *prefix }).collect()
}

fn lan() -> Vec<Local> {
    local(&[("192.168.1.5", 24), ("172.17.0.1", 16), ("2001:db8::5", 64), ("fe80::5", 64)])
}

fn shown(listening: &[&str], link_local: bool) -> Vec<String> {
    let listening: Vec<String> = listening.iter().map(|uri| (*uri).to_owned()).collect();
    reachable(&listening, &lan(), link_local)
}

#[test]
fn wildcards_become_the_addresses_of_the_interfaces() {
    assert_eq!(shown(&["quic://0.0.0.0:7000"], true), ["quic://192.168.1.5:7000", "quic://172.17.0.1:7000"]);
    let both = ["quic://192.168.1.5:7", "quic://172.17.0.1:7", "quic://[2001:db8::5]:7", "quic://[fe80::5]:7"];
    assert_eq!(shown(&["quic://[::]:7"], true), both);
    assert_eq!(shown(&["quic://[::]:7"], false), both[..3]);
}

#[test]
fn what_others_cannot_use_is_left_out() {
    assert!(shown(&["quic://127.0.0.1:7000", "quic://[::1]:7000"], true).is_empty());
    assert!(reachable(&["quic://0.0.0.0:7000".to_owned()], &[], true).is_empty());
}

#[test]
fn other_addresses_stay_as_they_are() {
    let uris = ["quic://10.0.0.1:7", "udpc://node.example:9", &format!("iroh://{}?direct=10.0.0.1:7", "ab".repeat(32))];
    assert_eq!(shown(&uris, false), uris);
    assert_eq!(shown(&[uris[0], uris[0]], false), [uris[0]]);
}

#[test]
fn there_are_not_too_many() {
    let many: Vec<(String, u8)> = (0..100).map(|n| (format!("10.0.{n}.1"), 24)).collect();
    let many: Vec<(&str, u8)> = many.iter().map(|(ip, prefix)| (ip.as_str(), *prefix)).collect();
    assert_eq!(reachable(&["quic://0.0.0.0:7".to_owned()], &local(&many), false).len(), MAX_REACHABLE);
}

#[test]
fn near_addresses_are_tried_first_and_our_own_never() {
    let uris = ["quic://203.0.113.9:7", "quic://172.17.0.1:7", "quic://[fe80::9%3]:7", "quic://192.168.1.77:7"];
    let uris = uris.map(str::to_owned);
    let wanted = ["quic://[fe80::9%3]:7", "quic://192.168.1.77:7", "quic://203.0.113.9:7"];
    assert_eq!(in_order(&uris, &lan()), wanted);
}

#[test]
fn networks_are_compared_by_their_prefix() {
    let reaches = |ip: &str, prefix, other: &str| local(&[(ip, prefix)])[0].reaches(other.parse().unwrap());
    assert!(reaches("10.1.2.3", 8, "10.9.9.9") && !reaches("10.1.2.3", 16, "10.9.9.9"));
    assert!(reaches("10.1.2.3", 0, "1.1.1.1") && reaches("::1", 0, "fe80::"));
    assert!(!reaches("10.1.2.3", 32, "10.1.2.2") && !reaches("10.1.2.3", 0, "::1"));
}

#[test]
fn host_and_port_of_an_address() {
    assert_eq!(host_and_port("quic://192.168.1.5:7000"), Some("192.168.1.5:7000"));
    assert_eq!(host_and_port("quic://[2001:db8::5]:7000"), Some("[2001:db8::5]:7000"));
    for none in ["quic://0.0.0.0:1", "iroh://abcd?direct=10.0.0.1:7", "quic://node.example:7", "nonsense"] {
        assert_eq!(host_and_port(none), None, "{none}");
    }
}

#[test]
fn this_machine_has_no_loopback_among_its_addresses() {
    assert!(super::local().iter().all(|local| !local.ip.is_loopback()));
}
