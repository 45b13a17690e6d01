//! What a store has held, noted beside its database, so that files that vanish are missed.
//!
//! A database tells nothing of a journal, or of a table's folder, that is no longer there: it opens, and is emptier. So each
//! opening notes what the database consists of, and the next one looks whether it is all there. What is missing goes into
//! a notice that stays until somebody puts it away with `qpq store repair`.

use std::fmt::{self, Write};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::engine::Engine;
use super::index::Index;
use super::journal::{self, free_place};
use super::open::{CLOSED_FILE, DB_DIR, write_synced};
use super::rebuild::{self, COPY_DIR};
use super::{StoreConfig, StoreError, tables};

/// What the database consisted of when it was opened last.
const HOLDINGS_FILE: &str = "holdings";
/// What was found missing, one loss a line.
const LOST_FILE: &str = "lost";
/// Is there while an opening that found something missing is not finished.
const SETTLING_FILE: &str = "settling";
/// The longest of these files that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;
/// Losses that are kept. The first ones say most.
const MAX_LOSSES: usize = 16;
/// What helps against a loss.
const REMEDY: &str = "messages that neighbours still hold come back by themselves; the rest only from a backup of the folder. \
     `qpq store repair` puts this notice away";

/// Something that the store has held and holds no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The folder of the database.
    Database,
    /// All journals, or the newest.
    Journals,
    /// The folder of a table.
    Table {
        /// The table's name.
        name: String,
    },
    /// Commits that were counted at the last opening or clean close.
    Commits {
        /// How many.
        missing: u64,
    },
}

impl Loss {
    /// Whether it is more than an index, which is built anew.
    fn is_felt(&self) -> bool {
        !matches!(self, Self::Table { name } if Index::has(name))
    }

    /// What it is, and what helps.
    pub(super) fn with_remedy(&self) -> String {
        if self.is_felt() { format!("{self}: {REMEDY}") } else { format!("{self} at the next start") }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => write!(f, "the folder {DB_DIR} is gone, and all that the store held with it"),
            Self::Journals => write!(f, "journals in {DB_DIR} are gone, and what was written last with them"),
            Self::Table { name } if Index::has(name) => {
                write!(
                    f,
                    "the folder of the table {name} of the index is gone from {DB_DIR}; the index is built anew from the records"
                )
            }
            Self::Table { name } => {
                write!(f, "the folder of the table {name} is gone from {DB_DIR}, and what it held with it")
            }
            Self::Commits { missing } => {
                write!(f, "the last {missing} commits are gone that the store is known to have held")
            }
        }
    }
}

/// What a database consists of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Holdings {
    commits: u64,
    /// The newest journal's number.
    journal: u64,
    /// The tables: number and name.
    tables: Vec<(u64, String)>,
}

impl Holdings {
    fn encode(&self) -> String {
        let mut text = format!("commits {}\njournal {}\n", self.commits, self.journal);
        for (number, name) in &self.tables {
            let _ = writeln!(text, "table {number} {name}");
        }
        let sum = xxh3_64(text.as_bytes());
        text + &format!("sum {sum:016x}\n")
    }

    /// `None` when it isn't what was written.
    fn decode(text: &str) -> Option<Self> {
        let (body, sum) = text.rsplit_once("sum ")?;
        (u64::from_str_radix(sum.trim_end(), 16).ok()? == xxh3_64(body.as_bytes())).then_some(())?;
        let mut found = Self::default();
        for line in body.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["commits", count] => found.commits = count.parse().ok()?,
                ["journal", number] => found.journal = number.parse().ok()?,
                ["table", number, name] => found.tables.push((number.parse().ok()?, name.to_owned())),
                _ => {} // of a later program
            }
        }
        Some(found)
    }

    fn noted(dir: &Path) -> Option<Self> {
        Self::decode(&read(&dir.join(HOLDINGS_FILE))?)
    }
}

