//! What is promised to those who were away: the history that they lack, at the cost of what they lack.

use qpq_schemas::link::{Part, Place, Range, Reconcile, Sync};

use super::mesh::Mesh;
use super::*;
use crate::store::{Head, Places};

/// A broadcast that somebody once made, as it stands in a store. Its envelope is nowhere.
fn made(number: u64, now_ms: u64) -> Head {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..16].copy_from_slice(&number.to_be_bytes());
    Head {
        seq: number + 1,
        id: MessageId(id),
        kind: Kind::Broadcast,
        priority: Priority::Normal,
        hop_count: 1,
        max_hops: 64,
        places: Places::HISTORY,
        sender: PeerId([77; 32]),
        destination: [(number % 10) as u8; 32],
        wire_len: 300,
        created_ms: now_ms - 1_000_000 + number * 50,
        received_ms: now_ms,
        expires_ms: now_ms + 1_000_000_000,
        source: None,
    }
}

/// Two nodes that hold the same made-up broadcasts.
fn alike(count: u64, seed: u64) -> Mesh {
    let mut mesh = Mesh::new(2, seed);
    let limits = StoreLimits { topic_messages: 100_000, ..StoreLimits::default() };
    let now = mesh.now_ms();
    for node in 0..2 {
        mesh.set_limits(node, limits.clone());
        (0..count).for_each(|number| mesh.nodes[node].put(made(number, now), None));
        mesh.nodes[node].restart();
    }
    mesh
}

#[test]
fn comparing_costs_what_two_neighbours_differ_in_not_what_they_hold() {
    let mut bytes = Vec::new();
    for differing in [0, 10, 100] {
        let mut mesh = alike(10_000, 5);
        // Made by turns here and there while both were apart.
        let apart: Vec<MessageId> = (0..differing)
            .map(|n| {
                mesh.pass(100);
                mesh.broadcast(n % 2)
            })
            .collect();
        mesh.pass(1_000);
        mesh.connect(0, 1);
        mesh.pass(10_000);
        assert!(apart.iter().all(|id| mesh.holders(id).len() == 2), "{differing} differ");
        bytes.push(mesh.traffic.compare + mesh.traffic.lists);
        eprintln!("10,000 held by both, {differing} differ: {:?}", mesh.traffic);
    }
    assert!(bytes[0] < 300, "nothing differs: {bytes:?}");
    assert!(bytes[1] < 6_000 && bytes[2] < 15_000, "{bytes:?}");
}

#[test]
fn differences_that_lie_everywhere_are_found_too() {
    let mut mesh = alike(10_000, 6);
    let now = mesh.now_ms();
    let mut lacking = Vec::new();
    for n in 0..10 {
        // An envelope of which one of both knows nothing, old ones as well.
        let mut head = made(n * 997 + 13, now);
        head.seq += 20_000;
        head.created_ms += 7;
        let envelope = mesh.draft(0, Priority::Normal, 9);
        (head.id, head.wire_len) = (envelope.id(), envelope.wire().len() as u32);
        mesh.nodes[(n % 2) as usize].put(head, Some(envelope.wire().clone()));
        lacking.push(head.id);
    }
    (0..2).for_each(|node| mesh.nodes[node].restart());
    mesh.connect(0, 1);
    mesh.pass(10_000);
    assert!(lacking.iter().all(|id| mesh.holders(id).len() == 2), "{:?}", mesh.traffic);
    eprintln!("10,000 held by both, 10 differ here and there: {:?}", mesh.traffic);
    assert!(mesh.traffic.compare + mesh.traffic.lists < 15_000, "{:?}", mesh.traffic);
    assert_eq!(mesh.nodes[0].copies + mesh.nodes[1].copies, 10, "each was sent once");
}

#[test]
fn a_late_joiner_gets_all_of_it_once_from_all_its_neighbours_together() {
    let mut mesh = Mesh::new(5, 2);
    (1..4).for_each(|node| mesh.connect(0, node));
    mesh.pass(5_000);
    let sent: Vec<MessageId> = (0..300)
        .map(|_| {
            mesh.pass(20);
            mesh.broadcast(0)
        })
        .collect();
    mesh.pass(5_000);
    (1..4).for_each(|node| mesh.connect(4, node));
    mesh.pass(10_000);
    assert_eq!(mesh.history(4), sent.iter().copied().collect());
    assert_eq!(mesh.nodes[4].copies, 300, "nothing came twice");
    mesh.crash(4);
    (1..4).for_each(|node| mesh.connect(4, node));
    mesh.pass(10_000);
    assert_eq!(mesh.nodes[4].copies, 300, "nor again after a crash");
}

