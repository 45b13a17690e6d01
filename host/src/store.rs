//! The store: envelopes, ids seen and small values on disk, durable before they are acknowledged.
//!
//! A [`Store`] takes [`Batch`]es into a bounded queue. One thread commits what has gathered in a single atomic, synced
//! step and then calls the completions; so a completion with `Ok` means that the batch survives kill -9 and power loss.
//! Every entry carries a checksum over key and value that is verified on each read. The layout on disk, and what each
//! kind of crash leaves behind, stand in `host/docs/store.md`.
//!
//! The indexes (by recipient, topic, expiry, id) live in memory, in [`crate::core::shelf`]; those of what only waits may
//! stand on disk instead.

mod audit;
mod check;
mod committer;
mod engine;
mod error;
mod fate;
mod format;
#[cfg(feature = "fuzz-doors")]
mod fuzz;
mod holdings;
mod index;
mod journal;
mod look;
mod migrate;
mod open;
mod prepared;
mod queue;
mod rebuild;
mod repair;
mod scan;
mod shared;
mod tables;
mod types;
mod version;

pub use audit::{Envelopes, Portion, Progress, TableReport};
pub use check::{CheckReport, DamagedEntry, StoreFigures, check, figures};
pub use error::{Full, StoreError};
pub use fate::{End, Fate, KeyPrefix, Origin, Quota, prefix};
#[cfg(feature = "fuzz-doors")]
pub use fuzz::{read_entry, well_formed_entries};
pub use holdings::Loss;
pub use journal::JournalReport;
pub use look::DamagedFile;
pub(crate) use open::make_dir;
pub use repair::{RepairReport, repair};
pub use scan::Found;
pub use types::{
    Batch, EngineStats, Filed, Head, InLane, IndexPlace, NewRecord, Places, Recovery, SeenEntry, SeenState,
    StoreConfig, StoredRecord,
};

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

use engine::{Damage, Engine, Fault, Space};
use shared::Shared;

