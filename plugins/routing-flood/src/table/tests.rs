use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { max_origins: 4, lifetime_ms: 1_000, hold_down_ms: 100 };

fn key(n: u8) -> Key {
    [n; 32]
}

fn link_of(table: &Table, origin: u8, now_ms: u64) -> Option<u64> {
    table.get(&key(origin), now_ms).map(|entry| entry.link)
}

#[test]
fn an_entry_dies_when_nothing_confirms_it() {
    let mut table = Table::new(LIMITS);
    assert_eq!(table.observe(key(1), 7, 2, 0), Observed::New);
    assert_eq!(table.observe(key(1), 7, 2, 600), Observed::Confirmed);
    assert_eq!(link_of(&table, 1, 1_599), Some(7));
    assert_eq!(link_of(&table, 1, 1_600), None);
    assert_eq!(table.expire(1_599), 0);
    assert_eq!(table.expire(1_600), 1);
    assert_eq!(table.origins(), 0);
}

#[test]
fn a_shorter_way_replaces_at_once() {
    let mut table = Table::new(LIMITS);
    table.observe(key(1), 7, 3, 0);
    assert_eq!(table.observe(key(1), 8, 2, 1), Observed::Moved);
    assert_eq!(link_of(&table, 1, 1), Some(8));
}

#[test]
fn an_unknown_length_neither_replaces_nor_is_remembered() {
    let mut table = Table::new(LIMITS);
    table.observe(key(1), 7, 3, 0);
    assert_eq!(table.observe(key(1), 8, UNKNOWN_HOPS, 1), Observed::Ignored);
    assert_eq!(table.observe(key(1), 7, UNKNOWN_HOPS, 2), Observed::Confirmed);
    assert_eq!(table.get(&key(1), 2).map(|entry| entry.hops), Some(3));
}

#[test]
fn two_equal_ways_do_not_flap() {
    let mut table = Table::new(LIMITS);
    table.observe(key(1), 7, 3, 0);
    for now in 1..10_000 {
        let link = if now % 2 == 0 { 7 } else { 8 };
        table.observe(key(1), link, 3, now);
        assert_eq!(link_of(&table, 1, now), Some(7));
    }
}

#[test]
fn a_longer_way_replaces_one_that_fell_silent() {
    let mut table = Table::new(LIMITS);
    table.observe(key(1), 7, 1, 0);
    assert_eq!(table.observe(key(1), 8, 5, 99), Observed::Ignored);
    assert_eq!(table.observe(key(1), 8, 5, 100), Observed::Moved);
}

#[test]
fn a_full_table_forgets_the_one_silent_for_longest() {
    let mut table = Table::new(LIMITS);
    for n in 1..=4 {
        table.observe(key(n), 7, 1, u64::from(n));
    }
    table.observe(key(1), 7, 1, 5);
    table.observe(key(5), 7, 1, 6);
    assert_eq!(link_of(&table, 2, 6), None);
    assert_eq!(link_of(&table, 1, 6), Some(7));
    assert_eq!((table.origins(), table.evicted()), (4, 1));
}

#[test]
fn entries_of_a_lost_link_go_to_its_heir_or_wait_for_the_neighbour() {
    let mut table = Table::new(LIMITS);
    table.observe(key(2), 7, 1, 0);
    table.observe(key(1), 7, 1, 0);
    let peer = key(3);
    assert_eq!(table.drop_link(7, &peer, Some(9)), Vec::<Key>::new());
    assert_eq!(link_of(&table, 1, 0), Some(9));
    assert_eq!(table.drop_link(9, &peer, None), vec![key(1), key(2)]);
    assert_eq!((link_of(&table, 1, 0), link_of(&table, 2, 0)), (None, None));
    assert_eq!(table.observe(key(2), 11, 4, 0), Observed::New);
    table.come_back(&peer, 10);
    assert_eq!((link_of(&table, 1, 0), link_of(&table, 2, 0)), (Some(10), Some(11)));
    assert_eq!(link_of(&table, 1, LIMITS.lifetime_ms), None);
}

#[test]
fn a_clock_that_steps_back_does_no_harm() {
    let mut table = Table::new(LIMITS);
    table.observe(key(1), 7, 1, 5_000);
    table.observe(key(1), 7, 1, 10);
    table.observe(key(2), 7, 1, 10);
    assert_eq!(link_of(&table, 1, 10), Some(7));
    assert_eq!(table.expire(1_010), 1);
    assert_eq!(link_of(&table, 1, 1_010), Some(7));
}

/// One call with small numbers, so that collisions are common.
fn calls() -> impl Strategy<Value = Vec<(u8, u64, u8, u64)>> {
    prop::collection::vec((0u8..8, 0u64..4, 1u8..5, 0u64..200), 0..300)
}

proptest! {
    /// Whatever comes in: the bound holds, both views agree, and nothing outlives its time.
    #[test]
    fn the_two_views_agree_and_the_bound_holds(calls in calls()) {
        let mut table = Table::new(LIMITS);
        let mut now = 0;
        for (origin, link, hops, step) in calls {
            now += step;
            table.observe(key(origin), link, hops, now);
            prop_assert!(table.origins() <= LIMITS.max_origins);
            prop_assert_eq!(table.by_age.len(), table.by_origin.len());
            for ((confirmed_ms, serial), origin) in &table.by_age {
                let entry = table.by_origin[origin];
                prop_assert_eq!((entry.confirmed_ms, entry.serial), (*confirmed_ms, *serial));
            }
            table.expire(now);
            prop_assert!(table.by_origin.values().all(|entry| now - entry.confirmed_ms < LIMITS.lifetime_ms));
        }
    }

    /// A next hop changes at most once per hold-down, plus once for each hop that a better way saves.
    #[test]
    fn next_hops_settle(calls in prop::collection::vec((0u64..3, 1u8..6, 0u64..40), 1..400)) {
        let mut table = Table::new(LIMITS);
        let (mut now, mut moves) = (0, 0u64);
        for (link, hops, step) in calls {
            now += step;
            moves += u64::from(table.observe(key(1), link, hops, now) == Observed::Moved);
        }
        let settled_moves = now / LIMITS.hold_down_ms + 1;
        prop_assert!(moves <= settled_moves * 6, "{moves} moves in {now} ms");
    }
}
