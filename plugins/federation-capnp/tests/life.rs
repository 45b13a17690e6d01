//! How an instance gives way to another, and ends. One test only: it counts the threads of the process.

mod support;

use std::time::{Duration, Instant};

use qpq_plugin_api::Status;
use serde_json::json;
use support::pki::{Ca, Files};
use support::{Node, linked};

/// Threads of this process that belong to the plugin.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|n| n.starts_with("qpq-fed")))
        .count()
}

#[test]
fn an_instance_drains_hands_back_and_leaves_no_thread() {
    drain_delivers_all();
    stalled_receiver_gives_back();
    port_is_free_afterwards();
    stop_answers_what_is_open();
    a_failed_start_leaves_nothing();
    assert_eq!(threads(), 0);
}

fn drain_delivers_all() {
    let (dialler, link, listener, other) = linked();
    assert!(threads() >= 4);
    let frames: Vec<Vec<u8>> = (0..1_000u32).map(|i| vec![i as u8; 700]).collect();
    assert_eq!(listener.send(other, &frames), 1_000);
    assert!(dialler.frames(link, 1_000) == frames);
    assert_eq!(dialler.send(link, &frames), 1_000);
    let op = dialler.begin_quiesce(5_000);
    assert_eq!(dialler.answer(op), Ok(String::new()));
    assert!(dialler.end_of(link).starts_with("quiesced"));
    assert!(listener.frames(other, 1_000) == frames);
    assert!(dialler.told().unsent.is_empty() && listener.told().unsent.is_empty());
    assert_eq!(dialler.dial("federation://b.example@127.0.0.1:1").unwrap_err().0, Status::CLOSED);
    // A peer hears of the end only now: whoever takes over has had time to listen where it comes back to.
    assert_eq!(dialler.stop(), Status::OK);
    let reason = listener.end_of(other);
    assert!(reason.starts_with("peer-going") || reason.starts_with("peer-done"), "{reason}");
}

fn stalled_receiver_gives_back() {
    let (dialler, link, listener, other) = linked();
    listener.told().room = 5;
    let frames = vec![vec![1; 10_000]; 1_500];
    let mut accepted = dialler.send(link, &frames);
    std::thread::sleep(Duration::from_millis(300));
    accepted += dialler.send(link, &frames[accepted..]);
    let begun = Instant::now();
    let op = dialler.begin_quiesce(1_000);
    dialler.answer(op).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let unsent = dialler.told().unsent.len();
    assert!(unsent >= 100 && unsent < accepted, "{unsent} of {accepted}");
    assert_eq!(listener.told().frames[&other].len(), 5);
}

fn port_is_free_afterwards() {
    let ca = Ca::new("ca");
    let files = Files::good("b.example", &ca);
    let (dialler, old) = (Node::with(1, &Files::good("a.example", &ca)), Node::with(2, &files));
    let uri = old.listen_anywhere();
    let link = dialler.dial(&uri).unwrap();
    let op = old.begin_quiesce(2_000);
    old.answer(op).unwrap();
    let new = Node::with(2, &files);
    assert_eq!(new.listen(&uri), Ok(uri.clone()));
    assert_eq!(old.stop(), Status::OK);
    dialler.end_of(link);
    dialler.dial(&uri).unwrap();
    new.link_from("a.example");
}

fn stop_answers_what_is_open() {
    let node = Node::with(1, &Files::good("a.example", &Ca::new("ca")));
    node.listen_anywhere();
    let dialler = &node;
    std::thread::scope(|scope| {
        let dialled = scope.spawn(|| dialler.dial("federation://b.example@127.0.0.1:9"));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(dialler.stop(), Status::OK);
        assert!(dialled.join().unwrap().is_err());
    });
    assert_eq!(node.stop(), Status::OK);
    assert!(node.listen("federation://127.0.0.1:0").is_err());
}

fn a_failed_start_leaves_nothing() {
    let files = Files::good("a.example", &Ca::new("ca"));
    let node = Node::create(1, &files.config(&json!({"cert": "/nowhere"}))).unwrap();
    assert!(node.start().is_err());
    assert_eq!(node.stats()["certificate"], json!(null));
    assert_eq!(node.stop(), Status::OK);
}
