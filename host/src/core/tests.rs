//! The promises of the core, played on a small world of cores with disks that survive crashes.

mod clocks;
mod emergency;
mod fate;
mod federation;
mod history;
mod mailboxes;
mod mesh;
mod neighbours;
mod receipts;
mod tree;
mod world;

use std::collections::BTreeSet;

use bytes::Bytes;
use qpq_schemas::envelope::{Envelope, Kind, Priority};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::shelf::StoreLimits;
use super::*;
use world::{TOPIC, World};

#[test]
fn a_direct_message_crosses_a_relay_and_leaves_no_copy_behind() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    world.send(2, 0).unwrap(); // so that all know the way to 2
    world.settle();
    let id = world.send(0, 2).unwrap();
    world.settle();
    assert_eq!(world.inbox(2), [id]);
    assert_eq!((world.waiting(0), world.waiting(1)), (0, 0), "custody passed on, so the copies are gone");
}

#[test]
fn a_message_waits_for_its_recipient_and_survives_the_relay_s_crash() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    world.settle();
    world.disconnect(1, 2);
    let id = world.send(0, 2).unwrap();
    world.settle();
    world.crash(1);
    world.connect(1, 2);
    world.settle();
    assert_eq!(world.inbox(2), [id]);
}

#[test]
fn a_broadcast_reaches_subscribers_once_and_late_joiners_get_what_they_missed() {
    let mut world = World::new(4);
    (0..4).for_each(|node| world.subscribe(node));
    world.connect(0, 1);
    world.connect(1, 2);
    world.connect(2, 0);
    let id = world.broadcast(0).unwrap();
    world.settle();
    world.connect(3, 2);
    world.settle();
    for node in 0..4 {
        assert_eq!(world.inbox(node), [id], "node {node}");
    }
}

#[test]
fn what_was_published_before_a_subscription_is_in_the_inbox_after_it() {
    let mut world = World::new(2);
    world.connect(0, 1);
    let id = world.broadcast(0).unwrap();
    world.settle();
    assert!(world.inbox(1).is_empty());
    world.subscribe(1);
    assert_eq!(world.inbox(1), [id]);
}

#[test]
fn what_was_being_written_when_its_topic_was_subscribed_is_in_the_inbox() {
    let mut world = World::new(1);
    let envelope = world.draft(0, Kind::Broadcast, TOPIC.0);
    let (id, now_ms) = (envelope.id(), envelope.view().created_ms());
    let mut core = beside_a_stranger();
    let written = core.handle(Event::Submit { token: 1, envelope, trusted: true }, now_ms);
    core.handle(Event::Subscribe(TOPIC), now_ms);
    assert!(core.shelf().inbox(0).next().is_none(), "it is not durable yet");
    let ticket = written.iter().find_map(|e| if let Effect::Persist { ticket, .. } = e { Some(*ticket) } else { None });
    let effects = core.handle(Event::Persisted { ticket: ticket.unwrap(), result: Ok(()) }, now_ms);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::InboxGrew { .. })), "its reader is told");
    assert_eq!(core.shelf().inbox(0).map(|head| head.id).collect::<Vec<_>>(), [id]);
}

#[test]
fn nothing_is_acknowledged_that_the_disk_did_not_take() {
    let mut world = World::new(2);
    world.connect(0, 1);
    world.settle();
    world.break_disk(0, true);
    let error = world.send(0, 1).unwrap_err();
    assert_eq!(error.code, "store-failed");
    world.break_disk(0, false);
    world.break_disk(1, true);
    let id = world.send(0, 1).unwrap();
    world.settle();
    assert_eq!(world.waiting(0), 1, "the neighbour's disk failed, so our copy stays");
    world.break_disk(1, false);
    world.pass(60_000);
    assert_eq!(world.inbox(1), [id]);
}

#[test]
fn what_has_gone_on_is_gone_from_the_disk_as_well_once_that_works_again() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    world.send(2, 0).unwrap(); // so that all know the way to 2
    world.settle();
    world.disconnect(1, 2);
    let id = world.send(0, 2).unwrap();
    world.settle();
    assert_eq!(world.waiting(1), 1);
    world.break_disk(1, true);
    world.connect(1, 2);
    world.settle();
    assert_eq!((world.inbox(2), world.waiting(1)), (vec![id], 0));
    world.break_disk(1, false);
    world.pass(60_000);
    world.crash(1);
    assert_eq!(world.waiting(1), 0, "it was held again after a start");
}