/// The version of the layout on disk. It is raised when an older program could misread what a newer one wrote.
pub const FORMAT_VERSION: u32 = 2;
/// The oldest version that is still read. It becomes ours when the store is opened.
pub const OLDEST_FORMAT: u32 = 1;
/// The longest key in the key-value space, in bytes.
pub const MAX_KEY: usize = 1_024;
/// The largest value in the key-value space, in bytes: 1 MiB.
pub const MAX_VALUE: usize = 1 << 20;
/// The longest time that submissions may be gathered, in microseconds, whatever the configuration says.
pub const MAX_GATHER_US: u64 = 50_000;
/// Entries that one [`Store::kv_scan`] returns at most.
pub const MAX_SCAN: usize = 10_000;

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// The open store. Clones are handles to the same store; it closes with the last of them.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store in `dir`, making it if there is none, and reports what stands in it.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Format`], [`StoreError::Damaged`], [`StoreError::DiskFull`] or [`StoreError::Io`].
    pub fn open(dir: &Path, config: StoreConfig, now_ms: u64) -> Result<(Self, Recovery), StoreError> {
        let (mut heads, mut seen) = (Vec::new(), Vec::new());
        let (store, mut recovery) = Self::open_each(dir, config, now_ms, &mut |found| match found {
            Found::Head(head) => heads.push(head),
            Found::Seen(entry) => seen.push(entry),
        })?;
        recovery.heads = heads;
        recovery.seen = seen;
        Ok((store, recovery))
    }

    /// As [`Store::open`], but hands out what it finds one by one, so that nothing is held twice.
    /// Records come in order of their sequence numbers, and all of them before the ids.
    /// `heads` and `seen` of the result are empty.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_each(
        dir: &Path,
        config: StoreConfig,
        now_ms: u64,
        each: &mut dyn FnMut(Found),
    ) -> Result<(Self, Recovery), StoreError> {
        let lock = open::lock_dir(dir)?;
        let opened = open::open_engine(dir, &config, now_ms, each)?;
        let indexed = open::settle_index(dir, &opened.engine, config.index)?;
        let recovery = Recovery {
            indexed,
            damaged: opened.damaged,
            next_seq: opened.cursor.next_seq,
            repairs: opened.repairs,
            losses: opened.losses,
            lost: holdings::standing(dir),
            ..Recovery::default()
        };
        let shared = Arc::new(Shared::new(dir.to_owned(), config, opened.engine, lock, opened.damaged));
        let committer = committer::Committer::new(Arc::clone(&shared), opened.cursor);
        let thread = std::thread::Builder::new()
            .name("qpq-store".into())
            .spawn(move || committer.run())
            .map_err(|e| StoreError::io("starting the store's thread", &e))?;
        Ok((Self(Arc::new(Inner { shared, thread: Mutex::new(Some(thread)) })), recovery))
    }

    /// Queues a batch. Never blocks. `done` is called on the store's thread, when the batch is durable or has failed, in
    /// the order of submission; it must be quick. After [`StoreError::ReadOnly`]
    /// or [`StoreError::Recovering`] a later start may find the batch all the same: whole, never in parts.
    ///
    /// # Errors
    /// [`Full`], with the batch handed back and `done` dropped uncalled.
    pub fn submit(&self, batch: Batch, done: impl FnOnce(Result<(), StoreError>) + Send + 'static) -> Result<(), Full> {
        self.0.shared.queue.push(batch, Box::new(done))
    }

    /// Reads a record and verifies it. A damaged one is set aside and never found again.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::DamagedRecord`], [`StoreError::Io`] or [`StoreError::Closed`].
    pub fn read(&self, seq: u64) -> Result<StoredRecord, StoreError> {
        let key = format::record_key(seq);
        let value = match self.get(Space::Records, &key) {
            Ok(value) => value.ok_or(StoreError::Missing { seq })?,
            Err(Fault::Damaged(what)) => return Err(StoreError::DamagedRecord { seq, what }),
            Err(fault) => return Err(reading(&fault)),
        };
        let head = format::decode_record(&key, &value).map_err(|what| {
            self.set_aside(Space::Records, &key, &what);
            StoreError::DamagedRecord { seq, what }
        })?;
        let wire = Bytes::copy_from_slice(value.get(format::RECORD_META..).unwrap_or_default());
        Ok(StoredRecord { head, wire })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError::DamagedValue`], [`StoreError::Io`] or [`StoreError::Closed`].
    pub fn kv_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(found) = self.get(Space::Kv, key).map_err(|fault| reading(&fault))? else { return Ok(None) };
        let value = format::decode_kv(key, &found).map_err(|what| {
            self.set_aside(Space::Kv, key, &what);
            StoreError::DamagedValue { what }
        })?;
        Ok(Some(value.to_vec()))
    }

    /// The first `limit` (at most [`MAX_SCAN`]) keys with this prefix behind `after`, in order, with their values.
    /// Damaged values are set aside, counted and left out.
    ///
    /// # Errors
    /// [`StoreError::DamagedValue`] (a stretch of the table can't be read), [`StoreError::Io`] or [`StoreError::Closed`].
    pub fn kv_scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>, StoreError> {
        let shared = &self.0.shared;
        let pairs = shared
            .with_engine(|engine| Engine::scan(&engine.kv, prefix, after, limit.min(MAX_SCAN)))
            .map_err(|fault| reading(&fault))?;
        let verified = pairs.iter().filter_map(|(key, value)| match format::decode_kv(key, value) {
            Ok(value) => Some((key.to_vec(), value.to_vec())),
            Err(what) => {
                self.set_aside(Space::Kv, key, &what);
                None
            }
        });
        Ok(verified.collect())
    }

    /// The engine's figures. Looks at the files' sizes: not for hot paths.
    pub fn stats(&self) -> EngineStats {
        self.0.shared.stats()
    }

    /// Why the store takes nothing new at the moment, if so. Cheap.
    pub fn read_only(&self) -> Option<String> {
        self.0.shared.refusal().map(|error| error.to_string())
    }

    /// Takes nothing new, commits what waits, calls the completions, and closes the database.
    /// Afterwards the directory can be opened again. Must not be called from a completion.
    pub fn close(&self) {
        self.0.close();
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<fjall::Slice>, Fault> {
        self.0.shared.with_engine(|engine| Engine::get(engine.table(space), key))
    }

    fn set_aside(&self, space: Space, key: &[u8], what: &str) {
        self.0.shared.queue.set_aside(Damage { space, key: key.to_vec(), what: what.to_owned() });
    }
}

impl Inner {
    fn close(&self) {
        self.shared.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last handle may be dropped by a completion: the thread can't wait for itself, and ends on its own.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// A fault of reading, as the caller sees it.
fn reading(fault: &Fault) -> StoreError {
    match fault {
        Fault::Closed => StoreError::Closed,
        Fault::Damaged(what) => StoreError::DamagedValue { what: what.clone() },
        other => StoreError::Io { doing: "reading the store", what: other.to_string() },
    }
}

#[cfg(test)]
mod tests;
