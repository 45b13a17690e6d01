//! What crosses between domains, and what doesn't.

use qpq_schemas::link::{Home, Resolve};

use super::super::federation::{Destination, FederationPolicy, GATEWAY_PREFIX, Limit};
use super::world::{TOPIC, Toy, World};
use super::*;

/// Domains with one gateway each, which are linked in a line: A – B – C ….
fn gateways(policies: Vec<FederationPolicy>) -> World {
    let mut world = World::new(policies.len());
    let count = policies.len();
    for (node, policy) in policies.into_iter().enumerate() {
        world.federate(node, policy);
        world.introduce(node);
    }
    (1..count).for_each(|node| world.connect(node - 1, node));
    world.settle();
    world
}

fn policy(domain: &str) -> FederationPolicy {
    FederationPolicy::new(domain)
}

fn carrier(domain: &str) -> FederationPolicy {
    FederationPolicy { transit: true, ..policy(domain) }
}

fn bridge(domain: &str) -> FederationPolicy {
    FederationPolicy { topics: [TOPIC].into(), ..policy(domain) }
}

/// 0 and 1 are of domain A, 2 and 3 of B; 1 and 2 are the gateways.
fn two_domains(a: FederationPolicy, b: FederationPolicy) -> World {
    let mut world = World::new(4);
    world.settle_in(0, &a.domain);
    world.settle_in(3, &b.domain);
    world.federate(1, a);
    world.federate(2, b);
    world.connect(0, 1);
    world.connect(2, 3);
    (0..4).for_each(|node| world.introduce(node));
    world.connect(1, 2);
    world.settle();
    world
}

#[test]
fn mail_finds_its_way_to_another_domain_and_its_receipt_comes_back() {
    let mut world = two_domains(policy("a"), policy("b"));
    let id = world.send_with_receipt(0, 3).unwrap();
    world.settle();
    assert_eq!(world.inbox(3), [id], "{}", world.report());
    assert_eq!(world.delivered(0), [id]);
    assert_eq!((world.waiting(1), world.waiting(2)), (0, 0), "custody was passed on");
}

#[test]
fn neither_records_nor_routes_nor_history_cross_by_themselves() {
    let mut world = two_domains(policy("a"), policy("b"));
    world.subscribe(3);
    world.broadcast(0).unwrap();
    world.settle();
    assert!(world.inbox(3).is_empty());
    let (inner, gateway) = (world.peer(3), world.peer(2));
    assert!(world.core(1).records().get(&inner).is_none(), "nobody asked for it");
    assert!(world.core(1).records().get(&gateway).is_some(), "a gateway says who it is");
    assert!(world.core(0).records().get(&gateway).is_none(), "and that goes no further");
    world.disconnect(0, 1);
    world.connect(0, 1);
    world.settle();
    assert!(world.core(0).records().get(&gateway).is_none(), "nor when the two meet again");
}

#[test]
fn a_channel_is_bridged_when_both_sides_want_it() {
    for (a, b, crosses) in
        [(bridge("a"), bridge("b"), true), (bridge("a"), policy("b"), false), (policy("a"), bridge("b"), false)]
    {
        let mut world = two_domains(a, b);
        world.subscribe(3);
        let id = world.broadcast(0).unwrap();
        world.settle();
        assert_eq!(world.inbox(3) == [id], crosses);
    }
}

#[test]
fn a_bridged_channel_converges_after_a_partition() {
    let mut world = two_domains(bridge("a"), bridge("b"));
    world.subscribe(0);
    world.subscribe(3);
    world.disconnect(1, 2);
    let there = world.broadcast(0).unwrap();
    let back = world.broadcast(3).unwrap();
    world.settle();
    world.connect(1, 2);
    world.pass(30_000);
    for node in [0, 3] {
        let mut inbox = world.inbox(node);
        inbox.sort_unstable();
        let mut all = vec![there, back];
        all.sort_unstable();
        assert_eq!(inbox, all, "node {node}");
    }
}

#[test]
fn mail_is_carried_between_other_domains_only_by_one_that_wants_to() {
    for (middle, carried) in [(policy("b"), false), (carrier("b"), true)] {
        let mut world = gateways(vec![policy("a"), middle, policy("c")]);
        let id = world.send(0, 2).unwrap();
        world.pass(20_000);
        assert_eq!(world.inbox(2) == [id], carried, "{}", world.report());
        assert_eq!(world.waiting(0), usize::from(!carried), "who doesn't find a way keeps it");
    }
}

#[test]
fn mail_for_a_domain_that_was_named_waits_for_its_link_and_survives_crashes() {
    let mut world = gateways(vec![policy("a"), policy("b")]);
    world.disconnect(0, 1);
    let id = world.send(0, 1).unwrap();
    world.crash(0);
    world.pass(5_000);
    assert_eq!(world.waiting(0), 1);
    world.connect(0, 1);
    world.pass(5_000);
    assert_eq!(world.inbox(1), [id]);
    assert_eq!(world.waiting(0), 0);
}

