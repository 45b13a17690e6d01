//! Which of several links to one peer go on.

use qpq_schemas::link::CloseCode;

use super::*;
use crate::node::clock::now_ms;

const ME: PeerId = PeerId([5; 32]);
const SMALLER: PeerId = PeerId([3; 32]);
const LARGER: PeerId = PeerId([7; 32]);

fn entry(peer: PeerId, remote: &str, outbound: bool) -> (Entry, watch::Receiver<Option<CloseReason>>) {
    let (closer, closed) = watch::channel(None);
    let entry = Entry {
        peer,
        transport: "transport-quic".to_owned(),
        remote: remote.to_owned(),
        outbound,
        relayed: false,
        since_ms: now_ms(),
        figures: Arc::default(),
        closer,
    };
    (entry, closed)
}

/// Two links come up one after the other; whether each goes on.
fn meet(peer: PeerId, first: (&str, bool), second: (&str, bool)) -> (bool, bool) {
    let board = Switchboard::new(ME);
    let (one, one_closed) = entry(peer, first.0, first.1);
    let (two, _two_closed) = entry(peer, second.0, second.1);
    board.enter(1, one).unwrap();
    let second = board.enter(2, two).is_ok();
    let first = one_closed.borrow().is_none();
    (first, second)
}

#[test]
fn of_two_links_in_both_directions_the_one_that_the_smaller_key_dialled_goes_on() {
    let (ours, theirs) = (("quic://10.0.0.2:7000", true), ("quic://10.0.0.2:40000", false));
    assert_eq!(meet(LARGER, ours, theirs), (true, false));
    assert_eq!(meet(LARGER, theirs, ours), (false, true));
    assert_eq!(meet(SMALLER, ours, theirs), (false, true));
    assert_eq!(meet(SMALLER, theirs, ours), (true, false));
}

#[test]
fn links_over_different_networks_or_transports_go_on_together() {
    let ours = ("quic://10.0.0.2:7000", true);
    assert_eq!(meet(LARGER, ours, ("quic://10.1.0.2:40000", false)), (true, true));
    assert_eq!(meet(LARGER, ours, ("quic://10.1.0.2:7000", true)), (true, true));
    assert_eq!(meet(LARGER, ours, ("iroh://07?direct=10.0.0.2:9", true)), (true, true));
    assert_eq!(
        meet(LARGER, ("iroh://07?direct=10.0.0.2:9", true), ("iroh://07?relay=https://r/", false)),
        (true, false)
    );
}

#[test]
fn a_peer_that_comes_again_from_the_very_same_place_replaces_its_link() {
    let place = ("quic://10.0.0.2:7000", false);
    assert_eq!(meet(LARGER, place, place), (false, true));
    assert_eq!(meet(LARGER, place, ("quic://10.0.0.2:7001", false)), (true, true));
}

#[test]
fn a_link_of_the_instance_that_takes_over_leaves_the_old_one_to_its_dialler() {
    let board = Switchboard::new(ME);
    let place = "quic://10.0.0.2:40000";
    let (old, old_closed) = entry(LARGER, place, false);
    board.enter(1 << 48 | 7, old).unwrap();
    board.enter(2 << 48 | 1, entry(LARGER, place, false).0).unwrap();
    assert!(old_closed.borrow().is_none(), "what it still brings is taken in");
    board.enter(2 << 48 | 2, entry(LARGER, place, false).0).unwrap();
    assert!(old_closed.borrow().is_none());
    assert_eq!(board.len(), 3, "the one of its own instance has yet to end");
}

#[test]
fn links_to_one_peer_are_bounded() {
    let board = Switchboard::new(ME);
    let taken = (0..20).filter(|n| board.enter(*n, entry(LARGER, &format!("quic://10.0.{n}.2:1"), false).0).is_ok());
    assert_eq!(taken.count(), MAX_LINKS_PER_PEER);
    assert!(board.enter(99, entry(SMALLER, "quic://10.0.0.2:1", false).0).is_ok(), "others have places of their own");
}

#[test]
fn whoever_dialled_learns_how_the_link_ended() {
    let board = Switchboard::new(ME);
    assert!(board.fate(1).is_none());
    board.enter(1, entry(LARGER, "quic://10.0.0.2:1", true).0).unwrap();
    assert!(matches!(board.fate(1), Some(Fate::Up(LARGER))));
    board.closing(1, &CloseReason::restarting());
    board.leave(1, "gone");
    let mut seen = 0;
    let ends = board.ends_since(&mut seen);
    assert_eq!((ends[0].0, ends[0].1.peer, ends[0].1.code), (1, Some(LARGER), Some(CloseCode::RESTARTING)));
    assert!(board.ends_since(&mut seen).is_empty());
    assert!(matches!(board.fate(1), Some(Fate::Ended(end)) if end.reason == "gone"));
    let theirs = entry(LARGER, "quic://10.0.0.2:9", false).0;
    board.enter(2, entry(LARGER, "quic://10.0.0.2:1", true).0).unwrap();
    assert!(board.enter(3, theirs).is_err());
    board.leave(3, "refused");
    assert!(
        matches!(board.fate(3), Some(Fate::Ended(end)) if end.peer == Some(LARGER)),
        "also of one that was refused"
    );
}