#[test]
fn a_bad_signature_is_refused_and_does_not_keep_the_true_envelope_out() {
    let mut world = World::new(2);
    world.connect(0, 1);
    world.settle();
    let envelope = world.draft(0, Kind::Direct, world.peer(1).0);
    let mut forged = envelope.wire().to_vec();
    let last = forged.len() - 2;
    forged[last] ^= 1;
    world.inject(0, 1, vec![forged.into()]);
    world.settle();
    assert!(world.inbox(1).is_empty());
    world.inject(0, 1, vec![envelope.wire().clone()]);
    world.settle();
    assert_eq!(world.inbox(1), [envelope.id()]);
    assert_eq!(world.counter(1, "signature"), 1);
}

#[test]
fn a_blocked_sender_is_refused_everywhere() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    world.settle();
    let bad = world.peer(0);
    world.event(1, Event::Block(bad));
    world.settle();
    world.send(0, 2).unwrap();
    world.settle();
    assert!(world.inbox(2).is_empty());
    assert_eq!(world.counter(1, "received"), 0, "its link was closed");
}

#[test]
fn a_receipt_comes_back_and_frees_copies_of_unknown_way() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    let id = world.send_with_receipt(0, 2).unwrap();
    world.settle();
    assert_eq!(world.inbox(2), [id]);
    assert_eq!(world.delivered(0), [id]);
}

#[test]
fn custody_answers_for_what_was_never_sent_change_nothing() {
    use qpq_schemas::link::{Answer, Verdict};
    let mut world = World::new(2);
    let id = world.send(0, 1).unwrap();
    world.connect(0, 1);
    world.disconnect(0, 1);
    let answer = Answer { id, verdict: Verdict::Stored, retry_after_secs: 0 };
    world.event(0, Event::LinkUp { link: 99, peer: PeerId([7; 32]), domain: None });
    world.event(0, Event::Frame { link: 99, frame: Frame::Custody(vec![answer; 3]) });
    assert_eq!(world.waiting(0) + world.inbox(1).len(), 1);
}

/// 1 passes a message on to 2, 2 to 3, and 3 back to 1, whose answer from 2 is late: then each would drop its copy, because
/// the next one has it.
#[test]
fn a_loop_of_routes_does_not_lose_a_message_that_each_holds_for_the_other() {
    use qpq_schemas::link::{Answer, Verdict};
    let mut core = beside_a_stranger();
    let third = PeerId([3; 32]);
    core.handle(Event::LinkUp { link: 2, peer: third, domain: None }, 1_000);
    let (recipient, record) = record_of(8, 1_000, 50_000);
    core.handle(Event::Frame { link: 1, frame: Frame::Records(vec![record]) }, 1_000); // so the way leads over link 1
    let mut world = World::new(1);
    let envelope = world.draft(0, Kind::Direct, recipient.0);
    let now = envelope.view().created_ms();
    let sent = submit(&mut core, envelope.clone(), now);
    assert_eq!(offers(&sent), [1]);
    let back = Event::Frame { link: 2, frame: Frame::Envelopes(vec![envelope.wire().clone()]) };
    core.handle(back, now);
    let stored = Answer { id: envelope.id(), verdict: Verdict::Stored, retry_after_secs: 0 };
    let after = core.handle(Event::Frame { link: 1, frame: Frame::Custody(vec![stored]) }, now);
    assert!(core.shelf().get(&envelope.id()).is_some(), "the third was told that it is held here");
    assert_eq!(offers(&after), [1], "it is offered anew");
    core.handle(Event::Frame { link: 1, frame: Frame::Custody(vec![stored]) }, now);
    assert!(core.shelf().get(&envelope.id()).is_none(), "now it is with the next hop for certain");
}

/// Hands in an envelope and has it written.
fn submit(core: &mut Core, envelope: Envelope, now_ms: u64) -> Vec<Effect> {
    let effects = core.handle(Event::Submit { token: 1, envelope, trusted: true }, now_ms);
    let mut after = Vec::new();
    for effect in effects {
        if let Effect::Persist { ticket, .. } = effect {
            after.extend(core.handle(Event::Persisted { ticket, result: Ok(()) }, now_ms));
        }
    }
    after
}

/// The links over which something is offered.
fn offers(effects: &[Effect]) -> Vec<LinkId> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Offer { link, .. } = effect { Some(*link) } else { None })
        .collect()
}

#[test]
fn an_expired_message_goes_and_its_id_stays_known() {
    let mut world = World::new(2);
    let id = world.send(0, 1).unwrap();
    world.pass(8 * 24 * 3_600_000);
    assert_eq!(world.waiting(0), 0);
    world.connect(0, 1);
    world.settle();
    assert!(world.inbox(1).is_empty());
    assert!(world.core(0).shelf().get(&id).is_none());
}

