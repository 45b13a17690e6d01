//! How an instance gives way to another, and ends. One test only: it counts the threads of the process.

mod support;

use std::time::{Duration, Instant};

use qpq_plugin_api::Status;
use support::{Node, linked};

/// Threads of this process that belong to the plugin.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|n| n.starts_with("qpq-quic")))
        .count()
}

#[test]
fn an_instance_drains_hands_back_and_leaves_no_thread() {
    drain_delivers_all();
    drain_amid_traffic_loses_nothing(usize::MAX);
    drain_amid_traffic_loses_nothing(300);
    stalled_receiver_gives_back();
    port_is_free_afterwards();
    stop_answers_what_is_open();
    assert_eq!(threads(), 0);
}

fn drain_delivers_all() {
    let (dialler, link, listener, other) = linked("{}");
    let frames: Vec<Vec<u8>> = (0..1_000u32).map(|i| vec![i as u8; 700]).collect();
    // What the peer has still to send is not waited for: it stays with the peer, which offers it again.
    assert_eq!(listener.send(other, &frames), 1_000);
    assert!(dialler.frames(link, 1_000) == frames);
    assert_eq!(dialler.send(link, &frames), 1_000);
    let op = dialler.begin_quiesce(5_000);
    assert_eq!(dialler.answer(op), Ok(String::new()));
    assert!(dialler.end_of(link).starts_with("quiesced"));
    assert!(listener.frames(other, 1_000) == frames);
    assert!(dialler.told().unsent.is_empty() && listener.told().unsent.is_empty());
    assert_eq!(dialler.dial("quic://127.0.0.1:1", None).unwrap_err().0, Status::CLOSED);
    // A peer hears of the end only now: whoever takes over has had time to listen where it comes back to.
    assert_eq!(dialler.stop(), Status::OK);
    assert!(listener.end_of(other).starts_with("peer-going"));
}

/// Frames of both sides are under way as the drain begins, and the end follows at once. What the draining side accepted
/// arrives or comes back, also where the peer's host has no room until after the end. What the peer has still to send may
/// stay with the peer, which keeps it until it is acknowledged; what arrives of it arrives once, and all comes back to the
/// peer's host but what QUIC had taken: no more than the receive window.
fn drain_amid_traffic_loses_nothing(room: usize) {
    let frame = |i: u32| [i.to_be_bytes().as_slice(), &[7; 700]].concat();
    let (ours, theirs): (Vec<_>, Vec<_>) = ((0..1_000).map(frame).collect(), (0..10_000).map(frame).collect());
    let (dialler, link, listener, other) = linked("{}");
    listener.told().room = room;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sent = 0;
            while sent < theirs.len() && !listener.told().down.contains_key(&other) {
                sent += listener.send(other, &theirs[sent..]);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        dialler.frames(link, 100);
        let accepted = dialler.send(link, &ours);
        let op = dialler.begin_quiesce(5_000);
        assert_eq!(dialler.answer(op), Ok(String::new()));
        assert_eq!(dialler.stop(), Status::OK);
        listener.make_room(other, usize::MAX);
        assert!(listener.end_of(other).starts_with("peer-going"));
        let mut kept = listener.told().frames.remove(&other).unwrap_or_default();
        let arrived = kept.len();
        kept.extend_from_slice(&dialler.told().unsent);
        let got = dialler.told().frames.remove(&link).unwrap_or_default();
        assert!(
            kept == ours[..accepted],
            "of {accepted} frames {arrived} arrived, and {} came back",
            kept.len() - arrived
        );
        assert!(got == theirs[..got.len()], "what arrives arrives once and in order");
        let back = &listener.told().unsent;
        if let Some(first) = back.first().map(|frame| u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize) {
            assert!(*back == theirs[first..first + back.len()], "what comes back comes back in order");
            // Of the frame that is cut at either end of the window, one part is in it.
            let between = (1 << 20) / (4 + theirs[0].len()) + 2;
            assert!(first <= got.len() + between, "{} arrived, and from {first} on they came back", got.len());
        }
    });
}

fn stalled_receiver_gives_back() {
    let (dialler, link, listener, other) = linked("{}");
    listener.told().room = 5;
    let frames = vec![vec![1; 1_100]; 5_000];
    let mut accepted = dialler.send(link, &frames);
    std::thread::sleep(Duration::from_millis(300));
    accepted += dialler.send(link, &frames[accepted..]);
    let begun = Instant::now();
    let op = dialler.begin_quiesce(1_000);
    dialler.answer(op).unwrap();
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    let unsent = dialler.told().unsent.len();
    assert!(unsent >= 500 && unsent < accepted, "{unsent} of {accepted}");
    assert_eq!(listener.told().frames[&other].len(), 5);
}

fn port_is_free_afterwards() {
    let (dialler, old) = (Node::with_defaults(1), Node::with_defaults(2));
    let uri = old.listen_anywhere();
    dialler.dial(&uri, None).unwrap();
    let op = old.begin_quiesce(2_000);
    old.answer(op).unwrap();
    let new = Node::with_defaults(2);
    assert_eq!(new.listen(&uri), Ok(uri.clone()));
    dialler.dial(&uri, Some(new.key())).unwrap();
}

fn stop_answers_what_is_open() {
    let node = Node::with_defaults(1);
    node.listen_anywhere();
    let dialler = &node;
    std::thread::scope(|scope| {
        let dialled = scope.spawn(|| dialler.dial("quic://127.0.0.1:9", None));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(dialler.stop(), Status::OK);
        assert!(dialled.join().unwrap().is_err());
    });
    assert_eq!(node.stop(), Status::OK);
    assert!(node.listen("quic://127.0.0.1:0").is_err());
}
