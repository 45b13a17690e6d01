//! Two instances of the plugin over real sockets: how links between domains come up, carry frames and end.

#![allow(clippy::print_stderr, reason = "says what was not tested")]

mod support;

use std::time::{Duration, Instant};

use qpq_federation_capnp::MAX_INTERMEDIATES;
use qpq_plugin_api::Status;
use serde_json::json;
use support::bad::deep;
use support::pki::{Ca, Files, params};
use support::{Node, linked};

/// Frames of many sizes, each with its number in front.
fn numbered(n: u32) -> Vec<Vec<u8>> {
    (0..n).map(|i| [i.to_be_bytes().as_slice(), &vec![i as u8; (i as usize * 37) % 2_500]].concat()).collect()
}

#[test]
fn both_ends_see_the_domain_of_the_other_and_the_same_binding() {
    let (dialler, link, listener, other) = linked();
    let near = dialler.told().up[&link].clone();
    let far = listener.told().up[&other].clone();
    assert!(near.outbound && near.reliable && !far.outbound && far.reliable);
    assert_eq!((near.peer, far.peer), (None, None));
    assert_eq!(near.channel_binding.len(), 32);
    assert_eq!(near.channel_binding, far.channel_binding);
    assert_eq!((near.max_frame, far.max_frame), (262_144, 262_144));
    assert!(near.remote.starts_with("federation://b.example@127.0.0.1:"), "{}", near.remote);
    assert!(far.remote.starts_with("federation://a.example@127.0.0.1:"), "{}", far.remote);
}

#[test]
fn stats_say_who_is_there_and_how_long_certificates_last() {
    let (dialler, _link, listener, _other) = linked();
    let peer = dialler.peer("b.example");
    assert_eq!((&peer["state"], &peer["legacy"], &peer["links"]), (&json!("up"), &json!(false), &json!(1)));
    assert!(peer["certificate_days_left"].as_i64().unwrap() > 1_000, "{peer}");
    let stats = listener.stats();
    assert_eq!((&stats["domain"], &stats["certificate"]["names"]), (&json!("b.example"), &json!(["b.example"])));
    assert!(stats["listen"][0].as_str().unwrap().starts_with("federation://b.example@127.0.0.1:"), "{stats}");
    assert!(stats["authority"]["days_left"].as_i64().unwrap() > 1_000, "{stats}");
    assert_eq!((&stats["certificate"]["error"], &stats["refused"]), (&json!(null), &json!([])));
}

#[test]
fn frames_arrive_all_once_and_in_order_both_ways() {
    let (dialler, link, listener, other) = linked();
    let frames = numbered(3_000);
    std::thread::scope(|scope| {
        scope.spawn(|| dialler.send_all(link, &frames));
        scope.spawn(|| listener.send_all(other, &frames));
    });
    assert!(listener.frames(other, frames.len()) == frames);
    assert!(dialler.frames(link, frames.len()) == frames);
    assert_eq!(dialler.stats()["counters"]["frames_in"], 3_000);
}

#[test]
fn the_largest_frame_and_the_empty_one_pass() {
    let (dialler, link, listener, other) = linked();
    let frames = vec![vec![], vec![9; 262_144], vec![], vec![1], vec![8; 262_144], vec![7; 262_143]];
    dialler.send_all(link, &frames);
    assert!(listener.frames(other, 6) == frames);
}

#[test]
fn a_frame_above_the_limit_is_dropped_before_it_ends_the_link() {
    let (dialler, link, listener, other) = linked();
    dialler.send_all(link, &[vec![1], vec![0; 262_145], vec![2]]);
    assert_eq!(listener.frames(other, 2), [vec![1], vec![2]]);
    assert_eq!(dialler.stats()["counters"]["oversize_dropped"], 1);
}

#[test]
fn a_stalled_receiver_holds_the_sender_back_and_nothing_is_lost() {
    let (dialler, link, listener, other) = linked();
    listener.told().room = 10;
    let frames: Vec<Vec<u8>> = (0..20_000u32).map(|i| [i.to_be_bytes().as_slice(), &[7; 1_500]].concat()).collect();
    let mut accepted = 0;
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        accepted += dialler.send(link, &frames[accepted..]);
        std::thread::sleep(Duration::from_millis(20));
    }
    // Both queues and windows together: below 8 MiB, and far less than 30 MB.
    assert!(accepted < 5_500, "{accepted} frames were accepted though nobody took them");
    assert_eq!(listener.told().frames[&other].len(), 10);
    // The other direction goes on meanwhile.
    listener.send_all(other, &numbered(200));
    assert!(dialler.frames(link, 200) == numbered(200));
    listener.make_room(other, usize::MAX);
    dialler.told().writable.clear();
    let rest = dialler.send(link, &frames[accepted..]);
    dialler.told().writable.clear();
    dialler.send_all(link, &frames[accepted + rest..]);
    assert!(listener.frames(other, frames.len()) == frames);
    assert!(dialler.told().down.is_empty() && listener.told().down.is_empty());
}

