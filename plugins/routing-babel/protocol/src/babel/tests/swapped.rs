//! Who says that a node was swapped, and so needn't wait until the links of a former life have died.

use super::*;
use crate::limits::{LIVED_MS, SETTLE_MS};

const OLDER_MS: u64 = 60_000;

fn hello(bench: &Bench, swapped: bool) -> Message {
    let yours = bench.babel.instance;
    Message::Hello { instance: THEIRS, yours, want: false, further: false, swapped, age_ms: OLDER_MS }
}

fn greets(bench: &mut Bench, n: u64, swapped: bool) {
    let hello = hello(bench, swapped);
    bench.says(n, &[hello, Message::Begin, way(100 + n, 5, 100, 1), Message::End]);
    bench.wait(1);
}

fn chooses(bench: &mut Bench, n: u64) -> bool {
    bench.way_to(100 + n) == Answer::Known(n)
}

#[test]
fn a_node_that_was_swapped_goes_on_at_once() {
    let mut bench = Bench::new(&json!({}));
    (1..=3).for_each(|n| bench.link_up(n));
    greets(&mut bench, 1, true);
    greets(&mut bench, 2, true);
    greets(&mut bench, 3, false); // it had begun anew itself
    assert!(chooses(&mut bench, 1) && chooses(&mut bench, 2) && chooses(&mut bench, 3));
    // A further link says nothing new.
    bench.wait(100);
    let hello = hello(&bench, true);
    bench.babel.link_up(bench.now_ms, 11, signing(1).public().0, &mut bench.out);
    bench.says(11, &[hello, Message::Begin, way(101, 5, 100, 1), Message::End]);
    assert!(chooses(&mut bench, 2) && chooses(&mut bench, 3));
}

#[test]
fn a_neighbour_that_dials_a_restarted_node_can_not_say_that_it_was_swapped() {
    let mut bench = Bench::new(&json!({}));
    bench.wait(50);
    bench.link_up(1);
    for _ in 0..1_000 {
        greets(&mut bench, 1, true);
    }
    assert!(!chooses(&mut bench, 1));
    bench.wait(LIVED_MS);
    assert!(chooses(&mut bench, 1));
}

#[test]
fn one_that_was_there_from_the_beginning_is_outvoted() {
    let mut bench = Bench::new(&json!({}));
    bench.link_up(1);
    greets(&mut bench, 1, true);
    assert!(chooses(&mut bench, 1));
    bench.wait(100);
    bench.link_up(2);
    greets(&mut bench, 2, false);
    assert!(!chooses(&mut bench, 1) && !chooses(&mut bench, 2));
    greets(&mut bench, 1, true);
    assert!(!chooses(&mut bench, 1), "however often it says so");
    bench.wait(LIVED_MS.max(SETTLE_MS));
    assert!(chooses(&mut bench, 1) && chooses(&mut bench, 2));
}
