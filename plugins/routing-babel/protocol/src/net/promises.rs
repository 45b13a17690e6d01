//! What the protocol promises, tried in small networks.

use super::{Plan, World};
use crate::random::Random;

fn all(world: &World) -> Vec<usize> {
    (0..world.nodes.len()).collect()
}

fn assert_served(world: &mut World, seed: u64) {
    let unserved = world.unserved(&all(world));
    assert!(unserved.is_empty(), "seed {seed}: no way for {unserved:?}");
}

/// What was told is what was heard, but for what is under way.
fn assert_agreed(world: &mut World, seed: u64) {
    for _ in 0..20 {
        if world.disagreements() == 0 {
            return;
        }
        world.run(500);
    }
    panic!("seed {seed}: {} pairs disagree", world.disagreements());
}

/// A network without lines, to be drawn by the test.
fn drawn(nodes: usize, lines: &[(usize, usize, u64)]) -> World {
    let mut world = World::empty(Plan { detection: (1_000, 1_000), ..Plan::new(nodes) }, 1);
    for (a, b, latency) in lines {
        world.line(*a, *b, *latency);
    }
    world.mend_all();
    world.run(5_000);
    assert_served(&mut world, 1);
    world
}

#[test]
fn everybody_reaches_everybody_soon_after_the_start() {
    for seed in 0..20 {
        let mut world = World::geometric(Plan::new(20), seed);
        world.mend_all();
        world.run(2_500);
        assert_served(&mut world, seed);
        assert_eq!(world.counts.loops, 0, "seed {seed}");
    }
}

/// Some minutes of everything that goes wrong in a network.
fn torment(world: &mut World, dice: &mut Random, lossy: bool) {
    for _ in 0..dice.between(10, 40) {
        let line = dice.between(0, world.lines.len() as u64 - 1) as usize;
        let node = dice.between(0, world.nodes.len() as u64 - 1) as usize;
        match dice.between(0, 11) {
            0..=2 => world.cut(line),
            3..=5 => world.mend(line),
            6 if world.nodes[node].babel.is_some() => world.crash(node),
            6 | 7 if world.nodes[node].babel.is_none() => world.boot(node),
            8 if !lossy => world.swap_if_up(node), // links that stay up lose nothing in truth
            9 => {
                let end = world.lines[line].ends[usize::from(dice.draw().is_multiple_of(2))];
                world.measure(end, line, dice.between(0, 200_000), dice.between(0, 500_000) as u32);
            }
            10 => partition(world, dice),
            _ => world.mend_all(),
        }
        if lossy {
            world.frames_lost_percent = dice.between(0, 1) * dice.between(0, 60);
        }
        let pause = [0, 20, 300, 3_000, 20_000][dice.between(0, 4) as usize];
        world.run(dice.between(0, pause));
    }
    world.frames_lost_percent = 0;
    for node in 0..world.nodes.len() {
        if world.nodes[node].babel.is_none() {
            world.boot(node);
        }
    }
    world.run(3_000); // until everybody has noticed which links are dead
    world.mend_all();
}

/// Cuts all lines between two halves.
fn partition(world: &mut World, dice: &mut Random) {
    let mask = dice.draw();
    let side = |node: usize| mask >> (node % 64) & 1;
    for line in 0..world.lines.len() {
        let [a, b] = world.lines[line].ends;
        if side(a) != side(b) {
            world.cut(line);
        }
    }
}

#[test]
fn no_loop_at_any_instant_and_everybody_served_in_the_end() {
    for seed in 0..120 {
        let mut dice = Random::new(seed);
        let nodes = dice.between(5, 30) as usize;
        let degree = 2.0 + dice.between(0, 30) as f64 / 10.0;
        let plan = Plan { degree, detection: (5, 2_500), ..Plan::new(nodes) };
        let mut world = World::geometric(plan, seed);
        world.mend_all();
        torment(&mut world, &mut dice, false);
        world.run(10_000);
        assert_served(&mut world, seed);
        assert_eq!(world.counts.loops, 0, "seed {seed}");
        assert_agreed(&mut world, seed);
    }
}

#[test]
fn no_loop_either_where_the_tables_are_too_small_for_all() {
    let mut gave_way = 0;
    for seed in 2_000..2_060 {
        let mut dice = Random::new(seed);
        let plan = Plan { detection: (5, 2_500), max_destinations: 16, ..Plan::new(30) };
        let mut world = World::geometric(plan, seed);
        world.mend_all();
        torment(&mut world, &mut dice, false);
        assert_eq!(world.counts.loops, 0, "seed {seed}");
        gave_way += world.counted("gave_way");
    }
    assert!(gave_way > 1_000, "{gave_way}");
}

#[test]
fn lost_control_frames_are_noticed_and_made_good() {
    for seed in 1_000..1_040 {
        let mut dice = Random::new(seed);
        let mut world = World::geometric(Plan::new(dice.between(5, 15) as usize), seed);
        world.mend_all();
        torment(&mut world, &mut dice, true);
        world.run(2 * 3_600_000); // the longest pause between two repairs is an hour
        assert_served(&mut world, seed);
        assert_eq!(world.counts.loops, 0, "seed {seed}");
        assert_agreed(&mut world, seed);
    }
}

