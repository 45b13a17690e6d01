//! The shelf against a model that is a plain list and recomputes everything.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    Admit { id: u8, sender: u8, destination: u8, kind: u8, places: u8, priority: u8, len: u32, ttl: u64 },
    Confirm(u8),
    Finish(u8),
    Release(u8, u8),
    Discard(u8),
    Expire(usize),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..60u8, 0..5u8, 0..4u8, 0..4u8, 0..4u32, 1..40u64)
            .prop_flat_map(|(id, sender, destination, priority, len, ttl)| {
                prop_oneof![Just((0, 1)), Just((0, 4)), Just((1, 2)), Just((1, 6)), Just((1, 4))].prop_map(
                    move |(kind, places)| Op::Admit { id, sender, destination, kind, places, priority, len: 200 + len, ttl },
                )
            }),
        4 => (0..60u8).prop_map(Op::Confirm),
        1 => (0..60u8).prop_map(Op::Finish),
        1 => (0..60u8, 1..8u8).prop_map(|(id, places)| Op::Release(id, places)),
        1 => (0..60u8).prop_map(Op::Discard),
        1 => (0..4usize).prop_map(Op::Expire),
        1 => (0..5u64).prop_map(Op::Wait),
    ]
}

fn limits() -> StoreLimits {
    StoreLimits {
        recipient_messages: 6,
        recipient_bytes: 1_100,
        sender_share_percent: 50,
        sender_messages: 5,
        sender_bytes: 1_000,
        total_messages: 12,
        total_bytes: 2_300,
        topic_messages: 4,
        topic_bytes: 900,
        topic_age_secs: 2_592_000,
        inbox_messages: 6,
        inbox_bytes: 1_200,
        seen_ids: 1_000,
    }
}

/// What is used of a quota.
fn sum<'a>(heads: impl Iterator<Item = &'a Head>) -> Room {
    let mut room = Room::default();
    heads.for_each(|head| room.add(head.wire_len));
    room
}

#[derive(Default)]
struct Model {
    held: Vec<(Head, bool)>,
    seen: BTreeMap<MessageId, SeenState>,
}

impl Model {
    fn at(&self, id: &MessageId) -> Option<usize> {
        self.held.iter().position(|(head, _)| head.id == *id)
    }

    fn place(&self, place: Places) -> impl Iterator<Item = &Head> + '_ {
        self.held.iter().map(|(head, _)| head).filter(move |head| head.places.has(place))
    }

    fn seen_state(&self, id: &MessageId) -> Option<SeenState> {
        self.at(id).map(|_| SeenState::Held).or_else(|| self.seen.get(id).copied())
    }

    fn admission(&self, new: &Head, now: u64) -> Result<(), RejectCode> {
        let limits = limits();
        if let Some(state @ (SeenState::Held | SeenState::Delivered)) = self.seen_state(&new.id) {
            return Err(RejectCode::Known(state));
        }
        if new.expires_ms <= now {
            return Err(RejectCode::Expired);
        }
        let len = new.wire_len;
        if new.places.has(Places::WAITING) {
            let queue = || self.place(Places::WAITING).filter(|h| h.destination == new.destination);
            if !sum(queue()).fits(limits.recipient(), len) {
                return Err(RejectCode::RecipientFull);
            }
            let share = sum(queue().filter(|h| h.sender == new.sender)).fits(limits.share(limits.recipient()), len);
            let all = sum(self.place(Places::WAITING).filter(|h| h.sender == new.sender)).fits(limits.sender(), len);
            if !share || !all {
                return Err(RejectCode::SenderFull);
            }
        }
        if new.places.has(Places::INBOX) {
            let direct = || self.place(Places::INBOX).filter(|h| h.kind != Kind::Broadcast);
            let share = limits.share(limits.inbox());
            if new.kind != Kind::Broadcast && !sum(direct().filter(|h| h.sender == new.sender)).fits(share, len) {
                return Err(RejectCode::SenderFull);
            }
            if !sum(direct()).fits(limits.inbox(), len) {
                return Err(RejectCode::RecipientFull);
            }
        }
        Ok(())
    }

    fn leave(&mut self, id: &MessageId, places: Places, state: SeenState) -> bool {
        let Some(at) = self.at(id) else { return false };
        let head = &mut self.held[at].0;
        head.places = head.places.without(places);
        if !head.places.is_none() {
            return false;
        }
        self.held.remove(at);
        self.seen.insert(*id, state);
        true
    }
}

fn check(shelf: &Shelf, model: &Model) {
    let limits = limits();
    let stats = shelf.stats();
    assert_eq!(stats.waiting, model.place(Places::WAITING).count());
    assert_eq!(stats.waiting_bytes, sum(model.place(Places::WAITING)).bytes);
    assert_eq!(stats.broadcasts, model.place(Places::HISTORY).count());
    assert_eq!(stats.inbox, model.place(Places::INBOX).count());
    assert_eq!(stats.seen, model.held.len() + model.seen.len());
    let total = sum(model.held.iter().map(|(head, _)| head));
    assert!(total.messages <= limits.total_messages && total.bytes <= limits.total_bytes, "{total:?}");
    for (head, _) in &model.held {
        assert_eq!(shelf.get(&head.id), Some(*head));
    }
    for name in 0..5 {
        let key = [name; 32];
        let shown = |place| {
            let of = move |head: &&(Head, bool)| head.0.places.has(place) && head.0.destination == key && head.1;
            model.held.iter().filter(of).map(|(head, _)| *head).collect::<Vec<_>>()
        };
        check_queue(
            &shelf.queue(&PeerId(key)).filter_map(|waiting| shelf.get(&waiting.id)).collect::<Vec<_>>(),
            shown(Places::WAITING),
        );
        let mut history = shown(Places::HISTORY);
        history.sort_by_key(|head| std::cmp::Reverse(head.created_ms));
        assert_eq!(seqs(shelf.history(&TopicId(key))), seqs(history.into_iter()));
    }
    let mut inbox: Vec<(u64, bool)> = model
        .held
        .iter()
        .filter(|(head, _)| head.places.has(Places::INBOX))
        .map(|(head, shown)| (head.seq, *shown))
        .collect();
    inbox.sort_unstable();
    assert_eq!(
        seqs(shelf.inbox(0)),
        inbox.iter().take_while(|(_, shown)| *shown).map(|(seq, _)| *seq).collect::<Vec<_>>()
    );
}

