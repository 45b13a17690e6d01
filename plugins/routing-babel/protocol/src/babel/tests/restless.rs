//! Destinations and neighbours that come and go all the time.

use super::*;
use crate::limits::{LAZY_MS, UPDATE_BURST, URGENT_MS};

/// Ways and retractions among what a neighbour heard.
fn told(bench: &mut Bench, n: u64) -> (u64, u64) {
    let heard = bench.heard_by(n);
    let ways = heard.iter().filter(|message| matches!(message, Message::Way(..))).count();
    let retractions = heard.iter().filter(|message| matches!(message, Message::Retraction(_))).count();
    (ways as u64, retractions as u64)
}

/// What a destination may have the neighbours told of ways in that time.
fn most(ms: u64) -> u64 {
    u64::from(UPDATE_BURST) + ms / LAZY_MS.0 + 1
}

fn bench() -> Bench {
    let mut bench = Bench::new(&json!({}));
    (1..=3).for_each(|n| bench.neighbour(n));
    bench.says(1, &[way(9, 5, 100, 1)]);
    bench.wait(1_000);
    (1..=3).for_each(|n| drop(bench.heard_by(n)));
    bench
}

#[test]
fn a_destination_that_comes_and_goes_has_a_bounded_number_of_updates_sent() {
    let mut bench = bench();
    for _ in 0..3_000 {
        bench.says(1, &[Message::Retraction(9)]);
        bench.wait(10);
        bench.says(1, &[again(9, 5, 100)]);
        bench.wait(10);
    }
    let (ways, retractions) = told(&mut bench, 2);
    assert!(ways <= most(60_000) && retractions <= ways + 1, "{ways} ways, {retractions} retractions");
    assert!(ways >= 10, "{ways}");
    // What is true in the end is told, a loss at once.
    bench.wait(LAZY_MS.1);
    let row = bench.babel.table.find(&signing(9).public().0).unwrap();
    assert!(bench.babel.table.row(row).told().is_finite());
    drop(bench.heard_by(2));
    bench.says(1, &[Message::Retraction(9)]);
    bench.wait(URGENT_MS.1);
    assert_eq!(told(&mut bench, 2), (0, 1));
    // After a calm while a way is told at once again.
    bench.wait(120_000);
    drop(bench.heard_by(2));
    bench.says(1, &[again(9, 5, 100)]);
    bench.wait(URGENT_MS.1);
    assert_eq!(told(&mut bench, 2), (1, 0));
}

#[test]
fn so_has_one_whose_metric_or_next_hop_changes_all_the_time() {
    let mut bench = bench();
    bench.says(2, &[way(9, 5, 100, 1)]);
    for round in 0..600u32 {
        let (one, other) = if round % 2 == 0 { (40, 99) } else { (99, 40) };
        bench.says(1, &[again(9, 5, one)]);
        bench.says(2, &[again(9, 5, other)]);
        bench.wait(100);
    }
    let (ways, _) = told(&mut bench, 3);
    assert!(ways <= most(60_000), "{ways}");
}

#[test]
fn so_has_one_whose_sequence_number_somebody_asks_for_all_the_time() {
    let mut bench = bench();
    for seqno in 6..3_006 {
        let about = About { number: 3, key: Some(signing(9).public().0), record: None };
        bench.says(2, &[Message::Request { about, seqno, ttl: 9 }]);
        bench.says(1, &[way(9, seqno, 100, 1)]);
        bench.wait(20);
    }
    let (ways, _) = told(&mut bench, 3);
    let asked = u64::from(crate::limits::ASKED_BURST) + 60 / u64::from(crate::limits::ASKED_SECS);
    assert!(ways <= most(60_000) + asked, "{ways}");
}

#[test]
fn a_neighbour_that_begins_a_new_life_over_and_over_makes_a_bounded_number_of_updates() {
    let mut bench = bench();
    for life in 0..3_000 {
        let yours = bench.babel.instance;
        let (instance, further) = (THEIRS + 1 + life, false);
        bench.says(1, &[Message::Hello { instance, yours, want: false, further, swapped: false, age_ms: 0 }]);
        bench.says(1, &[Message::Begin, way(9, 5, 100, 1), Message::End]);
        bench.wait(20);
    }
    let (ways, retractions) = told(&mut bench, 2);
    let destinations = 2; // it is one itself, and told of by nobody
    assert!(ways <= destinations * most(60_000) && retractions <= ways + 1, "{ways} ways, {retractions} retractions");
}