#[test]
fn the_audit_finds_loops_where_feasibility_is_ignored() {
    let loops = (0..20u64).map(|seed| {
        let mut dice = Random::new(seed);
        let mut world = World::geometric(Plan { unsafe_: true, ..Plan::new(12) }, seed);
        world.mend_all();
        torment(&mut world, &mut dice, false);
        world.counts.loops
    });
    assert!(loops.sum::<u64>() > 0);
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let run = || {
        let mut world = World::geometric(Plan::new(15), 5);
        world.mend_all();
        torment(&mut world, &mut Random::new(5), true);
        world.run(1_000);
        (world.counts.bytes, world.counts.frames, world.counts.changes)
    };
    assert_eq!(run(), run());
}

// Three defects that a simulation found in a first version of these rules.

#[test]
fn a_changed_next_hop_is_told_even_if_nothing_else_changed() {
    // 0 reaches 3 by 1 or 2, both alike.
    let mut world = drawn(4, &[(0, 1, 20), (0, 2, 20), (1, 3, 20), (2, 3, 20)]);
    let three = world.nodes[3].key;
    let first = world.next_hop(0, &three).unwrap();
    let (other, line) = if first == 1 { (2, 0) } else { (1, 1) };
    // The way by the first gets a little dearer, by less than anybody is told.
    world.measure(0, line, 80_000, 0);
    world.run(1_000);
    assert_eq!(world.next_hop(0, &three), Some(other));
    // If it weren't told that 0 doesn't go through it any more, it would now think that nobody knows a way.
    world.cut(first + 1);
    world.run(1_000 + 1_500);
    assert_eq!(world.next_hop(first, &three), Some(0));
    assert_served(&mut world, 1);
}

#[test]
fn a_starving_node_asks_by_timer_for_as_long_as_it_takes() {
    // 0 goes to 3 by 1; what 2 offers isn't feasible.
    let mut world = drawn(4, &[(0, 1, 1), (1, 3, 1), (0, 2, 1), (2, 3, 60)]);
    let three = world.nodes[3].key;
    assert_eq!(world.next_hop(0, &three), Some(1));
    world.cut(1);
    world.run(1_030); // 1 has noticed and told 0
    assert_eq!(world.next_hop(0, &three), None);
    world.frames_lost_percent = 100;
    world.run(30_000);
    assert_eq!(world.next_hop(0, &three), None);
    world.frames_lost_percent = 0;
    world.run(7_000); // the longest pause is 6.4 s
    assert_eq!(world.next_hop(0, &three), Some(2));
}

#[test]
fn a_link_that_only_one_side_saw_come_up_brings_both_their_tables() {
    for swapped in 0..3 {
        let mut world = drawn(3, &[(0, 1, 30), (1, 2, 10)]);
        world.swap(swapped); // its neighbours see no link come up
        world.run(1_000);
        assert_served(&mut world, swapped as u64);
        assert_eq!((world.counts.loops, world.disagreements()), (0, 0), "{swapped} was swapped");
    }
}

#[test]
fn a_node_that_is_swapped_over_and_over_has_its_ways_each_time() {
    let mut world = drawn(3, &[(0, 1, 30), (1, 2, 10)]);
    for round in 0..100 {
        world.swap(1);
        world.run(300);
        assert_served(&mut world, round);
    }
    assert_eq!(world.counts.loops, 0);
}

#[test]
fn a_line_that_comes_and_goes_keeps_a_mesh_calm_and_everything_else_served() {
    let plan = Plan { detection: (20, 20), ..Plan::new(20) };
    let mut world = World::geometric(plan, 11);
    let end = world.line(0, 19, 5); // a further line, which ways are shorter by
    world.mend_all();
    world.run(5_000);
    // The ends of the line exchange whole tables; how much do the others hear of it?
    let heard = |world: &World| (1..19).map(|node| world.counter(node, "ways_heard")).sum::<u64>();
    let before = heard(&world);
    for _ in 0..600 {
        world.cut(end);
        world.run(50);
        world.mend(end);
        world.run(50);
    }
    let updates = (heard(&world) - before) / 18 / 20;
    assert!(updates < 10, "each heard {updates} updates a destination in a minute of 600 changes");
    world.run(10_000);
    assert_served(&mut world, 11);
    assert_eq!(world.counts.loops, 0);
    // And a single loss afterwards is mended as quickly as ever.
    world.run(120_000);
    world.cut(end);
    world.run(1_000);
    assert_served(&mut world, 11);
}

// Restarts and clocks.

#[test]
fn a_node_that_restarts_is_reached_again_even_if_its_clock_fell_back() {
    for off_ms in [0, -3_600_000, -(super::world::START_MS as i64)] {
        let mut world = drawn(4, &[(0, 1, 5), (1, 2, 5), (2, 3, 5)]);
        world.crash(3);
        world.nodes[3].clock_off_ms = off_ms;
        world.boot(3);
        world.mend_all();
        world.run(4_000);
        assert_served(&mut world, off_ms.unsigned_abs());
    }
}

