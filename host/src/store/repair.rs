//! Offline: mends a store, also one that the node can't open, and says what was lost.
//!
//! What opening mends by itself is left to opening. When that refuses, because the database's own bookkeeping is damaged, what a
//! [`Look`] can read is copied to a fresh database, which takes the old one's place as any rebuilt one does; the old one stays
//! in the folder for damaged files as it was found.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::audit::{Audit, Envelopes, Progress, TableReport};
use super::check::DamagedEntry;
use super::engine::{Damage, Engine, Fault, Space};
use super::journal::free_place;
use super::look::{DamagedFile, LOOK_DIR, Look};
use super::migrate::{self, FORMAT_FILE, Found};
use super::open::{self, DB_DIR, Opened};
use super::scan::{self, walk, walk_records};
use super::version::{VERSION_FILE, Wrong};
use super::{IndexPlace, OLDEST_FORMAT, SeenState, StoreConfig, StoreError, format, holdings, rebuild, version};

/// Rounds of setting aside what an audit lists. One does, unless more is damaged than is listed at once.
const MAX_ROUNDS: u32 = 100;

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RepairReport {
    /// The store is in order now.
    pub ok: bool,
    /// The store's folder.
    pub dir: PathBuf,
    /// There was something to mend.
    pub mended: bool,
    /// What was done, in words.
    pub done: Vec<String>,
    /// Entries that were set aside. Messages among them are fetched again from neighbours that still hold them.
    pub set_aside: Vec<DamagedEntry>,
    /// Damaged files of the old database.
    pub files: Vec<DamagedFile>,
    /// Where the files are that were replaced.
    pub kept: Vec<PathBuf>,
    /// What each table holds now.
    pub tables: Vec<TableReport>,
    /// The envelopes now.
    pub envelopes: Envelopes,
}

/// Mends the store in `dir`.
///
/// # Errors
/// [`StoreError::Locked`], [`StoreError::Format`] (a newer one), [`StoreError::Io`], [`StoreError::DiskFull`] (a rebuilt
/// database needs as much room as the old one); and [`StoreError::Damaged`] when nothing at all can be read.
pub fn repair(dir: &Path, now_ms: u64, progress: Progress<'_>) -> Result<RepairReport, StoreError> {
    let _old_lock = open::lock_existing(dir)?;
    let config = StoreConfig::default();
    let mut report = RepairReport { dir: dir.to_owned(), ..RepairReport::default() };
    mend_format(dir, &mut report)?;
    mend_version(dir, &mut report).map_err(|e| StoreError::io("mending the database's version file", &e))?;
    let _ = fs::remove_dir_all(dir.join(LOOK_DIR));
    let opened = match open::open_engine(dir, &config, now_ms, &mut |_| ()) {
        Err(StoreError::Damaged { what, .. }) => {
            report.done.push(format!("the database could not be opened: {what}"));
            salvage(dir, &config, &mut report)?;
            open::open_engine(dir, &config, now_ms, &mut |_| ())?
        }
        other => other?,
    };
    report.done.extend(opened.repairs.iter().cloned());
    let said = holdings::put_notice_away(dir).map_err(|e| StoreError::io("putting the notice of losses away", &e))?;
    if !said.is_empty() {
        report.done.push(format!("the notice of what was lost was put away: {}", said.join("; ")));
    }
    let audit = settle(dir, &opened, now_ms, &mut report, progress)?;
    report.ok = audit.is_sound();
    report.mended = opened.damaged > 0 || !report.done.is_empty() || !report.set_aside.is_empty();
    report.tables = audit.tables;
    report.envelopes = audit.envelopes;
    drop(opened.engine);
    if let Some(cursor) = audit.cursor {
        open::note_closed(dir, cursor.commits);
    }
    Ok(report)
}

/// A file FORMAT that can't be read is written afresh with the oldest version, from which opening goes on: what is in
/// the tables names its own layout.
fn mend_format(dir: &Path, report: &mut RepairReport) -> Result<(), StoreError> {
    let what = match migrate::found(dir)? {
        Found::Version(_) => return Ok(()),
        Found::None => "was missing",
        Found::Unreadable => {
            let kept = free_place(dir, FORMAT_FILE).and_then(|place| {
                fs::rename(dir.join(FORMAT_FILE), &place)?;
                Ok(place)
            });
            report.kept.push(kept.map_err(|e| StoreError::io("keeping the damaged file FORMAT", &e))?);
            "could not be read"
        }
    };
    migrate::name(dir, OLDEST_FORMAT)?;
    report.done.push(format!("the file FORMAT {what} and was written afresh"));
    Ok(())
}