#[test]
fn islands_that_meet_end_with_one_history() {
    for seed in 0..4 {
        let mut mesh = Mesh::new(20, seed);
        for island in [0, 10] {
            (1..10).for_each(|n| {
                let other = island + mesh.rng.random_range(0..n);
                mesh.connect(island + n, other);
            });
            (0..8).for_each(|_| {
                let (a, b) = (mesh.rng.random_range(0..10), mesh.rng.random_range(0..10));
                mesh.connect(island + a, island + b);
            });
        }
        mesh.pass(5_000);
        for _ in 0..200 {
            let from = mesh.rng.random_range(0..20);
            mesh.broadcast(from);
            mesh.pass(100);
        }
        mesh.connect(3, 13);
        mesh.connect(8, 18);
        mesh.pass(20_000);
        let whole = mesh.history(0);
        assert_eq!(whole.len(), 200, "seed {seed}");
        (1..20).for_each(|node| assert_eq!(mesh.history(node), whole, "seed {seed}: node {node}"));
        let copies: usize = mesh.nodes.iter().map(|node| node.copies).sum();
        assert!(copies < 20 * 200 * 3 / 2, "seed {seed}: {copies} copies");
    }
}

#[test]
fn what_a_neighbour_had_no_room_for_is_offered_again() {
    let mut mesh = Mesh::new(2, 1);
    mesh.set_limits(1, StoreLimits { total_messages: 10, ..StoreLimits::default() });
    mesh.connect(0, 1);
    mesh.pass(5_000);
    let sent: Vec<MessageId> = (0..30)
        .map(|_| {
            mesh.pass(1_000);
            mesh.broadcast(0)
        })
        .collect();
    mesh.pass(100_000);
    assert_eq!(mesh.history(1), sent[20..].iter().copied().collect(), "the newest");
}

#[test]
fn neighbours_with_other_limits_neither_fetch_again_what_they_gave_up_nor_compare_without_end() {
    let mut mesh = Mesh::new(3, 4);
    mesh.set_limits(1, StoreLimits { topic_messages: 50, ..StoreLimits::default() });
    mesh.connect(0, 1);
    mesh.connect(1, 2);
    mesh.pass(5_000);
    (0..200).for_each(|_| {
        mesh.broadcast(0);
        mesh.pass(100);
    });
    mesh.pass(5_000);
    assert_eq!((mesh.history(0).len(), mesh.history(1).len(), mesh.history(2).len()), (200, 50, 200));
    let (copies, before) = (mesh.nodes[1].copies, mesh.traffic);
    mesh.pass(24 * 3_600_000);
    assert_eq!(mesh.nodes[1].copies, copies, "nothing was fetched again");
    let day = mesh.traffic.compare + mesh.traffic.lists - before.compare - before.lists;
    assert!(day < 1_500_000, "{day} bytes in a day");
    mesh.crash(1);
    mesh.connect(0, 1);
    mesh.pass(60_000);
    assert_eq!(mesh.nodes[1].copies, copies, "also not after a crash");
}

#[test]
fn a_small_node_that_joins_late_ends_with_the_newest() {
    let mut mesh = Mesh::new(2, 4);
    mesh.set_limits(1, StoreLimits { topic_messages: 50, ..StoreLimits::default() });
    let sent: Vec<MessageId> = (0..200)
        .map(|_| {
            mesh.pass(10_000);
            mesh.broadcast(0)
        })
        .collect();
    mesh.connect(0, 1);
    mesh.pass(60_000);
    assert_eq!(mesh.history(1), sent[150..].iter().copied().collect());
    let copies = mesh.nodes[1].copies;
    mesh.pass(4_000_000);
    assert_eq!(mesh.nodes[1].copies, copies, "what it gave up is known");
}

