use super::*;
use crate::store::Batch;
use qpq_schemas::envelope::Priority;
use qpq_schemas::{PeerId, TopicId};

mod bulk;
mod cold;
mod memory;
mod model;

/// Takes a message out of some of its places.
fn release(shelf: &mut Shelf, id: &MessageId, places: Places, state: SeenState) -> Option<Gone> {
    shelf.release_to(id, places, state, Fate::default())
}

/// Takes a message out of all of its places: it was delivered.
fn finish(shelf: &mut Shelf, id: &MessageId) -> Option<Gone> {
    release(shelf, id, Places::ALL, SeenState::Delivered)
}

/// A direct message that waits.
pub(super) fn head(seq: u64, sender: u8, recipient: u8) -> Head {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&seq.to_be_bytes());
    Head {
        seq,
        id: MessageId(id),
        kind: Kind::Direct,
        priority: Priority::Normal,
        hop_count: 2,
        max_hops: 9,
        places: Places::WAITING,
        sender: PeerId([sender; 32]),
        destination: [recipient; 32],
        wire_len: 300,
        created_ms: seq * 10,
        received_ms: 1_000 + seq,
        expires_ms: 1_000_000,
        source: Some(PeerId([200; 32])),
    }
}

fn broadcast(seq: u64, sender: u8, topic: u8) -> Head {
    Head { kind: Kind::Broadcast, places: Places::HISTORY, ..head(seq, sender, topic) }
}

fn small() -> StoreLimits {
    StoreLimits {
        recipient_messages: 8,
        sender_messages: 20,
        total_messages: 40,
        topic_messages: 8,
        inbox_messages: 8,
        ..StoreLimits::default()
    }
}

fn take(shelf: &mut Shelf, head: &Head) -> Result<Vec<Gone>, RejectCode> {
    let gone = shelf.admit(head, 0).map_err(|reject| reject.code)?;
    shelf.confirm(&head.id);
    Ok(gone)
}

fn seqs(heads: impl Iterator<Item = Head>) -> Vec<u64> {
    heads.map(|head| head.seq).collect()
}

fn queued(shelf: &Shelf, recipient: u8) -> Vec<u64> {
    shelf.queue(&PeerId([recipient; 32])).map(|waiting| waiting.seq).collect()
}

const PASSED_ON: SeenState = SeenState::PassedOn { source: [200; 8], hops: 2, at_ms: 0 };

#[test]
fn a_message_shows_only_once_it_is_durable() {
    let mut shelf = Shelf::new(small());
    let first = Head { places: Places::WAITING.with(Places::INBOX), ..head(1, 1, 9) };
    shelf.admit(&first, 0).unwrap();
    take(&mut shelf, &Head { places: Places::INBOX, ..head(2, 1, 9) }).unwrap();
    assert!(queued(&shelf, 9).is_empty());
    assert!(seqs(shelf.inbox(0)).is_empty(), "a reader's place must not pass a message that shows up later");
    assert_eq!(shelf.seen(&first.id), Some(SeenState::Held));
    shelf.confirm(&first.id);
    assert_eq!(queued(&shelf, 9), [1]);
    assert_eq!(seqs(shelf.inbox(0)), [1, 2]);
    assert_eq!(seqs(shelf.inbox(1)), [2]);
    assert_eq!(seqs(shelf.inbox_newest()), [2, 1]);
    assert_eq!(shelf.get(&first.id), Some(first));
}

#[test]
fn a_broadcast_is_compared_with_neighbours_only_once_it_is_durable() {
    let mut shelf = Shelf::new(small());
    let [first, second] = [broadcast(1, 1, 9), broadcast(2, 1, 9)];
    shelf.admit(&first, 0).unwrap();
    shelf.admit(&second, 0).unwrap();
    assert_eq!((shelf.ledger().len(), shelf.broadcast(&first.id)), (0, None), "it can't be read yet");
    shelf.confirm(&first.id);
    assert_eq!((shelf.ledger().len(), shelf.broadcast(&first.id)), (1, Some(first)));
    shelf.discard(&second.id);
    shelf.discard(&first.id);
    assert_eq!(shelf.ledger().len(), 0);
}