fn read(path: &Path) -> Option<String> {
    let fits = fs::metadata(path).is_ok_and(|meta| meta.len() <= MAX_FILE);
    fits.then(|| fs::read(path).ok()).flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Notes what an open database consists of. Where that fails, there is no note: an old one could raise a false alarm.
pub(super) fn note(dir: &Path, engine: &Engine, commits: u64) {
    let newest = journal::numbered(&dir.join(DB_DIR)).ok().and_then(|journals| journals.last().map(|(n, _)| *n));
    let holdings = Holdings { commits, journal: newest.unwrap_or(0), tables: numbered_tables(engine) };
    if write_synced(dir, HOLDINGS_FILE, holdings.encode().as_bytes()).is_err() {
        let _ = forget(dir);
    }
}

fn numbered_tables(engine: &Engine) -> Vec<(u64, String)> {
    let tables = [&engine.records, &engine.seen, &engine.kv, &engine.meta, &engine.quarantine];
    let tables = tables.into_iter().chain(engine.index.iter().flat_map(Index::tables));
    let number = |path: &Path| path.file_name()?.to_str()?.parse().ok();
    tables.filter_map(|table| Some((number(table.path())?, table.name().to_string()))).collect()
}

/// Takes the note away: another database takes the place of the noted one.
pub(super) fn forget(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(HOLDINGS_FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(dir)?.sync_all(),
    }
}

/// What of the noted database is not there any more. Changes nothing.
pub(super) fn missing(dir: &Path) -> io::Result<Vec<Loss>> {
    let (db, noted) = (dir.join(DB_DIR), Holdings::noted(dir));
    if !db.exists() {
        let was_there = noted.is_some() && !dir.join(COPY_DIR).exists();
        return Ok(if was_there { vec![Loss::Database] } else { Vec::new() });
    }
    let newest = journal::numbered(&db)?.last().map(|(number, _)| *number);
    let mut lost = Vec::new();
    // A database has a journal from the moment that it gets its name.
    if newest.is_none() || newest < noted.as_ref().map(|noted| noted.journal) {
        lost.push(Loss::Journals);
    }
    for (number, name) in noted.map(|noted| noted.tables).unwrap_or_default() {
        if !tables::space(&db, number).exists() {
            lost.push(Loss::Table { name });
        }
    }
    Ok(lost)
}

/// Whether fewer commits are there than the note or the last clean close told of.
pub(super) fn missing_commits(dir: &Path, found: u64) -> Option<Loss> {
    let closed = read(&dir.join(CLOSED_FILE)).and_then(|text| text.trim().parse().ok());
    let noted = Holdings::noted(dir).map(|noted| noted.commits);
    let missing = closed.max(noted)?.checked_sub(found).filter(|missing| *missing > 0)?;
    Some(Loss::Commits { missing })
}

/// Looks for what is missing, puts it into the notice, and fills the gaps with something empty, which the database wants
/// to see: without a journal it forgets how far it had counted, and without a table's folder it drops what the journals hold
/// of that table.
pub(super) fn fill_gaps(dir: &Path, config: &StoreConfig) -> Result<Vec<Loss>, StoreError> {
    let failed = |e: io::Error| StoreError::io("looking for lost files of the store", &e);
    let lost = missing(dir).map_err(failed)?;
    if lost.is_empty() {
        return Ok(lost);
    }
    begin_settling(dir);
    add_to_notice(dir, &lost);
    if lost.contains(&Loss::Database) {
        return Ok(lost);
    }
    let (db, noted) = (dir.join(DB_DIR), Holdings::noted(dir).unwrap_or_default());
    if lost.contains(&Loss::Journals) {
        journal::begin(&db, noted.journal).map_err(failed)?;
    }
    let gone = noted.tables.iter().map(|(number, _)| *number).filter(|number| !tables::space(&db, *number).exists());
    rebuild::put_empty_tables(dir, config, &gone.collect::<Vec<_>>())?;
    Ok(lost)
}

/// The notice of what was lost, if there is one.
pub(super) fn notice(dir: &Path) -> Vec<String> {
    read(&dir.join(LOST_FILE)).map_or_else(Vec::new, |text| text.lines().map(str::to_owned).collect())
}

/// The notice in one line, with what helps.
pub(super) fn standing(dir: &Path) -> Option<String> {
    let said = notice(dir);
    (!said.is_empty()).then(|| format!("{}: {REMEDY}", said.join("; ")))
}

/// Notes that gaps are being filled: until the numbers behind them are safe, the next opening must not take them for all that was there.
fn begin_settling(dir: &Path) {
    if let Err(error) = write_synced(dir, SETTLING_FILE, b"") {
        tracing::warn!(%error, "what the store has lost could not be marked");
    }
}

/// Whether an opening that found a loss was not finished.
pub(super) fn is_settling(dir: &Path) -> bool {
    dir.join(SETTLING_FILE).exists()
}

/// The numbers after a loss are safe.
pub(super) fn settled(dir: &Path) {
    let _ = fs::remove_file(dir.join(SETTLING_FILE)); // else the next opening leaps once more
}

/// Puts losses into the notice that stays. Where the disk takes nothing, the log and this run's status alone tell of them: a relay
/// that doesn't start helps nobody.
pub(super) fn add_to_notice(dir: &Path, lost: &[Loss]) {
    let mut lines = notice(dir);
    for line in lost.iter().filter(|loss| loss.is_felt()).map(Loss::to_string) {
        if lines.len() < MAX_LOSSES && !lines.contains(&line) {
            lines.push(line);
        }
    }
    if lines.is_empty() {
        return;
    }
    if let Err(error) = write_synced(dir, LOST_FILE, (lines.join("\n") + "\n").as_bytes()) {
        tracing::error!(%error, lost = lines.join("; "), "the notice of what the store has lost could not be written");
    }
}

/// Puts the notice away, to the damaged files. Returns what it said.
pub(super) fn put_notice_away(dir: &Path) -> io::Result<Vec<String>> {
    let said = notice(dir);
    if dir.join(LOST_FILE).exists() {
        fs::rename(dir.join(LOST_FILE), free_place(dir, LOST_FILE)?)?;
        File::open(dir)?.sync_all()?;
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_and_a_damaged_one_says_nothing() {
        let tables = vec![(1, "records".to_owned()), (12, "kv".to_owned())];
        let holdings = Holdings { commits: 7, journal: 3, tables };
        let text = holdings.encode();
        assert_eq!(Holdings::decode(&text), Some(holdings));
        assert_eq!(Holdings::decode(&text.replace("commits 7", "commits 9")), None);
        assert_eq!(Holdings::decode(""), None);
    }
}