#[test]
fn what_one_domain_brought_does_not_leave_by_another_after_a_restart_either() {
    let mut world = gateways(vec![policy("a"), policy("b"), policy("c")]);
    world.disconnect(1, 2);
    // B takes it, since it knows nothing of the recipient yet.
    let stranger = PeerId([7; 32]);
    let envelope = world.draft(0, Kind::Direct, stranger.0);
    world.inject(0, 1, vec![envelope.wire().clone()]);
    world.settle();
    assert_eq!(world.waiting(1), 1);
    world.crash(1);
    world.event(1, Event::Home { peer: stranger, domain: Some("c".into()) });
    world.connect(1, 2);
    world.pass(60_000);
    assert_eq!((world.waiting(1), world.waiting(2)), (1, 0), "{}", world.report());
}

#[test]
fn domains_that_carry_for_each_other_in_a_ring_end_every_loop() {
    let all = ["a", "b", "c"].map(|domain| FederationPolicy { topics: [TOPIC].into(), ..carrier(domain) });
    let mut world = gateways(all.to_vec());
    world.connect(2, 0);
    (0..3).for_each(|node| world.subscribe(node));
    let id = world.broadcast(0).unwrap();
    let lost = world.draft(0, Kind::Direct, [7; 32]);
    world.inject(0, 1, vec![lost.wire().clone()]);
    world.settle(); // or it never would
    world.pass(120_000);
    for node in 0..3 {
        assert_eq!(world.inbox(node), [id], "node {node}");
    }
}

#[test]
fn a_domain_that_is_blocked_not_allowed_or_our_own_gets_no_link() {
    let list = |domain: &str| [domain.to_owned()].into();
    for other in
        [FederationPolicy { block: list("b"), ..policy("a") }, FederationPolicy { allow: list("c"), ..policy("a") }]
    {
        let world = gateways(vec![other, policy("b")]);
        assert!(world.core(0).domains().is_empty());
    }
    let mut world = gateways(vec![policy("a")]);
    world.event(0, Event::LinkUp { link: 77, peer: PeerId([2; 32]), domain: Some("a".into()) });
    assert!(world.core(0).links_in_use().is_empty());
}

#[test]
fn a_node_without_a_policy_has_no_links_between_domains() {
    let mut world = World::new(1);
    world.event(0, Event::LinkUp { link: 77, peer: PeerId([2; 32]), domain: Some("b".into()) });
    assert!(world.core(0).links_in_use().is_empty());
}

#[test]
fn a_domain_over_its_quota_is_put_off_and_loses_nothing() {
    let quota = Limit { messages_per_minute: 5, bytes_per_minute: 1 << 20 };
    let mut world = gateways(vec![policy("a"), FederationPolicy { quota, ..policy("b") }]);
    let mut sent: Vec<MessageId> = (0..10).map(|_| world.send(0, 1).unwrap()).collect();
    world.settle();
    assert_eq!(world.inbox(1).len(), 5);
    assert_eq!(world.core(1).domains()["a"].put_off, 5);
    world.pass(300_000);
    let mut inbox = world.inbox(1);
    sent.sort_unstable();
    inbox.sort_unstable();
    assert_eq!(inbox, sent);
    assert_eq!(world.waiting(0), 0);
}

/// Only the peer itself can say where it lives.
#[test]
fn a_domain_can_not_claim_peers_that_did_not_say_so() {
    let mut world = gateways(vec![policy("a"), policy("b"), policy("c")]);
    let victim = world.peer(2);
    let claim = |record: Option<Bytes>| Frame::Resolve(Resolve::Homes(vec![Home { peer: victim, record }]));
    let (_, others) = record_of(9, 1_800_000_000_000, 900_000);
    world.send(0, 2).unwrap(); // so that its home is wanted
    for record in [None, Some(Bytes::from_static(&[0; 80])), Some(others)] {
        world.say(1, 0, claim(record));
        world.settle();
        assert_eq!(world.core(0).resolve_destination(&victim, 1_800_000_000_000), Destination::Unknown);
    }
    assert_eq!(world.counter(0, "home-refused"), 2);
}

/// A user knows of recipients that no domain answers for, and a domain may refuse for a passing reason.
#[test]
fn a_refusal_leaves_what_a_user_said_and_has_the_others_asked() {
    let mut world = gateways(vec![policy("a"), policy("b"), policy("c")]);
    let moved = world.peer(2);
    world.event(0, Event::Home { peer: moved, domain: Some("b".into()) });
    world.send(0, 2).unwrap();
    world.settle();
    assert_eq!(world.waiting(0), 1, "B doesn't carry for others");
    let home = world.core(0).resolve_destination(&moved, 1_800_000_000_000);
    assert_eq!(home, Destination::Domain("b".into()));
    assert!(world.counter(0, "home-unknown") > 0, "nobody was asked\n{}", world.report());
}

/// What is to be written of gateways.
fn written(effects: Vec<Effect>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let kv = |effect| match effect {
        Effect::Persist { batch, .. } => batch.kv,
        _ => Vec::new(),
    };
    effects.into_iter().flat_map(kv).collect()
}

