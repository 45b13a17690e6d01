//! A neighbour that lies can attract traffic, but can't speak for others, make a loop, or exhaust the node.

use super::*;
use crate::limits::TABLE_BURST;

#[test]
fn nobody_can_speak_for_a_key_that_is_not_his() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    let key = signing(9).public().0;
    let said =
        |key, record| Message::Way(About { number: 9, key: Some(key), record }, Told { seqno: 5, metric: 0, hops: 0 });
    bench.says(1, &[said(key, None)]);
    bench.says(1, &[said(key, Some(record(8, 5)))]);
    bench.says(1, &[said([0xff; 32], Some(record(8, 5)))]);
    assert_eq!(bench.babel.table.find(&key), None);
    assert_eq!(bench.counter("bad_signatures"), 2);
    // Nor raise the number of one that is known.
    bench.says(1, &[way(9, 5, 100, 1), again(9, 6, 0)]);
    let forged = Record { seqno: 7, ..record(9, 5) };
    bench.says(
        1,
        &[Message::Way(About { number: 9, key: None, record: Some(forged) }, Told { seqno: 7, metric: 0, hops: 0 })],
    );
    assert_eq!(bench.counter("unproven_seqnos"), 2);
    assert_eq!(bench.counter("bad_signatures"), 3);
    assert_eq!(bench.babel.dump()["routes"][0]["seqno"], 5);
}

#[test]
fn the_highest_sequence_number_is_the_end_and_no_overflow() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    bench.neighbour(2);
    bench.says(1, &[way(9, u64::MAX, 0, 0)]);
    bench.says(2, &[way(9, u64::MAX, u32::MAX, 255)]);
    assert_eq!(bench.way_to(9), Answer::Known(1));
    bench.wait(100);
    // Nothing can be asked for that is higher.
    bench.says(1, &[Message::Retraction(9)]);
    bench.says(2, &[again(9, u64::MAX, 5_000)]);
    bench.heard_by(2);
    bench.wait(20_000);
    assert!(!bench.heard_by(2).iter().any(|message| matches!(message, Message::Request { .. })));
    let about = About { number: 9, key: None, record: None };
    bench.says(2, &[Message::Request { about, seqno: u64::MAX, ttl: 255 }]);
    bench.wait(20_000);
}

#[test]
fn metrics_and_hops_end_at_infinity() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    bench.says(1, &[way(8, 1, crate::cost::INFINITE - 1, 1), way(9, 1, u32::MAX, 1), way(10, 1, 5, 255)]);
    for n in 8..=10 {
        assert_eq!(bench.way_to(n), Answer::Spray(vec![1]), "{n}");
    }
    bench.says(1, &[again(8, 1, crate::cost::INFINITE - 10_000)]);
    assert_eq!(bench.way_to(8), Answer::Known(1));
}

#[test]
fn a_neighbour_that_makes_destinations_up_leaves_room_for_others() {
    let mut bench = Bench::new(&json!({ "max_destinations": 40 }));
    bench.neighbour(1);
    bench.neighbour(2);
    (100..160).for_each(|n| bench.says(1, &[way(n, 1, 0, 0)]));
    assert_eq!(bench.babel.table.len(), 31, "its three quarters and the node itself");
    (200..260).for_each(|n| bench.says(2, &[way(n, 1, 50, 1)]));
    assert_eq!(bench.babel.table.len(), 40);
    assert_eq!(bench.counter("refused_full"), 30 + 51);
    // What nobody has a way to any more gives its place.
    bench.says(1, &(100..130).map(|n| Message::Retraction(n as RowId)).collect::<Vec<_>>());
    bench.wait(1_000);
    bench.says(2, &[way(300, 1, 50, 1)]);
    assert_eq!(bench.way_to(300), Answer::Known(2));
}