#[test]
fn one_sender_fills_a_quarter_of_a_queue_and_the_rest_is_left_to_others() {
    let mut shelf = Shelf::new(small());
    assert!(take(&mut shelf, &head(1, 1, 9)).is_ok());
    assert!(take(&mut shelf, &head(2, 1, 9)).is_ok());
    assert_eq!(take(&mut shelf, &head(3, 1, 9)), Err(RejectCode::SenderFull));
    for seq in 4..10 {
        take(&mut shelf, &head(seq, seq as u8, 9)).unwrap();
    }
    assert_eq!(
        take(&mut shelf, &head(20, 20, 9)),
        Err(RejectCode::RecipientFull),
        "acknowledged messages are never evicted"
    );
    assert_eq!(shelf.admit(&head(20, 20, 9), 0).unwrap_err().retry_after_secs, limits::RETRY_RECIPIENT_FULL_SECS);
    assert_eq!(shelf.stats().counters["recipient-full"], 2);
    assert_eq!(shelf.stats().waiting, 8);
}

#[test]
fn a_sender_is_bounded_over_all_recipients() {
    let mut shelf = Shelf::new(small());
    for seq in 0..20 {
        take(&mut shelf, &head(seq, 1, 100 + (seq / 2) as u8)).unwrap();
    }
    assert_eq!(take(&mut shelf, &head(50, 1, 150)), Err(RejectCode::SenderFull));
    let id = head(0, 1, 1).id;
    assert!(finish(&mut shelf, &id).is_some());
    assert!(take(&mut shelf, &head(50, 1, 150)).is_ok());
    assert_eq!(take(&mut shelf, &head(0, 1, 150)), Err(RejectCode::Known(SeenState::Delivered)));
}

#[test]
fn draining_serves_the_urgent_first_and_senders_in_turn() {
    let mut shelf = Shelf::new(StoreLimits::default());
    for (seq, sender, priority) in
        [(1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 2, 1), (5, 3, 1), (6, 3, 1), (7, 1, 3), (8, 2, 0)]
    {
        let priority = Priority::from_byte(priority).unwrap();
        take(&mut shelf, &Head { priority, ..head(seq, sender, 9) }).unwrap();
    }
    let order = queued(&shelf, 9);
    assert_eq!((order[0], order[7]), (7, 8), "emergency first, low last");
    let mut first_round = order[1..4].to_vec();
    first_round.sort_unstable();
    assert_eq!(first_round, [1, 4, 5], "one of each sender");
    let of_first: Vec<u64> = order.iter().copied().filter(|seq| *seq < 4).collect();
    assert_eq!(of_first, [1, 2, 3], "each sender's in order of arrival");
}

#[test]
fn a_full_topic_lets_go_of_the_lowest_priority_and_oldest() {
    let mut shelf = Shelf::new(small());
    for seq in 1..=8 {
        take(
            &mut shelf,
            &Head { priority: if seq == 5 { Priority::Low } else { Priority::Normal }, ..broadcast(seq, seq as u8, 9) },
        )
        .unwrap();
    }
    let gone = take(&mut shelf, &broadcast(9, 9, 9)).unwrap();
    assert_eq!(
        gone.iter().map(|gone| (gone.head.seq, gone.seen.fate.end)).collect::<Vec<_>>(),
        [(5, End::Evicted(Quota::Topic))]
    );
    let gone = take(&mut shelf, &broadcast(10, 10, 9)).unwrap();
    assert_eq!(gone[0].head.seq, 1);
    assert_eq!(seqs(shelf.history(&TopicId([9; 32]))), [10, 9, 8, 7, 6, 4, 3, 2], "newest first");
    assert_eq!(shelf.seen(&broadcast(1, 1, 9).id), Some(PASSED_ON));
}

#[test]
fn a_flooder_of_a_topic_pushes_out_its_own() {
    let mut shelf = Shelf::new(small());
    for seq in 1..=8 {
        take(&mut shelf, &broadcast(seq, if seq > 4 { 66 } else { seq as u8 }, 9)).unwrap();
    }
    for seq in 9..30 {
        take(&mut shelf, &broadcast(seq, 66, 9)).unwrap();
    }
    let kept = seqs(shelf.history(&TopicId([9; 32])));
    assert!((1..=4).all(|seq| kept.contains(&seq)), "{kept:?}");
}

