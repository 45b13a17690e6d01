//! What is promised of broadcasts on their way: to everybody, about once, through whatever breaks.

use qpq_schemas::envelope::Refusal;
use qpq_schemas::link::Tree;

use super::mesh::{Mesh, tell};
use super::*;

/// Seeds of the random tests; more of them with QPQ_SEEDS.
fn seeds() -> std::ops::Range<u64> {
    0..std::env::var("QPQ_SEEDS").map_or(4, |n| n.parse().unwrap())
}

/// Broadcasts from random senders, one a second.
fn talk(mesh: &mut Mesh, senders: &[usize], count: usize) -> Vec<(usize, MessageId)> {
    let mut sent = Vec::new();
    for _ in 0..count {
        let from = *senders.choose(&mut mesh.rng).unwrap();
        sent.push((from, mesh.broadcast(from)));
        mesh.pass(1_000);
    }
    sent
}

/// Copies received by each node for each broadcast that was sent.
fn copies(mesh: &mut Mesh, senders: &[usize], count: usize) -> f64 {
    mesh.pass(5_000);
    let received = |mesh: &Mesh| senders.iter().map(|node| mesh.nodes[*node].copies).sum::<usize>();
    let before = received(mesh);
    let sent = talk(mesh, senders, count);
    mesh.pass(5_000);
    let groups: usize = sent.iter().map(|(from, _)| mesh.reachable(*from).len() - 1).sum();
    (received(mesh) - before) as f64 / groups.max(1) as f64
}

#[test]
fn in_a_stable_mesh_everybody_gets_each_broadcast_about_once_whoever_sends_it() {
    for seed in seeds() {
        let nodes = [10, 20, 40, 60][seed as usize % 4];
        let mut mesh = Mesh::random(nodes, seed);
        let all: Vec<usize> = (0..nodes).collect();
        let sent = talk(&mut mesh, &all, 30);
        let copies = copies(&mut mesh, &all, 40);
        assert!((0.99..=1.05).contains(&copies), "seed {seed}: {copies} copies for each node and broadcast");
        for (_, id) in sent {
            assert_eq!(mesh.holders(&id).len(), nodes, "seed {seed}");
        }
    }
}

#[test]
fn when_a_third_of_the_nodes_dies_all_that_are_still_connected_are_reached_and_the_tree_mends() {
    for seed in seeds() {
        let nodes = [30, 60][seed as usize % 2];
        let mut mesh = Mesh::random(nodes, seed);
        let mut alive: Vec<usize> = (0..nodes).collect();
        talk(&mut mesh, &alive, 20);
        for _ in 0..nodes * 3 / 10 {
            let dead = alive.remove(mesh.rng.random_range(0..alive.len()));
            mesh.isolate(dead);
        }
        let sent = talk(&mut mesh, &alive, 30);
        mesh.pass(10_000);
        for (from, id) in &sent {
            let missing: Vec<_> = mesh.reachable(*from).difference(&mesh.holders(id)).copied().collect();
            assert!(missing.is_empty(), "seed {seed}: {missing:?} lack a broadcast of {from}");
        }
        let copies = copies(&mut mesh, &alive, 40);
        assert!((0.99..=1.05).contains(&copies), "seed {seed}: {copies} copies for each node and broadcast");
    }
}

#[test]
fn links_that_come_and_go_keep_nobody_out() {
    for seed in seeds() {
        let mut mesh = Mesh::random(20, seed);
        let all: Vec<usize> = (0..20).collect();
        let mut sent = Vec::new();
        for _ in 0..60 {
            let (a, b) = (mesh.rng.random_range(0..20), mesh.rng.random_range(0..20));
            match mesh.rng.random_range(0..4) {
                0 if mesh.linked(a, b) => {
                    mesh.disconnect(a, b);
                    if !mesh.reachable(a).contains(&b) {
                        mesh.connect(a, b);
                    }
                }
                1 => mesh.connect(a, b),
                2 => {
                    let neighbours = mesh.crash(a);
                    neighbours.into_iter().for_each(|other| mesh.connect(a, other));
                }
                _ => {}
            }
            sent.extend(talk(&mut mesh, &all, 1));
        }
        mesh.pass(30_000);
        // What its sender lost in a crash before it was written was not acknowledged.
        for (from, id) in sent {
            let holders = mesh.holders(&id).len();
            assert!(holders == 20 || holders == 0, "seed {seed}: {holders} hold a broadcast of {from}");
        }
    }
}

