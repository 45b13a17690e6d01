//! Which of several links is used, and what happens when it ends.

use super::super::custody::MAX_DECLINED;
use super::super::shelf::StoreLimits;
use super::world::World;

/// Two nodes with two links between them.
fn two_lanes() -> World {
    let mut world = World::new(2);
    world.connect_lane(0, 1, 0);
    world.connect_lane(0, 1, 1);
    world.settle();
    world
}

fn measure_for(world: &mut World, seconds: usize, lanes: [u64; 2]) {
    for _ in 0..seconds {
        world.measure(0, 1, 0, lanes[0]);
        world.measure(0, 1, 1, lanes[1]);
        world.pass(1_000);
    }
}

#[test]
fn a_broadcast_goes_to_a_neighbour_once_though_there_are_two_links() {
    let mut world = two_lanes();
    world.broadcast(0).unwrap();
    assert_eq!(world.under_way(0, 1), [1, 0, 0]);
    world.settle();
    assert_eq!(world.counter(1, "received"), 1);
}

#[test]
fn a_link_must_be_better_for_some_time_before_it_is_used() {
    let mut world = two_lanes();
    measure_for(&mut world, 2, [50_000, 5_000]);
    world.send(0, 1).unwrap();
    assert_eq!(world.under_way(0, 1), [1, 0, 0], "not yet");
    measure_for(&mut world, 3, [50_000, 5_000]);
    world.send(0, 1).unwrap();
    assert_eq!(world.under_way(0, 1), [0, 1, 0]);
    assert_eq!(world.counter(0, "changed-over"), 1);
}

#[test]
fn links_that_take_turns_in_being_better_do_not_make_it_flap() {
    let mut world = two_lanes();
    for _ in 0..20 {
        measure_for(&mut world, 2, [50_000, 5_000]);
        measure_for(&mut world, 2, [5_000, 50_000]);
    }
    measure_for(&mut world, 20, [20_000, 17_000]); // better, but not by much
    assert_eq!(world.counter(0, "changed-over"), 0);
}

#[test]
fn what_was_under_way_over_a_dead_link_goes_over_the_other_at_once() {
    let mut world = two_lanes();
    world.subscribe(1);
    world.settle();
    let direct: Vec<_> = (0..20).map(|_| world.send(0, 1).unwrap()).collect();
    let cast = world.broadcast(0).unwrap();
    world.cut_lane(0, 1, 0);
    assert!(world.under_way(0, 1)[1] > 0, "in the same step");
    world.settle();
    let inbox = world.inbox(1);
    assert_eq!(inbox.len(), 21, "all of them, each once");
    assert!(direct.iter().chain([&cast]).all(|id| inbox.contains(id)));
    assert_eq!(world.waiting(0), 0);
    assert!(world.core(0).linked(world.peer(1)), "no news of a lost neighbour");
}

#[test]
fn a_neighbour_is_told_of_history_once_whatever_links_it_has() {
    let mut world = World::new(2);
    world.subscribe(1);
    let id = world.broadcast(0).unwrap();
    world.connect_lane(0, 1, 0);
    world.connect_lane(0, 1, 1);
    world.cut_lane(0, 1, 0); // with the offer, and all answers to it
    world.settle();
    assert_eq!(world.inbox(1), [id]);
    world.connect_lane(0, 1, 2);
    world.settle();
    assert_eq!(world.counter(1, "duplicate"), 0);
}

#[test]
fn what_a_neighbour_declined_is_not_offered_again_over_its_other_link() {
    let mut world = two_lanes();
    world.break_disk(1, true);
    world.send(0, 1).unwrap();
    world.settle();
    let received = world.counter(1, "received");
    world.cut_lane(0, 1, 0);
    world.settle();
    assert_eq!(world.counter(1, "received"), received);
    world.break_disk(1, false);
    world.pass(60_000);
    assert_eq!(world.inbox(1).len(), 1);
}

#[test]
fn thousands_of_refusals_hold_up_their_recipient_and_nobody_else() {
    let limits = StoreLimits {
        recipient_messages: 10_000,
        recipient_bytes: 64 << 20,
        sender_messages: 20_000,
        sender_bytes: 64 << 20,
        sender_share_percent: 100,
        ..StoreLimits::default()
    };
    let mut world = World::with_limits(4, &limits);
    world.connect(0, 1);
    world.connect(1, 2);
    world.connect(1, 3);
    for far in [2, 3] {
        world.send(far, 0).unwrap(); // so that 0 knows the ways
    }
    world.settle();
    world.break_disk(1, true);
    for _ in 0..MAX_DECLINED + 500 {
        world.send(0, 2).unwrap();
    }
    world.settle();
    let refused = world.counter(0, "declined");
    world.settle();
    world.break_disk(1, false);
    let id = world.send(0, 3).unwrap();
    world.settle();
    assert_eq!(world.inbox(3), [id], "its mail was never refused");
    assert_eq!(world.counter(0, "declined"), refused, "nothing was offered again before its time");
    world.pass(120_000);
    assert_eq!(world.inbox(2).len(), MAX_DECLINED + 500);
}

#[test]
fn of_the_links_that_are_left_the_best_is_used() {
    let mut world = two_lanes();
    world.connect_lane(0, 1, 2);
    world.measure(0, 1, 1, 90_000);
    world.measure(0, 1, 2, 4_000);
    world.cut_lane(0, 1, 0);
    world.settle();
    world.send(0, 1).unwrap();
    assert_eq!(world.under_way(0, 1), [0, 0, 1]);
    let used = world.core(0).links_in_use();
    assert_eq!(used.values().filter(|link| link.preferred).count(), 1);
    assert_eq!(used.values().map(|link| link.in_flight).sum::<usize>(), 1);
}

#[test]
fn a_link_whose_place_is_taken_carries_nothing_new_and_ends_once_all_is_answered() {
    let mut world = World::new(2);
    world.connect_lane(0, 1, 0);
    world.settle();
    let mut sent: Vec<_> = (0..5).map(|_| world.send(0, 1).unwrap()).collect();
    world.connect_lane(0, 1, 1);
    world.succeed(0, 1, [0, 1]);
    assert_eq!(world.lanes(0, 1), [0, 1], "five messages have no answer yet");
    sent.extend((0..3).map(|_| world.send(0, 1).unwrap()));
    assert_eq!(world.under_way(0, 1), [5, 3, 0]);
    world.settle();
    assert_eq!(world.lanes(0, 1), [0, 1], "the neighbour may have something under way");
    world.pass(1_000);
    assert_eq!(world.lanes(0, 1), [1]);
    sent.sort_unstable();
    let mut inbox = world.inbox(1);
    inbox.sort_unstable();
    assert_eq!(inbox, sent);
    assert_eq!(world.counter(1, "duplicate"), 0, "nothing went twice");
    assert!(world.core(0).linked(world.peer(1)));
    world.connect_lane(0, 1, 2);
    world.succeed(0, 1, [1, 2]);
    world.pass(1_000);
    assert_eq!(world.lanes(0, 1), [2]);
}