#[test]
fn a_number_given_to_another_key_voids_what_was_said_under_it() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    bench.says(1, &[way(9, 5, 100, 1)]);
    let about = About { number: 9, key: Some(signing(8).public().0), record: Some(record(8, 1)) };
    bench.says(1, &[Message::Way(about, Told { seqno: 1, metric: 3, hops: 1 })]);
    assert_eq!(bench.way_to(8), Answer::Known(1));
    assert_eq!(bench.way_to(9), Answer::Spray(vec![1]));
}

#[test]
fn requests_make_the_origin_flood_only_so_often() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    let first = bench.babel.table.row(bench.babel.own.unwrap()).newest;
    let key = signing(0).public().0;
    for step in 0..10_000 {
        let seqno = bench.babel.table.row(bench.babel.own.unwrap()).newest + 1;
        let about = About { number: 1, key: Some(key), record: None };
        bench
            .says(1, &[Message::Request { about, seqno, ttl: 9 }, Message::Request { about, seqno: u64::MAX, ttl: 9 }]);
        bench.wait(step % 2);
    }
    let last = bench.babel.table.row(bench.babel.own.unwrap()).newest;
    assert!(last > first && last - first <= 8 + 5, "it rose by {}", last - first);
}

#[test]
fn a_forged_record_of_the_node_itself_is_nothing_to_outbid() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    let newest = |bench: &Bench| bench.babel.table.row(bench.babel.own.unwrap()).newest;
    let first = newest(&bench);
    let about = |record| About { number: 1, key: Some(signing(0).public().0), record: Some(record) };
    let forged = Record { seqno: first + 9, ..record(0, first) };
    bench.says(1, &[Message::Way(about(forged), Told { seqno: first + 9, metric: 0, hops: 0 })]);
    assert_eq!(newest(&bench), first);
    bench.says(1, &[Message::Way(about(record(0, first + 9)), Told { seqno: first + 9, metric: 0, hops: 0 })]);
    assert_eq!(newest(&bench), first + 10, "signed in a former life");
}

#[test]
fn what_is_said_before_the_handshake_does_not_count() {
    let mut bench = Bench::new(&json!({}));
    bench.link_up(1);
    bench.says(1, &[way(9, 5, 100, 1)]);
    let stale = bench.babel.instance ^ 1;
    bench.says(
        1,
        &[
            Message::Hello { instance: THEIRS, yours: stale, want: false, further: false, swapped: false, age_ms: 0 },
            way(9, 5, 100, 1),
        ],
    );
    assert_eq!(bench.counter("early_statements"), 2);
    assert_eq!(bench.babel.table.len(), 1);
}

#[test]
fn garbage_is_counted_and_changes_nothing() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    bench.says(1, &[way(9, 5, 100, 1)]);
    let mut random = Random::new(3);
    for _ in 0..5_000 {
        let len = random.between(0, 60) as usize;
        let mut frame: Vec<u8> = (0..len).map(|_| random.draw() as u8).collect();
        if random.draw().is_multiple_of(2) {
            frame.splice(0..0, [crate::wire::MAGIC, crate::wire::VERSION]);
        }
        bench.babel.control(bench.now_ms, 1, &frame, &mut bench.out);
        bench.babel.control(bench.now_ms, 77, &frame, &mut bench.out);
    }
    assert!(bench.counter("foreign_frames") > 1_000 && bench.counter("malformed_frames") > 1_000);
    bench.wait(3_000); // by chance some of it says that there is an older node
    bench.neighbour(2);
    bench.says(2, &[way(8, 5, 100, 1)]);
    assert_eq!(bench.way_to(8), Answer::Known(2));
}

#[test]
fn a_neighbour_with_another_protocol_holds_nobody_up_for_long() {
    let mut bench = Bench::new(&json!({}));
    bench.link_up(1); // says nothing that could be understood
    bench.neighbour(2);
    bench.says(2, &[way(9, 5, 100, 1)]);
    assert_eq!(bench.way_to(1), Answer::Known(1));
    bench.wait(2_001);
    assert_eq!(bench.way_to(9), Answer::Known(2));
}

