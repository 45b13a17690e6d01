//! Opening a store: who may, in which format, and what is mended before anything is trusted.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::engine::{Cursor, Engine, Fault};
use super::holdings::Loss;
use super::scan::{self, Found};
use super::{IndexPlace, StoreConfig, StoreError, holdings, journal, migrate, rebuild, tables, version};

/// The file whose lock says that a process has the store open.
const LOCK_FILE: &str = "lock";
/// The folder of the database proper.
pub(super) const DB_DIR: &str = "db";
/// Present while the active journal is known to be on the disk as it is read. Removed by a failed commit. Names the boot of
/// the machine in which it was made.
const TRUST_FILE: &str = "journal-trusted";
/// Where Linux says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Present after a clean close: how many commits the store held then.
pub(super) const CLOSED_FILE: &str = "closed";
/// How often a lock is tried.
const LOCK_TRIES: u32 = 6;
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// An open and checked database.
pub(super) struct Opened {
    pub(super) engine: Engine,
    pub(super) cursor: Cursor,
    pub(super) damaged: u64,
    pub(super) repairs: Vec<String>,
    pub(super) losses: Vec<Loss>,
}

/// Makes the directory if need be, and takes its lock.
pub(super) fn lock_dir(dir: &Path) -> Result<File, StoreError> {
    make_dir(dir).map_err(|e| StoreError::io("making the store's folder", &e))?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(dir.join(LOCK_FILE))
        .map_err(|e| StoreError::io("opening the store's lock", &e))?;
    take_lock(dir, file)
}

/// Takes the lock of a store that is there, changing nothing; so it works on a disk that can't be written to.
pub(super) fn lock_existing(dir: &Path) -> Result<Option<File>, StoreError> {
    if !dir.join(DB_DIR).exists() && !dir.join(rebuild::COPY_DIR).exists() {
        return Err(StoreError::Io {
            doing: "looking for a store",
            what: format!("there is none in {}; `--home` or QPQ_HOME says where the node's folder is", dir.display()),
        });
    }
    match File::open(dir.join(LOCK_FILE)) {
        Ok(file) => take_lock(dir, file).map(Some),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io("opening the store's lock", &e)),
    }
}

fn take_lock(dir: &Path, file: File) -> Result<File, StoreError> {
    match patiently(|| file.try_lock(), |error| matches!(error, TryLockError::WouldBlock)) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(e)) => Err(StoreError::io("locking the store", &e)),
    }
}

/// Makes a folder, and its parents where they are missing, for its owner only, so that a power cut doesn't take their names
/// away again.
///
/// The parent is synced also when the folder was there before: a process that was killed may have made it and not come to
/// the sync. A parent that this process may not read can't be synced by it, and is left to its owner.
pub(crate) fn make_dir(dir: &Path) -> std::io::Result<()> {
    let parents = dir.ancestors().skip(1).map(|parent| if parent == Path::new("") { Path::new(".") } else { parent });
    let missing = dir.ancestors().take_while(|folder| !folder.exists()).count();
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    parents.take(missing.max(1)).try_for_each(|parent| match File::open(parent).and_then(|folder| folder.sync_all()) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        outcome => outcome,
    })
}

/// Tries to take a lock a few times. A process that is just being started has a copy of its parent's open files for a
/// moment, and their locks with them: so a store may look taken that was closed a moment ago.
fn patiently<T, E>(mut take: impl FnMut() -> Result<T, E>, is_taken: impl Fn(&E) -> bool) -> Result<T, E> {
    for _ in 1..LOCK_TRIES {
        match take() {
            Err(error) if is_taken(&error) => std::thread::sleep(LOCK_PAUSE),
            outcome => return outcome,
        }
    }
    take()
}

/// Opens the database in a locked directory: format, journals, tables, contents.
pub(super) fn open_engine(
    dir: &Path,
    config: &StoreConfig,
    now_ms: u64,
    each: &mut dyn FnMut(Found),
) -> Result<Opened, StoreError> {
    let version = migrate::check(dir)?;
    let db = dir.join(DB_DIR);
    rebuild::settle(dir).map_err(|e| StoreError::io("settling an unfinished copy of the database", &e))?;
    let unsettled = holdings::is_settling(dir);
    let mut losses = holdings::fill_gaps(dir, config)?;
    rebuild::begin(dir, config)?;
    sync_names(&db)
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(|e| StoreError::io("syncing the store's folders", &e))?;
    if let Some(wrong) = version::wrong(&db).map_err(|e| StoreError::io("reading the database's version", &e))? {
        return Err(StoreError::damaged(dir, wrong.text()));
    }
    tables::verify(&db)
        .map_err(|e| StoreError::io("looking over the store's tables", &e))?
        .map_err(|what| StoreError::damaged(dir, what))?;
    let mended = journal::mend(&db, !is_journal_trusted(dir))
        .map_err(|e| StoreError::io("looking over the store's journals", &e))?;
    let engine = patiently(|| Engine::open(&db, config), |fault| *fault == Fault::Locked);
    let engine = engine.map_err(|fault| opening(dir, fault))?;
    let scan = scan::scan(&engine, now_ms, each).map_err(|fault| opening(dir, fault))?;
    engine.indexed.store(engine.marked() == Some(scan.cursor.commits), Relaxed);
    if scan.has_true_cursor() {
        losses.extend(holdings::missing_commits(dir, scan.cursor.commits));
    }
    let mut opened = Opened { engine, cursor: scan.cursor, damaged: mended.damaged, repairs: mended.notes, losses };
    opened.damaged += (scan.damage.len() + scan.unreadable.len()) as u64;
    opened.repairs.extend(scan.damage.iter().map(|damage| format!("set aside: {damage}")));
    tell_losses(dir, &mut opened);
    let leaps = unsettled || !opened.losses.is_empty();
    if leaps {
        opened.cursor.jump(); // numbers of what is lost are not used again
        opened.engine.indexed.store(false, Relaxed);
    }
    if scan.unreadable.is_empty() {
        if let Err(fault) = scan::set_aside(&opened.engine, &scan.damage) {
            tracing::warn!(%fault, "damaged entries could not be set aside; they are skipped");
        }
    } else {
        opened.repairs.extend(scan.unreadable.iter().cloned());
        opened.repairs.push("what could be read was copied to a fresh database".into());
        opened.engine = rebuild::rebuild(dir, config, opened.engine, &scan).map_err(|fault| opening(dir, fault))?;
    }
    opened.repairs.extend(migrate::run(dir, &opened.engine, version)?);
    if leaps {
        match opened.engine.note(opened.cursor) {
            Ok(()) => holdings::settled(dir),
            Err(fault) => tracing::warn!(%fault, "the numbers after a loss could not be noted"),
        }
    }
    trust_journal(dir);
    holdings::note(dir, &opened.engine, opened.cursor.commits);
    Ok(opened)
}

