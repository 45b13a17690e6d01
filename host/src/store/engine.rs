//! The database underneath: its tables, one atomic commit, verified reads. Knows nothing of queues and threads.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use fjall::config::FilterPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::format::{self, encode_kv, encode_seen, record_key, record_seq, seen_bucket, seen_key};
use super::index::{self, Index, MARK_KEY};
use super::prepared::Prepared;
use super::{IndexPlace, SeenEntry, StoreConfig};

/// The database's bound on its journals. Its default of 512 MiB took 5 to 8 s to replay at the next open.
const MAX_JOURNALS: u64 = 64 << 20;
/// Memory for gathered entries of the small tables, in bytes.
const SMALL_MEMTABLE: u64 = 4 << 20;
/// The most memory for gathered records where the index is on disk, in bytes.
const LEAN_MEMTABLE: u64 = 4 << 20;
/// What may be gathered there in all before a commit waits for a while, in bytes: more than all memtables that are not full.
const MAX_GATHERED: u64 = 32 << 20;
/// One thread writes tables and merges them. With a second one, fjall's first thread passes each request to merge back to
/// its own queue, over and over, for as long as the second one merges: a core is lost to nothing. While one merges, gathered
/// memtables hold what is committed: a million envelopes cost 8.2 s of CPU with one thread and 8.9 s with two, and the
/// slowest commit took no longer.
const WORKERS: usize = 1;
/// Tables kept open. Well under the usual limit of 1,024 file handles a process.
const MAX_OPEN_FILES: usize = 128;
/// Ids in one chunk of the seen table.
const SEEN_CHUNK: usize = 1_024;
/// Chunks of expired ids removed by one commit.
const MAX_FORGET: usize = 4_096;
/// Unwritten memtables of one table at which the database itself would make a commit wait.
pub(super) const MAX_SEALED: usize = 3;
/// The same where the index is on disk, to save memory.
const MAX_SEALED_LEAN: usize = 2;
/// The database's folder with a folder for each table.
const TABLES_DIR: &str = "keyspaces";
/// The key of the engine's own note in `meta`.
pub(super) const META_KEY: &[u8] = b"cursor";

/// Why the database failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Another handle has it open.
    Locked,
    /// No room on the disk.
    Full,
    /// A background thread of the database failed before; opening anew may mend it.
    Poisoned,
    /// A write or sync failed: what is on disk is uncertain.
    Write(String),
    /// Bytes on disk make no sense.
    Damaged(String),
    /// The system had no means to read just now. Nothing is known of the bytes: another try may find them good.
    NotNow(String),
    /// The database is closed.
    Closed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("the database is in use"),
            Self::Full => f.write_str("the disk is full"),
            Self::Poisoned => f.write_str("a background write of the database failed"),
            Self::Write(what) => write!(f, "a write or sync failed: {what}"),
            Self::Damaged(what) => write!(f, "unreadable: {what}"),
            Self::NotNow(what) => write!(f, "not readable just now: {what}"),
            Self::Closed => f.write_str("the database is closed"),
        }
    }
}

impl Fault {
    /// A fault of reading or opening.
    pub(super) fn reading(error: &fjall::Error) -> Self {
        match error {
            fjall::Error::Locked => Self::Locked,
            fjall::Error::Poisoned => Self::Poisoned,
            other if is_full(other) => Self::Full,
            other if io_of(other).is_some_and(passes) => Self::NotNow(other.to_string()),
            other => Self::Damaged(other.to_string()),
        }
    }

    /// A fault of committing.
    pub(super) fn writing(error: &fjall::Error) -> Self {
        match error {
            fjall::Error::Poisoned => Self::Poisoned,
            other if is_full(other) => Self::Full,
            other => Self::Write(other.to_string()),
        }
    }
}

fn io_of(error: &fjall::Error) -> Option<&io::Error> {
    match error {
        fjall::Error::Io(io) | fjall::Error::Storage(fjall::LsmError::Io(io)) => Some(io),
        _ => None,
    }
}

fn is_full(error: &fjall::Error) -> bool {
    io_of(error).is_some_and(|io| matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

/// Whether an error tells of the process or the machine, not of the bytes: no file handles left, no memory. Taking that
/// for damage would drop good records.
fn passes(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let lacks = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::AGAIN].map(Errno::raw_os_error);
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::OutOfMemory)
        || error.raw_os_error().is_some_and(|code| lacks.contains(&code))
}

