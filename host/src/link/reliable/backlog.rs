//! Blocks to be sent: kept until the neighbour has them, sent again when they are lost.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use qpq_schemas::packet::Block;

/// Blocks that may be sent before the neighbour has said how far we may go.
const FIRST_LIMIT: u64 = 32;

/// The sending half's memory.
pub(super) struct Backlog {
    /// Number of the first block that is kept.
    first: u64,
    /// Blocks from `first` on; empty once the neighbour has it.
    blocks: VecDeque<Bytes>,
    /// The first block that was never sent.
    next: u64,
    /// Blocks whose packets were lost.
    again: BTreeSet<u64>,
    /// Bytes of all blocks that the neighbour doesn't have.
    bytes: usize,
    /// Those of blocks that were never sent.
    waiting: usize,
    /// The first block that the neighbour doesn't take yet.
    limit: u64,
}

impl Backlog {
    pub(super) fn new() -> Self {
        Self {
            first: 0,
            blocks: VecDeque::new(),
            next: 0,
            again: BTreeSet::new(),
            bytes: 0,
            waiting: 0,
            limit: FIRST_LIMIT,
        }
    }

    pub(super) fn push(&mut self, block: Bytes) {
        self.bytes += block.len();
        self.waiting += block.len();
        self.blocks.push_back(block);
    }

    /// Bytes that the neighbour doesn't have.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that were never sent.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    fn kept(&self, number: u64) -> Option<&Bytes> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.blocks.get(at).filter(|bytes| !bytes.is_empty())
    }

    /// Whether a block could be sent now.
    pub(super) fn has_work(&self) -> bool {
        !self.again.is_empty() || (self.next < self.limit && self.kept(self.next).is_some())
    }

    /// The next block to be sent, if it takes up to `room` bytes in a packet: lost ones first.
    pub(super) fn next(&mut self, room: usize) -> Option<Block> {
        while let Some(number) = self.again.first().copied() {
            let Some(block) = self.block(number) else {
                self.again.pop_first();
                continue;
            };
            if block.wire_len() > room {
                return None;
            }
            self.again.pop_first();
            return Some(block);
        }
        let block = self.block(self.next).filter(|block| block.number < self.limit && block.wire_len() <= room)?;
        self.next += 1;
        self.waiting -= block.bytes.len();
        Some(block)
    }

    fn block(&self, number: u64) -> Option<Block> {
        self.kept(number).map(|bytes| Block { number, bytes: bytes.clone() })
    }

    /// The oldest blocks that were sent and not acknowledged: what a probe carries.
    pub(super) fn oldest(&self) -> impl Iterator<Item = Block> + '_ {
        (self.first..self.next).filter_map(|number| self.block(number))
    }

    /// The neighbour has these blocks.
    pub(super) fn arrived(&mut self, numbers: &[u64]) {
        for number in numbers {
            let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
            if let Some(block) = at.and_then(|at| self.blocks.get_mut(at)) {
                self.bytes -= std::mem::take(block).len();
            }
        }
        while self.first < self.next && self.blocks.front().is_some_and(Bytes::is_empty) {
            self.blocks.pop_front();
            self.first += 1;
        }
    }

    /// The packets with these blocks were lost.
    pub(super) fn lost(&mut self, numbers: &[u64]) {
        for number in numbers {
            if self.kept(*number).is_some() {
                self.again.insert(*number);
            }
        }
    }

    /// The neighbour takes blocks up to there. The limit never shrinks.
    pub(super) fn allow(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(count: u64) -> Backlog {
        let mut backlog = Backlog::new();
        (0..count).for_each(|n| backlog.push(vec![n as u8; 100].into()));
        backlog
    }

    fn numbers(backlog: &mut Backlog) -> Vec<u64> {
        std::iter::from_fn(|| backlog.next(1_000)).map(|block| block.number).collect()
    }

    #[test]
    fn lost_blocks_go_first_and_arrived_ones_never_again() {
        let mut backlog = backlog(6);
        assert_eq!(numbers(&mut backlog), [0, 1, 2, 3, 4, 5]);
        backlog.lost(&[1, 3, 4]);
        backlog.arrived(&[0, 3]);
        backlog.push(vec![6; 100].into());
        assert_eq!(numbers(&mut backlog), [1, 4, 6]);
        assert_eq!(backlog.bytes(), 500);
        backlog.lost(&[0, 3]);
        assert!(!backlog.has_work());
        backlog.arrived(&[1, 2, 4, 5, 6, 6, 0]);
        assert_eq!((backlog.bytes(), backlog.blocks.len(), backlog.first), (0, 0, 7));
    }

    #[test]
    fn the_neighbours_limit_holds_and_only_grows() {
        let mut backlog = backlog(FIRST_LIMIT + 10);
        assert_eq!(numbers(&mut backlog).len() as u64, FIRST_LIMIT);
        assert!(!backlog.has_work());
        backlog.allow(5);
        assert!(!backlog.has_work());
        backlog.allow(FIRST_LIMIT + 1);
        assert_eq!(numbers(&mut backlog), [FIRST_LIMIT]);
    }

    #[test]
    fn a_block_waits_for_a_packet_with_room() {
        let mut backlog = backlog(1);
        assert_eq!(backlog.next(109), None);
        assert!(backlog.has_work());
        assert!(backlog.next(110).is_some());
    }
}
