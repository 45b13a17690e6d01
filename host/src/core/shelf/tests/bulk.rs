//! Putting back many at once comes to the same as putting back one by one.

use super::*;

/// All that a shelf shows, in its order.
fn shown(shelf: &Shelf) -> String {
    let mut recipients: Vec<PeerId> = shelf.recipients().collect();
    recipients.sort_unstable_by_key(|peer| peer.0);
    let queues: Vec<Vec<MessageId>> =
        recipients.iter().map(|peer| shelf.queue(peer).map(|waiting| waiting.id).collect()).collect();
    let mut topics: Vec<TopicId> = shelf.topics().collect();
    topics.sort_unstable_by_key(|topic| topic.0);
    let history: Vec<Head> = topics.iter().flat_map(|topic| shelf.history(topic).collect::<Vec<_>>()).collect();
    let stats = shelf.stats();
    let figures = format!("{} {} {} {}", stats.waiting_bytes, stats.broadcasts, stats.seen, stats.recipients);
    let inbox: Vec<Head> = shelf.inbox(0).collect();
    format!("{queues:?} {history:?} {inbox:?} {figures}")
}

#[test]
fn many_at_once_stand_as_they_would_one_by_one() {
    let mut heads = Vec::new();
    for n in 1..2_000_u64 {
        let mut one = head(n, 0, 0);
        one.places = [Places::WAITING, Places::HISTORY, Places::INBOX, Places::ALL][(n % 4) as usize];
        one.kind = if one.places.has(Places::HISTORY) { Kind::Broadcast } else { Kind::Direct };
        one.destination = [(n % 13) as u8; 32];
        one.sender = PeerId([(n % 7) as u8; 32]);
        one.expires_ms = 1_000_000 + (n * 7_919) % 5_000;
        one.wire_len = 200 + (n % 90) as u32;
        heads.push(one);
    }
    let mut double = heads[5];
    double.seq = 5_000;
    heads.push(double);
    let note = heads[9].seen(SeenState::Delivered);
    let (mut single, mut bulk) = (Shelf::new(StoreLimits::default()), Shelf::new(StoreLimits::default()));
    heads.iter().for_each(|head| single.restore(head));
    single.restore_seen(&note);
    let mut restoring = bulk.restoring();
    heads.iter().for_each(|head| restoring.message(head));
    restoring.seen(&note);
    drop(restoring);
    assert_eq!(shown(&single), shown(&bulk));
    assert_eq!(bulk.seen(&note.id), Some(SeenState::Held), "a message that is there is not forgotten for a note");
    for head in &heads {
        assert_eq!(finish(&mut single, &head.id).is_some(), finish(&mut bulk, &head.id).is_some());
    }
    assert_eq!(shown(&single), shown(&bulk), "and both are empty");
    assert_eq!(bulk.stats().waiting, 0);
}