/// Random links, crashes, broken disks and messages; at the end everyone is linked in a line. Then whatever
/// was acknowledged must have arrived, once, or it was lost on the way.
#[test]
fn whatever_happens_an_acknowledged_message_arrives_exactly_once() {
    for seed in 0..std::env::var("QPQ_SEEDS").map_or(60, |n| n.parse().unwrap()) {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = rng.random_range(2..6);
        let mut world = World::new(nodes);
        let mut sent: Vec<(usize, MessageId)> = Vec::new();
        for _ in 0..60 {
            let all: Vec<usize> = (0..nodes).collect();
            let pair: Vec<usize> = all.sample(&mut rng, 2).copied().collect();
            match rng.random_range(0..15) {
                0..=3 => sent.extend(world.send(pair[0], pair[1]).map(|id| (pair[1], id))),
                4..=5 => world.connect(pair[0], pair[1]),
                6 => world.disconnect(pair[0], pair[1]),
                7 => world.connect_lane(pair[0], pair[1], rng.random_range(0..3)),
                12 => world.cut_lane(pair[0], pair[1], rng.random_range(0..3)),
                13..=14 => world.measure_any(pair[0], pair[1], rng.random_range(0..200_000)),
                8 => world.crash(pair[0]),
                9 => world.break_disk(pair[0], rng.random_bool(0.3)),
                10 => world.steps(rng.random_range(0..20)),
                _ => world.pass(rng.random_range(0..20_000)),
            }
        }
        for node in 0..nodes {
            world.break_disk(node, false);
        }
        (1..nodes).for_each(|node| world.connect(node - 1, node));
        world.pass(60_000);
        world.pass(1_500_000);
        for (to, id) in &sent {
            let copies = world.inbox(*to).iter().filter(|got| *got == id).count();
            assert_eq!(copies, 1, "seed {seed}: {id:?} for node {to}\n{}{}", world.report(), world.traces(id));
        }
    }
}

#[test]
fn a_full_inbox_refuses_until_its_user_has_read_it() {
    let limits = StoreLimits { inbox_messages: 8, ..StoreLimits::default() };
    let mut world = World::with_limits(2, &limits);
    world.connect(0, 1);
    world.settle();
    let sent: Vec<_> = (0..4).map(|_| world.send(0, 1).unwrap()).collect();
    world.settle();
    assert_eq!(world.inbox(1), sent[..2], "a quarter of the inbox for one sender; the rest waits at the sender");
    let read = world.core(1).shelf().inbox(0).last().unwrap().seq;
    world.event(1, Event::InboxRead { seq: read });
    world.pass(120_000);
    assert_eq!(world.inbox(1), sent[2..]);
}

#[test]
fn a_flood_of_messages_for_an_absent_peer_is_refused_at_the_quota() {
    let limits = StoreLimits { recipient_messages: 40, ..StoreLimits::default() };
    let mut world = World::with_limits(2, &limits);
    let taken = (0..100).filter(|_| world.send(0, 1).is_ok()).count();
    assert_eq!(taken, 10, "a quarter of the recipient's room for one sender");
    assert_eq!(world.counter(0, "sender-full"), 90);
}

