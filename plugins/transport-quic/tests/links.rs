//! Two instances of the plugin over real sockets: how links come up, carry frames and end.

#![allow(clippy::print_stderr, reason = "says what was not tested")]

mod support;

use std::time::{Duration, Instant};

use qpq_plugin_api::Status;
use support::relay::Relay;
use support::{Node, linked};

/// Frames of many sizes, each with its number in front.
fn numbered(n: u32) -> Vec<Vec<u8>> {
    (0..n).map(|i| [i.to_be_bytes().as_slice(), &vec![i as u8; (i as usize * 37) % 2_500]].concat()).collect()
}

#[test]
fn both_ends_see_the_proven_key_of_the_other_and_the_same_binding() {
    let (dialler, link, listener, other) = linked("{}");
    let near = dialler.told().up[&link].clone();
    let far = listener.told().up[&other].clone();
    assert!(near.outbound && near.reliable && !far.outbound && far.reliable);
    assert_eq!((near.peer, far.peer), (Some(listener.key()), Some(dialler.key())));
    assert_eq!(near.channel_binding.len(), 32);
    assert_eq!(near.channel_binding, far.channel_binding);
    assert_eq!((near.max_frame, far.max_frame), (262_144, 262_144));
    assert!(near.remote.starts_with("quic://127.0.0.1:"), "{}", near.remote);
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
fn the_largest_frame_and_the_empty_one_pass() {
    let (dialler, link, listener, other) = linked("{}");
    let frames = vec![vec![], vec![9; 262_144], vec![], vec![1]];
    dialler.send_all(link, &frames);
    assert!(listener.frames(other, 4) == frames);
}

#[test]
fn a_frame_above_the_limit_is_dropped_before_it_ends_the_link() {
    let (dialler, link, listener, other) = linked("{}");
    dialler.send_all(link, &[vec![1], vec![0; 262_145], vec![2]]);
    assert_eq!(listener.frames(other, 2), [vec![1], vec![2]]);
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
fn another_key_than_the_expected_one_is_refused_at_both_ends() {
    let (dialler, listener) = (Node::with_defaults(1), Node::with_defaults(2));
    let uri = listener.listen_anywhere();
    let (status, why) = dialler.dial(&uri, Some([7; 32])).unwrap_err();
    assert_eq!(status, Status::REFUSED);
    assert!(why.contains("another node answered") && why.contains(&"07".repeat(32)), "{why}");
    assert!(dialler.told().up.is_empty() && listener.told().up.is_empty());
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
fn no_link_comes_up_beyond_the_limit() {
    let listener = Node::new(2, r#"{"max_links": 2}"#);
    let dialler = Node::with_defaults(1);
    let uri = listener.listen_anywhere();
    let first = dialler.dial(&uri, None).unwrap();
    dialler.dial(&uri, None).unwrap();
    let (status, why) = dialler.dial(&uri, None).unwrap_err();
    assert_eq!(status, Status::BUSY, "{why}");
    dialler.close(first, "make room");
    dialler.end_of(first);
    listener.wait("the link's end", |told| (!told.down.is_empty()).then_some(()));
    dialler.dial(&uri, None).unwrap();
}

#[test]
fn one_address_can_not_take_all_links() {
    let listener = Node::new(2, r#"{"max_links_per_address": 1}"#);
    let dialler = Node::with_defaults(1);
    let uri = listener.listen_anywhere();
    dialler.dial(&uri, None).unwrap();
    assert_eq!(dialler.dial(&uri, None).unwrap_err().0, Status::BUSY);
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
fn a_dead_peer_is_noticed_within_three_seconds() {
    let (dialler, listener) = (Node::with_defaults(1), Node::with_defaults(2));
    let relay = Relay::to(&listener.listen_anywhere());
    let link = dialler.dial(relay.uri(), Some(listener.key())).unwrap();
    let other = listener.link_from(dialler.key());
    // Longer than the idle timeout: a quiet link stays up.
    std::thread::sleep(Duration::from_millis(2_500));
    assert!(dialler.told().down.is_empty());
    relay.cut();
    let cut = Instant::now();
    for reason in [dialler.end_of(link), listener.end_of(other)] {
        assert!(reason.starts_with("peer-silent"), "{reason}");
    }
    assert!(cut.elapsed() < Duration::from_millis(3_300), "{:?}", cut.elapsed());
}

/// QUIC tells nobody which bytes of a stream were acknowledged, so a frame that went to it whole is taken for delivered. That
/// are those that fit into the send window, in front of one that doesn't: of all others each comes back, in order. The node
/// keeps what it has in custody until the other node has answered, so the former aren't lost either.
#[test]
fn what_a_dead_peer_did_not_get_is_handed_back() {
    const FRAME: usize = 100_000;
    const HEADER: usize = 4;
    for (send_window, n) in [(1 << 20, 20), (256 * 1024, 14)] {
        let dialler = Node::new(1, &format!(r#"{{"send_window": {send_window}}}"#));
        let listener = Node::with_defaults(2);
        let relay = Relay::to(&listener.listen_anywhere());
        let link = dialler.dial(relay.uri(), None).unwrap();
        relay.cut();
        // More than the queue of 1 MiB holds at a time: the first of them go on to QUIC.
        let frames: Vec<Vec<u8>> = (0..n).map(|i| vec![i; FRAME]).collect();
        let mut accepted = dialler.send(link, &frames);
        while accepted < frames.len() && dialler.told().down.is_empty() {
            std::thread::sleep(Duration::from_millis(5));
            accepted += dialler.send(link, &frames[accepted..]);
        }
        assert_eq!(accepted, frames.len());
        dialler.end_of(link);
        let gone = send_window / (HEADER + FRAME);
        let told = dialler.told();
        assert!(told.unsent == frames[gone..], "{} of {accepted} came back, not all but {gone}", told.unsent.len());
    }
}

#[test]
fn nobody_there_is_told_in_time() {
    let dialler = Node::with_defaults(1);
    let begun = Instant::now();
    let (status, why) = dialler.dial("quic://127.0.0.1:9", None).unwrap_err();
    assert_eq!(status, Status::TIMEOUT, "{why}");
    assert!(begun.elapsed() < Duration::from_secs(6));
}

#[test]
fn names_are_looked_up() {
    let (dialler, listener) = (Node::with_defaults(1), Node::with_defaults(2));
    let port = listener.listen_anywhere().rsplit(':').next().unwrap().to_owned();
    dialler.dial(&format!("quic://localhost:{port}"), Some(listener.key())).unwrap();
    let (status, _) = dialler.dial("quic://no-such-host.invalid:1", None).unwrap_err();
    assert_eq!(status, Status::NOT_FOUND);
}

#[test]
fn ipv6_works() {
    let (dialler, listener) = (Node::with_defaults(1), Node::with_defaults(2));
    let Ok(uri) = listener.listen("quic://[::1]:0") else {
        return eprintln!("there is no IPv6 here, so it is not tested");
    };
    assert!(uri.starts_with("quic://[::1]:"), "{uri}");
    let link = dialler.dial(&uri, Some(listener.key())).unwrap();
    assert_eq!(dialler.told().up[&link].remote, uri);
}

#[test]
fn bad_addresses_and_ports_are_explained() {
    let node = Node::with_defaults(1);
    assert_eq!(node.listen("udp://127.0.0.1:1").unwrap_err().0, Status::INVALID);
    assert_eq!(node.dial("quic://127.0.0.1:0", None).unwrap_err().0, Status::INVALID);
    let taken = node.listen_anywhere();
    let (status, why) = node.listen(&taken).unwrap_err();
    assert_eq!(status, Status::FAILED);
    assert!(why.contains("in use"), "{why}");
}

#[test]
fn a_bad_configuration_is_refused_by_name() {
    let why = Node::create(1, r#"{"keep_alive_ms": 5000}"#).err().unwrap();
    assert!(why.contains("keep_alive_ms"), "{why}");
}
