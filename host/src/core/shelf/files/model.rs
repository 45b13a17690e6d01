//! Files in memory, for tests: what batches bring to them, and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use qpq_schemas::{MessageId, PeerId};

use super::{Files, Unread};
use crate::core::shelf::{Filed, Head, InLane, Turn};
use crate::store::Batch;

/// The files. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct ModelFiles(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    records: BTreeMap<u64, Head>,
    filed: BTreeMap<u64, Filed>,
    broken: bool,
}

impl ModelFiles {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Writes a batch.
    pub(crate) fn write(&self, batch: &Batch) {
        let mut inner = self.inner();
        inner.records.extend(batch.append.iter().map(|record| (record.head.seq, record.head)));
        inner.filed.extend(batch.file.iter().map(|filed| (filed.head.seq, *filed)));
        for seq in &batch.remove {
            inner.records.remove(seq);
        }
        for filed in &batch.unfile {
            let was = inner.filed.remove(&filed.head.seq);
            assert!(was.is_none_or(|was| was == *filed), "{filed:?} was filed as {was:?}");
        }
    }

    /// Empties the index, as a change of its place does.
    pub(crate) fn forget(&self) {
        self.inner().filed.clear();
    }

    /// Whether nothing can be read.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.inner().broken = broken;
    }

    /// All records.
    pub(crate) fn heads(&self) -> Vec<Head> {
        self.inner().records.values().copied().collect()
    }

    /// All that is filed.
    pub(crate) fn all(&self) -> Vec<Filed> {
        self.inner().filed.values().copied().collect()
    }

    fn sorted<K: Ord>(&self, wanted: impl Fn(&Filed) -> bool, key: impl Fn(&Filed) -> K) -> Result<Vec<Filed>, Unread> {
        let inner = self.inner();
        let mut found: Vec<Filed> = inner.filed.values().filter(|filed| wanted(filed)).copied().collect();
        found.sort_by_key(key);
        if inner.broken { Err(Unread) } else { Ok(found) }
    }
}

impl Files for ModelFiles {
    fn find(&self, id: &MessageId) -> Result<Option<Filed>, Unread> {
        Ok(self.sorted(|filed| filed.head.id == *id, |filed| filed.head.seq)?.pop())
    }

    fn queue(&self, recipient: &[u8; 32], after: Turn, limit: usize) -> Result<Vec<Filed>, Unread> {
        let turn = |filed: &Filed| Turn { rank: filed.rank, seq: filed.head.seq };
        let mut found = self.sorted(|filed| filed.head.destination == *recipient && turn(filed) > after, turn)?;
        found.truncate(limit);
        Ok(found)
    }

    fn lane(&self, recipient: &[u8; 32], sender: &PeerId) -> Result<Vec<InLane>, Unread> {
        let is_there = |filed: &Filed| filed.head.destination == *recipient && filed.head.sender == *sender;
        let found = self.sorted(is_there, |filed| filed.rank)?;
        let short = |filed: &Filed| InLane { rank: filed.rank, seq: filed.head.seq, wire_len: filed.head.wire_len };
        Ok(found.iter().map(short).collect())
    }

    fn ended(&self, until_secs: u32, after: (u32, u64), limit: usize) -> Result<Vec<Filed>, Unread> {
        let end = |filed: &Filed| (filed.ends_secs(), filed.head.seq);
        let mut found = self.sorted(|filed| filed.ends_secs() <= until_secs && end(filed) > after, end)?;
        found.truncate(limit);
        Ok(found)
    }

    fn walk(&self, from: u64, limit: usize) -> Result<(Vec<Head>, Option<u64>), Unread> {
        let inner = self.inner();
        let heads: Vec<Head> = inner.records.range(from..).take(limit).map(|(_, head)| *head).collect();
        let next = heads.last().map(|head| head.seq + 1);
        if inner.broken { Err(Unread) } else { Ok((heads, next)) }
    }
}
