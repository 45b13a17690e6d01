//! What became of messages, and what makes room: the promises of `mesh why`, of imports and of the quotas.

use qpq_schemas::link::Verdict;

use super::super::quota::Limit;
use super::super::why::{HopState, Trace};
use super::*;
use crate::store::{End, Fate, Origin, Quota, SeenState, prefix};

fn gone(trace: &Trace) -> (SeenState, Fate) {
    let seen = trace.seen.expect("it is remembered");
    (seen.state, seen.fate)
}

#[test]
fn a_message_without_a_way_says_so_and_goes_at_once_when_its_recipient_appears() {
    let mut world = World::new(2);
    let first = world.send(0, 1).unwrap();
    let second = world.send(0, 1).unwrap();
    let wait = world.trace(0, &second).wait.expect("it waits");
    assert_eq!((wait.place, wait.queue, wait.known, wait.next_ms), (2, 2, false, None));
    assert!(wait.hops.is_empty());
    world.connect(0, 1);
    world.settle(); // no time passes
    assert_eq!(world.inbox(1), [first, second]);
    let trace = world.trace(1, &first);
    assert_eq!((trace.read, trace.wait), (Some(false), None));
}

#[test]
fn who_took_a_message_and_why_it_went_is_known_after_a_crash() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    world.send(2, 0).unwrap(); // so that all know the way to 2
    world.settle();
    let id = world.send(0, 2).unwrap();
    world.settle();
    let keys = [0, 1, 2].map(|node| prefix(&world.peer(node).0));
    for _ in 0..2 {
        let (state, fate) = gone(&world.trace(0, &id));
        assert!(matches!(state, SeenState::PassedOn { .. }));
        assert_eq!((fate.end, fate.by, fate.origin), (End::Custody, keys[1], Origin::Here(keys[2])));
        let (state, fate) = gone(&world.trace(1, &id));
        assert_eq!(state, SeenState::Delivered);
        assert_eq!((fate.end, fate.by, fate.origin), (End::Taken, keys[2], Origin::Neighbour(keys[0])));
        assert!(fate.at_ms > 0);
        (0..3).for_each(|node| world.crash(node));
    }
}

#[test]
fn the_recipients_receipt_for_a_message_that_went_on_is_kept_over_a_crash() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    world.send(2, 0).unwrap();
    world.settle();
    let id = world.send_with_receipt(0, 2).unwrap();
    world.settle();
    world.crash(0);
    let (_, fate) = gone(&world.trace(0, &id));
    assert_eq!((fate.end, fate.by), (End::Receipt, prefix(&world.peer(2).0)));
}

#[test]
fn a_receipt_that_somebody_else_signed_changes_nothing() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    world.send(2, 0).unwrap();
    world.settle();
    let id = world.send(0, 2).unwrap();
    world.settle();
    let to = world.peer(0);
    world.event(1, Event::Tick);
    world.forge_receipt(1, to, id);
    world.settle();
    assert_eq!(gone(&world.trace(0, &id)).1.end, End::Custody, "the relay knows the id, and signed a receipt");
}

#[test]
fn a_copy_of_unknown_way_names_its_holder_and_an_offer_without_answer_its_time() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.settle();
    let id = world.send(0, 2).unwrap();
    let offered = world.trace(0, &id).wait.unwrap().hops;
    assert!(matches!(offered[0].state, HopState::Offered(_)), "{offered:?}");
    world.settle();
    let wait = world.trace(0, &id).wait.unwrap();
    assert_eq!(wait.hops[0].peer, world.peer(1));
    assert!(matches!(wait.hops[0].state, HopState::Copied(_)), "{wait:?}");
    assert!(wait.next_ms.is_some());
}

#[test]
fn a_neighbour_that_declined_is_named_with_its_word_and_the_next_try() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.settle();
    world.break_disk(1, true);
    let envelope = world.draft(2, Kind::Direct, world.peer(1).0);
    let id = world.submit(0, envelope).unwrap();
    world.settle();
    let wait = world.trace(0, &id).wait.unwrap();
    let HopState::Declined(verdict, until) = wait.hops[0].state else { panic!("{wait:?}") };
    assert_eq!(verdict, Verdict::RelayFull);
    assert_eq!(wait.next_ms, Some(until));
}

