//! Receipts: no crash comes between a message and the word that it arrived.

use qpq_schemas::envelope::{Draft, Flags};
use qpq_schemas::signature::SigningKey;

use super::mesh::START_MS;
use super::*;
use crate::store::End;

/// Writes of one node that are tried as its last.
const WRITES: usize = 8;

/// Two nodes with a relay between them. The power of one fails behind so many of its writes, while a message with a receipt is under
/// way; then it comes back, and all meet again.
fn cut_short(dark: usize, writes: usize) -> (World, MessageId) {
    let mut world = World::new(3);
    world.connect(0, 1);
    world.connect(1, 2);
    for node in 0..3 {
        world.introduce(node);
    }
    world.power_fails_after(dark, if dark == 0 { writes + 1 } else { writes }); // handing it in is acknowledged
    let id = world.send_with_receipt(0, 2).unwrap();
    for _ in 0..10_000 {
        if world.is_dark(dark) {
            break; // it says nothing more
        }
        world.steps(1);
    }
    world.crash(dark);
    world.connect(0, 1);
    world.connect(1, 2);
    world.pass(120_000);
    (world, id)
}

#[test]
fn a_recipient_that_crashes_at_any_write_still_sends_its_receipt() {
    for writes in 0..WRITES {
        let (world, id) = cut_short(2, writes);
        assert_eq!(world.inbox(2), [id], "after {writes} writes: it arrived, once");
        assert!(world.delivered(0).contains(&id), "after {writes} writes: the receipt is lost\n{}", world.report());
    }
}

#[test]
fn a_sender_that_crashes_at_any_write_still_reads_the_receipt() {
    for writes in 0..WRITES {
        let (mut world, id) = cut_short(0, writes);
        assert_eq!(world.inbox(2), [id], "after {writes} writes: it arrived, once");
        assert!(
            world.delivered(0).contains(&id),
            "after {writes} writes: the receipt was not read\n{}",
            world.report()
        );
        assert_eq!(world.trace(0, &id).seen.unwrap().fate.end, End::Receipt, "after {writes} writes");
        assert_eq!(world.waiting(0), 0, "after {writes} writes: it is used up");
    }
}

/// What came over a link is checked and found good: the ticket of the check.
fn brought(core: &mut Core, link: u64, envelopes: &[&Envelope], now_ms: u64) -> u64 {
    let wires = envelopes.iter().map(|envelope| envelope.wire().clone()).collect();
    let effects = core.handle(Event::Frame { link, frame: Frame::Envelopes(wires) }, now_ms);
    effects.iter().find_map(|e| if let Effect::Verify { ticket, .. } = e { Some(*ticket) } else { None }).unwrap()
}

fn appended(effects: &[Effect]) -> Vec<MessageId> {
    let batches = effects.iter().filter_map(|e| if let Effect::Persist { batch, .. } = e { Some(batch) } else { None });
    batches.flat_map(|batch| &batch.append).map(|record| record.head.id).collect()
}

#[test]
fn what_comes_behind_a_message_that_wants_a_receipt_stays_behind_it() {
    let key = SigningKey::from_seed(&[5; 32]);
    let draft = |destination: PeerId, receipt_wanted: bool, nonce: u8| {
        let flags = Flags { receipt_wanted, ..Flags::default() };
        let draft = Draft {
            kind: Kind::Direct,
            flags,
            max_hops: 8,
            ttl_secs: 3_600,
            created_ms: START_MS,
            nonce: [nonce; 8],
            destination: destination.0,
            payload: b"x".to_vec(),
        };
        draft.sign(&key).unwrap()
    };
    let mut core = beside_a_stranger();
    let (me, far) = (core.config.me, PeerId([8; 32]));
    let (first, wants, second) = (draft(far, false, 1), draft(me, true, 2), draft(far, false, 3));
    let one = brought(&mut core, 1, &[&first, &wants], START_MS);
    let two = brought(&mut core, 1, &[&second], START_MS);
    let checked = [(one, 2), (two, 1)].map(|(ticket, count)| Event::Verified { ticket, verdicts: vec![Ok(()); count] });
    let effects = core.handle_all(checked, START_MS);
    assert_eq!(appended(&effects), [], "nothing overtakes");
    let asked =
        effects.iter().find_map(|e| if let Effect::MakeReceipts { ticket, .. } = e { Some(*ticket) } else { None });
    let made = core.handle(Event::ReceiptsMade { ticket: asked.unwrap(), receipts: vec![None] }, START_MS);
    assert_eq!(appended(&made), [first.id(), wants.id(), second.id()]);
}