/// Writes the database's version file afresh where it is missing or unreadable. One that names another version is not believed to
/// be wrong in that alone.
fn mend_version(dir: &Path, report: &mut RepairReport) -> io::Result<()> {
    let db = dir.join(DB_DIR);
    match version::wrong(&db)? {
        _ if !db.exists() => return Ok(()),
        None | Some(Wrong::Other(_)) => return Ok(()),
        Some(Wrong::Missing) => {}
        Some(Wrong::Unreadable) => {
            let kept = free_place(dir, VERSION_FILE)?;
            fs::rename(db.join(VERSION_FILE), &kept)?;
            report.kept.push(kept);
        }
    }
    version::write(&db)?;
    report.done.push("the database's version file was written afresh".to_owned());
    Ok(())
}

/// Copies what can be read of a database that can't be opened.
fn salvage(dir: &Path, config: &StoreConfig, report: &mut RepairReport) -> Result<(), StoreError> {
    let opening = |fault: Fault| open::opening(dir, fault);
    let look = Look::at(dir, config, true)?;
    let mut scan = scan::scan(&look.engine, 0, &mut |_| ()).map_err(opening)?;
    let returned = returned(&look.engine).map_err(opening)?;
    report.set_aside.extend(scan.damage.iter().chain(&returned).map(DamagedEntry::from));
    report.done.extend(look.mended.notes.iter().chain(&scan.unreadable).cloned());
    scan.damage.extend(returned);
    rebuild::copy_out(dir, config, &look.engine, &scan).map_err(opening)?;
    let kept = rebuild::swap(dir).map_err(|e| StoreError::io("putting the rebuilt database in its place", &e))?;
    report
        .done
        .push(format!("what could be read was copied to a fresh {DB_DIR}; the old one is in {}", kept.display()));
    report.kept.push(kept);
    report.files.extend(look.files.iter().cloned());
    Ok(())
}

/// Records that had been removed, and that a table brought back which no list names any more: their ids are noted as
/// delivered, or as passed on after they had come.
fn returned(engine: &Engine) -> Result<Vec<Damage>, Fault> {
    let mut gone = HashMap::new();
    walk(&engine.seen, &mut |key, value| {
        for entry in format::decode_seen(key, value).unwrap_or_default() {
            match entry.state {
                SeenState::Held => gone.remove(&entry.id),
                SeenState::Delivered => gone.insert(entry.id, u64::MAX),
                SeenState::PassedOn { at_ms, .. } => gone.insert(entry.id, at_ms),
            };
        }
    })?;
    let mut found = Vec::new();
    walk_records(&engine.records, &mut |key, value| {
        let head = format::decode_record(key, value);
        if head.is_ok_and(|head| gone.get(&head.id).is_some_and(|at_ms| *at_ms > head.received_ms)) {
            let what = "it had been delivered or passed on before: an old table brought it back".to_owned();
            found.push(Damage { space: Space::Records, key: key.to_vec(), what });
        }
    })?;
    Ok(found)
}

/// Sets aside what an audit of the opened store still finds.
fn settle(
    dir: &Path,
    opened: &Opened,
    now_ms: u64,
    report: &mut RepairReport,
    progress: Progress<'_>,
) -> Result<Audit, StoreError> {
    let opening = |fault: Fault| open::opening(dir, fault);
    let mut audit = Audit::of(&opened.engine, now_ms, progress).map_err(opening)?;
    for _ in 0..MAX_ROUNDS {
        if audit.damage.is_empty() {
            break;
        }
        report.set_aside.extend(audit.damage.iter().map(DamagedEntry::from));
        scan::quarantine(&opened.engine, &audit.damage).map_err(opening)?;
        if audit.damage.iter().any(|damage| damage.space == Space::Meta) {
            opened.engine.note(opened.cursor).map_err(opening)?;
        }
        audit = Audit::of(&opened.engine, now_ms, progress).map_err(opening)?;
    }
    if !audit.index.is_empty() {
        report.done.append(&mut audit.index);
        report.done.push("the index on disk was emptied; it is built from the records at the next start".into());
        open::settle_index(dir, &opened.engine, IndexPlace::Memory)?;
    }
    Ok(audit)
}