/// Runs a call into the database. It may panic on damaged files; that is damage like any other.
pub(super) fn guarded<T>(call: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(Fault::Damaged("the database gave up on what it read".into())))
}

/// Numbers that only grow, kept in `meta` with each commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The next free sequence number.
    pub(super) next_seq: u64,
    /// The number of the next seen chunk.
    pub(super) next_chunk: u64,
    /// Commits done in this store's life. A clean close notes it, so that a loss shows at the next open.
    pub(super) commits: u64,
    /// Buckets below this one hold no ids any more. Not kept on disk.
    pub(super) seen_floor: u32,
}

impl Cursor {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = self.next_seq.to_be_bytes().to_vec();
        out.extend_from_slice(&self.next_chunk.to_be_bytes());
        out.extend_from_slice(&self.commits.to_be_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (seq, rest) = bytes.split_first_chunk::<8>()?;
        let (chunk, rest) = rest.split_first_chunk::<8>()?;
        let commits = rest.first_chunk::<8>()?;
        Some(Self {
            next_seq: u64::from_be_bytes(*seq),
            next_chunk: u64::from_be_bytes(*chunk),
            commits: u64::from_be_bytes(*commits),
            seen_floor: 0,
        })
    }
}

/// The open database.
pub(super) struct Engine {
    pub(super) db: Database,
    pub(super) records: Keyspace,
    pub(super) seen: Keyspace,
    pub(super) kv: Keyspace,
    pub(super) meta: Keyspace,
    pub(super) quarantine: Keyspace,
    /// Of a store whose index is on disk, or was.
    pub(super) index: Option<Index>,
    /// Whether the index has all that it should have, so that each commit marks it.
    pub(super) indexed: AtomicBool,
}

impl Engine {
    /// Opens the database in `dir`, making it if there is none.
    pub(super) fn open(dir: &Path, config: &StoreConfig) -> Result<Self, Fault> {
        guarded(|| Self::open_unguarded(dir, config, WORKERS).map_err(|error| Fault::reading(&error)))
    }

    /// Opens the database for a look: nothing in it is written, merged or removed afterwards.
    pub(super) fn open_idle(dir: &Path, config: &StoreConfig) -> Result<Self, Fault> {
        guarded(|| Self::open_unguarded(dir, config, 0).map_err(|error| Fault::reading(&error)))
    }

    fn open_unguarded(dir: &Path, config: &StoreConfig, workers: usize) -> fjall::Result<Self> {
        let db = Database::builder(dir)
            .cache_size(config.cache_bytes)
            .max_journaling_size(MAX_JOURNALS)
            .max_cached_files(Some(MAX_OPEN_FILES))
            .worker_threads_unchecked(workers)
            .manual_journal_persist(true)
            .open()?;
        let table = |name: &str, memtable: u64| {
            db.keyspace(name, || {
                KeyspaceCreateOptions::default().max_memtable_size(memtable).manual_journal_persist(true)
            })
        };
        let on_disk = config.index == IndexPlace::Disk;
        // A record that is asked for is there: a filter would only cost time and memory.
        let records = || {
            let memtable = if on_disk { config.memtable_bytes.min(LEAN_MEMTABLE) } else { config.memtable_bytes };
            let options = KeyspaceCreateOptions::default()
                .max_memtable_size(memtable.max(SMALL_MEMTABLE))
                .manual_journal_persist(true);
            if on_disk { index::lean(options) } else { options.filter_policy(FilterPolicy::disabled()) }
        };
        let engine = Self {
            records: db.keyspace("records", records)?,
            seen: table("seen", SMALL_MEMTABLE)?,
            kv: table("kv", SMALL_MEMTABLE)?,
            meta: table("meta", SMALL_MEMTABLE)?,
            quarantine: table("quarantine", SMALL_MEMTABLE)?,
            index: Index::open(&db, on_disk)?,
            indexed: AtomicBool::new(false),
            db,
        };
        // fjall syncs all that it makes for a new table but the name of its folder: a power cut could take the table away.
        File::open(dir.join(TABLES_DIR)).and_then(|folder| folder.sync_all())?;
        Ok(engine)
    }