/// The same messages; by priority; each sender's in order; and no sender is two turns ahead of another that still waits.
fn check_queue(queue: &[Head], mut expected: Vec<Head>) {
    let mut sorted = queue.to_vec();
    sorted.sort_by_key(|head| head.seq);
    expected.sort_by_key(|head| head.seq);
    assert_eq!(sorted, expected);
    for pair in queue.windows(2) {
        assert!(pair[0].priority >= pair[1].priority);
    }
    for (n, head) in queue.iter().enumerate() {
        let before = queue[..n].iter().filter(|h| h.sender == head.sender && h.priority == head.priority);
        assert!(before.clone().all(|h| h.seq < head.seq));
    }
}

fn apply(shelf: &mut Shelf, model: &mut Model, now: &mut u64, seq: u64, op: &Op) {
    let id = |n: u8| MessageId([n; 32]);
    match *op {
        Op::Admit { id: n, sender, destination, kind, places, priority, len, ttl } => {
            let new = Head {
                id: id(n),
                kind: Kind::from_byte(kind).unwrap(),
                places: Places(places),
                priority: Priority::from_byte(priority).unwrap(),
                wire_len: len,
                expires_ms: *now + ttl * 1_000,
                ..head(seq, sender, destination)
            };
            let expected = model.admission(&new, *now);
            match shelf.admit(&new, *now) {
                Ok(gone) => {
                    assert_eq!(expected, Ok(()));
                    for gone in &gone {
                        assert!(
                            gone.head.expires_ms <= *now || gone.head.kind == Kind::Broadcast,
                            "custody was evicted"
                        );
                    }
                    // Which places were given up is read back; that only broadcasts (or the expired) gave way is checked here.
                    model.held.retain_mut(|(held, _)| match shelf.get(&held.id) {
                        Some(now_held) => {
                            let lost = held.places.without(now_held.places);
                            assert!(lost.is_none() || held.kind == Kind::Broadcast);
                            *held = now_held;
                            true
                        }
                        None => {
                            assert!(gone.iter().any(|gone| gone.head.id == held.id));
                            model.seen.insert(held.id, held.passed_on(*now));
                            false
                        }
                    });
                    model.seen.remove(&new.id);
                    model.held.push((new, false));
                }
                Err(reject) if reject.code == RejectCode::RelayFull => {
                    assert_eq!(expected, Ok(()));
                    assert_relay_full(model, &new, *now);
                }
                Err(reject) => assert_eq!(expected, Err(reject.code)),
            }
        }
        Op::Confirm(n) => {
            shelf.confirm(&id(n));
            model.held.iter_mut().filter(|(head, _)| head.id == id(n)).for_each(|held| held.1 = true);
        }
        Op::Finish(n) => {
            let gone = finish(shelf, &id(n));
            assert_eq!(gone.is_some(), model.leave(&id(n), Places::ALL, SeenState::Delivered));
        }
        Op::Release(n, places) => {
            let gone = release(shelf, &id(n), Places(places), PASSED_ON);
            assert_eq!(gone.is_some(), model.leave(&id(n), Places(places), PASSED_ON));
        }
        Op::Discard(n) => {
            assert_eq!(shelf.discard(&id(n)).is_some(), model.at(&id(n)).is_some());
            model.held.retain(|(head, _)| head.id != id(n));
        }
        Op::Expire(max) => {
            let due = model.held.iter().filter(|(head, _)| head.expires_ms <= *now).count();
            let gone = shelf.expire(*now, max);
            assert_eq!(gone.len(), due.min(max));
            for gone in gone {
                assert!(gone.head.expires_ms <= *now);
                assert!(model.leave(&gone.head.id, Places::ALL, gone.head.passed_on(*now)));
            }
        }
        Op::Wait(secs) => *now += secs * 1_000,
    }
}

/// A relay refuses as full only when letting go of every broadcast kept for late joiners would not help.
fn assert_relay_full(model: &Model, new: &Head, now: u64) {
    let limits = limits();
    let stays = |head: &&Head| head.expires_ms > now && head.places != Places::HISTORY;
    let fixed = sum(model.held.iter().map(|(head, _)| head).filter(stays));
    let topic_bytes = u64::from(new.wire_len) > limits.topic_bytes;
    assert!(topic_bytes || !fixed.fits(limits.total(), new.wire_len), "{fixed:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_shelf_does_what_the_model_does(ops in prop::collection::vec(op(), 1..200)) {
        let mut shelf = Shelf::new(limits());
        let mut model = Model::default();
        let mut now = 1_000;
        for (seq, op) in ops.iter().enumerate() {
            apply(&mut shelf, &mut model, &mut now, seq as u64 + 1, op);
            for n in 0..60 {
                assert_eq!(shelf.seen(&MessageId([n; 32])), model.seen_state(&MessageId([n; 32])));
            }
            check(&shelf, &model);
        }
    }
}