#[test]
fn a_way_around_that_is_clearly_shorter_becomes_the_branch() {
    let mut mesh = Mesh::new(12, 3);
    (0..12).for_each(|node| mesh.connect(node, (node + 1) % 12));
    mesh.pass(5_000);
    talk(&mut mesh, &[6], 5); // so that the ring is cut near 0
    let begun = mesh.now_ms();
    talk(&mut mesh, &[0], 60);
    assert!(mesh.counter("branch-moved") > 0);
    let id = mesh.broadcast(0);
    let sent_ms = mesh.now_ms();
    mesh.pass(5_000);
    let hops = mesh.nodes.iter().filter_map(|node| node.core.shelf().get(&id)).map(|head| head.hop_count).max();
    assert!(hops.unwrap() <= 8, "{hops:?} links to the farthest of a ring of 12 after {} s", (sent_ms - begun) / 1_000);
}

#[test]
fn a_hop_limit_bounds_how_far_a_broadcast_goes_also_later() {
    let mut mesh = Mesh::new(6, 1);
    (1..5).for_each(|node| mesh.connect(node - 1, node));
    mesh.pass(5_000);
    let near = mesh.broadcast_with(0, Priority::Normal, 2);
    let here = mesh.broadcast_with(0, Priority::Normal, 0);
    let far = mesh.broadcast_with(0, Priority::Normal, 64);
    mesh.pass(5_000);
    assert_eq!(mesh.holders(&near), BTreeSet::from([0, 1, 2]));
    assert_eq!(mesh.holders(&here), BTreeSet::from([0]));
    assert_eq!(mesh.holders(&far).len(), 5);
    mesh.connect(5, 2);
    mesh.connect(5, 4);
    mesh.pass(1_000_000);
    assert_eq!(mesh.holders(&near), BTreeSet::from([0, 1, 2]), "a late joiner is three links away");
    assert!(mesh.holders(&far).contains(&5));
    mesh.connect(5, 1);
    mesh.pass(1_000_000);
    assert!(mesh.holders(&near).contains(&5), "now two");
    assert_eq!(mesh.holders(&near).len(), 4);
}

#[test]
fn everybody_within_a_small_hop_limit_is_reached_though_the_tree_leads_around() {
    for seed in seeds() {
        let mut mesh = Mesh::random(40, seed);
        let all: Vec<usize> = (0..40).collect();
        talk(&mut mesh, &all, 20);
        let before = mesh.counter("prunes");
        let id = mesh.broadcast_with(0, Priority::Normal, 1);
        mesh.pass(5_000);
        let neighbours = (1..40).filter(|node| mesh.linked(0, *node)).chain([0]).collect();
        assert_eq!(mesh.holders(&id), neighbours, "seed {seed}");
        mesh.broadcast_with(0, Priority::Normal, 3);
        mesh.pass(5_000);
        assert_eq!(mesh.counter("prunes"), before, "seed {seed}: it shapes no tree");
    }
}

