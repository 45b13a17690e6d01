//! Mail for those who have no node of their own.

use super::*;
use crate::core::MailQuery;

/// A key that no node of the world has.
fn anna() -> PeerId {
    qpq_schemas::signature::SigningKey::from_seed(&[99; 32]).public()
}

fn keep(world: &mut World, node: usize, peer: PeerId) {
    world.event(node, Event::Mailbox { peer, kept: true });
}

fn mail(world: &World, node: usize, after: u64, topics: &[TopicId]) -> Vec<(u64, MessageId)> {
    let query = MailQuery { peer: anna(), topics: topics.to_vec(), after, limit: 100, max_bytes: 1 << 20 };
    world.core(node).mail(&query).into_iter().map(|place| (place.seq, place.id)).collect()
}

fn ids(world: &World, node: usize) -> Vec<MessageId> {
    mail(world, node, 0, &[]).into_iter().map(|(_, id)| id).collect()
}

#[test]
fn mail_for_a_mailbox_waits_there_and_goes_no_further() {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    keep(&mut world, 1, anna());
    world.settle();
    let envelope = world.draft(0, Kind::Direct, anna().0);
    let id = world.submit(0, envelope).unwrap();
    world.settle();
    world.pass(60_000);
    assert_eq!(ids(&world, 1), [id]);
    assert_eq!(world.waiting(2), 0, "nobody else was offered it");
    world.crash(1);
    keep(&mut world, 1, anna());
    assert_eq!(ids(&world, 1), [id], "and it survives a crash");
}

#[test]
fn what_its_holder_has_is_dropped_and_not_taken_in_again() {
    let mut world = World::new(2);
    world.connect(0, 1);
    keep(&mut world, 1, anna());
    world.settle();
    let envelope = world.draft(0, Kind::Direct, anna().0);
    let id = world.submit(0, envelope.clone()).unwrap();
    world.settle();
    let stranger = PeerId([3; 32]);
    world.event(1, Event::Collected { peer: stranger, ids: vec![id] });
    assert_eq!(ids(&world, 1), [id], "nobody acknowledges for somebody else");
    world.event(1, Event::Collected { peer: anna(), ids: vec![id] });
    assert!(ids(&world, 1).is_empty());
    world.inject(0, 1, vec![envelope.wire().clone()]);
    world.settle();
    assert!(ids(&world, 1).is_empty(), "it came again, and was known");
}

#[test]
fn broadcasts_come_after_a_place_and_direct_mail_always() {
    let mut world = World::new(2);
    world.connect(0, 1);
    keep(&mut world, 1, anna());
    let direct = world.draft(0, Kind::Direct, anna().0);
    let direct = world.submit(0, direct).unwrap();
    let first = world.broadcast(0).unwrap();
    let second = world.broadcast(0).unwrap();
    world.settle();
    let all = mail(&world, 1, 0, &[TOPIC]);
    assert_eq!(all.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [direct, first, second]);
    let rest = mail(&world, 1, all[1].0, &[TOPIC]);
    assert_eq!(rest.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [direct, second]);
    let other_store = mail(&world, 1, u64::MAX, &[TOPIC]);
    assert_eq!(other_store, all, "a place that was never given out is of another store");
}

#[test]
fn mail_is_routed_on_once_the_mailbox_is_gone() {
    let mut world = World::new(3);
    world.connect(0, 1);
    let two = world.peer(2);
    keep(&mut world, 1, two);
    world.settle();
    let id = world.send(0, 2).unwrap();
    world.settle();
    assert_eq!(world.waiting(1), 1);
    world.event(1, Event::Mailbox { peer: two, kept: false });
    world.connect(1, 2);
    world.settle();
    assert_eq!(world.inbox(2), [id]);
}

#[test]
fn a_holder_that_is_a_neighbour_gets_its_mail_over_the_link() {
    let mut world = World::new(3);
    world.connect(0, 1);
    let two = world.peer(2);
    keep(&mut world, 1, two);
    let id = world.send(0, 2).unwrap();
    world.settle();
    world.connect(1, 2);
    world.settle();
    assert_eq!(world.inbox(2), [id]);
    assert_eq!(world.waiting(1), 0);
}

#[test]
fn a_node_makes_no_mailbox_of_its_own_key() {
    let mut world = World::new(2);
    world.connect(0, 1);
    let me = world.peer(1);
    keep(&mut world, 1, me);
    let id = world.send(0, 1).unwrap();
    world.settle();
    assert_eq!(world.inbox(1), [id]);
}