    /// Writes all of `group` in one atomic, synced step.
    pub(super) fn commit(&self, group: Vec<Prepared>, cursor: &mut Cursor) -> Result<(), Fault> {
        guarded(|| {
            let mut write = self.db.batch().durability(Some(PersistMode::SyncData));
            self.put_seen(&mut write, &group, cursor);
            self.put_kv(&mut write, &group);
            self.drop_seen(&mut write, &group, cursor)?;
            cursor.commits += 1;
            let built = group.iter().any(|batch| batch.index_built);
            if let Some(index) = &self.index {
                if built || self.indexed.load(Relaxed) {
                    write.insert(&self.meta, MARK_KEY, encode_kv(MARK_KEY, &cursor.commits.to_be_bytes()));
                }
                index.put(&mut write, &group);
            }
            self.put_records(&mut write, group, cursor);
            write.insert(&self.meta, META_KEY, encode_kv(META_KEY, &cursor.encode()));
            write.commit().map_err(|error| Fault::writing(&error))?;
            self.indexed.fetch_or(built, Relaxed);
            Ok(())
        })
    }

    /// Writes the note of the last numbers afresh, synced.
    pub(super) fn note(&self, cursor: Cursor) -> Result<(), Fault> {
        guarded(|| {
            let mut write = self.db.batch().durability(Some(PersistMode::SyncData));
            write.insert(&self.meta, META_KEY, encode_kv(META_KEY, &cursor.encode()));
            write.commit().map_err(|error| Fault::writing(&error))
        })
    }

    /// A record that the same group removes again is not written at all: one key must not occur twice in a commit.
    fn put_records(&self, write: &mut OwnedWriteBatch, group: Vec<Prepared>, cursor: &mut Cursor) {
        let removed: HashSet<u64> = group.iter().flat_map(|batch| &batch.remove).copied().collect();
        for (head, value) in group.into_iter().flat_map(|batch| batch.append) {
            cursor.next_seq = cursor.next_seq.max(head.seq.saturating_add(1));
            if !removed.contains(&head.seq) {
                write.insert(&self.records, record_key(head.seq), value);
            }
        }
        for seq in removed {
            write.remove(&self.records, record_key(seq));
        }
    }

    fn put_seen(&self, write: &mut OwnedWriteBatch, group: &[Prepared], cursor: &mut Cursor) {
        let mut buckets: BTreeMap<u32, Vec<SeenEntry>> = BTreeMap::new();
        for entry in group.iter().flat_map(|batch| &batch.seen) {
            buckets.entry(seen_bucket(entry.expires_ms)).or_default().push(*entry);
        }
        for (bucket, entries) in &buckets {
            cursor.seen_floor = cursor.seen_floor.min(*bucket);
            for chunk in entries.chunks(SEEN_CHUNK) {
                let key = seen_key(*bucket, cursor.next_chunk);
                cursor.next_chunk += 1;
                write.insert(&self.seen, key, encode_seen(&key, chunk));
            }
        }
    }

    fn put_kv(&self, write: &mut OwnedWriteBatch, group: &[Prepared]) {
        let last: BTreeMap<&[u8], Option<&[u8]>> =
            group.iter().flat_map(|batch| &batch.kv).map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        for (key, value) in last {
            match value {
                Some(value) => write.insert(&self.kv, key, encode_kv(key, value)),
                None => write.remove(&self.kv, key),
            }
        }
    }

    fn drop_seen(&self, write: &mut OwnedWriteBatch, group: &[Prepared], cursor: &mut Cursor) -> Result<(), Fault> {
        let before = group.iter().map(|batch| seen_bucket(batch.forget_before_ms)).max().unwrap_or(0);
        if before <= cursor.seen_floor {
            return Ok(());
        }
        let bounds = seen_key(cursor.seen_floor, 0)..seen_key(before, 0);
        let mut dropped = 0;
        for guard in self.seen.range(bounds).take(MAX_FORGET) {
            let key = guard.key().map_err(|error| Fault::reading(&error))?;
            write.remove(&self.seen, key);
            dropped += 1;
        }
        if dropped < MAX_FORGET {
            cursor.seen_floor = before;
        }
        Ok(())
    }

    /// The bytes of one entry, unverified.
    pub(super) fn get(table: &Keyspace, key: &[u8]) -> Result<Option<fjall::Slice>, Fault> {
        guarded(|| table.get(key).map_err(|error| Fault::reading(&error)))
    }

