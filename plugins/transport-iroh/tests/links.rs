//! Two instances of the plugin over real sockets: how links come up, carry frames and end.

#![allow(clippy::print_stderr, reason = "says what was not tested")]

mod support;

use std::time::{Duration, Instant};

use qpq_plugin_api::Status;
use support::intruder::{intrude, public};
use support::{Node, linked};

/// Frames of many sizes, each with its number in front.
fn numbered(n: u32) -> Vec<Vec<u8>> {
    (0..n).map(|i| [i.to_be_bytes().as_slice(), &vec![i as u8; (i as usize * 37) % 2_500]].concat()).collect()
}

#[test]
fn both_ends_see_the_proven_key_of_the_other_the_path_and_the_same_binding() {
    let (dialler, link, listener, other) = linked("{}");
    let near = dialler.told().up[&link].clone();
    let far = listener.told().up[&other].clone();
    assert!(near.outbound && near.reliable && !far.outbound && far.reliable);
    assert_eq!((near.peer, far.peer), (Some(listener.key()), Some(dialler.key())));
    assert_eq!(near.channel_binding.len(), 32);
    assert_eq!(near.channel_binding, far.channel_binding);
    assert_eq!((near.max_frame, far.max_frame), (262_144, 262_144));
    assert!(near.remote.starts_with(&format!("{}?direct=127.0.0.1:", listener.uri())), "{}", near.remote);
    assert!(far.remote.starts_with(&format!("{}?direct=127.0.0.1:", dialler.uri())), "{}", far.remote);
    assert!(!near.relayed && !far.relayed);
}

#[test]
fn two_links_have_different_bindings() {
    let listener = Node::with_defaults(2);
    let dialler = Node::with_defaults(1);
    let uri = listener.listen_anywhere();
    let (one, two) = (dialler.dial(&uri, None).unwrap(), dialler.dial(&uri, None).unwrap());
    assert_ne!(one, two);
    let told = dialler.told();
    assert_ne!(told.up[&one].channel_binding, told.up[&two].channel_binding);
}

#[test]
fn frames_arrive_all_once_and_in_order_both_ways() {
    let (dialler, link, listener, other) = linked("{}");
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
fn the_largest_frame_and_the_empty_one_pass_and_a_larger_one_is_dropped() {
    let (dialler, link, listener, other) = linked("{}");
    dialler.send_all(link, &[vec![], vec![9; 262_144], vec![0; 262_145], vec![], vec![1]]);
    assert!(listener.frames(other, 4) == [vec![], vec![9; 262_144], vec![], vec![1]]);
    assert_eq!(dialler.stats()["counters"]["oversize_dropped"], 1);
}

#[test]
fn a_stalled_receiver_holds_the_sender_back_and_nothing_is_lost() {
    let (dialler, link, listener, other) = linked("{}");
    listener.told().room = 10;
    let frames: Vec<Vec<u8>> = (0..20_000u32).map(|i| [i.to_be_bytes().as_slice(), &[7; 1_500]].concat()).collect();
    let mut accepted = 0;
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        accepted += dialler.send(link, &frames[accepted..]);
        std::thread::sleep(Duration::from_millis(20));
    }
    // Both windows of 1 MiB, the queue of 1,024 frames, and what was on its way: far less than 30 MB.
    assert!(accepted < 4_000, "{accepted} frames were accepted though nobody took them");
    assert_eq!(listener.told().frames[&other].len(), 10);
    listener.make_room(other, 1_000);
    assert_eq!(listener.frames(other, 1_010).len(), 1_010);
    listener.make_room(other, usize::MAX);
    dialler.told().writable.clear();
    let rest = dialler.send(link, &frames[accepted..]);
    dialler.told().writable.clear();
    dialler.send_all(link, &frames[accepted + rest..]);
    assert!(listener.frames(other, frames.len()) == frames);
    assert!(dialler.told().down.is_empty() && listener.told().down.is_empty());
}

#[test]
fn a_slow_link_does_not_hold_up_another() {
    let (dialler, slow, listener, other) = linked("{}");
    let third = Node::with_defaults(3);
    let fast = dialler.dial(&third.listen_anywhere(), None).unwrap();
    listener.told().room = 0;
    let frames = vec![vec![5; 1_000]; 5_000];
    assert!(dialler.send(slow, &frames) < frames.len());
    dialler.send_all(fast, &numbered(100));
    assert!(third.frames(third.link_from(dialler.key()), 100) == numbered(100));
    listener.make_room(other, usize::MAX);
}

