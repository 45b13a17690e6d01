//! What came: packets by number, blocks back into their order, and what is owed in answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use qpq_schemas::packet::{Ack, Block, MAX_SEEN};

use super::super::close::Violation;
use super::ACK_DELAY_MS;

/// Memory for blocks that came before one that is missing, in bytes. The neighbour may have about so much under way.
pub(super) const RECEIVE_BUFFER: usize = 1 << 20;

/// Blocks that the neighbour may be ahead of the missing one: what fits [`RECEIVE_BUFFER`] in full packets, within these bounds.
const WINDOW: std::ops::RangeInclusive<u64> = 64..=1_024;

/// Packets with something in them after which an ACK is sent at once. Fewer are answered after [`ACK_DELAY_MS`].
const ACK_EVERY: u32 = 2;

/// Packet numbers below the largest that are remembered. An older packet counts as one that came already.
const REMEMBERED: u64 = 8 * MAX_SEEN as u64;

/// The receiving half of a session.
pub(super) struct Receiver {
    /// The largest packet number that came, and when.
    largest: Option<(u64, u64)>,
    /// Which of the [`REMEMBERED`] numbers below it came; the lowest bit is the next below.
    seen: [u64; 4],
    /// The first block that has not come.
    expected: u64,
    /// Blocks that came before their turn.
    waiting: BTreeMap<u64, Bytes>,
    waiting_bytes: usize,
    window: u64,
    /// Packets that no ACK of ours has spoken of.
    owed: u32,
    /// Since when.
    owed_since: Option<u64>,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is new.
    Taken,
    /// It came before, or is too old to tell.
    Known,
    /// There is no memory for its blocks: as if it never came.
    NoRoom,
}

impl Receiver {
    pub(super) fn new(packet_size: usize) -> Self {
        let window = (RECEIVE_BUFFER / packet_size.max(1)) as u64;
        Self {
            largest: None,
            seen: [0; 4],
            expected: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            window: window.clamp(*WINDOW.start(), *WINDOW.end()),
            owed: 0,
            owed_since: None,
        }
    }

    /// The first block number that isn't taken yet.
    fn limit(&self) -> u64 {
        self.expected.saturating_add(self.window)
    }

    /// Whether a packet of that number came already, or is so old that this can't be told.
    pub(super) fn knows(&self, number: u64) -> bool {
        let Some((largest, _)) = self.largest else { return false };
        match largest.checked_sub(number) {
            None => false,
            Some(0) => true,
            Some(back) if back > REMEMBERED => true,
            Some(back) => self.bit(back - 1),
        }
    }

