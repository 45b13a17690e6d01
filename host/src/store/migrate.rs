//! The version of the format on disk, and the way from an older one to ours.
//!
//! A step takes the store from one version to the next. It may be interrupted anywhere and is then run again, so what it
//! does must come out the same when part of it is done already; and until the file FORMAT names the next version,
//! the store must stay readable by the older program. That file is replaced by a rename, after the step is on disk. An
//! older program refuses a newer version by its number.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use fjall::PersistMode;

use super::engine::{Engine, Fault, guarded};
use super::open::{DB_DIR, write_synced};
use super::{FORMAT_VERSION, OLDEST_FORMAT, StoreError};

/// The file that names the format.
pub(super) const FORMAT_FILE: &str = "FORMAT";
/// What the format file begins with.
const FORMAT_NAME: &str = "qpq-store";
/// The longest format file that is looked at, in bytes.
const MAX_FORMAT_FILE: u64 = 256;

/// The way from one version to the next.
struct Step {
    /// The version that it starts from.
    from: u32,
    /// What is new in the next one, for the log.
    what: &'static str,
    /// Rewrites what has to be rewritten.
    run: fn(&Engine) -> Result<(), Fault>,
}

/// All steps, in order.
const STEPS: &[Step] = &[Step {
    from: 1,
    what: "ids seen may stand in chunks of layout 2",
    // Chunks name their own layout, and those of layout 1 stay as they are until their hour is over.
    run: |_| Ok(()),
}];

/// What the format file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// There is none.
    None,
    /// It is none of ours.
    Unreadable,
    /// A version that this program reads.
    Version(u32),
}

/// Reads the format file.
///
/// # Errors
/// [`StoreError::Format`] when a newer program wrote the store.
pub(super) fn found(dir: &Path) -> Result<Found, StoreError> {
    let reading = |e| StoreError::io("reading the store's format", &e);
    let path = dir.join(FORMAT_FILE);
    match fs::metadata(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::None),
        Err(e) => return Err(reading(e)),
        Ok(meta) if meta.len() > MAX_FORMAT_FILE => return Ok(Found::Unreadable),
        Ok(_) => {}
    }
    match parse(&fs::read(&path).map_err(reading)?) {
        None => Ok(Found::Unreadable),
        Some(version) if (OLDEST_FORMAT..=FORMAT_VERSION).contains(&version) => Ok(Found::Version(version)),
        Some(found) => Err(StoreError::Format { dir: dir.to_owned(), found, ours: FORMAT_VERSION }),
    }
}

fn parse(bytes: &[u8]) -> Option<u32> {
    std::str::from_utf8(bytes).ok()?.trim_end().strip_prefix(FORMAT_NAME)?.trim().parse().ok()
}

/// Checks that the store can be opened, and names the format of a new one. Returns the version.
pub(super) fn check(dir: &Path) -> Result<u32, StoreError> {
    let should = |version: u32| format!("it should read \"{FORMAT_NAME} {version}\"");
    match found(dir)? {
        Found::Version(version) => Ok(version),
        Found::Unreadable => {
            Err(StoreError::damaged(dir, format!("the file FORMAT can't be read ({})", should(FORMAT_VERSION))))
        }
        Found::None if dir.join(DB_DIR).exists() => Err(StoreError::damaged(
            dir,
            format!("there is a database but no file FORMAT ({})", should(FORMAT_VERSION)),
        )),
        Found::None => name(dir, FORMAT_VERSION).map(|()| FORMAT_VERSION),
    }
}

/// Names the version of the store, so that a crash leaves the old name or the new one.
pub(super) fn name(dir: &Path, version: u32) -> Result<(), StoreError> {
    write_synced(dir, FORMAT_FILE, format!("{FORMAT_NAME} {version}\n").as_bytes())
        .map_err(|e| StoreError::io("writing the store's format", &e))
}

/// Takes an opened and checked store from `version` to ours. Returns what was done, for the log.
pub(super) fn run(dir: &Path, engine: &Engine, version: u32) -> Result<Vec<String>, StoreError> {
    run_steps(dir, engine, version, STEPS)
}

fn run_steps(dir: &Path, engine: &Engine, version: u32, steps: &[Step]) -> Result<Vec<String>, StoreError> {
    let mut done = Vec::new();
    for step in steps.iter().filter(|step| step.from >= version) {
        let run = (step.run)(engine)
            .and_then(|()| guarded(|| engine.db.persist(PersistMode::SyncAll).map_err(|error| Fault::writing(&error))));
        run.map_err(|fault| super::open::opening(dir, fault))?;
        let next = step.from + 1;
        name(dir, next)?;
        done.push(format!("the store's format went from {} to {next}: {}", step.from, step.what));
    }
    Ok(done)
}

#[cfg(test)]
mod tests;