#[test]
fn a_record_past_its_end_is_refused_where_the_clock_is_set() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    let (key, end) = (signing(9), (START_MS / 1_000) as u32);
    let message = |not_after| {
        let signature = crate::testing::sign(&key, &crate::record::message(5, not_after));
        let record = Record { seqno: 5, not_after, signature };
        let about = About { number: 9, key: Some(key.public().0), record: Some(record) };
        Message::Way(about, Told { seqno: 5, metric: 1, hops: 1 })
    };
    bench.says(1, &[message(end - 1)]);
    assert_eq!((bench.counter("expired_records"), bench.babel.table.len()), (1, 1));
    bench.says(1, &[message(end)]);
    assert_eq!(bench.way_to(9), Answer::Known(1));
    bench.wait(10_000);
    assert_eq!(bench.way_to(9), Answer::Spray(vec![1]), "its time has run out");
}

#[test]
fn a_short_question_does_not_bring_a_long_answer_for_ever() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    bench.neighbour(2);
    (100..200).for_each(|n| bench.says(2, &[way(n, 1, 0, 0)]));
    bench.wait(1_000);
    bench.out = Output::default();
    let yours = bench.babel.instance;
    for instance in 0..1_000 {
        bench.says(
            1,
            &[Message::Hello {
                instance: THEIRS + instance % 2,
                yours,
                want: true,
                further: true,
                swapped: false,
                age_ms: 0,
            }],
        );
    }
    let rows =
        |bench: &mut Bench| bench.heard_by(1).iter().filter(|message| matches!(message, Message::Way(..))).count();
    let told = rows(&mut bench) as u64;
    assert!((TABLE_BURST - 200..TABLE_BURST + 200).contains(&told), "{told} rows");
    // It has them later: it may be an honest one that was swapped often.
    bench.out = Output::default();
    bench.wait(1_000);
    let later = rows(&mut bench);
    assert!((100..1_500).contains(&later), "{later} rows");
}

#[test]
fn what_others_say_of_the_way_to_this_node_changes_nothing() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    let own = bench.babel.own.expect("it announces itself");
    let (key, record) = (bench.babel.key, bench.babel.table.row(own).record());
    let about = |key: Key, record| About { number: 3, key: Some(key), record };
    bench.says(
        1,
        &[Message::Begin, Message::Request { about: about(key, None), seqno: 1, ttl: 9 }, Message::Retraction(3)],
    );
    bench.says(
        1,
        &[Message::Way(about(key, Some(record)), Told { seqno: record.seqno, metric: 1, hops: 1 }), Message::End],
    );
    // The number stands for another destination now.
    let other = About { number: 3, key: Some(signing(9).public().0), record: Some(super::record(9, 5)) };
    bench.says(1, &[Message::Way(other, Told { seqno: 5, metric: 100, hops: 3 }), Message::Retraction(3)]);
    assert!(bench.babel.table.row(own).is_own());
    bench.says(1, &[way(9, 6, 100, 3)]);
    assert_eq!(bench.way_to(9), Answer::Known(1));
}

#[test]
fn a_neighbour_that_makes_us_work_for_nothing_is_not_listened_to_for_a_while() {
    let mut bench = Bench::new(&json!({}));
    bench.neighbour(1);
    bench.says(1, &[way(9, 5, 100, 1)]);
    for _ in 0..200 {
        bench.says(1, &[Message::Begin, again(9, 5, 100), Message::End].repeat(100));
    }
    assert!(bench.counter("costly_statements") > 10_000, "{}", bench.counter("costly_statements"));
    bench.wait(3_000);
    bench.says(1, &[Message::Begin, Message::End]);
    assert_eq!(bench.way_to(9), Answer::Spray(vec![1]), "listened to again: it has no way");
}
