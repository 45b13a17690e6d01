//! How much memory the indexes take. Reports; the bound is loose since other tests run in the same process.

use super::*;

/// Messages measured.
const MESSAGES: u64 = 100_000;

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4_096
}

fn head_of(seq: u64, recipients: u64) -> Head {
    let mut head = head(seq, 0, 0);
    head.destination[..8].copy_from_slice(&(seq % recipients).to_be_bytes());
    head.sender.0[..8].copy_from_slice(&(seq % 1_000).to_be_bytes());
    head.expires_ms = 1_000_000 + seq * 37;
    head
}

#[test]
fn memory_per_message_is_reported() {
    let unlimited = StoreLimits {
        recipient_messages: u32::MAX,
        recipient_bytes: u64::MAX,
        sender_messages: u32::MAX,
        sender_bytes: u64::MAX,
        ..StoreLimits::default()
    };
    let mut shelves = Vec::new(); // kept, so that no measurement uses what an earlier one gave back
    for recipients in [100, 1_000, 100_000] {
        let before = resident();
        let mut shelf = Shelf::new(unlimited.clone());
        for seq in 0..MESSAGES {
            shelf.restore(&head_of(seq, recipients));
        }
        let held = resident().saturating_sub(before) / MESSAGES as usize;
        let before = resident();
        for seq in 0..MESSAGES {
            finish(&mut shelf, &head_of(seq, recipients).id);
        }
        let seen = resident().saturating_sub(before) / MESSAGES as usize;
        writeln_report(&format!("{recipients} recipients: {held} B a message held; {seen} B more for its id later"));
        assert_eq!(shelf.stats().seen, MESSAGES as usize);
        shelves.push(shelf);
    }
}

pub(super) fn writeln_report(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}