#[test]
fn what_expired_was_evicted_or_refused_is_told_apart() {
    let limits = StoreLimits { topic_messages: 1, recipient_messages: 4, ..StoreLimits::default() };
    let mut world = World::with_limits(2, &limits);
    let (first, _) = (world.broadcast(0).unwrap(), world.broadcast(0).unwrap());
    assert_eq!(gone(&world.trace(0, &first)).1.end, End::Evicted(Quota::TopicShare));
    let told = world.news(0).iter().any(|news| matches!(news, Notice::Evicted { id, .. } if *id == first));
    assert!(told, "who made room is told");
    let waits = world.send(0, 1).unwrap();
    let envelope = world.draft(0, Kind::Direct, world.peer(1).0);
    let refused = envelope.id();
    world.submit(0, envelope).unwrap_err();
    let trace = world.trace(0, &refused);
    assert_eq!(trace.refused.map(|refused| refused.code), Some("sender-full-at-recipient"));
    world.pass(8 * 24 * 3_600_000);
    let trace = world.trace(0, &waits);
    assert!(trace.seen.is_none(), "its id is forgotten with its time");
    let waits = world.send(0, 1).unwrap();
    world.pass(604_800_000 + 60_000); // within the accepted difference of clocks
    assert_eq!(gone(&world.trace(0, &waits)).1.end, End::Expired);
    let to = world.peer(1);
    let failed = |news: &Notice| matches!(news, Notice::Failed { id, to: whom } if *id == waits && *whom == to);
    assert!(world.news(0).iter().any(failed), "its sender is told that it never arrived");
    world.crash(0);
    assert_eq!(gone(&world.trace(0, &waits)).1.end, End::Expired);
    let stats = world.core(0).shelf().stats();
    assert_eq!(
        (stats.evicted.get("topic"), stats.refused.get("sender-share")),
        (None, None),
        "counted since the start"
    );
}

#[test]
fn an_envelope_out_of_a_file_is_checked_and_counted_once_and_goes_on() {
    let mut world = World::new(3);
    let id = world.send(0, 2).unwrap();
    let file = world.exported(0);
    assert_eq!(file.len(), 1);
    world.import(1, file[0].clone()).unwrap();
    assert_eq!(world.waiting(0), 1, "the exporting node keeps its own");
    assert_eq!(world.import(1, file[0].clone()).unwrap_err().code, KNOWN);
    assert_eq!(world.import(0, file[0].clone()).unwrap_err().code, KNOWN);
    let head = world.trace(1, &id).held.unwrap();
    assert_eq!((head.source, head.hop_count), (Some(world.peer(1)), 1));
    world.connect(1, 2);
    world.settle();
    assert_eq!(world.inbox(2), [id]);
    assert_eq!(world.import(1, file[0].clone()).unwrap_err().code, KNOWN, "also when it has gone on");
    assert_eq!(world.import(2, file[0].clone()).unwrap_err().code, KNOWN);
}

#[test]
fn a_forged_expired_or_blocked_envelope_in_a_file_is_refused_with_its_reason() {
    let mut world = World::new(3);
    world.send(0, 2).unwrap();
    let envelope = world.exported(0)[0].clone();
    let mut forged = envelope.wire().to_vec();
    let last = forged.len() - 2;
    forged[last] ^= 1;
    let forged = Envelope::from_wire(forged.into(), 65_536).unwrap();
    assert_eq!(world.import(1, forged).unwrap_err().code, "signature");
    let sender = world.peer(0);
    world.event(1, Event::Block(sender));
    assert_eq!(world.import(1, envelope.clone()).unwrap_err().code, "blocked-sender");
    world.event(1, Event::Unblock(sender));
    world.import(1, envelope.clone()).unwrap();
    world.pass(605_000_000);
    assert_eq!(world.import(2, envelope).unwrap_err().code, "expired");
}

#[test]
fn an_envelope_that_is_put_off_counts_once_for_the_neighbour_that_brings_it() {
    let mut world = World::new(3);
    world.limit_links(Limit { messages_per_minute: 2, bytes_per_minute: 1 << 20 });
    (0..3).for_each(|node| world.crash(node));
    world.connect(0, 1);
    world.settle();
    world.break_disk(1, true);
    let id = world.send(0, 1).unwrap();
    world.settle();
    world.pass(20_000);
    assert_eq!(world.waiting(0), 1);
    world.pass(100_000); // offered again and again, and put off each time
    assert_eq!(world.counter(1, "link-quota"), 0);
    world.break_disk(1, false);
    world.pass(120_000);
    assert_eq!(world.inbox(1), [id]);
    for _ in 0..4 {
        world.send(0, 1).unwrap();
    }
    world.settle();
    assert!(world.counter(1, "link-quota") > 0, "two a minute, and the rest is put off");
    world.pass(600_000);
    assert_eq!(world.inbox(1).len(), 5, "nothing is lost by it");
}

