//! Links through a relay: on the loopback interface, by plain HTTP, embedded in the test.

mod support;

use std::time::{Duration, Instant};

use qpq_plugin_api::Status;
use qpq_plugin_api::abi::log_level;
use qpq_plugin_api::testing::Told;
use support::Node;
use support::relay::Relay;

/// A configuration that uses these relays and nothing else.
fn relayed_only(relays: &[String]) -> String {
    serde_json::json!({ "relays": relays, "relay_only": true }).to_string()
}

/// Two nodes that can reach each other through that relay only, and a link by the key alone. It bears long silence.
fn linked_through(relay: &Relay) -> (Node, u64, Node, u64) {
    let mut config: serde_json::Value = serde_json::from_str(&relayed_only(&[relay.url()])).unwrap();
    config["idle_timeout_ms"] = 60_000.into();
    let config = config.to_string();
    let (dialler, listener) = (Node::new(1, &config), Node::new(2, &config));
    for node in [&dialler, &listener] {
        wait_for_relay(node, &relay.url(), true);
    }
    let link = dialler.dial(&listener.uri(), Some(listener.key())).unwrap();
    let other = listener.link_from(dialler.key());
    (dialler, link, listener, other)
}

/// Waits until the figures say so of the relay.
fn wait_for_relay(node: &Node, url: &str, connected: bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let stats = node.stats();
        let relay = stats["relays"].as_array().unwrap().iter().find(|relay| relay["url"] == format!("{url}/")).unwrap();
        if relay["connected"] == connected {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the relay does not become connected = {connected}: {}", node.stats()["relays"]);
}

#[test]
fn a_key_alone_is_enough_where_both_are_at_one_relay() {
    let relay = Relay::start();
    let (dialler, link, listener, other) = linked_through(&relay);
    let (near, far) = (dialler.told().up[&link].clone(), listener.told().up[&other].clone());
    assert!(near.relayed && far.relayed);
    assert_eq!(near.remote, format!("{}?relay={}/", listener.uri(), relay.url()));
    assert_eq!(near.channel_binding, far.channel_binding);
    let frames: Vec<Vec<u8>> = (0..2_000u32).map(|i| [i.to_be_bytes().as_slice(), &[7; 900]].concat()).collect();
    dialler.send_all(link, &frames);
    assert!(listener.frames(other, frames.len()) == frames);
    assert_eq!(dialler.stats()["relayed"], 1);
    assert_eq!(dialler.stats()["by_link"][0]["relayed"], true);
}

#[test]
fn a_link_that_began_over_a_relay_goes_on_directly() {
    let relay = Relay::start();
    let (dialler, listener) = (Node::new(1, &relay.config()), Node::new(2, &relay.config()));
    listener.listen_anywhere();
    dialler.listen_anywhere();
    wait_for_relay(&listener, &relay.url(), true);
    wait_for_relay(&dialler, &relay.url(), true);
    let link = dialler.dial(&listener.uri(), None).unwrap();
    let direct = |told: &mut Told| {
        let up = &told.up[&link];
        // Either it found the direct path before it was reported, or it says so later.
        let last = told.paths.iter().rev().find(|(of, ..)| *of == link);
        let (remote, relayed) = last.map_or((&up.remote, up.relayed), |(_, remote, relayed)| (remote, *relayed));
        (!relayed && remote.contains("?direct=")).then_some(())
    };
    dialler.wait("a direct path", direct);
}

#[test]
fn a_relay_that_comes_back_carries_the_link_on() {
    let mut relay = Relay::start();
    let (dialler, link, listener, other) = linked_through(&relay);
    relay.stop();
    wait_for_relay(&dialler, &relay.url(), false);
    // Nothing blocks meanwhile.
    assert_eq!(dialler.send(link, &vec![vec![1; 100]; 500]), 500);
    relay.restart();
    wait_for_relay(&dialler, &relay.url(), true);
    wait_for_relay(&listener, &relay.url(), true);
    assert_eq!(listener.frames(other, 500), vec![vec![1; 100]; 500]);
    assert!(dialler.told().down.is_empty() && listener.told().down.is_empty());
    let again = dialler.dial(&listener.uri(), None);
    assert!(again.is_ok_and(|again| again != link));
}

#[test]
fn a_dead_relay_is_shown_and_blocks_nothing() {
    let mut gone = Relay::start();
    gone.stop();
    let dead = gone.url();
    let config = serde_json::json!({ "relays": [dead] }).to_string();
    let begun = Instant::now();
    let (dialler, listener) = (Node::new(1, &config), Node::new(2, &config));
    let uri = listener.listen_anywhere();
    let link = dialler.dial(&uri, Some(listener.key())).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    dialler.send_all(link, &[vec![1, 2, 3]]);
    assert_eq!(listener.frames(listener.link_from(dialler.key()), 1), [vec![1, 2, 3]]);
    wait_for_relay(&listener, &dead, false);
    let warned = |told: &mut Told| {
        let found = |line: &str| line.contains("no relay can be reached") && line.contains(&dead);
        told.log.iter().find(|(level, line)| *level <= log_level::INFO && found(line)).cloned()
    };
    listener.wait_for(Duration::from_secs(20), warned).expect("an admin hears of it");
}

#[test]
fn of_two_relays_the_living_one_is_used() {
    let (mut dead, alive) = (Relay::start(), Relay::start());
    dead.stop();
    let config = relayed_only(&[dead.url(), alive.url()]);
    let (dialler, listener) = (Node::new(1, &config), Node::new(2, &config));
    wait_for_relay(&listener, &alive.url(), true);
    wait_for_relay(&dialler, &alive.url(), true);
    let link = dialler.dial(&listener.uri(), None).unwrap();
    assert_eq!(dialler.told().up[&link].remote, format!("{}?relay={}/", listener.uri(), alive.url()));
}

#[test]
fn an_address_can_not_make_a_node_use_a_relay_that_its_admin_did_not_choose() {
    let (ours, foreign) = (Relay::start(), Relay::start());
    let (dialler, listener) =
        (Node::new(1, &relayed_only(&[ours.url()])), Node::new(2, &relayed_only(&[foreign.url()])));
    wait_for_relay(&listener, &foreign.url(), true);
    let (status, why) = dialler.dial(&format!("{}?relay={}", listener.uri(), foreign.url()), None).unwrap_err();
    assert_eq!(status, Status::REFUSED);
    assert!(why.contains("add it to `relays`"), "{why}");
}

#[test]
fn who_uses_relays_only_listens_nowhere_and_says_so() {
    let relay = Relay::start();
    let node = Node::new(1, &relayed_only(&[relay.url()]));
    let (status, why) = node.listen("iroh://127.0.0.1:0").unwrap_err();
    assert_eq!(status, Status::INVALID);
    assert!(why.contains("relay_only"), "{why}");
}

#[test]
fn relayed_links_have_a_limit_of_their_own() {
    let relay = Relay::start();
    let mut config: serde_json::Value = serde_json::from_str(&relayed_only(&[relay.url()])).unwrap();
    config["max_relayed_links"] = 1.into();
    let listener = Node::new(2, &config.to_string());
    wait_for_relay(&listener, &relay.url(), true);
    let (one, two) = (Node::new(3, &relayed_only(&[relay.url()])), Node::new(4, &relayed_only(&[relay.url()])));
    one.dial(&listener.uri(), None).unwrap();
    let (status, why) = two.dial(&listener.uri(), None).unwrap_err();
    assert_eq!(status, Status::BUSY, "{why}");
}
