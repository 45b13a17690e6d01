//! Replicas of the same entries are the same, in whatever order, how often and over whichever partitions they came.

use std::collections::BTreeSet;

use proptest::prelude::*;
use qpq_schemas::{MessageId, PeerId};

use super::super::fold::Replica;
use super::super::{Act, Entry, Find, Reference, Settings};

const KEEP_MS: u64 = 2_000;
const NOW_MS: u64 = 1_000;
/// More rounds than any board needs to settle.
const ROUNDS: usize = 8;

fn peer(n: u8) -> PeerId {
    PeerId([n; 32])
}

/// Ids of which some begin with the same six, seven or eight digits.
fn id(n: u8) -> MessageId {
    let mut id = [n; 32];
    id[..4].copy_from_slice(&[0xab, 0xcd, n % 2, ((n % 3) << 4) | (n % 2)]);
    MessageId(id)
}

fn reference() -> impl Strategy<Value = Reference> {
    let digits = prop_oneof![2 => Just(64usize), 1 => 6..12usize];
    (0..40u8, digits).prop_map(|(n, digits)| Reference::parse(&id(n).to_string()[..digits]).unwrap())
}

fn act() -> impl Strategy<Value = Act> {
    let text = (0..40usize, "[a-c ]{1,3}").prop_map(|(n, text)| (text + &"x".repeat(n * 50)).into_boxed_str());
    let of = reference;
    prop_oneof![
        8 => text.clone().prop_map(|text| Act::Post { text }),
        3 => (of(), text.clone()).prop_map(|(to, text)| Act::Reply { to, text }),
        4 => (of(), text.clone()).prop_map(|(of, text)| Act::Edit { of, text }),
        2 => of().prop_map(|of| Act::Delete { of }),
        3 => (of(), any::<bool>()).prop_map(|(of, on)| Act::Pin { of, on }),
        2 => (of(), any::<bool>()).prop_map(|(of, on)| Act::Hide { of, on, reason: "".into() }),
        1 => (0..4u8, any::<bool>()).prop_map(|(n, on)| Act::Ban { key: peer(n), on }),
    ]
}

/// Of few entries by few people many are about each other.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    prop_oneof![entries_by(0..4, 40), entries_by(1..3, 16)]
}

fn entries_by(signers: std::ops::Range<u8>, most: usize) -> impl Strategy<Value = Vec<Entry>> {
    let entry = (signers, prop::option::weighted(0.1, 0..4u8), 0..2_000u64, 1..4_000u64, act());
    prop::collection::vec(entry, 1..most).prop_map(|entries| {
        let made = entries.into_iter().enumerate().map(|(n, (signer, on_behalf, created_ms, ttl, act))| Entry {
            id: id(n as u8),
            signer: peer(signer),
            on_behalf: on_behalf.map(peer),
            created_ms,
            expires_ms: created_ms + ttl,
            act,
        });
        made.collect()
    })
}

fn settings(posts: usize) -> Settings {
    Settings { keep_ms: KEEP_MS, moderators: BTreeSet::from([peer(0), peer(1)]), posts }
}

/// Tells all, and once more as long as the replica asks for it, as its host does.
fn settle(replica: &mut Replica, all: &[Entry], now_ms: u64) {
    replica.expire(now_ms);
    all.iter().for_each(|entry| replica.apply(entry.clone(), now_ms));
    for _ in 0..ROUNDS {
        if !replica.is_stale() {
            return;
        }
        replica.begin_again();
        all.iter().for_each(|entry| replica.apply(entry.clone(), now_ms));
    }
    panic!("it never settles");
}

fn replica(posts: usize, all: &[Entry], now_ms: u64) -> Replica {
    // A board with little room has room for few marks, too.
    let marks = if posts < 12 { 3 } else { 1_000 };
    let mut replica = Replica::with_marks(settings(posts), marks, marks);
    settle(&mut replica, all, now_ms);
    replica
}

/// All that can be seen of a board.
fn seen(replica: &Replica) -> Vec<String> {
    let find = Find { limit: usize::MAX, replies: true, hidden: true, ..Find::default() };
    let list = replica.list(&find);
    let threads = list.iter().map(|post| replica.thread(&post.id, usize::MAX).iter().map(|p| p.id).collect::<Vec<_>>());
    let threads: Vec<_> = threads.map(|thread| format!("{thread:?}")).collect();
    let bans = (0..4).map(|n| format!("{n} {}", replica.bans(&peer(n))));
    list.iter().map(|post| format!("{post:?}")).chain(threads).chain(bans).collect()
}

/// A board that is never full, and one that is.
fn bound() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1_000usize), 1..12usize]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_arrival_makes_no_difference(
        (all, shuffled) in entries().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        bound in bound(),
    ) {
        prop_assert_eq!(seen(&replica(bound, &all, NOW_MS)), seen(&replica(bound, &shuffled, NOW_MS)));
    }

    #[test]
    fn duplicates_make_no_difference(all in entries(), again in prop::collection::vec(0..40usize, 0..40), bound in bound()) {
        let repeated = again.iter().filter_map(|n| all.get(*n)).cloned();
        let doubled: Vec<Entry> = all.iter().cloned().chain(repeated).collect();
        prop_assert_eq!(seen(&replica(bound, &all, NOW_MS)), seen(&replica(bound, &doubled, NOW_MS)));
    }

    #[test]
    fn what_a_partition_kept_apart_is_the_same_once_both_have_it_all(
        all in entries(),
        side in prop::collection::vec(0..3u8, 40),
        late in 0..3_000u64,
        bound in bound(),
    ) {
        let of = |wanted: u8| -> Vec<Entry> {
            let sides = all.iter().zip(&side).filter(|(_, side)| **side == 2 || **side == wanted);
            sides.map(|(entry, _)| entry.clone()).collect()
        };
        let (left, right) = (of(0), of(1));
        let (mut a, mut b) = (replica(bound, &left, NOW_MS), replica(bound, &right, NOW_MS));
        // It heals, perhaps much later: each hears what it lacks, and when it asks for all, gets all that still lives.
        let now_ms = NOW_MS + late;
        a.expire(now_ms);
        b.expire(now_ms);
        right.iter().for_each(|entry| a.apply(entry.clone(), now_ms));
        left.iter().rev().for_each(|entry| b.apply(entry.clone(), now_ms));
        settle(&mut a, &all, now_ms);
        settle(&mut b, &all, now_ms);
        prop_assert_eq!(seen(&a), seen(&b));
        prop_assert_eq!(seen(&a), seen(&replica(bound, &all, now_ms)), "and the same as for one who comes only now");
    }

    #[test]
    fn as_long_as_all_fits_and_nobody_is_banned_nothing_needs_to_be_told_twice(all in entries()) {
        let mut replica = Replica::new(settings(1_000));
        all.iter().filter(|entry| !matches!(entry.act, Act::Ban { .. })).for_each(|entry| replica.apply(entry.clone(), NOW_MS));
        prop_assert!(!replica.is_stale());
    }
}