    fn bit(&self, at: u64) -> bool {
        self.seen.get((at / 64) as usize).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Takes the blocks of a packet; those whose turn has come are appended to `out`, in order.
    ///
    /// # Errors
    /// When a block is beyond the limit that the neighbour was told.
    pub(super) fn take(
        &mut self,
        number: u64,
        blocks: Vec<Block>,
        now: u64,
        out: &mut Vec<Bytes>,
    ) -> Result<Fate, Violation> {
        if self.knows(number) {
            return Ok(Fate::Known);
        }
        if blocks.iter().any(|block| block.number >= self.limit()) {
            return Err(Violation::BeyondWindow);
        }
        let early: usize =
            blocks.iter().filter(|block| block.number > self.expected).map(|block| block.bytes.len()).sum();
        if early > 0 && self.waiting_bytes + early > RECEIVE_BUFFER {
            return Ok(Fate::NoRoom);
        }
        self.note(number, now);
        if !blocks.is_empty() {
            self.owed += 1;
            self.owed_since.get_or_insert(now);
        }
        blocks.into_iter().for_each(|block| self.keep(block));
        self.release(out);
        Ok(Fate::Taken)
    }

    fn keep(&mut self, block: Block) {
        if block.number < self.expected || self.waiting.contains_key(&block.number) {
            return;
        }
        // Copied, so that a small block doesn't hold the memory of a large packet.
        let bytes = match block.number == self.expected {
            true => block.bytes,
            false => Bytes::copy_from_slice(&block.bytes),
        };
        self.waiting_bytes += bytes.len();
        self.waiting.insert(block.number, bytes);
    }

    fn release(&mut self, out: &mut Vec<Bytes>) {
        while let Some(bytes) = self.waiting.remove(&self.expected) {
            self.waiting_bytes -= bytes.len();
            self.expected += 1;
            out.push(bytes);
        }
    }

    fn note(&mut self, number: u64, now: u64) {
        match self.largest {
            Some((largest, _)) if number < largest => {
                let at = largest - number - 1;
                if let Some(word) = self.seen.get_mut((at / 64) as usize) {
                    *word |= 1 << (at % 64);
                }
            }
            Some((largest, _)) => {
                self.shift(number - largest);
                self.largest = Some((number, now));
            }
            None => self.largest = Some((number, now)),
        }
    }

    /// Makes room for a largest number that is higher by `by`, at least 1.
    fn shift(&mut self, by: u64) {
        for step in 0..by.min(REMEMBERED + 1) {
            let mut carry = u64::from(step == 0); // the old largest came, too
            for word in &mut self.seen {
                let out = *word >> 63;
                *word = *word << 1 | carry;
                carry = out;
            }
        }
    }

    /// When an ACK must go, at the latest.
    pub(super) fn deadline(&self) -> Option<u64> {
        let since = self.owed_since?;
        Some(if self.owed >= ACK_EVERY { since } else { since + ACK_DELAY_MS })
    }

    /// Whether there is news for the neighbour that could ride with any packet.
    pub(super) fn has_news(&self) -> bool {
        self.owed > 0
    }

    /// The ACK, which is then no longer owed.
    pub(super) fn ack(&mut self, now: u64) -> Option<Ack> {
        let (largest, at) = self.largest?;
        self.owed = 0;
        self.owed_since = None;
        let mut seen: Vec<u8> = self.seen.iter().flat_map(|word| word.to_le_bytes()).collect();
        seen.truncate(seen.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        Some(Ack { largest, delay_ms: u16::try_from(now - at).unwrap_or(u16::MAX), limit: self.limit(), seen })
    }

    /// Bytes held for blocks before their turn.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.waiting_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: u64) -> Block {
        Block { number, bytes: Bytes::from(vec![number as u8; 10]) }
    }

    fn receiver() -> Receiver {
        Receiver::new(1_200)
    }

    #[test]
    fn blocks_come_out_in_order_and_once() {
        let (mut receiver, mut out) = (receiver(), Vec::new());
        for (packet, number) in [(0, 2), (1, 0), (2, 0), (3, 3), (4, 1), (5, 1)] {
            assert_eq!(receiver.take(packet, vec![block(number)], 0, &mut out), Ok(Fate::Taken));
        }
        assert_eq!(out, (0..4).map(|number| block(number).bytes).collect::<Vec<_>>());
        assert_eq!(receiver.held(), 0);
    }

    #[test]
    fn a_packet_counts_once_however_it_is_reordered() {
        let mut receiver = receiver();
        let mut rng = 1u64;
        let mut numbers: Vec<u64> = (0..200).collect();
        for at in (1..numbers.len()).rev() {
            rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            numbers.swap(at, (rng >> 33) as usize % (at + 1));
        }
        for number in &numbers {
            assert_eq!(receiver.take(*number, Vec::new(), 0, &mut Vec::new()), Ok(Fate::Taken));
            assert_eq!(receiver.take(*number, Vec::new(), 0, &mut Vec::new()), Ok(Fate::Known));
        }
        let ack = receiver.ack(0).unwrap();
        assert_eq!(ack.numbers().collect::<Vec<_>>(), (0..200).rev().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_older_than_memory_goes_is_taken_for_known() {
        let mut receiver = receiver();
        let mut take = |number| receiver.take(number, Vec::new(), 0, &mut Vec::new()).unwrap();
        assert_eq!(take(10), Fate::Taken);
        assert_eq!(take(10 + REMEMBERED), Fate::Taken);
        assert_eq!((take(11), take(10), take(9)), (Fate::Taken, Fate::Known, Fate::Known));
        assert_eq!(take(u64::MAX), Fate::Taken);
        assert_eq!(take(11), Fate::Known);
        assert!(receiver.ack(0).unwrap().seen.is_empty());
    }

    #[test]
    fn the_memory_for_early_blocks_is_bounded() {
        let (mut receiver, mut out) = (Receiver::new(16_384), Vec::new());
        let big = |number| Block { number, bytes: Bytes::from(vec![0; 60_000]) };
        let fates: Vec<_> = (1..60).map(|n| receiver.take(n, vec![big(n)], 0, &mut out).unwrap()).collect();
        assert!(fates.contains(&Fate::NoRoom) && receiver.held() <= RECEIVE_BUFFER);
        // The one that is missing always has room.
        assert_eq!(receiver.take(99, vec![big(0)], 0, &mut out), Ok(Fate::Taken));
        assert_eq!((receiver.held(), out.len() > 10), (0, true));
    }

    #[test]
    fn a_block_beyond_the_limit_is_a_violation() {
        let mut receiver = receiver();
        let limit = receiver.limit();
        assert_eq!(receiver.take(0, vec![block(limit - 1)], 0, &mut Vec::new()), Ok(Fate::Taken));
        assert_eq!(receiver.take(1, vec![block(limit)], 0, &mut Vec::new()), Err(Violation::BeyondWindow));
        assert_eq!(receiver.take(1, vec![block(u64::MAX)], 0, &mut Vec::new()), Err(Violation::BeyondWindow));
    }

    #[test]
    fn an_ack_goes_after_two_packets_or_a_short_while() {
        let mut receiver = receiver();
        assert_eq!(receiver.deadline(), None);
        receiver.take(0, vec![block(0)], 100, &mut Vec::new()).unwrap();
        assert_eq!(receiver.deadline(), Some(100 + ACK_DELAY_MS));
        receiver.take(1, vec![block(1)], 101, &mut Vec::new()).unwrap();
        assert_eq!(receiver.deadline(), Some(100));
        assert_eq!(receiver.ack(104).unwrap().delay_ms, 3);
        assert_eq!(receiver.deadline(), None);
        // A packet without blocks needs no answer, or two nodes would answer each other for ever.
        receiver.take(2, Vec::new(), 105, &mut Vec::new()).unwrap();
        assert_eq!(receiver.deadline(), None);
    }
}
