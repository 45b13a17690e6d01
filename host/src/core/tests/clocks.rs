//! Clocks that are wrong: a little everywhere, or much for a while. Nothing is lost or expires early, nothing comes twice.

use super::world::Clock;
use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const YEAR: i64 = 365 * 24 * HOUR;

/// The accepted difference of clocks is 5 minutes: so far may any two be apart.
const SKEW: i64 = 5 * MINUTE / 2;

/// How wrong a clock is for a while.
const LEAPS: [i64; 6] = [HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 6 * MINUTE, -6 * MINUTE];

/// How often a random test is run, unless `QPQ_SEEDS` says it.
const SEEDS: u64 = 20;

/// Nodes whose clocks go, but differ.
struct Skewed {
    world: World,
    skews: Vec<i64>,
}

impl Skewed {
    fn new(nodes: usize, rng: &mut StdRng) -> Self {
        let mut world = World::new(nodes);
        let skews: Vec<i64> = (0..nodes).map(|_| rng.random_range(-SKEW..=SKEW)).collect();
        for (node, skew) in skews.iter().enumerate() {
            world.set_clock(node, Clock::Ahead(*skew));
        }
        Self { world, skews }
    }

    fn put_right(&mut self, node: usize) {
        self.world.set_clock(node, Clock::Ahead(self.skews[node]));
    }

    fn is_right(&self, node: usize) -> bool {
        self.world.clock_of(node) == self.world.time().saturating_add_signed(self.skews[node])
    }
}

/// Messages that a node let go because their time was over.
fn expired(world: &World, node: usize) -> u64 {
    world.core(node).shelf().stats().counters.get("expired").copied().unwrap_or(0)
}

fn seeds() -> std::ops::Range<u64> {
    0..std::env::var("QPQ_SEEDS").map_or(SEEDS, |n| n.parse().unwrap())
}

/// Random links, crashes and messages while clocks leap, stand still, and are put right again within an hour. Messages are
/// sent where the clock is right or wrong by an hour at most; one that was made ten years ahead nobody else takes for ten years.
#[test]
fn with_wrong_clocks_an_acknowledged_message_arrives_exactly_once_and_never_again() {
    for seed in seeds() {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = rng.random_range(2..6);
        let mut skewed = Skewed::new(nodes, &mut rng);
        let mut sent = Vec::new();
        for _ in 0..60 {
            let (a, b) = (rng.random_range(0..nodes), rng.random_range(0..nodes));
            match rng.random_range(0..14) {
                0..=4 if a != b => {
                    let ahead = skewed.world.clock_of(a).cast_signed() - skewed.world.time().cast_signed();
                    if ahead.abs() <= HOUR + SKEW {
                        let destination = skewed.world.peer(b).0;
                        let envelope = skewed.world.draft(a, Kind::Direct, destination);
                        let taken = skewed.world.submit(a, envelope.clone());
                        sent.extend(taken.map(|id| (b, id, envelope)));
                    }
                }
                5..=6 => skewed.world.connect(a, b),
                7 => skewed.world.disconnect(a, b),
                8 => skewed.world.crash(a),
                9 => skewed.world.set_clock(a, Clock::Ahead(LEAPS[rng.random_range(0..LEAPS.len())])),
                10 => skewed.world.set_clock(a, Clock::Frozen(skewed.world.clock_of(a))),
                11 => skewed.put_right(a),
                12 => skewed.world.steps(rng.random_range(0..20)),
                _ => skewed.world.pass(rng.random_range(0..30_000)),
            }
        }
        assert!((0..nodes).all(|node| expired(&skewed.world, node) == 0), "seed {seed}: something expired early");
        (0..nodes).for_each(|node| skewed.put_right(node));
        assert!((0..nodes).all(|node| skewed.is_right(node)));
        (1..nodes).for_each(|node| skewed.world.connect(node - 1, node));
        // What was made an hour ahead is taken when its time has come.
        skewed.world.pass((HOUR + 30 * MINUTE).unsigned_abs());
        let world = &mut skewed.world;
        let copies = |world: &World, to: usize, id: &MessageId| world.inbox(to).iter().filter(|got| *got == id).count();
        for (to, id, _) in &sent {
            assert_eq!(
                copies(world, *to, id),
                1,
                "seed {seed}: {id:?} for {to}\n{}{}",
                world.report(),
                world.traces(id)
            );
        }
        // The replay window: a neighbour says it all again, also after a restart under a clock that is years ahead.
        for (to, _, envelope) in &sent {
            world.set_clock(*to, Clock::Ahead(10 * YEAR));
            world.crash(*to);
            world.pass(10_000);
            world.set_clock(*to, Clock::Ahead(0));
            let neighbour = if *to == 0 { 1 } else { *to - 1 };
            world.connect(neighbour, *to);
            world.settle();
            world.inject(neighbour, *to, vec![envelope.wire().clone()]);
            world.settle();
        }
        for (to, id, _) in &sent {
            assert_eq!(copies(world, *to, id), 1, "seed {seed}: {id:?} came again to {to}\n{}", world.traces(id));
        }
    }
}

#[test]
fn a_clock_that_leaps_ten_years_and_comes_back_expires_nothing() {
    let mut world = World::new(2);
    let id = world.send(0, 1).unwrap();
    for leap in [10 * YEAR, -10 * YEAR, HOUR] {
        world.set_clock(0, Clock::Ahead(leap));
        world.pass(20 * MINUTE.unsigned_abs());
        world.crash(0);
        world.pass(20 * MINUTE.unsigned_abs());
        world.set_clock(0, Clock::Ahead(0));
        world.pass(10 * MINUTE.unsigned_abs());
    }
    assert_eq!((world.waiting(0), expired(&world, 0)), (1, 0));
    world.connect(0, 1);
    world.settle();
    assert_eq!(world.inbox(1), [id]);
}

#[test]
fn a_frozen_clock_holds_up_no_message() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    (0..3).for_each(|node| world.set_clock(node, Clock::Frozen(world.clock_of(node))));
    let id = world.send(0, 2).unwrap();
    world.settle();
    assert_eq!(world.inbox(2), [id]);
}