#[test]
fn what_is_older_than_a_topic_keeps_goes_and_does_not_come_back() {
    let mut mesh = Mesh::new(2, 4);
    mesh.set_limits(1, StoreLimits { topic_age_secs: 3_600, ..StoreLimits::default() });
    let old = mesh.broadcast(0);
    mesh.pass(4_000_000);
    let new = mesh.broadcast(0);
    mesh.connect(0, 1);
    mesh.pass(60_000);
    assert_eq!(mesh.history(1), BTreeSet::from([new]));
    assert_eq!(mesh.history(0), BTreeSet::from([old, new]));
    mesh.pass(4_000_000);
    assert!(mesh.history(1).is_empty());
    assert_eq!(mesh.nodes[1].copies, 1);
}

#[test]
fn whatever_one_says_in_a_comparison_the_other_answers_little_and_ends() {
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut mesh = alike(3_000, 1);
    let peer = PeerId([9; 32]);
    let now = mesh.now_ms();
    let core = &mut mesh.nodes[0].core;
    core.handle(Event::LinkUp { link: 7, peer, domain: None }, now);
    let (mut answers, mut out, mut asked) = (0, 0, 0);
    for step in 0..2_000_u64 {
        let mut places: Vec<Place> = (0..rng.random_range(2..400))
            .map(|_| Place { created_ms: now - 1_100_000 + rng.random_range(0..300_000), id: rng.random() })
            .collect();
        places.sort_unstable();
        places.dedup();
        let mut left = 500;
        let mut part = |rng: &mut StdRng| match rng.random_range(0..3) {
            0 => Part::Skip,
            1 => Part::Fingerprint(rng.random()),
            _ => {
                let count = rng.random_range(0..20_usize).min(left);
                left -= count;
                Part::Ids((0..count).map(|_| MessageId(rng.random())).collect())
            }
        };
        let ranges = places[1..].iter().map(|to| Range { to: *to, part: part(&mut rng) }).collect();
        let frame = Reconcile { session: rng.random(), opener: rng.random(), from: places[0], ranges };
        for effect in core.handle(Event::Frame { link: 7, frame: Frame::Reconcile(frame) }, now + step) {
            let Effect::Send { frame, .. } = effect else { continue };
            let mut bytes = Vec::new();
            frame.encode(&mut bytes).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            out += bytes.len();
            match frame {
                Frame::Reconcile(_) => answers += 1,
                Frame::Sync(Sync::Want(ids)) => asked += ids.len(),
                _ => {}
            }
        }
    }
    assert!(answers <= 64 + 2 * 16 + 4, "seed {seed}: {answers} steps were answered in 2 s");
    assert!(asked <= 16_384, "seed {seed}: {asked}");
    assert!(out < 4 << 20, "seed {seed}: {out} bytes");
}

#[test]
fn what_a_neighbour_wants_of_a_late_joiner_comes_before_the_rest() {
    use qpq_schemas::link::SubscriptionChange;
    let mut core = beside_a_stranger();
    let now = mesh::START_MS;
    let mut mesh = Mesh::new(1, 1);
    let other = mesh.draft(0, Priority::Normal, 9);
    let key = qpq_schemas::signature::SigningKey::from_seed(&[7; 32]);
    let view = other.view();
    let wanted = qpq_schemas::envelope::Draft {
        kind: Kind::Broadcast,
        flags: view.flags(),
        max_hops: 9,
        ttl_secs: 60,
        created_ms: view.created_ms(),
        nonce: [1; 8],
        destination: [42; 32],
        payload: Vec::new(),
    };
    let wanted = wanted.sign(&key).unwrap();
    let ids = [other.id(), wanted.id()];
    core.handle(Event::LinkDown { link: 1 }, now);
    submit(&mut core, other, now);
    submit(&mut core, wanted, now);
    core.handle(Event::LinkUp { link: 2, peer: PeerId([3; 32]), domain: None }, now);
    let topics = Frame::Subscriptions(SubscriptionChange::Set, vec![TopicId([42; 32])]);
    core.handle(Event::Frame { link: 2, frame: topics }, now);
    let effects = core.handle(Event::Frame { link: 2, frame: Frame::Sync(Sync::Want(ids.to_vec())) }, now);
    let order = effects.iter().find_map(|effect| match effect {
        Effect::Offer { items, .. } => Some(items.iter().map(|item| item.id).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(order, Some(vec![ids[1], ids[0]]));
}