/// Whichever of its links comes first.
#[test]
fn a_gateway_with_an_ordinary_link_is_a_part_of_the_mesh_while_that_lasts() {
    let config = CoreConfig { federation: Some(policy("a")), ..CoreConfig::new(PeerId([1; 32])) };
    let mut core = Core::new(config, Shelf::new(StoreLimits::default()), 1, Box::new(Toy::default()));
    let peer = PeerId([2; 32]);
    let key = [GATEWAY_PREFIX, &peer.0].concat();
    let outside = written(core.handle(Event::LinkUp { link: 1, peer, domain: Some("b".into()) }, 1_000));
    assert_eq!(outside, [(key.clone(), Some(b"b".to_vec()))]);
    assert_eq!(core.domains().len(), 1);
    let inside = written(core.handle(Event::LinkUp { link: 2, peer, domain: None }, 1_000));
    assert_eq!(inside, [(key.clone(), None)]);
    assert!(core.domains().is_empty());
    let outside = written(core.handle(Event::LinkDown { link: 2 }, 1_000));
    assert_eq!(outside, [(key, Some(b"b".to_vec()))]);
    assert_eq!(core.domains().len(), 1);
}

/// Its keys cost it nothing.
#[test]
fn one_domain_does_not_take_the_memory_for_the_gateways_of_all() {
    let config = CoreConfig { federation: Some(policy("a")), ..CoreConfig::new(PeerId([1; 32])) };
    let mut core = Core::new(config, Shelf::new(StoreLimits::default()), 1, Box::new(Toy::default()));
    let mut stays = |number: u16, domain: &str| {
        let mut key = [9; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        let up = Event::LinkUp { link: u64::from(number), peer: PeerId(key), domain: Some(domain.into()) };
        !core.handle(up, 1_000).iter().any(|effect| matches!(effect, Effect::Close { .. }))
    };
    assert!((1..=256).all(|number| stays(number, "b")));
    assert!(!stays(257, "b"));
    assert!(stays(258, "c"));
}

/// Else mail for a domain that is away would be handed to and fro, and the domains around would hold it.
#[test]
fn a_domain_does_not_offer_to_carry_to_where_its_only_way_is_the_asker() {
    let mut world = gateways(vec![carrier("a"), carrier("b"), carrier("c")]);
    let first = world.send(0, 2).unwrap(); // so that a has the record of c's gateway
    world.settle();
    assert_eq!(world.inbox(2), [first]);
    world.disconnect(1, 2);
    let id = world.send(1, 2).unwrap();
    world.pass(120_000);
    assert_eq!((world.waiting(0), world.waiting(1)), (0, 1), "{}", world.report());
    world.connect(1, 2);
    world.pass(20_000);
    assert_eq!(world.inbox(2), [first, id]);
    assert_eq!(world.waiting(1), 0);
}

#[test]
fn nothing_goes_to_a_blocked_domain_through_others_either() {
    let blocks = FederationPolicy { block: ["c".to_owned()].into(), ..policy("a") };
    let mut world = gateways(vec![blocks, carrier("b"), policy("c")]);
    let recipient = world.peer(2);
    world.event(0, Event::Home { peer: recipient, domain: Some("c".into()) });
    world.send(0, 2).unwrap();
    world.pass(60_000);
    assert_eq!((world.waiting(0), world.inbox(2).len()), (1, 0));
}

#[test]
fn a_receipt_does_not_wait_for_the_next_question_about_somebody_who_was_not_there_yet() {
    let mut world = two_domains(policy("a"), policy("b"));
    world.disconnect(0, 1);
    world.wipe(1);
    world.connect(1, 2);
    let id = world.send(3, 0).unwrap();
    world.pass(200_000); // the pauses between questions have grown to minutes
    world.connect(0, 1);
    world.settle();
    assert_eq!(world.inbox(0), [id], "{}", world.report());
    assert_eq!(world.waiting(2), 0);
}

/// Random messages with receipts between two domains, links that come and go, crashes, and gateways whose stores are made anew.
/// Once all are linked nothing may stay behind.
#[test]
fn whatever_happens_no_message_and_no_receipt_stays_in_a_gateway() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    for seed in number("QPQ_FIRST_SEED", 0)..number("QPQ_SEEDS", 60) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = two_domains(policy("a"), policy("b"));
        for _ in 0..60 {
            let (here, there) = (rng.random_range(0..2), rng.random_range(2..4));
            let (from, to) = if rng.random() { (here, there) } else { (there, here) };
            let end = rng.random_range(1..4);
            match rng.random_range(0..12) {
                0..=4 => _ = world.send_with_receipt(from, to),
                5..=6 => world.connect(end - 1, end),
                7 => world.disconnect(end - 1, end),
                8 => world.crash(from),
                9 => world.wipe(rng.random_range(1..3)),
                10 => world.steps(rng.random_range(0..20)),
                _ => world.pass(rng.random_range(0..20_000)),
            }
        }
        (1..4).for_each(|node| world.connect(node - 1, node));
        world.pass(90_000);
        assert_eq!(
            [1, 2].map(|gateway| world.waiting(gateway)),
            [0, 0],
            "seed {seed}\n{}{}",
            world.report(),
            world.left(&[1, 2])
        );
    }
}