#[test]
fn the_urgent_leave_first_and_what_is_no_hurry_last() {
    let config = CoreConfig { window: 1, ..CoreConfig::new(PeerId([1; 32])) };
    let mut core = Core::new(config, Shelf::new(StoreLimits::default()), 1, Box::new(world::Toy::default()));
    core.handle(Event::LinkUp { link: 1, peer: PeerId([2; 32]), domain: None }, mesh::START_MS);
    let mut mesh = Mesh::new(1, 1);
    use qpq_schemas::envelope::Priority::{Emergency, High, Low, Normal};
    use qpq_schemas::link::{Answer, Verdict};
    let mut sent = Vec::new();
    let mut order = Vec::new();
    for priority in [Normal, Low, Normal, Emergency, Low, High, Emergency] {
        let envelope = mesh.draft(0, priority, 9);
        sent.push((envelope.id(), priority));
        order.extend(offered(&submit(&mut core, envelope, mesh::START_MS)));
    }
    while let Some(id) = order.last().copied().filter(|_| order.len() < sent.len()) {
        let answer = Answer { id, verdict: Verdict::Stored, retry_after_secs: 0 };
        let effects = core.handle(Event::Frame { link: 1, frame: Frame::Custody(vec![answer]) }, mesh::START_MS);
        order.extend(offered(&effects));
    }
    let priority = |id: &MessageId| sent.iter().find(|(other, _)| other == id).unwrap().1;
    let priorities: Vec<_> = order.iter().map(priority).collect();
    // The first had nobody before it. No admin signed the emergencies, so they are high.
    assert_eq!(priorities, [Normal, Emergency, High, Emergency, Normal, Low, Low]);
}

/// The broadcasts that are sent.
fn offered(effects: &[Effect]) -> Vec<MessageId> {
    let items = effects.iter().filter_map(|effect| match effect {
        Effect::Offer { items, .. } => Some(items.iter().map(|item| item.id)),
        _ => None,
    });
    items.flatten().collect()
}

#[test]
fn an_older_node_in_the_middle_gets_and_gives_everything() {
    for seed in seeds() {
        let mut mesh = Mesh::random(12, seed);
        mesh.nodes[3].old = true;
        mesh.nodes[7].old = true;
        let neighbours: Vec<_> = [3, 7].into_iter().map(|node| (node, mesh.crash(node))).collect();
        let all: Vec<usize> = (0..12).collect();
        let missed = talk(&mut mesh, &all, 5);
        for (node, others) in neighbours {
            others.into_iter().for_each(|other| mesh.connect(node, other));
        }
        mesh.pass(15_000);
        let sent = talk(&mut mesh, &all, 20);
        mesh.pass(10_000);
        for (from, id) in missed.into_iter().chain(sent) {
            assert_eq!(mesh.holders(&id).len(), 12, "seed {seed}: a broadcast of {from}");
        }
    }
}

/// A core between two neighbours on links 1 and 2, which have shown that they know trees.
fn between_two() -> Core {
    let mut core = beside_a_stranger();
    core.handle(Event::LinkUp { link: 2, peer: PeerId([3; 32]), domain: None }, 1_000);
    for link in [1, 2] {
        core.handle(Event::Frame { link, frame: Frame::Tree(Tree::Announce(Vec::new())) }, 1_000);
    }
    core
}

/// The words about the tree that are said over a link.
fn said(effects: &[Effect], over: LinkId) -> Vec<Tree> {
    let words = effects.iter().filter_map(|effect| match effect {
        Effect::Send { link, frame: Frame::Tree(tree) } if *link == over => Some(tree.clone()),
        _ => None,
    });
    words.collect()
}

fn announce(ids: impl IntoIterator<Item = MessageId>) -> Frame {
    use qpq_schemas::link::Announced;
    Frame::Tree(Tree::Announce(ids.into_iter().map(|id| Announced { id, hops: 1 }).collect()))
}

