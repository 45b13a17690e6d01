use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { max_origins: 16, lifetime_ms: 1_000, hold_down_ms: 100 };

fn key(n: u8) -> Key {
    [n; 32]
}

/// Neighbours 1, 2 and 3 on the links 10, 20 and 30.
fn star() -> Flood {
    let mut flood = Flood::new(LIMITS);
    for n in 1..=3u8 {
        flood.link_up(u64::from(n) * 10, key(n));
    }
    flood
}

#[test]
fn the_unknown_is_flooded_to_all_but_where_it_came_from() {
    let flood = star();
    assert_eq!(flood.route_direct(&key(9), None, 0), Choice::Flood(vec![10, 20, 30]));
    assert_eq!(flood.route_direct(&key(9), Some(20), 0), Choice::Flood(vec![10, 30]));
    assert_eq!(flood.flood(Some(10)), Choice::Flood(vec![20, 30]));
}

#[test]
fn a_neighbour_is_its_own_next_hop_whatever_was_learned() {
    let mut flood = star();
    flood.seen(key(1), 20, 1, 0);
    assert_eq!(flood.route_direct(&key(1), None, 0), Choice::Known(10));
    flood.link_down(10);
    assert_eq!(flood.route_direct(&key(1), None, 0), Choice::Known(20));
}

#[test]
fn what_came_in_teaches_the_way_back() {
    let mut flood = star();
    assert_eq!(flood.seen(key(9), 20, 2, 0), Observed::New);
    assert_eq!(flood.route_direct(&key(9), None, 0), Choice::Known(20));
    assert_eq!(flood.route_direct(&key(9), Some(20), 0), Choice::Flood(vec![10, 30]));
    assert_eq!(flood.route_direct(&key(9), None, 1_000), Choice::Flood(vec![10, 20, 30]));
}

#[test]
fn a_lost_link_takes_what_was_learned_over_it() {
    let mut flood = star();
    flood.seen(key(9), 20, 2, 0);
    assert_eq!(flood.link_down(20), vec![key(9)]);
    assert_eq!(flood.route_direct(&key(9), None, 0), Choice::Flood(vec![10, 30]));
    assert_eq!(flood.link_down(20), Vec::<Key>::new());
}

#[test]
fn parallel_links_count_as_one_neighbour() {
    let mut flood = star();
    flood.link_up(21, key(2));
    flood.seen(key(9), 20, 2, 0);
    assert_eq!(flood.flood(None), Choice::Flood(vec![10, 20, 30]));
    assert_eq!(flood.flood(Some(21)), Choice::Flood(vec![10, 30]));
    assert_eq!(flood.route_direct(&key(9), Some(21), 0), Choice::Flood(vec![10, 30]));
    assert_eq!(flood.link_down(20), Vec::<Key>::new());
    assert_eq!(flood.route_direct(&key(9), None, 0), Choice::Known(21));
}

#[test]
fn a_reused_link_number_inherits_nothing() {
    let mut flood = star();
    flood.seen(key(9), 20, 2, 0);
    flood.link_up(20, key(4));
    assert_eq!(flood.route_direct(&key(9), None, 0), Choice::Flood(vec![10, 20, 30]));
    assert_eq!(flood.route_direct(&key(2), None, 0), Choice::Flood(vec![10, 20, 30]));
}

#[test]
fn a_link_that_is_not_up_teaches_nothing() {
    let mut flood = star();
    assert_eq!(flood.seen(key(9), 99, 2, 0), Observed::Ignored);
    assert_eq!(flood.learned_count(), (0, 0));
}

#[test]
fn the_table_lists_neighbours_and_learned_origins() {
    let mut flood = star();
    flood.seen(key(9), 20, 3, 10);
    flood.seen(key(1), 20, 3, 10);
    let routes = flood.routes(25);
    let lines: Vec<_> = routes.iter().map(|route| (route.destination, route.hops)).collect();
    assert_eq!(lines, [(key(1), 1), (key(2), 1), (key(3), 1), (key(9), 3)]);
    assert_eq!(routes[3], Route { destination: key(9), next_hop: key(2), link: 20, hops: 3, age_ms: 15 });
}

/// What can happen to the machine.
#[derive(Debug, Clone)]
enum Step {
    Up(u64, u8),
    Down(u64),
    Seen(u8, u64, u8),
    Wait(u64),
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0u64..6, 0u8..4).prop_map(|(link, peer)| Step::Up(link, peer)),
        (0u64..6).prop_map(Step::Down),
        (0u8..24, 0u64..6, 0u8..8).prop_map(|(origin, link, hops)| Step::Seen(origin, link, hops)),
        (0u64..400).prop_map(Step::Wait),
        Just(Step::Tick),
    ];
    prop::collection::vec(step, 0..200)
}

fn play(steps: &[Step]) -> (Flood, u64) {
    let (mut flood, mut now) = (Flood::new(LIMITS), 0);
    for step in steps {
        match *step {
            Step::Up(link, peer) => flood.link_up(link, key(peer)),
            Step::Down(link) => drop(flood.link_down(link)),
            Step::Seen(origin, link, hops) => {
                flood.seen(key(origin), link, hops, now);
            }
            Step::Wait(ms) => now += ms,
            Step::Tick => {
                flood.tick(now);
            }
        }
    }
    (flood, now)
}

proptest! {
    /// No answer names a dead link, the link that the envelope came from, or its neighbour; none names a neighbour twice.
    #[test]
    fn answers_name_live_links_and_never_go_back(
        steps in steps(), destination in 0u8..24, from in prop::option::of(0u64..6),
    ) {
        let (flood, now) = play(&steps);
        let came_from = from.and_then(|link| flood.links.get(&link));
        for choice in [flood.route_direct(&key(destination), from, now), flood.flood(from)] {
            let links = match choice { Choice::Known(link) => vec![link], Choice::Flood(links) => links };
            let mut peers: Vec<_> = links.iter().map(|link| flood.links.get(link)).collect();
            prop_assert!(peers.iter().all(|peer| peer.is_some() && *peer != came_from));
            peers.sort_unstable();
            peers.dedup();
            prop_assert_eq!(peers.len(), links.len());
        }
    }

    /// A flood reaches every neighbour but the one that it came from.
    #[test]
    fn a_flood_leaves_nobody_out(steps in steps(), from in prop::option::of(0u64..6)) {
        let (flood, _) = play(&steps);
        let came_from = from.and_then(|link| flood.links.get(&link));
        let Choice::Flood(links) = flood.flood(from) else { panic!("a flood is a flood") };
        let wanted = flood.neighbours.keys().filter(|peer| Some(*peer) != came_from).count();
        prop_assert_eq!(links.len(), wanted);
    }

    /// The same history gives the same answers.
    #[test]
    fn the_machine_is_deterministic(steps in steps(), destination in 0u8..24) {
        let ((one, now), (two, _)) = (play(&steps), play(&steps));
        prop_assert_eq!(one.routes(now), two.routes(now));
        prop_assert_eq!(one.route_direct(&key(destination), None, now), two.route_direct(&key(destination), None, now));
    }

    /// A neighbour that is up is always reached over its own link.
    #[test]
    fn neighbours_are_reached_directly(steps in steps()) {
        let (flood, now) = play(&steps);
        for (peer, parallel) in &flood.neighbours {
            let Choice::Known(link) = flood.route_direct(peer, None, now) else { panic!("a neighbour is known") };
            prop_assert!(parallel.contains(&link));
        }
    }
}