#[test]
fn another_key_than_the_expected_one_is_refused_at_once() {
    let (dialler, listener, third) = (Node::with_defaults(1), Node::with_defaults(2), Node::with_defaults(3));
    let uri = listener.listen_anywhere();
    let wrong = uri.replace(&support::hex(&listener.key()), &support::hex(&third.key()));
    let begun = Instant::now();
    let (status, why) = dialler.dial(&wrong, None).unwrap_err();
    assert_eq!(status, Status::REFUSED, "{why}");
    assert!(why.contains("another node answered") && why.contains(&support::hex(&third.key())), "{why}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(dialler.told().up.is_empty() && listener.told().up.is_empty());
    // The host's own expectation counts too.
    assert_eq!(dialler.dial(&uri, Some(third.key())).unwrap_err().0, Status::INVALID);
    dialler.dial(&uri, Some(listener.key())).unwrap();
}

#[test]
fn a_host_that_does_not_want_a_link_gets_none() {
    let (dialler, listener) = (Node::with_defaults(1), Node::with_defaults(2));
    let uri = listener.listen_anywhere();
    listener.told().refuse_links = true;
    let (status, why) = dialler.dial(&uri, None).unwrap_err();
    assert_eq!(status, Status::REFUSED);
    assert!(why.contains("not wanted"), "{why}");
    assert!(dialler.told().up.is_empty());
    assert_eq!(listener.stats()["links"], 0);
}

#[test]
fn no_link_comes_up_beyond_the_limits() {
    for limit in ["max_links", "max_links_per_address", "max_links_per_peer"] {
        let listener = Node::new(2, &format!(r#"{{"{limit}": 2}}"#));
        let dialler = Node::with_defaults(1);
        let uri = listener.listen_anywhere();
        let first = dialler.dial(&uri, None).unwrap();
        dialler.dial(&uri, None).unwrap();
        let (status, why) = dialler.dial(&uri, None).unwrap_err();
        assert_eq!(status, Status::BUSY, "{limit}: {why}");
        dialler.close(first, "make room");
        dialler.end_of(first);
        listener.wait("the link's end", |told| (!told.down.is_empty()).then_some(()));
        dialler.dial(&uri, None).unwrap();
    }
}

#[test]
fn close_flushes_and_tells_the_reason() {
    let (dialler, link, listener, other) = linked("{}");
    let frames = numbered(500);
    assert_eq!(dialler.send(link, &frames), 500);
    dialler.close(link, "no longer needed");
    assert_eq!(dialler.end_of(link), "closed: no longer needed");
    assert!(listener.frames(other, 500) == frames);
    assert!(listener.end_of(other).contains("no longer needed"));
    assert!(dialler.told().unsent.is_empty());
    // The host may not know yet: what it still sends is taken and dropped.
    assert_eq!(dialler.send(link, &frames), 500);
}

#[test]
fn a_dead_peer_is_noticed_and_what_it_did_not_get_is_handed_back() {
    let node = Node::with_defaults(1);
    let uri = node.listen_anywhere();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_endpoint, connection) = runtime.block_on(intrude(node.key(), &uri));
    let streams = runtime.block_on(async {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&[0, 0, 0, 0]).await.unwrap();
        // Longer than the idle timeout: a quiet link stays up.
        tokio::time::sleep(Duration::from_secs(3)).await;
        (send, recv)
    });
    let link = node.link_from(public());
    assert!(node.told().down.is_empty());
    // Nobody drives the peer any more.
    let begun = Instant::now();
    // More than the queue of 1 MiB holds at a time: the first of them go on to QUIC.
    let frames: Vec<Vec<u8>> = (0..20).map(|i| vec![i; 100_000]).collect();
    let mut accepted = node.send(link, &frames);
    while accepted < frames.len() && node.told().down.is_empty() {
        std::thread::sleep(Duration::from_millis(5));
        accepted += node.send(link, &frames[accepted..]);
    }
    assert_eq!(accepted, frames.len());
    let reason = node.end_of(link);
    assert!(reason.starts_with("peer-silent"), "{reason}");
    assert!(begun.elapsed() < Duration::from_millis(3_300), "{:?}", begun.elapsed());
    // A send window of 1 MiB went to QUIC; all the rest comes back, in order.
    let gone = (1 << 20) / (4 + 100_000);
    let told = node.told();
    assert!(told.unsent == frames[gone..], "{} of {accepted} came back, not all but {gone}", told.unsent.len());
    drop(streams);
}

#[test]
fn nobody_there_is_told_in_time() {
    let dialler = Node::new(1, r#"{"dial_timeout_ms": 1500}"#);
    let nobody = Node::with_defaults(2).uri();
    let begun = Instant::now();
    let (status, why) = dialler.dial(&format!("{nobody}?direct=127.0.0.1:9"), None).unwrap_err();
    assert_eq!(status, Status::TIMEOUT, "{why}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_key_alone_finds_a_peer_that_was_linked_before() {
    let (dialler, listener) = (Node::with_defaults(1), Node::with_defaults(2));
    let uri = listener.listen_anywhere();
    let (status, why) = dialler.dial(&listener.uri(), None).unwrap_err();
    assert_eq!(status, Status::NOT_FOUND);
    assert!(why.contains("direct=IP:PORT") && why.contains("relays"), "{why}");
    let link = dialler.dial(&uri, None).unwrap();
    let other = listener.link_from(dialler.key());
    dialler.close(link, "for now");
    dialler.end_of(link);
    listener.end_of(other);
    dialler.dial(&listener.uri(), Some(listener.key())).unwrap();
    // And the other way round, though it never dialled.
    listener.dial(&dialler.uri(), Some(dialler.key())).unwrap();
}

#[test]
fn both_address_families_can_be_listened_at_and_the_links_come_back() {
    let (dialler, listener) = (Node::with_defaults(1), Node::with_defaults(2));
    let v4 = listener.listen_anywhere();
    let link = dialler.dial(&v4, None).unwrap();
    let Ok(v6) = listener.listen("iroh://[::1]:0") else {
        return eprintln!("there is no IPv6 here, so it is not tested");
    };
    assert!(v6.contains("?direct=[::1]:"), "{v6}");
    assert!(dialler.end_of(link).starts_with("peer-going"));
    for uri in [v4, v6] {
        let third = Node::with_defaults(3);
        let link = third.dial(&uri, Some(listener.key())).unwrap();
        assert_eq!(third.told().up[&link].remote, uri);
    }
}

#[test]
fn bad_addresses_and_ports_are_explained_and_harm_nothing() {
    let node = Node::with_defaults(1);
    assert_eq!(node.listen("quic://127.0.0.1:1").unwrap_err().0, Status::INVALID);
    assert_eq!(node.dial("iroh://127.0.0.1:4433", None).unwrap_err().0, Status::INVALID);
    assert_eq!(node.dial(&format!("{}?direct=127.0.0.1:1", node.uri()), None).unwrap_err().0, Status::INVALID);
    let uri = node.listen_anywhere();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for addr in [support::direct(&uri), taken.local_addr().unwrap()] {
        let (status, why) = node.listen(&format!("iroh://{addr}")).unwrap_err();
        assert_eq!(status, Status::FAILED);
        assert!(why.contains("in use"), "{why}");
    }
    Node::with_defaults(2).dial(&uri, None).unwrap();
}

#[test]
fn a_bad_configuration_is_refused_by_name() {
    for (config, word) in [
        (r#"{"keep_alive_ms": 5000}"#, "keep_alive_ms"),
        (r#"{"relays": ["relay"]}"#, "relays"),
        (r#"{"relay_ca": ["/nowhere/ca.pem"]}"#, "/nowhere/ca.pem"),
        (r#"{"relay_ca": ["/dev/null"]}"#, "no certificate"),
    ] {
        let why = Node::create(1, config, true).err().unwrap();
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn without_the_key_it_does_not_start_and_says_what_to_do() {
    let node = Node::create(1, "{}", false).unwrap();
    let (status, why) = node.start().unwrap_err();
    assert_eq!(status, Status::REFUSED);
    assert!(why.contains("add transport-iroh to plugins.trusted_with_key"), "{why}");
}