/// A record of a node that nobody has met, signed by it.
fn record_of(number: u64, seq_ms: u64, lives_ms: u64) -> (PeerId, Bytes) {
    let mut seed = [3; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let key = qpq_schemas::signature::SigningKey::from_seed(&seed);
    let record = NodeRecord {
        peer: key.public(),
        seq_ms,
        expires_ms: seq_ms + lives_ms,
        sealing: qpq_schemas::sealing::SealingPublic([5; 32]),
        nickname: String::new(),
        domain: String::new(),
        addresses: Vec::new(),
    };
    (key.public(), record.sign(&key).unwrap().into())
}

/// A core with one neighbour on link 1.
fn beside_a_stranger() -> Core {
    let config = CoreConfig::new(PeerId([1; 32]));
    let shelf = Shelf::new(StoreLimits::default());
    let mut core = Core::new(config, shelf, 1, Box::new(world::Toy::default()));
    core.handle(Event::LinkUp { link: 1, peer: PeerId([2; 32]), domain: None }, 1_000);
    core
}

#[test]
fn records_of_strangers_are_forgotten_once_they_expire_also_on_disk() {
    let mut core = beside_a_stranger();
    let (peer, wire) = record_of(1, 1_000, 5_000);
    core.handle(Event::Frame { link: 1, frame: Frame::Records(vec![wire]) }, 1_000);
    assert!(core.records().get(&peer).is_some());
    let effects = core.handle(Event::Tick, 100_000);
    assert!(core.records().is_empty());
    let told = effects.iter().any(|e| matches!(e, Effect::Notice(Notice::RecordsGone(gone)) if *gone == [peer]));
    assert!(told, "the store must hear of it too");
}

#[test]
fn a_neighbour_that_never_answers_gets_a_bounded_number_of_bytes() {
    let mut core = beside_a_stranger();
    let key = qpq_schemas::signature::SigningKey::from_seed(&[7; 32]);
    let mut offered = 0;
    for _ in 0..200 {
        let draft = qpq_schemas::envelope::Draft {
            kind: Kind::Broadcast,
            flags: qpq_schemas::envelope::Flags { sealed: true, receipt_wanted: false, priority: Priority::Normal },
            max_hops: 8,
            ttl_secs: 60,
            created_ms: 1_000,
            nonce: rand::random(),
            destination: [9; 32],
            payload: vec![0; 60_000],
        };
        let envelope = draft.sign(&key).unwrap();
        let persist = core.handle(Event::Submit { token: 1, envelope, trusted: true }, 1_000);
        for effect in persist {
            let Effect::Persist { ticket, .. } = effect else { continue };
            let effects = core.handle(Event::Persisted { ticket, result: Ok(()) }, 1_000);
            offered += effects.iter().filter(|effect| matches!(effect, Effect::Offer { .. })).count();
        }
    }
    assert!((10..30).contains(&offered), "{offered} envelopes of 60 kB were offered");
}

#[test]
fn mail_for_very_many_recipients_is_routed_anew_in_small_steps() {
    let mut core = beside_a_stranger();
    let key = qpq_schemas::signature::SigningKey::from_seed(&[7; 32]);
    for number in 0..1_000_u32 {
        let mut destination = [1; 32];
        destination[..4].copy_from_slice(&number.to_be_bytes());
        let draft = qpq_schemas::envelope::Draft {
            kind: Kind::Direct,
            flags: qpq_schemas::envelope::Flags { sealed: false, receipt_wanted: false, priority: Priority::Normal },
            max_hops: 8,
            ttl_secs: 60,
            created_ms: 1_000,
            nonce: [0; 8],
            destination,
            payload: Vec::new(),
        };
        let envelope = draft.sign(&key).unwrap();
        for effect in core.handle(Event::Submit { token: 1, envelope, trusted: true }, 1_000) {
            if let Effect::Persist { ticket, .. } = effect {
                core.handle(Event::Persisted { ticket, result: Ok(()) }, 1_000);
            }
        }
    }
    let offers = |effects: Vec<Effect>| -> usize {
        let items = effects.iter().map(|effect| if let Effect::Offer { items, .. } = effect { items.len() } else { 0 });
        items.sum()
    };
    let mut offered = vec![offers(core.handle(Event::LinkUp { link: 2, peer: PeerId([3; 32]), domain: None }, 2_000))];
    while core.deadline_ms() == 0 {
        offered.push(offers(core.handle(Event::Tick, 2_000)));
    }
    assert_eq!(offered.iter().sum::<usize>(), 1_000, "everything is offered to the new neighbour");
    assert!(offered.iter().all(|count| *count < 300), "in steps of {offered:?}");
}

#[test]
fn a_newer_record_of_our_own_key_raises_an_alarm() {
    let (me, ours) = record_of(1, 1_000, 500_000);
    let shelf = Shelf::new(StoreLimits::default());
    let mut core = Core::new(CoreConfig::new(me), shelf, 1, Box::new(world::Toy::default()));
    core.handle(Event::OwnRecord(ours.clone()), 1_000);
    core.handle(Event::LinkUp { link: 1, peer: PeerId([2; 32]), domain: None }, 1_000);
    let mut alarms = |wire: Bytes, now_ms: u64| {
        let effects = core.handle(Event::Frame { link: 1, frame: Frame::Records(vec![wire]) }, now_ms);
        effects.iter().filter(|effect| matches!(effect, Effect::Notice(Notice::Twin))).count()
    };
    let (_, twin) = record_of(1, 1_500, 500_000);
    let mut forged = twin.to_vec();
    forged[60] ^= 1;
    assert_eq!(alarms(ours, 2_000), 0, "it only came back");
    assert_eq!(alarms(forged.into(), 2_000), 0, "anybody could forge it");
    assert_eq!(alarms(twin.clone(), 2_000), 1);
    assert_eq!(alarms(twin, 2_000), 0, "once is enough");
}

#[test]
fn links_that_come_and_go_and_ways_that_change_are_told_and_not_by_the_hundred() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    world.send(2, 0).unwrap();
    world.settle();
    world.pass(5_000);
    world.disconnect(0, 1);
    world.pass(5_000);
    let links: Vec<bool> = world
        .news(0)
        .iter()
        .filter_map(|news| match news {
            Notice::LinkChange { up, .. } => Some(*up),
            _ => None,
        })
        .collect();
    assert_eq!(links, [true, false]);
    let routes = world.news(0).iter().filter(|news| matches!(news, Notice::RoutesChanged)).count();
    assert!((1..=10).contains(&routes), "{routes} times");
}