#[test]
fn a_slow_domain_does_not_hold_up_another() {
    let ca = Ca::new("ca");
    let dialler = Node::with(1, &Files::good("a.example", &ca));
    let (slow, fast) = (Node::with(2, &Files::good("b.example", &ca)), Node::with(3, &Files::good("c.example", &ca)));
    let to_slow = dialler.dial(&slow.listen_anywhere()).unwrap();
    let to_fast = dialler.dial(&fast.listen_anywhere()).unwrap();
    slow.told().room = 0;
    let frames = vec![vec![5; 1_000]; 20_000];
    let mut accepted = 0;
    for _ in 0..20 {
        accepted += dialler.send(to_slow, &frames[accepted..]);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(accepted < frames.len());
    dialler.send_all(to_fast, &numbered(500));
    assert!(fast.frames(fast.link_from("a.example"), 500) == numbered(500));
    slow.make_room(slow.link_from("a.example"), usize::MAX);
}

#[test]
fn a_host_that_does_not_want_a_link_gets_none() {
    let ca = Ca::new("ca");
    let dialler = Node::with(1, &Files::good("a.example", &ca));
    let listener = Node::with(2, &Files::good("b.example", &ca));
    let uri = listener.listen_anywhere();
    listener.told().refuse_links = true;
    assert!(dialler.dial(&uri).is_err());
    assert!(dialler.told().up.is_empty());
    listener.told().refuse_links = false;
    dialler.dial(&uri).unwrap();
}

#[test]
fn no_link_comes_up_beyond_the_limits() {
    let ca = Ca::new("ca");
    let dialler = Node::with(1, &Files::good("a.example", &ca));
    let listener = Node::new(2, &Files::good("b.example", &ca), &json!({"max_links_per_domain": 2}));
    let uri = listener.listen_anywhere();
    let first = dialler.dial(&uri).unwrap();
    dialler.dial(&uri).unwrap();
    let (status, why) = dialler.dial(&uri).unwrap_err();
    assert_eq!(status, Status::BUSY, "{why}");
    // Another domain still has room.
    let other = Node::with(3, &Files::good("c.example", &ca));
    other.dial(&uri).unwrap();
    dialler.close(first, "make room");
    dialler.end_of(first);
    let deadline = Instant::now() + support::SOON;
    while dialler.dial(&uri).is_err() {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn close_flushes_and_tells_the_reason() {
    let (dialler, link, listener, other) = linked();
    let frames = numbered(500);
    assert_eq!(dialler.send(link, &frames), 500);
    dialler.close(link, "no longer needed");
    assert_eq!(dialler.end_of(link), "closed: no longer needed");
    assert!(listener.frames(other, 500) == frames);
    let reason = listener.end_of(other);
    assert!(reason.contains("no longer needed"), "{reason}");
    assert!(dialler.told().unsent.is_empty());
    // The host may not know yet: what it still sends is taken and dropped.
    assert_eq!(dialler.send(link, &frames), 500);
    assert_eq!(dialler.peer("b.example")["state"], "down");
}

#[test]
fn domains_with_cas_of_their_own_federate_when_they_trust_each_other() {
    let (one, two) = (Ca::new("one"), Ca::new("two"));
    let dialler = Node::with(1, &Files::new("a.example", &one.issue("a.example"), &[&one, &two]));
    let listener = Node::with(2, &Files::new("b.example", &two.issue("b.example"), &[&two, &one]));
    dialler.dial(&listener.listen_anywhere()).unwrap();
}

#[test]
fn intermediate_certificates_are_sent() {
    let root = Ca::new("root");
    let below = root.below("below");
    let chained = |domain: &str| {
        let mut leaf = below.issue(domain);
        leaf.chain.push(below.der());
        Files::new(domain, &leaf, &[&root])
    };
    let (dialler, listener) = (Node::with(1, &chained("a.example")), Node::with(2, &chained("b.example")));
    dialler.dial(&listener.listen_anywhere()).unwrap();
}

#[test]
fn as_many_intermediate_certificates_as_are_allowed_are_taken() {
    let ca = Ca::new("ca");
    let deep = deep(&ca, MAX_INTERMEDIATES);
    assert_eq!(deep.chain.len(), MAX_INTERMEDIATES + 1);
    let dialler = Node::with(1, &Files::new("c.example", &deep, &[&ca]));
    let listener = Node::with(2, &Files::good("b.example", &ca));
    dialler.dial(&listener.listen_anywhere()).unwrap();
    listener.dial(&dialler.listen_anywhere()).unwrap();
}

#[test]
fn a_certificate_with_several_domains_is_good_for_each() {
    let ca = Ca::new("ca");
    let mut both = params("b.example");
    both.subject_alt_names.extend(params("C.Example").subject_alt_names);
    let listener = Node::with(2, &Files::new("b.example", &ca.sign(&both), &[&ca]));
    let dialler = Node::with(1, &Files::good("a.example", &ca));
    let addr = listener.listen_anywhere().rsplit_once('@').unwrap().1.to_owned();
    for domain in ["b.example", "c.example"] {
        let link = dialler.dial(&format!("federation://{domain}@{addr}")).unwrap();
        assert!(dialler.told().up[&link].remote.starts_with(&format!("federation://{domain}@")));
    }
}

#[test]
fn nobody_there_is_told_in_time() {
    let node = Node::new(1, &Files::good("a.example", &Ca::new("ca")), &json!({"handshake_timeout_ms": 500}));
    let (status, why) = node.dial("federation://b.example@127.0.0.1:9").unwrap_err();
    assert_eq!(status, Status::TIMEOUT, "{why}");
    let peer = node.peer("b.example");
    assert_eq!(peer["state"], "down");
    assert!(peer["last_error"].as_str().unwrap().starts_with("timeout: ") && peer["last_error_ms"].is_i64(), "{peer}");
}

#[test]
fn names_are_looked_up() {
    let ca = Ca::new("ca");
    let dialler = Node::with(1, &Files::good("a.example", &ca));
    let listener = Node::with(2, &Files::good("b.example", &ca));
    let port = listener.listen_anywhere().rsplit(':').next().unwrap().to_owned();
    dialler.dial(&format!("federation://b.example@localhost:{port}")).unwrap();
    let (status, why) = dialler.dial("federation://b.example@no-such-host.invalid:1").unwrap_err();
    assert_eq!(status, Status::NOT_FOUND, "{why}");
    assert!(why.contains("_quicproquo-federation._udp"), "{why}");
}

#[test]
fn ipv6_works() {
    let ca = Ca::new("ca");
    let dialler = Node::with(1, &Files::good("a.example", &ca));
    let listener = Node::with(2, &Files::good("b.example", &ca));
    let Ok(uri) = listener.listen("federation://[::1]:0") else {
        return eprintln!("there is no IPv6 here, so it is not tested");
    };
    assert!(uri.starts_with("federation://b.example@[::1]:"), "{uri}");
    let link = dialler.dial(&uri).unwrap();
    assert_eq!(dialler.told().up[&link].remote, uri);
}

#[test]
fn bad_addresses_ports_and_configurations_are_explained() {
    let files = Files::good("a.example", &Ca::new("ca"));
    let node = Node::with(1, &files);
    assert_eq!(node.listen("udp://127.0.0.1:1").unwrap_err().0, Status::INVALID);
    assert_eq!(node.dial("federation://127.0.0.1:1").unwrap_err().0, Status::INVALID);
    let taken = node.listen_anywhere();
    let (status, why) = node.listen(&taken).unwrap_err();
    assert_eq!(status, Status::FAILED);
    assert!(why.contains("in use"), "{why}");
    let why = Node::create(1, r#"{"domain": "a.example"}"#).err().unwrap();
    assert!(why.contains("`cert`"), "{why}");
}

#[test]
fn missing_or_wrong_files_are_named_at_the_start() {
    let ca = Ca::new("ca");
    let files = Files::good("b.example", &ca);
    let node = Node::create(1, &files.config(&json!({"domain": "a.example"}))).unwrap();
    let (_, why) = node.start().unwrap_err();
    assert!(why.contains("names b.example, not a.example") && why.contains("qpq federation cert a.example"), "{why}");
    let node = Node::create(1, &files.config(&json!({"key": "/nowhere/key"}))).unwrap();
    let (_, why) = node.start().unwrap_err();
    assert!(why.contains("/nowhere/key"), "{why}");
}

#[test]
fn a_key_that_others_can_read_is_refused_at_the_start_and_kept_out_at_a_reload() {
    let ca = Ca::new("ca");
    let files = Files::good("a.example", &ca);
    let key = files.path("key");
    let set = |mode| std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    let remedy = format!("chmod 600 {}", key.display());
    set(0o640);
    let node = Node::create(1, &files.config(&json!({}))).unwrap();
    let (status, why) = node.start().unwrap_err();
    assert_eq!(status, Status::FAILED);
    assert!(why.contains("mode 0640") && why.ends_with(&remedy), "{why}");
    set(0o600);
    let node = Node::with(1, &files);
    files.show(&ca.issue("a.example"));
    node.logged("certificate files have changed");
    set(0o644);
    let line = node.logged("so the old ones stay");
    assert!(line.ends_with(&remedy), "{line}");
    assert!(node.stats()["certificate"]["error"].as_str().unwrap().ends_with(&remedy));
    // Handshakes go on with the old key.
    let friend = Node::with(2, &Files::good("b.example", &ca));
    friend.dial(&node.listen_anywhere()).unwrap();
}