fn made_up(number: u64) -> MessageId {
    let mut id = [5; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    MessageId(id)
}

#[test]
fn what_was_announced_and_does_not_come_is_asked_for_first_where_it_was_announced_first() {
    let mut core = between_two();
    core.handle(Event::Frame { link: 2, frame: announce([made_up(1)]) }, 1_000);
    core.handle(Event::Frame { link: 1, frame: announce([made_up(1)]) }, 1_010);
    assert!(said(&core.handle(Event::Tick, 1_400), 2).is_empty(), "it may still come along the tree");
    assert!(core.deadline_ms() <= 1_500);
    assert_eq!(said(&core.handle(Event::Tick, 1_500), 2), [Tree::Graft(vec![made_up(1)])]);
    let second = core.handle(Event::Tick, 3_000);
    assert_eq!(said(&second, 1), [Tree::Graft(vec![made_up(1)])], "then the next one");
}

#[test]
fn who_never_gives_what_it_announces_is_not_believed_any_more() {
    let mut core = between_two();
    let mut now = 1_000;
    for number in 0..64 {
        core.handle(Event::Frame { link: 1, frame: announce([made_up(number)]) }, now);
        for _ in 0..40 {
            now += 1_000;
            core.handle(Event::Tick, now);
        }
    }
    assert_eq!(core.counters().get("announcer-not-believed"), Some(&1));
    core.handle(Event::Frame { link: 1, frame: announce([made_up(99)]) }, now);
    assert!(said(&core.handle(Event::Tick, now + 2_000), 1).is_empty());
    core.handle(Event::Frame { link: 2, frame: announce([made_up(99)]) }, now + 2_000);
    assert_eq!(said(&core.handle(Event::Tick, now + 4_000), 2), [Tree::Graft(vec![made_up(99)])], "others are");
}

#[test]
fn announcements_of_random_ids_take_a_bounded_room_and_push_out_nobody_else_s() {
    let mut core = between_two();
    for block in 0..100 {
        let ids = (0..1_024).map(|n| made_up(block * 1_024 + n));
        core.handle(Event::Frame { link: 1, frame: announce(ids) }, 1_000);
    }
    core.handle(Event::Frame { link: 2, frame: announce([made_up(1 << 40)]) }, 1_000);
    assert_eq!(core.counters()["announcement-no-room"], 100 * 1_024 - 2_048);
    let mut asked = Vec::new();
    while core.deadline_ms() <= 1_500 {
        asked.extend(said(&core.handle(Event::Tick, 1_500), 2));
    }
    assert_eq!(asked, [Tree::Graft(vec![made_up(1 << 40)])]);
}

/// The broadcasts that are asked for as missed over a link.
fn wanted(effects: &[Effect], over: LinkId) -> Vec<MessageId> {
    let ids = effects.iter().filter_map(|effect| match effect {
        Effect::Send { link, frame: Frame::Sync(qpq_schemas::link::Sync::Want(ids)) } if *link == over => {
            Some(ids.clone())
        }
        _ => None,
    });
    ids.flatten().collect()
}

fn have(ids: impl IntoIterator<Item = MessageId>) -> Frame {
    Frame::Sync(qpq_schemas::link::Sync::Have(ids.into_iter().collect()))
}

/// A core with neighbours on links 1 to `count`, which have shown that they know trees.
fn among(count: u64) -> Core {
    let mut core = between_two();
    for link in 3..=count {
        core.handle(Event::LinkUp { link, peer: PeerId([link as u8 + 1; 32]), domain: None }, 1_000);
        core.handle(Event::Frame { link, frame: announce([]) }, 1_000);
    }
    core
}

#[test]
fn neighbours_that_fill_all_the_room_with_what_nobody_has_hold_up_nobody_else() {
    let mut core = among(5);
    for link in 1..=4 {
        for block in 0..16 {
            let number = |n: u64| made_up((link << 32) + block * 1_024 + n);
            core.handle(Event::Frame { link, frame: have((0..1_024).map(number)) }, 1_000);
        }
    }
    let honest: Vec<_> = (0..3_000).map(|n| made_up((9 << 32) + n)).collect();
    let mut asked = Vec::new();
    for ids in honest.chunks(1_000) {
        asked.extend(wanted(&core.handle(Event::Frame { link: 5, frame: have(ids.to_vec()) }, 1_000), 5));
    }
    while core.deadline_ms() <= 1_000 {
        asked.extend(wanted(&core.handle(Event::Tick, 1_000), 5));
    }
    asked.sort_unstable();
    assert_eq!(asked, honest);
    assert_eq!(core.counters().get("announcement-no-room"), None);
}

#[test]
fn each_neighbour_has_its_turn_while_others_have_named_thousands() {
    let mut core = among(3);
    for link in [1, 2] {
        let mut ids = (0..16_384).map(|n| made_up((link << 32) + n));
        // All at the same moment, so that all of it is due when the third one speaks.
        for _ in 0..2 {
            core.handle(Event::Frame { link, frame: announce(ids.by_ref().take(1_024)) }, 1_000);
        }
    }
    let last = made_up(u64::MAX);
    core.handle(Event::Frame { link: 3, frame: announce([last]) }, 1_000);
    assert_eq!(said(&core.handle(Event::Tick, 1_500), 3), [Tree::Graft(vec![last])], "in the first step");
}

#[test]
fn who_gives_little_of_what_it_announces_is_asked_after_others() {
    let mut core = between_two();
    core.handle(Event::Frame { link: 2, frame: announce((0..20).map(made_up)) }, 1_000);
    let mut now = 1_000;
    for _ in 0..40 {
        now += 1_000;
        core.handle(Event::Tick, now);
    }
    core.handle(Event::Frame { link: 2, frame: announce([made_up(99)]) }, now);
    core.handle(Event::Frame { link: 1, frame: announce([made_up(99)]) }, now);
    let asked = core.handle(Event::Tick, now + 600);
    assert_eq!((said(&asked, 1).len(), said(&asked, 2).len()), (1, 0), "though it was the first to announce it");
}

#[test]
fn one_that_gives_now_and_then_is_believed_no_longer_than_one_that_never_does() {
    let mut core = between_two();
    let mut mesh = Mesh::new(1, 1);
    let mut now = mesh::START_MS;
    for round in 0..20 {
        let given = mesh.draft(0, Priority::Normal, 9);
        let named = (0..5).map(|n| made_up(round * 5 + n)).chain([given.id()]);
        core.handle(Event::Frame { link: 1, frame: announce(named) }, now);
        now += 600;
        core.handle(Event::Tick, now);
        let wire = given.wire().clone();
        let effects = core.handle(Event::Frame { link: 1, frame: Frame::Envelopes(vec![wire]) }, now);
        for effect in effects {
            if let Effect::Verify { ticket, .. } = effect {
                let checked = core.handle(Event::Verified { ticket, verdicts: vec![Ok(())] }, now);
                for effect in checked {
                    if let Effect::Persist { ticket, .. } = effect {
                        core.handle(Event::Persisted { ticket, result: Ok(()) }, now);
                    }
                }
            }
        }
        for _ in 0..40 {
            now += 1_000;
            core.handle(Event::Tick, now);
        }
    }
    assert_eq!(core.counters().get("announcer-not-believed"), Some(&1));
}

#[test]
fn a_neighbour_that_prunes_gets_announcements_and_what_it_asks_for() {
    let mut core = between_two();
    let mut mesh = Mesh::new(1, 1);
    core.handle(Event::Frame { link: 1, frame: Frame::Tree(Tree::Prune) }, mesh::START_MS);
    let envelope = mesh.draft(0, Priority::Normal, 9);
    let id = envelope.id();
    assert_eq!(offers(&submit(&mut core, envelope, mesh::START_MS)), [2]);
    let told = core.handle(Event::Tick, mesh::START_MS + 60);
    assert_eq!(said(&told, 1).len(), 1, "announced");
    let asked = core.handle(Event::Frame { link: 1, frame: Frame::Tree(Tree::Graft(vec![id])) }, mesh::START_MS + 60);
    assert_eq!(offers(&asked), [1]);
    let again = Frame::Tree(Tree::Graft(vec![id; 1_024]));
    let asked = core.handle(Event::Frame { link: 1, frame: again }, mesh::START_MS + 60);
    assert!(offers(&asked).is_empty(), "nothing goes twice before it is answered");
}

#[test]
fn a_forged_copy_that_comes_first_cuts_nobody_out_of_the_tree() {
    let mut core = between_two();
    let mut mesh = Mesh::new(1, 1);
    let wire = mesh.draft(0, Priority::Normal, 9).wire().clone();
    let mut forged = wire.to_vec();
    let last = forged.len() - 2;
    forged[last] ^= 1;
    let now = mesh::START_MS;
    let effects = core.handle(Event::Frame { link: 1, frame: Frame::Envelopes(vec![forged.into()]) }, now);
    let ticket = effects.iter().find_map(|e| if let Effect::Verify { ticket, .. } = e { Some(*ticket) } else { None });
    let mut said_to_2 = said(&core.handle(Event::Frame { link: 2, frame: Frame::Envelopes(vec![wire]) }, now), 2);
    let refused = Event::Verified { ticket: ticket.unwrap(), verdicts: vec![Err(Refusal::Signature)] };
    said_to_2.extend(said(&core.handle(refused, now), 2));
    assert!(said_to_2.is_empty(), "{said_to_2:?}");
}

#[test]
fn a_broadcast_reaches_a_neighbour_with_two_links_once_also_when_one_of_them_ends() {
    let mut world = World::new(3);
    world.connect_lane(0, 1, 0);
    world.connect_lane(0, 1, 1);
    world.connect(1, 2);
    (0..3).for_each(|node| world.subscribe(node));
    world.settle();
    let mut sent = vec![world.broadcast(0).unwrap()];
    world.settle();
    assert_eq!(world.counter(1, "received"), 1);
    sent.push(world.broadcast(0).unwrap());
    world.cut_lane(0, 1, 0);
    world.settle();
    sent.push(world.broadcast(2).unwrap());
    world.connect_lane(0, 1, 2);
    world.succeed(0, 1, [1, 2]);
    sent.push(world.broadcast(0).unwrap());
    world.pass(5_000);
    for node in 0..3 {
        let mut inbox = world.inbox(node);
        inbox.sort_unstable();
        let mut all = sent.clone();
        all.sort_unstable();
        assert_eq!(inbox, all, "node {node}\n{}", world.report());
    }
    assert_eq!(world.counter(1, "prunes") + world.counter(0, "prunes"), 0, "a copy that came again shows no loop");
}

/// What a large mesh costs. `cargo test -p qpq-host --lib -- --ignored --nocapture a_thousand_nodes`
#[test]
#[ignore = "a measurement, and takes minutes in a debug build"]
fn a_thousand_nodes_get_each_broadcast_about_once_and_soon() {
    let nodes = std::env::var("QPQ_NODES").map_or(1_000, |n| n.parse().unwrap());
    let mut mesh = Mesh::random(nodes, 7);
    let mut alive: Vec<usize> = (0..nodes).collect();
    talk(&mut mesh, &alive, 20);
    for round in ["stable", "after 10 % died", "after 30 % more died"] {
        mesh.pass(5_000);
        let before = (mesh.traffic, mesh.nodes.iter().map(|node| node.copies).sum::<usize>());
        let (mut worst, mut reached, mut expected) = (Vec::new(), 0, 0);
        for _ in 0..15 {
            let from = *alive.choose(&mut mesh.rng).unwrap();
            let (id, sent_ms) = (mesh.broadcast(from), mesh.now_ms());
            mesh.pass(10_000);
            worst.push(mesh.last_ms[&id] - sent_ms);
            let group = mesh.reachable(from);
            expected += group.len();
            reached += mesh.holders(&id).intersection(&group).count();
        }
        let copies = mesh.nodes.iter().map(|node| node.copies).sum::<usize>() - before.1;
        let copies = copies as f64 / (expected - 15) as f64;
        let tree = (mesh.traffic.tree - before.0.tree) / expected;
        tell(&format!(
            "{round}: {copies:.3} copies, {reached} of {expected} reached, {tree} B of announcements for each node and \
             broadcast, last node after {worst:?} ms (2 to 5 ms of disk at each)"
        ));
        assert_eq!(reached, expected);
        assert!(round != "stable" || copies <= 1.05);
        let dying = if round == "stable" { nodes / 10 } else { nodes * 3 / 10 };
        for _ in 0..dying {
            let dead = alive.remove(mesh.rng.random_range(0..alive.len()));
            mesh.isolate(dead);
        }
    }
}
