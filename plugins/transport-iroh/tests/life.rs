//! How an instance gives way to another, and ends. One test only: it counts the threads of the process.

mod support;

use std::time::{Duration, Instant};

use qpq_plugin_api::Status;
use support::{Node, linked};

/// Threads of this process that belong to the plugin.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|n| n.starts_with("qpq-iroh")))
        .count()
}

#[test]
fn an_instance_drains_hands_back_and_leaves_no_thread() {
    drain_delivers_all();
    a_host_without_room_gets_what_had_arrived();
    stalled_receiver_gives_back();
    port_is_free_afterwards();
    stop_answers_what_is_open();
    assert_eq!(threads(), 0);
}

fn drain_delivers_all() {
    let (dialler, link, listener, other) = linked("{}");
    let frames: Vec<Vec<u8>> = (0..1_000u32).map(|i| vec![i as u8; 700]).collect();
    assert_eq!(dialler.send(link, &frames), 1_000);
    assert_eq!(listener.send(other, &frames), 1_000);
    let op = dialler.begin_quiesce(5_000);
    assert_eq!(dialler.answer(op), Ok(String::new()));
    assert!(dialler.end_of(link).starts_with("quiesced"));
    assert!(listener.frames(other, 1_000) == frames);
    assert!(dialler.frames(link, 1_000) == frames);
    assert!(listener.end_of(other).starts_with("peer-going"));
    assert!(dialler.told().unsent.is_empty() && listener.told().unsent.is_empty());
    assert_eq!(dialler.dial(&listener.uri(), None).unwrap_err().0, Status::CLOSED);
}

/// What the draining side has flushed counts as delivered there, so a host that had no room gets it after the end.
fn a_host_without_room_gets_what_had_arrived() {
    let (dialler, link, listener, other) = linked("{}");
    listener.told().room = 5;
    let frames: Vec<Vec<u8>> = (0..1_000u32).map(|i| vec![i as u8; 700]).collect();
    assert_eq!(dialler.send(link, &frames), 1_000);
    let op = dialler.begin_quiesce(1_000);
    assert_eq!(dialler.answer(op), Ok(String::new()));
    listener.make_room(other, usize::MAX);
    assert!(listener.end_of(other).starts_with("peer-going"));
    let mut kept = listener.told().frames[&other].clone();
    let arrived = kept.len();
    kept.extend_from_slice(&dialler.told().unsent);
    assert!(kept == frames, "{arrived} arrived, and {} came back", kept.len() - arrived);
}

fn stalled_receiver_gives_back() {
    let (dialler, link, listener, other) = linked("{}");
    listener.told().room = 5;
    let frames = vec![vec![1; 10_000]; 1_500];
    let mut accepted = dialler.send(link, &frames);
    std::thread::sleep(Duration::from_millis(300));
    accepted += dialler.send(link, &frames[accepted..]);
    let begun = Instant::now();
    let op = dialler.begin_quiesce(1_000);
    dialler.answer(op).unwrap();
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    let unsent = dialler.told().unsent.len();
    // What does not come back is under way: no more than the windows of the connection hold.
    let under_way = accepted - unsent;
    assert!(unsent > 0 && under_way <= (1 << 20) / 10_004 + 1, "{under_way} of {accepted} did not come back");
    assert_eq!(listener.told().frames[&other].len(), 5);
}

fn port_is_free_afterwards() {
    let (dialler, old) = (Node::with_defaults(1), Node::with_defaults(2));
    let uri = old.listen_anywhere();
    dialler.dial(&uri, None).unwrap();
    let op = old.begin_quiesce(2_000);
    old.answer(op).unwrap();
    let new = Node::with_defaults(2);
    assert_eq!(new.listen(&format!("iroh://{}", support::direct(&uri))), Ok(uri.clone()));
    dialler.dial(&uri, Some(new.key())).unwrap();
}

fn stop_answers_what_is_open() {
    let node = Node::with_defaults(1);
    node.listen_anywhere();
    let (dialler, nobody) = (&node, format!("{}?direct=127.0.0.1:9", Node::with_defaults(2).uri()));
    std::thread::scope(|scope| {
        let dialled = scope.spawn(|| dialler.dial(&nobody, None));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(dialler.stop(), Status::OK);
        assert!(dialled.join().unwrap().is_err());
    });
    assert_eq!(node.stop(), Status::OK);
    assert!(node.listen("iroh://127.0.0.1:0").is_err());
}
