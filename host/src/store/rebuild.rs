//! Copies what can still be read of a database into a fresh one.
//!
//! One unreadable block is enough to stop the database for good: sooner or later it compacts the table that the block is
//! in, fails, and takes no writes any more. So when a scan meets one, everything else moves out.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use fjall::{Keyspace, PersistMode};

use super::engine::{Engine, Fault, META_KEY, Space, guarded};
use super::format::{encode_kv, encode_quarantine};
use super::journal::free_place;
use super::open::DB_DIR;
use super::scan::{Scan, walk, walk_records};
use super::tables::{self, NAMES_SPACE, SPACES_DIR};
use super::{StoreConfig, StoreError, holdings};

/// The folder of a copy that is not finished.
pub(super) const COPY_DIR: &str = "db-copy";
/// The folder of a database that is being made.
const NEW_DIR: &str = "db-new";
/// Bytes that one step of the copy writes.
const STEP_BYTES: usize = 4 << 20;

/// Makes a new, empty database, whole or not at all: fjall can't open one whose making was interrupted.
pub(super) fn begin(dir: &Path, config: &StoreConfig) -> Result<(), StoreError> {
    let (db, new) = (dir.join(DB_DIR), dir.join(NEW_DIR));
    if db.exists() {
        return Ok(());
    }
    let io = |e: io::Error| StoreError::io("making the database", &e);
    if new.exists() {
        fs::remove_dir_all(&new).map_err(io)?;
    }
    drop(Engine::open(&new, config).map_err(|fault| super::open::opening(dir, fault))?);
    fs::rename(new, db).and_then(|()| File::open(dir)?.sync_all()).map_err(io)
}

/// Puts empty table spaces where those with these numbers were: the database fills them from its journals. Numbers beyond those
/// of a new database are left out; it makes such tables itself.
pub(super) fn put_empty_tables(dir: &Path, config: &StoreConfig, numbers: &[u64]) -> Result<(), StoreError> {
    let (db, new) = (dir.join(DB_DIR), dir.join(NEW_DIR));
    let io = |e: io::Error| StoreError::io("making empty tables", &e);
    if numbers.is_empty() || !db.join(SPACES_DIR).exists() {
        return Ok(());
    }
    if new.exists() {
        fs::remove_dir_all(&new).map_err(io)?;
    }
    drop(Engine::open(&new, config).map_err(|fault| super::open::opening(dir, fault))?);
    for (fresh, number) in (NAMES_SPACE + 1..).map(|fresh| tables::space(&new, fresh)).zip(numbers) {
        if fresh.exists() {
            fs::rename(fresh, tables::space(&db, *number)).map_err(io)?;
        }
    }
    fs::remove_dir_all(new).map_err(io)
}

/// Finishes or undoes a copy that a crash interrupted.
///
/// The old database is moved away only when the copy is whole and synced; so a copy beside a database is unfinished, and a
/// copy without one is complete.
pub(super) fn settle(dir: &Path) -> io::Result<()> {
    let (db, copy) = (dir.join(DB_DIR), dir.join(COPY_DIR));
    match (db.exists(), copy.exists()) {
        (true, true) => fs::remove_dir_all(copy),
        (false, true) => fs::rename(copy, db).and_then(|()| File::open(dir)?.sync_all()),
        _ => Ok(()),
    }
}

/// Puts a copy in the place of the open database. The damaged one is kept in the folder for damaged files.
pub(super) fn rebuild(dir: &Path, config: &StoreConfig, old: Engine, scan: &Scan) -> Result<Engine, Fault> {
    copy_out(dir, config, &old, scan)?;
    drop(old);
    swap(dir).map_err(|error| Fault::Write(error.to_string()))?;
    Engine::open(&dir.join(DB_DIR), config)
}

/// Copies all that is intact in `old` to a fresh database beside the store's, and syncs it. [`swap`] puts it in its place.
pub(super) fn copy_out(dir: &Path, config: &StoreConfig, old: &Engine, scan: &Scan) -> Result<(), Fault> {
    let copy = dir.join(COPY_DIR);
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(|error| Fault::Write(error.to_string()))?;
    }
    let new = Engine::open(&copy, config)?;
    copy_into(&new, old, scan)
}

/// Puts a finished copy in the place of the database, which is kept in the folder for damaged files.
pub(super) fn swap(dir: &Path) -> io::Result<PathBuf> {
    let kept = free_place(dir, DB_DIR)?;
    holdings::forget(dir)?;
    fs::rename(dir.join(DB_DIR), &kept)?;
    fs::rename(dir.join(COPY_DIR), dir.join(DB_DIR))?;
    File::open(dir)?.sync_all()?;
    Ok(kept)
}

fn copy_into<'a>(new: &'a Engine, old: &Engine, scan: &'a Scan) -> Result<(), Fault> {
    let set_aside = scan.damage.iter().map(|damage| (damage.space, damage.key.as_slice())).collect();
    let mut copy = Copy { to: new, table: &new.records, set_aside, pending: Vec::new(), bytes: 0, fault: None };
    walk_records(&old.records, &mut |key, value| copy.put(Some(Space::Records), key, value))?;
    for (space, from, to) in [
        (Some(Space::Seen), &old.seen, &new.seen),
        (Some(Space::Kv), &old.kv, &new.kv),
        (None, &old.quarantine, &new.quarantine),
    ] {
        copy.turn_to(to);
        walk(from, &mut |key, value| copy.put(space, key, value))?;
    }
    // Without its mark: it serves until the next start, which builds it anew.
    if let (Some(from), Some(to)) = (&old.index, &new.index) {
        for (from, to) in from.tables().into_iter().zip(to.tables()) {
            copy.turn_to(to);
            walk(from, &mut |key, value| copy.put(None, key, value))?;
        }
    }
    copy.turn_to(&new.quarantine);
    for damage in &scan.damage {
        let found = Engine::get(old.table(damage.space), &damage.key).ok().flatten();
        let mut name = vec![damage.space as u8];
        name.extend_from_slice(&damage.key);
        copy.put(None, &name, &encode_quarantine(&damage.what, found.as_deref().unwrap_or_default()));
    }
    copy.turn_to(&new.meta);
    copy.put(None, META_KEY, &encode_kv(META_KEY, &scan.cursor.encode()));
    copy.flush();
    copy.fault.map_or(Ok(()), Err)?;
    guarded(|| new.db.persist(PersistMode::SyncAll).map_err(|error| Fault::writing(&error)))
}

/// Writes in steps. The first fault ends it.
struct Copy<'a> {
    to: &'a Engine,
    table: &'a Keyspace,
    set_aside: HashSet<(Space, &'a [u8])>,
    pending: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
    fault: Option<Fault>,
}

impl<'a> Copy<'a> {
    fn turn_to(&mut self, table: &'a Keyspace) {
        self.flush();
        self.table = table;
    }

    /// Copies an entry, unless it is damaged or set aside.
    fn put(&mut self, space: Option<Space>, key: &[u8], value: &[u8]) {
        if space.is_some_and(|space| self.set_aside.contains(&(space, key)) || space.verify(key, value).is_err()) {
            return;
        }
        self.bytes += key.len() + value.len();
        self.pending.push((key.to_vec(), value.to_vec()));
        if self.bytes >= STEP_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.bytes = 0;
        if pending.is_empty() || self.fault.is_some() {
            return;
        }
        let written = guarded(|| {
            let mut write = self.to.db.batch();
            for (key, value) in pending {
                write.insert(self.table, key, value);
            }
            write.commit().map_err(|error| Fault::writing(&error))
        });
        self.fault = written.err();
    }
}