#[test]
fn a_full_node_gives_up_copies_that_a_neighbour_holds_before_it_refuses() {
    let limits = StoreLimits { total_messages: 3, sender_share_percent: 100, ..StoreLimits::default() };
    let mut world = World::with_limits(4, &limits);
    world.connect(0, 1);
    world.settle();
    // Nobody knows the way to 3: both 0 and 1 hold a copy, then 2 gets one from 1.
    let id = world.send(0, 3).unwrap();
    world.settle();
    world.connect(1, 2);
    world.settle();
    assert_eq!([0, 1, 2].map(|node| world.waiting(node)), [1, 1, 1]);
    world.disconnect(0, 1);
    for _ in 0..3 {
        world.send(1, 3).unwrap();
    }
    let (_, fate) = gone(&world.trace(1, &id));
    assert_eq!((fate.end, fate.by), (End::Evicted(Quota::Total), prefix(&world.peer(2).0)));
    assert_eq!(world.send(1, 3).unwrap_err().code, "relay-full", "its own are never evicted");
    assert_eq!(world.core(1).shelf().stats().evicted.get("total"), Some(&1));
    assert!(world.trace(2, &id).held.is_some(), "the neighbour still has its copy");
}

#[test]
fn two_nodes_that_hold_copies_of_each_other_do_not_both_give_theirs_up() {
    let limits = StoreLimits { total_messages: 2, sender_share_percent: 100, ..StoreLimits::default() };
    let mut world = World::with_limits(4, &limits);
    world.connect(0, 1);
    world.settle();
    let id = world.send(0, 3).unwrap();
    world.settle();
    world.disconnect(0, 1);
    world.wipe(0); // the first holder is gone for good
    world.connect(1, 2);
    world.settle();
    world.pass(700_000); // each has offered its copy to the other by now
    for node in [1, 2] {
        while world.send(node, 3).is_ok() {}
    }
    let holders = [1, 2].into_iter().filter(|node| world.trace(*node, &id).held.is_some()).count();
    assert!(holders >= 1, "{}", world.traces(&id));
}

/// Each takes the other for the way to a third, and both offer at the same moment: neither answer counts, as each was promised the
/// other's copy. They would go on so without end.
#[test]
fn two_nodes_that_take_each_other_for_the_way_do_not_offer_the_same_for_ever() {
    let mut world = World::new(3);
    let envelope = world.draft(0, Kind::Direct, world.peer(2).0);
    for node in [0, 1] {
        world.import(node, envelope.clone()).unwrap();
    }
    world.pass(20_000); // long enough ago that it may go back
    world.mislead(0, 1, 2);
    let id = envelope.id();
    world.settle(); // ends
    world.pass(5_000);
    let holders = [0, 1].into_iter().filter(|node| world.trace(*node, &id).held.is_some()).count();
    assert_eq!(holders, 1, "one gave its copy to the other\n{}{}", world.report(), world.traces(&id));
}

/// As the random walk over all events, on nodes that have little room.
#[test]
fn whatever_happens_on_full_nodes_an_acknowledged_message_arrives_exactly_once() {
    let mut evicted = 0;
    for seed in 0..std::env::var("QPQ_SEEDS").map_or(40, |n| n.parse().unwrap()) {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = rng.random_range(3..6);
        let limits = StoreLimits { total_messages: 16, sender_share_percent: 100, ..StoreLimits::default() };
        let mut world = World::with_limits(nodes, &limits);
        let mut sent: Vec<(usize, MessageId)> = Vec::new();
        for _ in 0..80 {
            let all: Vec<usize> = (0..nodes).collect();
            let pair: Vec<usize> = all.sample(&mut rng, 2).copied().collect();
            match rng.random_range(0..12) {
                0..=4 if sent.len() < 10 * nodes => {
                    sent.extend(world.send(pair[0], pair[1]).map(|id| (pair[1], id)));
                }
                5..=6 => world.connect(pair[0], pair[1]),
                7 => world.disconnect(pair[0], pair[1]),
                8 => world.crash(pair[0]),
                9 => world.steps(rng.random_range(0..20)),
                10 => world.pass(rng.random_range(0..20_000)),
                _ => world.pass(rng.random_range(0..700_000)),
            }
        }
        evicted += (0..nodes).map(|node| world.core(node).shelf().stats().evicted.values().sum::<u64>()).sum::<u64>();
        world.set_limits(&StoreLimits::default());
        (0..nodes).for_each(|node| world.crash(node));
        (1..nodes).for_each(|node| world.connect(node - 1, node));
        world.pass(60_000);
        world.pass(1_500_000);
        for (to, id) in &sent {
            let copies = world.inbox(*to).iter().filter(|got| *got == id).count();
            assert_eq!(copies, 1, "seed {seed}: {id:?} for node {to}\n{}{}", world.report(), world.traces(id));
        }
    }
    assert!(evicted > 0, "no walk came so far that a copy had to go");
}