#[test]
fn a_full_relay_drops_broadcasts_never_custody() {
    let mut shelf = Shelf::new(small());
    for seq in 0..30 {
        take(&mut shelf, &head(seq, seq as u8, seq as u8)).unwrap();
    }
    for seq in 30..40 {
        take(&mut shelf, &broadcast(seq, seq as u8, seq as u8)).unwrap();
    }
    for seq in 40..50 {
        assert_eq!(take(&mut shelf, &head(seq, seq as u8, seq as u8)).unwrap()[0].head.seq, seq - 10);
    }
    assert_eq!(take(&mut shelf, &head(50, 50, 50)), Err(RejectCode::RelayFull));
    assert_eq!(shelf.stats().waiting, 40);
}

#[test]
fn a_full_inbox_lets_go_of_broadcasts_and_refuses_direct_messages() {
    let mut shelf = Shelf::new(small());
    for seq in 1..=4 {
        take(&mut shelf, &Head { places: Places::INBOX, ..broadcast(seq, seq as u8, 9) }).unwrap();
    }
    for seq in 5..=8 {
        take(&mut shelf, &Head { places: Places::INBOX, ..head(seq, seq as u8, 9) }).unwrap();
    }
    for seq in 9..=12 {
        take(&mut shelf, &Head { places: Places::INBOX, ..head(seq, seq as u8, 9) }).unwrap();
    }
    assert_eq!(seqs(shelf.inbox(0)), (5..=12).collect::<Vec<_>>());
    assert_eq!(take(&mut shelf, &Head { places: Places::INBOX, ..head(13, 13, 9) }), Err(RejectCode::RecipientFull));
}

#[test]
fn a_broadcast_stays_until_its_last_place_is_given_up() {
    let mut shelf = Shelf::new(small());
    let both = Head { places: Places::HISTORY.with(Places::INBOX), ..broadcast(1, 1, 9) };
    take(&mut shelf, &both).unwrap();
    assert_eq!(release(&mut shelf, &both.id, Places::INBOX, SeenState::Delivered), None);
    assert_eq!(seqs(shelf.history(&TopicId([9; 32]))), [1]);
    let gone = release(&mut shelf, &both.id, Places::HISTORY, both.passed_on(7_999)).unwrap();
    assert_eq!(gone.seen.state, SeenState::PassedOn { source: [200; 8], hops: 2, at_ms: 7_999 });
    let kept = SeenState::PassedOn { source: [200; 8], hops: 2, at_ms: 7_000 };
    assert_eq!(shelf.seen(&both.id), Some(kept), "what routing learns from is kept");
    let mut batch = Batch::default();
    gone.put_into(&mut batch);
    assert_eq!((batch.remove, batch.seen), (vec![1], vec![gone.seen]));
}

#[test]
fn expiry_comes_in_bounded_steps_and_ids_outlive_their_messages() {
    let mut shelf = Shelf::new(StoreLimits::default());
    for seq in 0..10 {
        take(&mut shelf, &Head { expires_ms: 5_000 + seq, ..head(seq, 1, 9) }).unwrap();
    }
    assert_eq!(shelf.expire(5_000, 100).len(), 1, "rounded up to a second, never early");
    assert_eq!(shelf.expire(6_000, 4).len(), 4);
    assert_eq!(shelf.expire(6_000, 100).len(), 5);
    assert_eq!(shelf.seen(&head(3, 1, 9).id), Some(SeenState::PassedOn { source: [200; 8], hops: 2, at_ms: 6_000 }));
    assert_eq!(shelf.forget_seen(5_000 + SEEN_GRACE_MS, 100), 0);
    assert_eq!(shelf.forget_seen(120_000 + SEEN_GRACE_MS, 4), 4);
    assert_eq!(shelf.forget_seen(120_000 + SEEN_GRACE_MS, 100), 6);
    assert_eq!((shelf.names.len(), shelf.stats().seen), (0, 0), "nothing is left behind");
    assert_eq!(shelf.admit(&head(1, 1, 9), 2_000_000).unwrap_err().code, RejectCode::Expired);
}