/// Empties the index on disk unless it is wanted and has all that it should have. Returns whether it is in use.
pub(super) fn settle_index(dir: &Path, engine: &Engine, place: IndexPlace) -> Result<bool, StoreError> {
    let indexed = place == IndexPlace::Disk && engine.indexed.load(Relaxed);
    if !indexed && engine.has_index() {
        engine.empty_index().map_err(|fault| opening(dir, fault))?;
    }
    Ok(indexed)
}

/// Syncs the names in a folder and below it. An earlier process may have made or moved some of them and not come to the
/// sync, or the sync failed: then they are seen, but are not on the disk, and nothing may be built on them.
fn sync_names(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_names(&entry.path())?;
        }
    }
    File::open(folder)?.sync_all()
}

/// Tells of what is lost. The note of the last clean close has been read, too.
fn tell_losses(dir: &Path, opened: &mut Opened) {
    if !opened.losses.is_empty() {
        holdings::add_to_notice(dir, &opened.losses);
        opened.repairs.extend(opened.losses.iter().map(Loss::to_string));
    }
    let closed = dir.join(CLOSED_FILE);
    if closed.exists() {
        // It says nothing any more once the store is written to.
        let _ = fs::remove_file(closed).and_then(|()| File::open(dir)?.sync_all());
    }
}

/// Notes at a clean close how many commits the store holds.
pub(super) fn note_closed(dir: &Path, commits: u64) {
    let _ = write_synced(dir, CLOSED_FILE, format!("{commits}\n").as_bytes());
}

pub(super) fn opening(dir: &Path, fault: Fault) -> StoreError {
    match fault {
        Fault::Locked => StoreError::Locked { dir: dir.to_owned() },
        Fault::Full => StoreError::DiskFull { free: 0, wanted: 1 },
        Fault::NotNow(what) => StoreError::Io { doing: "reading the store", what },
        other => StoreError::damaged(dir, other.to_string()),
    }
}

/// Writes a small file so that a crash leaves either none or all of it.
pub(super) fn write_synced(dir: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()
}

/// Notes that the active journal on disk is not what the page cache shows. Removing a file needs no room on the disk.
pub(super) fn distrust_journal(dir: &Path) {
    let _ = fs::remove_file(dir.join(TRUST_FILE));
}

/// Whether the newest journal is on the disk as it is read.
///
/// A process that was killed, or whose disk refused everything, may not have come to take its note back. So the note counts
/// after a clean close, or when the machine was started anew and what is read comes from the disk itself.
fn is_journal_trusted(dir: &Path) -> bool {
    let Ok(noted) = fs::read_to_string(dir.join(TRUST_FILE)) else { return false };
    let was_closed = dir.join(CLOSED_FILE).exists();
    was_closed || boot_id().is_some_and(|now| !noted.trim().is_empty() && noted.trim() != now)
}

fn boot_id() -> Option<String> {
    fs::read_to_string(BOOT_ID).ok().map(|id| id.trim().to_owned())
}

/// The note matters only until the machine restarts (the page cache is gone then), so it isn't synced.
fn trust_journal(dir: &Path) {
    let _ = fs::write(dir.join(TRUST_FILE), boot_id().unwrap_or_default());
}

/// Bytes that the newest journal takes on the disk.
pub(super) fn journal_bytes(dir: &Path) -> u64 {
    let journals = journal::journals(&dir.join(DB_DIR)).unwrap_or_default();
    journals.last().and_then(|newest| fs::metadata(newest).ok()).map_or(0, |meta| meta.blocks() * 512)
}

/// Bytes that the store takes on the disk. Counts blocks, since the journals are sparse.
pub(super) fn disk_bytes(dir: &Path) -> u64 {
    let mut total = 0;
    let mut open: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => open.push(entry.path()),
                Ok(meta) => total += meta.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    total
}
