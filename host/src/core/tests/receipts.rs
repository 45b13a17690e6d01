//! Receipts: no crash comes between a message and the word that it arrived.

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
