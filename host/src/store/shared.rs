//! What the handles and the committing thread share: the database, its health, the figures.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use super::engine::{Cursor, Engine, Fault};
use super::queue::Queue;
use super::{EngineStats, StoreConfig, StoreError, holdings, open};

/// Whether the store takes something new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// It does.
    Good,
    /// Not now; it is reopened when the cause may have passed.
    Waiting(String),
    /// Not any more in this process.
    ReadOnly(String),
}

/// Room that must be free, whatever the reserve, before a database that failed for lack of it is opened again: 4 MiB,
/// or a thirty-second of a small disk.
const MIN_ROOM_TO_REOPEN: u64 = 4 << 20;

/// Free room on the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    free: u64,
    reserve: u64,
    total: u64,
}

impl Room {
    /// Why a batch can't be taken for lack of room. Removals may use most of the reserve: they make room in the end.
    pub(super) fn refuses(self, grows: bool) -> Option<StoreError> {
        let wanted = if grows { self.reserve } else { self.reserve / 4 };
        (self.free < wanted).then_some(StoreError::DiskFull { free: self.free, wanted })
    }
}

#[derive(Default)]
struct Counters {
    commits: AtomicU64,
    batches: AtomicU64,
    records: AtomicU64,
    largest: AtomicU64,
    last_us: AtomicU64,
    slowest_us: AtomicU64,
    damaged: AtomicU64,
    reopened: AtomicU64,
}

/// The inside of a [`super::Store`].
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) config: StoreConfig,
    pub(super) queue: Queue,
    engine: RwLock<Option<Engine>>,
    health: Mutex<Health>,
    counters: Counters,
    /// Held as long as the store is open, over reopenings.
    lock: Mutex<Option<File>>,
}

impl Shared {
    pub(super) fn new(dir: PathBuf, config: StoreConfig, engine: Engine, lock: File, damaged: u64) -> Self {
        let counters = Counters::default();
        counters.damaged.store(damaged, Relaxed);
        Self {
            queue: Queue::new(config.queue_batches, config.queue_bytes),
            engine: RwLock::new(Some(engine)),
            health: Mutex::new(Health::Good),
            lock: Mutex::new(Some(lock)),
            dir,
            config,
            counters,
        }
    }

