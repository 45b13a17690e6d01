//! Copies where no way is known.

use super::*;

fn links(answer: Answer) -> Vec<u64> {
    match answer {
        Answer::Spray(links) => links,
        Answer::Known(link) => panic!("{link} is no way"),
    }
}

#[test]
fn new_contacts_come_first_then_the_last_way_and_each_contact_has_its_turn() {
    let mut bench = Bench::new(&json!({}));
    (1..=30).for_each(|n| bench.neighbour(n));
    bench.says(17, &[way(99, 5, 100, 1)]);
    assert_eq!(bench.way_to(99), Answer::Known(17));
    bench.says(17, &[Message::Retraction(99)]);
    bench.wait(61_000);
    bench.neighbour(31);
    let first = links(bench.way_to(99));
    assert_eq!((first.len(), first[0], first[1]), (8, 31, 17));
    let mut asked = std::collections::BTreeSet::new();
    for _ in 0..60 {
        bench.wait(60_000);
        asked.extend(links(bench.way_to(99)));
    }
    assert_eq!(asked.len(), 31, "within an hour each got its chance");
}

#[test]
fn nothing_goes_back_to_where_it_came_from() {
    let mut bench = Bench::new(&json!({}));
    (1..=3).for_each(|n| bench.neighbour(n));
    bench.says(1, &[way(99, 5, 100, 1)]);
    let query = |destination, from, broadcast| Query { destination, broadcast, from: Some(from) };
    let (known, unknown) = (signing(99).public().0, signing(98).public().0);
    let now = bench.now_ms;
    assert_eq!(bench.babel.route(now, &query(known, 2, false)), Answer::Known(1));
    assert_eq!(bench.babel.route(now, &query(known, 1, false)), Answer::Spray(vec![]));
    assert!(!links(bench.babel.route(now, &query(unknown, 2, false))).contains(&2));
    assert_eq!(bench.babel.route(now, &query(unknown, 2, true)), Answer::Spray(vec![1, 3]));
}
