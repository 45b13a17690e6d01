//! Offline: is a store in order, and what is in it? Nothing in it is changed.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::audit::{Audit, Envelopes, Progress, TableReport};
use super::engine::{Damage, Space};
use super::format::{record_seq, seen_key_parts};
use super::holdings::{self, Loss};
use super::journal::{DAMAGED_DIR, JournalReport};
use super::look::{DamagedFile, Look};
use super::migrate::{self, Found};
use super::{StoreConfig, StoreError, open};

/// Damaged entries that a report names. Beyond it they are counted.
const MAX_NAMED: usize = 1_000;

/// An entry that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DamagedEntry {
    /// The table.
    pub table: &'static str,
    /// Its key there: a record's number, an hour and a chunk's number, or the key's bytes.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl From<&Damage> for DamagedEntry {
    fn from(damage: &Damage) -> Self {
        let bytes = &damage.key;
        let key = match damage.space {
            Space::Records => record_seq(bytes).ok().map(|seq| seq.to_string()),
            Space::Seen => seen_key_parts(bytes).ok().map(|(hour, chunk)| format!("hour {hour}, chunk {chunk}")),
            Space::Kv | Space::Meta => None,
        };
        let key = key.unwrap_or_else(|| bytes.escape_ascii().to_string());
        Self { table: damage.space.name(), key, reason: damage.what.clone() }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Nothing is damaged.
    pub ok: bool,
    /// The store's folder.
    pub dir: PathBuf,
    /// Version of the format; `None` when the file FORMAT can't be read.
    pub format: Option<u32>,
    /// What each table holds.
    pub tables: Vec<TableReport>,
    /// What each journal holds.
    pub journals: Vec<JournalReport>,
    /// The envelopes.
    pub envelopes: Envelopes,
    /// Different ids remembered.
    pub seen_ids: u64,
    /// Ids noted as held without a record, which neighbours may send again. No damage by itself.
    pub held_without_record: u64,
    /// Damaged entries in all.
    pub damaged_entries: u64,
    /// The first 1,000 of them.
    pub damage: Vec<DamagedEntry>,
    /// Stretches of tables that can't be read.
    pub unreadable: Vec<String>,
    /// Damaged files.
    pub files: Vec<DamagedFile>,
    /// What else is wrong.
    pub problems: Vec<String>,
}

/// Reads everything in the store in `dir`, and says what is damaged. Nothing of it is changed.
///
/// # Errors
/// [`StoreError::Locked`], [`StoreError::Format`] (a newer one), [`StoreError::Io`] (also when there is none); and
/// [`StoreError::Damaged`] when nothing at all can be read.
pub fn check(dir: &Path, now_ms: u64, progress: Progress<'_>) -> Result<CheckReport, StoreError> {
    let _lock = open::lock_existing(dir)?;
    let mut problems = Vec::new();
    let format = match migrate::found(dir)? {
        Found::Version(version) => Some(version),
        Found::None => note(&mut problems, "the file FORMAT is missing"),
        Found::Unreadable => note(&mut problems, "the file FORMAT can't be read"),
    };
    let look = Look::at(dir, &StoreConfig::default(), true)?;
    let audit = Audit::of(&look.engine, now_ms, progress).map_err(|fault| open::opening(dir, fault))?;
    let mut lost = holdings::missing(dir).map_err(|e| StoreError::io("looking for lost files of the store", &e))?;
    if audit.has_true_cursor() {
        lost.extend(holdings::missing_commits(dir, audit.cursor.map_or(0, |cursor| cursor.commits)));
    }
    problems.extend(lost.iter().map(Loss::with_remedy));
    problems.extend(holdings::standing(dir).map(|notice| format!("an earlier start found: {notice}")));
    problems.extend(audit.index.iter().cloned());
    let journals_sound = look.journals.iter().all(|journal| journal.damaged.is_empty() && journal.renumbered == 0);
    Ok(CheckReport {
        ok: audit.is_sound() && problems.is_empty() && look.files.is_empty() && journals_sound,
        dir: dir.to_owned(),
        format,
        damage: audit.damage.iter().take(MAX_NAMED).map(DamagedEntry::from).collect(),
        tables: audit.tables,
        journals: look.journals,
        envelopes: audit.envelopes,
        seen_ids: audit.seen_ids,
        held_without_record: audit.held_without_record,
        damaged_entries: audit.damaged,
        unreadable: audit.unreadable,
        files: look.files,
        problems,
    })
}

fn note(problems: &mut Vec<String>, what: &str) -> Option<u32> {
    problems.push(what.to_owned());
    None
}

/// What a store holds, and what it takes on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreFigures {
    /// The store's folder.
    pub dir: PathBuf,
    /// Version of the format; `None` when the file FORMAT can't be read.
    pub format: Option<u32>,
    /// Bytes on the disk, in all.
    pub disk_bytes: u64,
    /// Bytes of them that the journals take.
    pub journal_bytes: u64,
    /// Bytes of them that are kept of damaged files.
    pub damaged_bytes: u64,
    /// Free bytes on that disk.
    pub free_bytes: u64,
    /// What each table holds.
    pub tables: Vec<TableReport>,
    /// The envelopes.
    pub envelopes: Envelopes,
    /// Different ids remembered.
    pub seen_ids: u64,
    /// Entries set aside as damaged, before now.
    pub quarantined: u64,
    /// The next free sequence number.
    pub next_seq: Option<u64>,
    /// Commits in the store's life.
    pub commits: Option<u64>,
    /// It was closed in order the last time.
    pub closed: bool,
}

/// The figures of the store in `dir`. Nothing of it is changed.
///
/// # Errors
/// As [`check`].
pub fn figures(dir: &Path, now_ms: u64, progress: Progress<'_>) -> Result<StoreFigures, StoreError> {
    let _lock = open::lock_existing(dir)?;
    let format = match migrate::found(dir)? {
        Found::Version(version) => Some(version),
        Found::None | Found::Unreadable => None,
    };
    let disk_bytes = open::disk_bytes(dir);
    let look = Look::at(dir, &StoreConfig::default(), false)?;
    let audit = Audit::of(&look.engine, now_ms, progress).map_err(|fault| open::opening(dir, fault))?;
    let quarantined = audit.tables.last().map_or(0, |table| table.entries);
    Ok(StoreFigures {
        dir: dir.to_owned(),
        format,
        disk_bytes,
        journal_bytes: look.journals.iter().map(|journal| journal.bytes).sum(),
        damaged_bytes: open::disk_bytes(&dir.join(DAMAGED_DIR)),
        free_bytes: rustix::fs::statvfs(dir).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        tables: audit.tables,
        envelopes: audit.envelopes,
        seen_ids: audit.seen_ids,
        quarantined,
        next_seq: audit.cursor.map(|cursor| cursor.next_seq),
        commits: audit.cursor.map(|cursor| cursor.commits),
        closed: fs::exists(dir.join(open::CLOSED_FILE)).unwrap_or(false),
    })
}