    /// Calls into the database, if it is open.
    pub(super) fn with_engine<T>(&self, call: impl FnOnce(&Engine) -> Result<T, Fault>) -> Result<T, Fault> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine.as_ref().map_or(Err(Fault::Closed), call)
    }

    /// As [`Shared::with_engine`], for a caller who must not wait while the database is opened anew.
    pub(super) fn try_engine<T>(&self, call: impl FnOnce(&Engine) -> Result<T, Fault>) -> Result<T, Fault> {
        let engine = match self.engine.try_read() {
            Ok(engine) => engine,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(Fault::NotNow("the database is being opened anew".into())),
        };
        engine.as_ref().map_or(Err(Fault::Closed), call)
    }

    pub(super) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_health(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    /// What a new batch is answered while the store takes none.
    pub(super) fn refusal(&self) -> Option<StoreError> {
        match self.health() {
            Health::Good => None,
            Health::Waiting(reason) => Some(StoreError::Recovering { reason }),
            Health::ReadOnly(reason) => Some(StoreError::ReadOnly { reason }),
        }
    }

    /// Takes note of a fault while writing, and turns it into the answer to those who waited for the write.
    pub(super) fn fail(&self, fault: &Fault) -> StoreError {
        if matches!(fault, Fault::Closed) {
            return StoreError::Closed;
        }
        // From here on the journal in the page cache can't be trusted to be what is on the disk.
        open::distrust_journal(&self.dir);
        let health = match fault {
            Fault::Full => Health::Waiting("the disk is full".into()),
            Fault::Poisoned => Health::Waiting("a background write failed".into()),
            Fault::NotNow(what) => Health::Waiting(format!("the system refused to read: {what}")),
            other => Health::ReadOnly(other.to_string()),
        };
        tracing::error!(dir = %self.dir.display(), %fault, "the store failed to write");
        self.set_health(health);
        self.refusal().unwrap_or(StoreError::Closed)
    }

    /// Room on the disk now. When the system doesn't tell, there is enough.
    pub(super) fn room(&self) -> Room {
        let Ok(disk) = rustix::fs::statvfs(&self.dir) else {
            return Room { free: u64::MAX, reserve: 0, total: 0 };
        };
        let total = disk.f_blocks.saturating_mul(disk.f_frsize);
        Room {
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            reserve: self.config.reserve_bytes.min(total / 16),
            total,
        }
    }

    /// Why it is no use to reopen yet. What stands in the journal may have to be written afresh.
    fn room_to_reopen(&self) -> Option<StoreError> {
        let room = self.room();
        let wanted = room.reserve.max((room.total / 32).min(MIN_ROOM_TO_REOPEN)) + open::journal_bytes(&self.dir);
        (room.free < wanted).then_some(StoreError::DiskFull { free: room.free, wanted })
    }

    /// Closes the database, checks its files and opens it anew.
    pub(super) fn reopen(&self) -> Result<Cursor, StoreError> {
        // Until there is room, the failed database still serves reads.
        if let Some(error) = self.room_to_reopen() {
            return Err(error);
        }
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        drop(engine.take());
        let opened = open::open_engine(&self.dir, &self.config, u64::MAX, &mut |_| ())
            .inspect_err(|error| self.set_health(Health::Waiting(error.to_string())))?;
        if let Some(what) = opened.engine.unreadable_index() {
            tracing::error!(dir = %self.dir.display(), what, "the index on disk is damaged; it is built anew at the next start");
            _ = opened.engine.doubt_index();
        }
        *engine = Some(opened.engine);
        drop(engine);
        self.count_damaged(opened.damaged);
        self.counters.reopened.fetch_add(1, Relaxed);
        self.set_health(Health::Good);
        tracing::info!(dir = %self.dir.display(), repairs = ?opened.repairs, "the store is open again");
        Ok(opened.cursor)
    }

    /// Closes the database and lets go of the directory.
    pub(super) fn close_engine(&self, commits: u64) {
        let was_open = self.engine.write().unwrap_or_else(PoisonError::into_inner).take().is_some();
        if was_open && self.health() == Health::Good {
            open::note_closed(&self.dir, commits);
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    pub(super) fn count_commit(&self, batches: u64, records: u64, took: Duration) {
        let c = &self.counters;
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        c.commits.fetch_add(1, Relaxed);
        c.batches.fetch_add(batches, Relaxed);
        c.records.fetch_add(records, Relaxed);
        c.largest.fetch_max(batches, Relaxed);
        c.last_us.store(took, Relaxed);
        c.slowest_us.fetch_max(took, Relaxed);
    }

    pub(super) fn count_damaged(&self, entries: u64) {
        self.counters.damaged.fetch_add(entries, Relaxed);
    }

    pub(super) fn stats(&self) -> EngineStats {
        let c = &self.counters;
        let (queued, refused) = self.queue.figures();
        let full = self.room().refuses(true).map(|error| error.to_string());
        EngineStats {
            disk_bytes: open::disk_bytes(&self.dir),
            commits: c.commits.load(Relaxed),
            batches: c.batches.load(Relaxed),
            records: c.records.load(Relaxed),
            largest_commit: c.largest.load(Relaxed),
            last_commit_us: c.last_us.load(Relaxed),
            slowest_commit_us: c.slowest_us.load(Relaxed),
            queued,
            refused,
            damaged: c.damaged.load(Relaxed),
            reopened: c.reopened.load(Relaxed),
            read_only: self.refusal().map(|error| error.to_string()).or(full),
            lost: holdings::standing(&self.dir),
        }
    }
}
