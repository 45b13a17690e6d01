//! The virtual disk of a node: group commits that take time, and a crash that loses what was not synced.

use std::collections::BTreeMap;

use bytes::Bytes;
use qpq_schemas::MessageId;

use super::Random;
use crate::core::Ticket;
use crate::core::shelf::{Head, SeenEntry};
use crate::store::Batch;

/// What a node's disk holds, and what is on its way there.
#[derive(Debug, Default)]
pub struct Disk {
    records: BTreeMap<u64, (Head, Bytes)>,
    seen: BTreeMap<MessageId, SeenEntry>,
    /// The highest place that was ever used.
    last_seq: u64,
    /// Handed in while a commit was under way.
    waiting: Vec<(Ticket, Batch)>,
    /// Being written and synced.
    committing: Vec<(Ticket, Batch)>,
    /// Writes fail, as on a full or dying disk.
    pub broken: bool,
}

impl Disk {
    /// Hands in a batch; true when a commit begins with it.
    pub fn submit(&mut self, ticket: Ticket, batch: Batch) -> bool {
        self.waiting.push((ticket, batch));
        self.begin()
    }

    /// Begins the next commit, if one is wanted and none is under way.
    fn begin(&mut self) -> bool {
        let begins = self.committing.is_empty() && !self.waiting.is_empty();
        if begins {
            self.committing = std::mem::take(&mut self.waiting);
        }
        begins
    }

    /// The commit under way is done: what it held, and how it went. True when the next one begins.
    pub fn commit(&mut self) -> (Vec<Ticket>, Result<(), String>, bool) {
        let done = std::mem::take(&mut self.committing);
        let tickets = done.iter().map(|(ticket, _)| *ticket).collect();
        let result = if self.broken { Err("the disk is broken".to_owned()) } else { Ok(()) };
        if result.is_ok() {
            done.into_iter().for_each(|(_, batch)| self.write(batch));
        }
        (tickets, result, self.begin())
    }

    /// Power is lost. Of the commit under way some batches may have reached the disk, in their order and each as a whole: the
    /// store's checksums throw a torn one away. What waited is lost.
    pub fn crash(&mut self, random: &mut Random) {
        self.waiting.clear();
        let under_way = std::mem::take(&mut self.committing);
        let kept = if self.broken { 0 } else { random.below(under_way.len() + 1) };
        under_way.into_iter().take(kept).for_each(|(_, batch)| self.write(batch));
    }

    fn write(&mut self, batch: Batch) {
        for record in batch.append {
            self.last_seq = self.last_seq.max(record.head.seq);
            self.records.insert(record.head.seq, (record.head, record.wire));
        }
        for seq in batch.remove {
            self.records.remove(&seq);
        }
        if batch.forget_before_ms > 0 {
            self.seen.retain(|_, entry| entry.expires_ms >= batch.forget_before_ms);
        }
        self.seen.extend(batch.seen.into_iter().map(|entry| (entry.id, entry)));
    }

    /// Whether it has written all that it was given.
    pub fn is_at_rest(&self) -> bool {
        !self.broken && self.waiting.is_empty() && self.committing.is_empty()
    }

    /// The record at that place.
    pub fn record(&self, seq: u64) -> Option<(Head, Bytes)> {
        self.records.get(&seq).cloned()
    }

    /// The envelope at that place.
    pub fn read(&self, seq: u64) -> Option<Bytes> {
        self.records.get(&seq).map(|(_, wire)| wire.clone())
    }

    /// The heads of all records, and the ids remembered: what a node finds at its start.
    pub fn recover(&self) -> (impl Iterator<Item = &Head>, impl Iterator<Item = &SeenEntry>) {
        (self.records.values().map(|(head, _)| head), self.seen.values())
    }

    /// The next free place.
    pub fn next_seq(&self) -> u64 {
        self.last_seq + 1
    }

    /// Whether an envelope is held here, durably.
    pub fn holds(&self, id: &MessageId) -> bool {
        self.records.values().any(|(head, _)| head.id == *id)
    }

    /// Numbers that differ between disks that differ.
    pub fn digest(&self) -> impl Iterator<Item = u64> + '_ {
        let first = |id: &MessageId| id.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let records =
            self.records.iter().flat_map(move |(seq, (head, _))| [*seq, first(&head.id), head.places.0.into()]);
        records.chain(self.seen.keys().map(first))
    }
}
