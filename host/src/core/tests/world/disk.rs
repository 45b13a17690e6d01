//! A disk that keeps what was written.

use std::collections::{BTreeMap, HashMap};

use qpq_schemas::MessageId;

use super::super::super::shelf::files::model::ModelFiles;
use super::super::super::shelf::{Shelf, StoreLimits};
use crate::store::{Batch, Head, NewRecord, SeenEntry};

/// What is left of a node after a crash.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) records: BTreeMap<u64, NewRecord>,
    heads: BTreeMap<u64, Head>,
    seen: HashMap<MessageId, SeenEntry>,
    pub(super) kv: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The index of what only waits, where it is on disk.
    files: Option<ModelFiles>,
    pub(super) broken: bool,
    /// After so many more writes the power fails.
    pub(super) writes_left: Option<usize>,
}

/// Which nodes have their index on disk: all, none, or every other one.
const INDEX: &str = "QPQ_TEST_INDEX";

/// Messages that stay in memory beside those that must, on nodes whose index is on disk.
const WARM: usize = 2;

impl Disk {
    pub(super) fn of(node: usize) -> Self {
        let on_disk = match std::env::var(INDEX).as_deref() {
            Ok("disk") => true,
            Ok("memory") => false,
            Ok("odd") => node % 2 == 1,
            _ => node.is_multiple_of(2),
        };
        Self { files: on_disk.then(ModelFiles::default), ..Self::default() }
    }

    /// The shelf that a node has after it has opened it.
    pub(super) fn shelf(&self, limits: &StoreLimits) -> Shelf {
        let mut shelf = match &self.files {
            Some(files) => Shelf::with_files_and(limits.clone(), Box::new(files.clone()), WARM),
            None => Shelf::new(limits.clone()),
        };
        self.heads.values().for_each(|head| shelf.restore(head));
        self.seen.values().for_each(|entry| shelf.restore_seen(entry));
        shelf
    }

    /// The next free number.
    pub(super) fn next_seq(&self) -> u64 {
        self.heads.keys().next_back().map_or(1, |seq| seq + 1_000)
    }

    pub(super) fn write(&mut self, batch: Batch) -> Result<(), String> {
        self.files.iter().for_each(|files| files.write(&batch));
        for record in batch.append {
            self.heads.insert(record.head.seq, record.head);
            self.records.insert(record.head.seq, record);
        }
        for seq in batch.remove {
            self.records.remove(&seq);
            self.heads.remove(&seq);
        }
        for (key, value) in batch.kv {
            match value {
                Some(value) => _ = self.kv.insert(key, value),
                None => _ = self.kv.remove(&key),
            }
        }
        self.seen.extend(batch.seen.into_iter().map(|entry| (entry.id, entry)));
        Ok(())
    }
}
