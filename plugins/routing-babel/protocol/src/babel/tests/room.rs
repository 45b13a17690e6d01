//! A full table: what is far makes room for what is near, and nobody for what is behind somebody else.

use super::*;

/// A table of 40 places, the node's own among them, and two neighbours.
fn bench() -> Bench {
    let mut bench = Bench::new(&json!({ "max_destinations": 40 }));
    bench.neighbour(1);
    bench.neighbour(2);
    bench
}

fn knows(bench: &mut Bench, n: u64) -> bool {
    bench.babel.table.find(&signing(n).public().0).is_some()
}

fn known(bench: &mut Bench, all: std::ops::Range<u64>) -> usize {
    all.filter(|n| knows(bench, *n)).count()
}

#[test]
fn what_is_near_has_room_behind_a_neighbour_that_brings_made_up_destinations_without_end() {
    let mut bench = bench();
    (100..300).for_each(|n| bench.says(1, &[way(n, 1, 2_000 + n as u32, 9)]));
    bench.wait(1_000);
    assert_eq!(known(&mut bench, 100..300), 30);
    bench.heard_by(2);
    (400..420).for_each(|n| bench.says(1, &[way(n, 1, 500, 3)]));
    assert_eq!(known(&mut bench, 400..420), 20);
    assert_eq!((known(&mut bench, 100..110), known(&mut bench, 110..300)), (10, 0), "the farthest went");
    assert_eq!(bench.way_to(400), Answer::Known(1));
    let retracted = bench.heard_by(2).iter().filter(|message| matches!(message, Message::Retraction(_))).count();
    assert_eq!(retracted, 20, "nobody goes on through here to what gave way");
    // What is no nearer has to stay outside.
    bench.wait(5_000);
    (500..520).for_each(|n| bench.says(1, &[way(n, 1, 1_950, 3)]));
    assert_eq!(known(&mut bench, 500..520), 0);
}

#[test]
fn made_up_destinations_push_out_nothing_that_another_neighbour_named_first() {
    let mut bench = bench();
    (100..120).for_each(|n| bench.says(2, &[way(n, 1, 5_000, 9)]));
    bench.wait(100);
    (100..120).for_each(|n| bench.says(1, &[way(n, 1, 4_000, 9)])); // all go through 1 now
    assert_eq!(bench.way_to(100), Answer::Known(1));
    for n in 200..2_000 {
        bench.says(1, &[way(n, 1, (2_000 - n) as u32, 0)]);
        bench.wait(n % 100 * 10);
    }
    assert_eq!(known(&mut bench, 100..120), 20);
    bench.says(1, &(100..120).map(|n| Message::Retraction(n as RowId)).collect::<Vec<_>>());
    bench.wait(100);
    bench.says(2, &(100..120).map(|n| again(n, 1, 3_000)).collect::<Vec<_>>());
    assert_eq!(bench.way_to(119), Answer::Known(2));
}

#[test]
fn a_neighbour_that_comes_last_has_its_least_share() {
    let mut bench = bench();
    (100..130).for_each(|n| bench.says(1, &[way(n, 1, 0, 0)]));
    (200..220).for_each(|n| bench.says(2, &[way(n, 1, 0, 0)]));
    assert_eq!(bench.babel.table.len(), 40);
    bench.neighbour(3);
    (300..320).for_each(|n| bench.says(3, &[way(n, 1, 500, 4)]));
    assert_eq!(known(&mut bench, 300..320), 3, "40 places, of which a quarter is divided among three");
    assert_eq!((known(&mut bench, 100..130), known(&mut bench, 200..220)), (27, 9), "the largest share gives way");
    bench.says(3, &[way(330, 1, 100, 1)]);
    assert!(knows(&mut bench, 330), "what is nearer replaces its own");
    assert_eq!(known(&mut bench, 300..320), 2);
}