#[test]
fn a_message_that_could_not_be_stored_can_come_again() {
    let mut shelf = Shelf::new(small());
    shelf.admit(&head(1, 1, 9), 0).unwrap();
    assert_eq!(shelf.discard(&head(1, 1, 9).id).map(|gone| gone.head.seq), Some(1));
    assert_eq!(shelf.seen(&head(1, 1, 9).id), None);
    assert!(take(&mut shelf, &head(1, 1, 9)).is_ok());
}

#[test]
fn a_held_id_without_its_record_is_fetched_again_after_a_restart() {
    let mut shelf = Shelf::new(small());
    shelf.restore(&head(1, 1, 9));
    let seen = |seq, state| head(seq, 1, 9).seen(state);
    shelf.restore_seen(&seen(1, SeenState::Held));
    shelf.restore_seen(&seen(2, SeenState::Held));
    shelf.restore_seen(&seen(3, SeenState::Delivered));
    assert_eq!(shelf.seen(&head(1, 1, 9).id), Some(SeenState::Held));
    assert_eq!(shelf.seen(&head(2, 1, 9).id), None);
    assert_eq!(shelf.seen(&head(3, 1, 9).id), Some(SeenState::Delivered));
    assert_eq!(queued(&shelf, 9), [1]);
}

#[test]
fn the_set_of_ids_is_bounded_and_forgets_first_what_ends_first() {
    let mut shelf = Shelf::new(StoreLimits { seen_ids: 100, ..StoreLimits::default() });
    for seq in 0..200u64 {
        let head = Head { expires_ms: 100_000_000 - seq * 60_000, ..head(seq, 1, 9) };
        shelf.note(&head.seen(SeenState::Delivered));
    }
    assert_eq!(shelf.stats().seen, 100);
    assert!(shelf.seen(&head(5, 1, 9).id).is_some());
    assert!(shelf.seen(&head(198, 1, 9).id).is_none());
    assert!(shelf.seen(&head(199, 1, 9).id).is_some(), "what has just come is not forgotten for itself");
    assert_eq!(shelf.stats().counters["forgotten-early"], 100);
}

/// The mark of a message that a neighbour brought, and that ends in that minute.
fn mark_from(neighbour: u8, seq: u64, minute: u64) -> SeenEntry {
    let source = Some(PeerId([neighbour; 32]));
    Head { expires_ms: 100_000_000 + minute * 60_000, source, ..head(seq, 1, 9) }.seen(SeenState::Delivered)
}

/// A neighbour that stands in another share than these.
fn another(shelf: &Shelf, than: &[u8]) -> u8 {
    let taken: Vec<usize> = than.iter().map(|neighbour| shelf.seen.share_of(*neighbour)).collect();
    (100..=255).find(|neighbour| !taken.contains(&shelf.seen.share_of(*neighbour))).unwrap()
}

fn remembers(shelf: &Shelf, seqs: std::ops::Range<u64>) -> usize {
    seqs.filter(|seq| shelf.seen(&head(*seq, 1, 9).id).is_some()).count()
}

#[test]
fn a_neighbour_that_floods_has_its_own_ids_forgotten_and_nobody_elses() {
    let mut shelf = Shelf::new(StoreLimits { seen_ids: 100, ..StoreLimits::default() });
    (0..40).for_each(|seq| shelf.note(&mark_from(3, seq, seq % 10)));
    let handed_in = Head { source: None, ..head(50, 1, 9) };
    shelf.note(&handed_in.seen(SeenState::Delivered));
    let flooder = another(&shelf, &[3]);
    for seq in 1_000..3_000 {
        shelf.note(&mark_from(flooder, seq, 10_000 + seq));
    }
    assert_eq!((remembers(&shelf, 0..40), remembers(&shelf, 50..51)), (40, 1));
    assert_eq!(shelf.stats().seen, 100);
}

#[test]
fn a_flood_that_comes_by_the_same_neighbour_is_forgotten_first_whenever_it_ends() {
    for minute in [0, 15, 40_000] {
        let mut shelf = Shelf::new(StoreLimits { seen_ids: 100, ..StoreLimits::default() });
        (0..60).for_each(|seq| shelf.note(&mark_from(3, seq, seq % 30)));
        for seq in 1_000..3_000 {
            shelf.note(&mark_from(3, seq, minute + seq % 4));
        }
        assert_eq!(remembers(&shelf, 0..60), 60, "{minute}");
    }
}

