//! The index on disk, as the core reads it, and its building.

use std::sync::{Arc, OnceLock, mpsc};

use qpq_schemas::{MessageId, PeerId};
use tracing::{info, warn};

use crate::core::shelf::{Files, Shelf, Turn, Unread};
use crate::store::{Batch, Filed, Head, InLane, Store, StoreError};

/// Messages filed by one batch while the index is built.
const PORTION: usize = 1_024;

/// The index of a store. It can be read once it was told which.
#[derive(Clone, Default)]
pub struct StoredIndex(Arc<OnceLock<Store>>);

impl StoredIndex {
    /// Reads in that store from now on.
    pub fn attach(&self, store: Store) {
        _ = self.0.set(store); // it is told once
    }

    fn read<T>(&self, read: impl FnOnce(&Store) -> Result<T, StoreError>) -> Result<T, Unread> {
        let store = self.0.get().ok_or(Unread)?;
        read(store).map_err(|error| {
            warn!(%error, "the index on disk can't be read");
            Unread
        })
    }
}

impl std::fmt::Debug for StoredIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoredIndex")
    }
}

impl Files for StoredIndex {
    fn find(&self, id: &MessageId) -> Result<Option<Filed>, Unread> {
        self.read(|store| store.filed(id))
    }

    fn queue(&self, recipient: &[u8; 32], after: Turn, limit: usize) -> Result<Vec<Filed>, Unread> {
        self.read(|store| store.filed_for(recipient, (after.rank, after.seq), limit))
    }

    fn lane(&self, recipient: &[u8; 32], sender: &PeerId) -> Result<Vec<InLane>, Unread> {
        self.read(|store| store.lane(recipient, sender))
    }

    fn ended(&self, until_secs: u32, after: (u32, u64), limit: usize) -> Result<Vec<Filed>, Unread> {
        self.read(|store| store.ended(until_secs, after, limit))
    }

    fn walk(&self, from: u64, limit: usize) -> Result<(Vec<Head>, Option<u64>), Unread> {
        self.read(|store| store.heads(from, limit))
    }
}

/// Files all that waits in a store whose index is empty. The shelf has been told of all that is there. Blocks on the disk.
///
/// # Errors
/// The store's.
pub fn build(store: &Store, shelf: &mut Shelf) -> Result<(), StoreError> {
    info!("the index on disk is built from the records");
    shelf.begin_refiling();
    let mut filed = 0;
    let mut next = Some(0);
    while let Some(from) = next {
        let heads;
        (heads, next) = store.heads(from, PORTION)?;
        let mut batch = Batch { index_built: next.is_none(), ..Batch::default() };
        for head in heads {
            let doing = "building the index";
            let one =
                shelf.refile(&head).map_err(|Unread| StoreError::Io { doing, what: "it can't be read".into() })?;
            batch.file.extend(one);
        }
        let ids: Vec<MessageId> = batch.file.iter().map(|one| one.head.id).collect();
        write(store, batch)?;
        ids.iter().for_each(|id| shelf.confirm(id));
        filed += ids.len();
    }
    info!(filed, "the index on disk is complete");
    Ok(())
}

fn write(store: &Store, batch: Batch) -> Result<(), StoreError> {
    let (done, outcome) = mpsc::channel();
    let closed = StoreError::Closed;
    store.submit(batch, move |result| _ = done.send(result)).map_err(|_| closed.clone())?;
    outcome.recv().unwrap_or(Err(closed))
}