#[test]
fn a_share_passes_on_to_who_still_names_what_is_in_it() {
    let mut bench = bench();
    (100..110).for_each(|n| [1, 2].iter().for_each(|from| bench.says(*from, &[way(n, 1, 300, 2)])));
    assert_eq!((bench.babel.table.owned(0), bench.babel.table.owned(1)), (10, 0));
    bench.says(1, &[Message::Retraction(100)]);
    assert_eq!((bench.babel.table.owned(0), bench.babel.table.owned(1)), (9, 1));
    bench.babel.link_down(bench.now_ms, 1, &mut bench.out);
    assert_eq!((bench.babel.table.owned(0), bench.babel.table.owned(1)), (0, 10));
}

/// Fills the table so that 9, told to everybody, gives way.
fn push_out_9(bench: &mut Bench) {
    bench.wait(100);
    (100..130).for_each(|n| bench.says(1, &[way(n, 1, 50, 1)]));
    assert!(!knows(bench, 9));
}

#[test]
fn what_gave_way_comes_back_only_by_a_way_that_cannot_lead_through_here() {
    let mut bench = bench();
    bench.says(1, &[way(9, 5, 1_000, 9)]);
    push_out_9(&mut bench);
    // The other neighbour may not have read the retraction yet: this may be the way through here.
    bench.says(2, &[way(9, 5, 1_300, 9)]);
    assert_eq!(bench.way_to(9), Answer::Spray(vec![1, 2]));
    assert!(knows(&mut bench, 9), "so a higher sequence number is asked for");
    bench.says(2, &[way(9, 6, 1_300, 9)]);
    assert_eq!(bench.way_to(9), Answer::Known(2));
}

#[test]
fn what_had_no_way_any_more_and_gave_its_place_comes_back_no_sooner() {
    let mut bench = bench();
    bench.says(1, &[way(9, 5, 1_000, 9)]);
    bench.wait(100);
    bench.says(1, &[Message::Retraction(9)]);
    (200..210).for_each(|n| bench.says(2, &[way(n, 1, 50, 1)]));
    push_out_9(&mut bench);
    bench.says(2, &[way(9, 5, 1_300, 9)]);
    assert_eq!(bench.way_to(9), Answer::Spray(vec![1, 2]));
    bench.says(2, &[way(9, 4, 1, 1)]);
    assert_eq!(bench.way_to(9), Answer::Spray(vec![1, 2]));
    // Forgotten is the distance only when nobody can still be on the way through here.
    bench.says(2, &(200..210).chain([9]).map(Message::Retraction).collect::<Vec<_>>());
    bench.wait(crate::limits::FORGET_MS + 300_000);
    bench.says(2, &[way(9, 5, 1_300, 9)]);
    assert_eq!(bench.way_to(9), Answer::Known(2));
}

#[test]
fn an_older_record_does_not_bring_it_back_either() {
    let mut bench = bench();
    bench.says(1, &[way(9, 5, 1_000, 9)]);
    push_out_9(&mut bench);
    bench.says(2, &[way(9, 4, 1, 0)]);
    assert!(!knows(&mut bench, 9));
}

#[test]
fn a_full_table_costs_a_bounded_number_of_searches() {
    let mut bench = bench();
    for n in 0..5_000 {
        bench.says(1, &[way(1_000 + n, 1, 2_000_000 - 300 * n as u32, 0)]);
    }
    let gave_way = bench.counter("gave_way");
    assert!((1..=crate::limits::ROOM_BURST).contains(&gave_way), "{gave_way}");
    // Going away and coming back changes nothing.
    bench.babel.link_down(bench.now_ms, 1, &mut bench.out);
    bench.neighbour(1);
    (0..5_000).for_each(|n| bench.says(1, &[way(10_000 + n, 1, 0, 0)]));
    assert!(bench.counter("gave_way") <= crate::limits::ROOM_BURST + 1);
}

#[test]
fn who_comes_to_the_place_of_a_neighbour_that_is_gone_does_not_inherit_its_share() {
    let mut bench = bench();
    (100..130).for_each(|n| bench.says(1, &[way(n, 1, 0, 0)]));
    bench.babel.link_down(bench.now_ms, 1, &mut bench.out);
    bench.neighbour(3);
    bench.wait(1_000);
    assert_eq!(bench.babel.table.owned(0), 0);
    (300..330).for_each(|n| bench.says(3, &[way(n, 1, 9_000, 9)]));
    assert_eq!(known(&mut bench, 300..330), 30);
}
