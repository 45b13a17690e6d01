use serde_json::json;

use super::*;

fn sighted(id: &str, letter: char) -> Sighted {
    let peer = letter.to_string().repeat(64);
    Sighted::read(&json!({ "id": id, "peer": peer, "addresses": ["quic://192.0.2.1:7"], "interface": "eth0" })).unwrap()
}

#[test]
fn a_node_without_a_key_is_known_by_its_server() {
    let stranger = Sighted::read(&json!({ "server": "192.0.2.1:7000" })).unwrap();
    assert_eq!((stranger.peer, &stranger.addresses[..]), (None, &["quic://192.0.2.1:7000".to_owned()][..]));
    assert_eq!(stranger.id, "192.0.2.1:7000");
}

#[test]
fn records_without_use_are_refused() {
    let key = "a".repeat(64);
    for bad in [
        json!(null),
        json!([1]),
        json!({}),
        json!({ "peer": key }),
        json!({ "peer": key, "addresses": "quic://a:1" }),
        json!({ "peer": key, "addresses": ["quic", "://", "quic://a b", "quic://\u{1b}[2J", 7] }),
        json!({ "server": "a\nb:1" }),
        json!({ "server": "x".repeat(300) }),
    ] {
        assert_eq!(Sighted::read(&bad), None, "{bad}");
    }
}

#[test]
fn what_is_wrong_in_a_useful_record_is_left_out() {
    let many: Vec<String> = (0..100).map(|n| format!("quic://192.0.2.1:{n}")).collect();
    let record = json!({ "id": "a\u{1b}", "peer": "zz", "server": "a:1", "domain": "a\0", "addresses": many });
    let sighted = Sighted::read(&record).unwrap();
    assert_eq!((sighted.peer, &sighted.domain, sighted.id.as_str()), (None, &None, "a:1"));
    assert_eq!(sighted.addresses.len(), MAX_ADDRESSES);
}

#[test]
fn what_nobody_confirms_is_forgotten() {
    let mut found = Found::default();
    assert!(found.note("m", sighted("one", 'a'), 1_000));
    assert!(!found.note("m", sighted("one", 'a'), 2_000));
    found.forget(2_000 + FORGET_MS - 1);
    assert_eq!(found.peers().len(), 1);
    found.forget(2_000 + FORGET_MS);
    assert!(found.peers().is_empty());
}

#[test]
fn ten_thousand_nodes_push_each_other_out() {
    let mut found = Found::default();
    for n in 0..10_000_u64 {
        found.note("m", sighted(&n.to_string(), 'a'), n / 100);
    }
    assert_eq!(found.0.len(), MAX_FOUND);
    assert!(found.of(&PeerId([0xaa; 32])).0.len() <= 2 * MAX_ADDRESSES);
}

#[test]
fn two_instances_of_a_node_are_shown_as_one() {
    let mut found = Found::default();
    found.note("m", sighted("old", 'a'), 1);
    found.note("m", sighted("new", 'a'), 5);
    found.note("m", sighted("other", 'b'), 5);
    let list = found.list();
    assert_eq!(list.len(), 2);
    assert_eq!((list[0].1.first_seen_ms, list[0].1.last_seen_ms), (1, 5));
    found.lost("m", &sighted("old", 'a'));
    assert_eq!(found.list().len(), 2, "the other instance is still there");
}

#[test]
fn addresses_of_all_sightings_of_a_key_are_tried() {
    let mut found = Found::default();
    found.note("m", sighted("one", 'a'), 1);
    let liar = json!({ "id": "liar", "peer": "a".repeat(64), "addresses": ["quic://192.0.2.66:1"], "domain": "d" });
    found.note("m", Sighted::read(&liar).unwrap(), 1);
    let (addresses, domains) = found.of(&PeerId([0xaa; 32]));
    assert_eq!(addresses.len(), 2);
    assert_eq!(domains, ["d"]);
}