#[test]
fn a_restart_after_a_day_leaves_no_neighbours_disagreeing() {
    let mut world = drawn(4, &[(0, 1, 1), (1, 2, 1), (2, 3, 1)]);
    world.run(20 * 3_600_000); // so its sequence number begins that much higher
    world.crash(0);
    world.boot(0);
    world.mend_all();
    world.run(200_000);
    assert_served(&mut world, 0);
    assert_eq!(world.disagreements(), 0);
    assert_eq!(world.counted("digests_differed"), 0);
}

#[test]
fn a_clock_that_is_set_stops_nothing() {
    for off_ms in [3_600_000, -3_600_000, -10 * 365 * 86_400_000] {
        let mut world = drawn(5, &[(0, 1, 5), (1, 2, 5), (2, 3, 5), (3, 4, 5), (4, 0, 5)]);
        world.nodes[1].clock_off_ms = off_ms;
        world.run(30_000);
        assert_served(&mut world, off_ms.unsigned_abs());
        world.cut(2);
        world.run(4_000);
        assert_served(&mut world, off_ms.unsigned_abs());
    }
}

#[test]
fn a_second_link_to_a_restarted_neighbour_makes_no_loop() {
    // The crash is noticed long after the node is back.
    for seed in 0..40 {
        let plan = Plan { detection: (2_000, 2_500), ..Plan::new(8) };
        let mut world = World::geometric(plan, seed);
        world.mend_all();
        world.run(3_000);
        for round in 0..8 {
            let node = (seed as usize + round) % 8;
            world.crash(node);
            world.run(100);
            world.boot(node);
            for line in 0..world.lines.len() {
                world.mend(line);
                world.run(7);
            }
            world.run(500);
        }
        world.run(5_000);
        assert_served(&mut world, seed);
        assert_eq!(world.counts.loops, 0, "seed {seed}");
    }
}

#[test]
fn a_node_that_is_back_before_its_death_was_noticed_makes_no_loop() {
    for seed in 0..60 {
        let mut dice = Random::new(seed);
        let mut world = World::geometric(Plan::new(8), seed);
        world.mend_all();
        world.run(3_000);
        for _ in 0..6 {
            let node = dice.between(0, 7) as usize;
            world.crash(node);
            world.run(dice.between(10, 1_500));
            world.boot(node);
            // Its neighbours are dialled one after the other.
            for line in 0..world.lines.len() {
                if world.lines[line].ends.contains(&node) {
                    world.mend(line);
                    world.run(dice.between(0, 1_000));
                }
            }
            world.run(dice.between(0, 2_000));
        }
        world.mend_all();
        world.run(8_000);
        assert_served(&mut world, seed);
        assert_eq!(world.counts.loops, 0, "seed {seed}");
    }
}

#[test]
fn parallel_links_to_a_neighbour_are_one_way_that_survives_either() {
    let mut world = drawn(3, &[(0, 1, 30), (0, 1, 5), (1, 2, 5)]);
    world.cut(0);
    world.run(2_000);
    assert_served(&mut world, 0);
    world.mend(0);
    world.run(500);
    world.cut(1);
    world.run(2_000);
    assert_served(&mut world, 1);
    assert_eq!(world.disagreements(), 0);
}

// Times and sizes.

#[test]
fn refreshed_sequence_numbers_keep_ways_alive_and_a_dead_origin_is_forgotten() {
    let mut plan = Plan::new(6);
    plan.refresh_secs = 60;
    let mut world = World::geometric(plan, 3);
    world.mend_all();
    world.run(3 * 3_600_000);
    assert_served(&mut world, 3);
    let gone = world.nodes[5].key;
    world.crash(5);
    world.run(3 * 3_600_000);
    let dump = world.nodes[0].babel.as_ref().unwrap().dump();
    let hex: String = gone.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!dump.to_string().contains(&hex), "{dump}");
}

#[test]
fn a_node_that_does_not_announce_itself_still_forwards() {
    let mut world = World::empty(Plan { announcing: 2, ..Plan::new(4) }, 1);
    // 0 and 1 announce; 2 and 3 stand between them.
    [(0, 2), (2, 3), (3, 1)].into_iter().for_each(|(a, b)| _ = world.line(a, b, 5));
    world.mend_all();
    world.run(2_000);
    assert!(world.walk(0, 1).is_some() && world.walk(1, 0).is_some());
    assert!(world.walk(0, 2).is_some(), "a direct neighbour is always reached");
    assert!(world.walk(0, 3).is_none());
}

#[test]
fn a_way_of_the_most_hops_is_used_and_no_longer_one() {
    let nodes = 300;
    let mut world = World::empty(Plan { announcing: 1, latency: (1, 1), ..Plan::new(nodes) }, 1);
    (1..nodes).for_each(|node| _ = world.line(node - 1, node, 1));
    world.mend_all();
    world.run(10_000);
    let most = usize::from(crate::limits::MAX_HOPS);
    assert!(world.walk(most, 0).is_some());
    assert!(world.walk(most + 1, 0).is_none());
}