    /// The first `limit` entries behind `after` whose keys begin with `prefix`, unverified.
    pub(super) fn scan(
        table: &Keyspace,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<fjall::KvPair>, Fault> {
        let start = match after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        guarded(|| {
            let mut found = Vec::new();
            for guard in table.range::<&[u8], _>((start, Bound::Unbounded)).take(limit) {
                let pair = guard.into_inner().map_err(|error| Fault::reading(&error))?;
                if !pair.0.starts_with(prefix) {
                    break;
                }
                found.push(pair);
            }
            Ok(found)
        })
    }

    /// Moves damaged entries to the quarantine table, unless they have become good in the meantime.
    /// Returns how many were moved.
    pub(super) fn set_aside(&self, found: &[Damage]) -> Result<u64, Fault> {
        self.quarantine(found, false)
    }

    /// As [`Engine::set_aside`]; with `sound_too`, also those whose own checksum fits.
    pub(super) fn quarantine(&self, found: &[Damage], sound_too: bool) -> Result<u64, Fault> {
        guarded(|| {
            let mut write = self.db.batch().durability(Some(PersistMode::SyncData));
            let mut moved = 0;
            for damage in found {
                let table = self.table(damage.space);
                let bytes = match Self::get(table, &damage.key) {
                    Ok(None) => continue,
                    Ok(Some(value)) if !sound_too && damage.space.verify(&damage.key, &value).is_ok() => continue,
                    Ok(Some(value)) => value,
                    Err(Fault::Damaged(_)) => fjall::Slice::from(Vec::new()),
                    Err(other) => return Err(other),
                };
                let mut name = vec![damage.space as u8];
                name.extend_from_slice(&damage.key);
                write.insert(&self.quarantine, name, format::encode_quarantine(&damage.what, &bytes));
                write.remove(table, damage.key.as_slice());
                moved += 1;
            }
            if found.iter().any(|damage| damage.space == Space::Records) {
                // What the index says of it can't be told from its bytes.
                self.indexed.store(false, Relaxed);
                write.remove(&self.meta, MARK_KEY);
            }
            write.commit().map_err(|error| Fault::writing(&error))?;
            Ok(moved)
        })
    }

    /// The table of a space.
    pub(super) fn table(&self, space: Space) -> &Keyspace {
        match space {
            Space::Records => &self.records,
            Space::Seen => &self.seen,
            Space::Kv => &self.kv,
            Space::Meta => &self.meta,
        }
    }

    /// Whether a commit would have to wait for the database's own threads.
    pub(super) fn is_congested(&self) -> bool {
        let most = if self.index.is_some() { MAX_SEALED_LEAN } else { MAX_SEALED };
        [&self.records, &self.seen, &self.kv, &self.meta]
            .into_iter()
            .chain(self.index.iter().flat_map(Index::tables))
            .any(|table| table.sealed_memtable_count() >= most)
    }

    /// Whether more is gathered in memory than there should be where memory is short. While the database's thread merges tables, it
    /// begins no new memtable, and the present ones grow.
    pub(super) fn gathers_much(&self) -> bool {
        self.index.is_some() && self.db.write_buffer_size() > MAX_GATHERED
    }

    /// Whether a background thread of the database has failed.
    pub(super) fn is_poisoned(&self) -> bool {
        matches!(self.db.persist(PersistMode::Buffer), Err(fjall::Error::Poisoned))
    }
}

/// An entry found damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) space: Space,
    pub(super) key: Vec<u8>,
    pub(super) what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.space, record_seq(&self.key)) {
            (Space::Records, Ok(seq)) => write!(f, "record {seq}: {}", self.what),
            (space, _) => write!(f, "an entry of {space:?}: {}", self.what),
        }
    }
}

/// A table whose entries carry checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Space {
    /// Envelopes.
    Records = b'r' as isize,
    /// Ids seen.
    Seen = b's' as isize,
    /// The key-value space.
    Kv = b'k' as isize,
    /// The engine's own notes.
    Meta = b'm' as isize,
}

impl Space {
    /// The table's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Seen => "seen",
            Self::Kv => "kv",
            Self::Meta => "meta",
        }
    }

    /// Whether an entry is intact.
    pub(super) fn verify(self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match self {
            Self::Records => format::decode_record(key, value).map(drop),
            Self::Seen => format::decode_seen(key, value).map(drop),
            Self::Kv | Self::Meta => format::decode_kv(key, value).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: rustix::io::Errno) -> Fault {
        Fault::reading(&fjall::Error::Storage(fjall::LsmError::Io(code.into())))
    }

    #[test]
    fn a_lack_of_file_handles_is_not_taken_for_damage() {
        assert!(matches!(fault(rustix::io::Errno::MFILE), Fault::NotNow(_)));
        assert!(matches!(fault(rustix::io::Errno::NOMEM), Fault::NotNow(_)));
        assert!(matches!(fault(rustix::io::Errno::IO), Fault::Damaged(_)), "a bad sector is");
    }
}