#[test]
fn of_a_flood_that_ends_when_everything_else_does_the_last_that_came_are_kept() {
    let mut shelf = Shelf::new(StoreLimits { seen_ids: 100, ..StoreLimits::default() });
    for seq in 0..10_000 {
        shelf.note(&mark_from(3, seq, 7));
        assert_eq!(remembers(&shelf, seq.saturating_sub(10)..seq + 1) as u64, seq.min(10) + 1, "{seq}");
    }
    assert_eq!(shelf.stats().seen, 100);
}

#[test]
fn marks_that_change_and_go_leave_their_share() {
    let mut shelf = Shelf::new(StoreLimits { seen_ids: 10, ..StoreLimits::default() });
    for round in 0..50 {
        (0..5).for_each(|seq| shelf.note(&mark_from(3 + (round % 2) as u8, seq, round)));
    }
    let last = another(&shelf, &[3, 4]);
    (10..18).for_each(|seq| shelf.note(&mark_from(last, seq, 1)));
    assert_eq!((remembers(&shelf, 0..5), remembers(&shelf, 10..18)), (5, 5), "8 was the larger share");
    assert_eq!(shelf.forget_seen(200_000_000, 100), 10);
    assert_eq!(shelf.stats().seen, 0);
}

#[test]
fn a_mark_that_was_noted_often_counts_once_when_it_is_forgotten() {
    let mut shelf = Shelf::new(StoreLimits::default());
    for _ in 0..20 {
        (0..5).for_each(|seq| shelf.note(&mark_from(3, seq, 1)));
    }
    assert_eq!((shelf.forget_seen(200_000_000, 3), shelf.stats().seen), (3, 2));
    assert_eq!((shelf.forget_seen(200_000_000, 100), shelf.stats().seen), (2, 0));
}

#[test]
fn the_order_of_a_queue_stays_while_messages_come_and_go() {
    let mut shelf = Shelf::new(StoreLimits::default());
    for seq in 1..=20 {
        take(&mut shelf, &head(seq, (seq % 3) as u8, 9)).unwrap();
    }
    let order = queued(&shelf, 9);
    for waiting in shelf.queue(&PeerId([9; 32])).take(8).collect::<Vec<_>>() {
        finish(&mut shelf, &waiting.id).unwrap();
    }
    take(&mut shelf, &head(21, 0, 9)).unwrap();
    take(&mut shelf, &Head { priority: Priority::High, ..head(22, 0, 9) }).unwrap();
    let rest = queued(&shelf, 9);
    assert_eq!(rest[0], 22, "the more urgent one goes first");
    assert_eq!(rest.iter().copied().filter(|seq| *seq < 21).collect::<Vec<_>>(), order[8..]);
    assert!(rest.contains(&21));
}

#[test]
fn a_newcomer_is_not_delayed_by_a_backlog() {
    let mut shelf = Shelf::new(StoreLimits::default());
    for seq in 1..=200 {
        take(&mut shelf, &head(seq, 1, 9)).unwrap();
    }
    for seq in 1..=100 {
        finish(&mut shelf, &head(seq, 1, 9).id).unwrap();
    }
    take(&mut shelf, &head(201, 2, 9)).unwrap();
    assert!(queued(&shelf, 9)[..2].contains(&201));
}

#[test]
fn the_newest_broadcasts_of_all_topics_are_announced() {
    let mut shelf = Shelf::new(StoreLimits::default());
    for seq in 1..=20 {
        take(&mut shelf, &broadcast(seq, seq as u8, (seq % 3) as u8)).unwrap();
    }
    shelf.admit(&broadcast(21, 1, 1), 0).unwrap();
    let ids: Vec<MessageId> = (16..=20).rev().map(|seq| broadcast(seq, 1, 1).id).collect();
    assert_eq!(shelf.newest_broadcasts(0, 5), ids);
    assert_eq!(shelf.newest_broadcasts(0, 500).len(), 20);
    assert_eq!(shelf.topics().count(), 3);
}
