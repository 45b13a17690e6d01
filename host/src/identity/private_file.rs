//! Files that hold secrets: private from their first byte, checked before they are read, replaced in one step.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FileType, Mode, OFlags, fchmod, fstat, open};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::IdentityError;

/// The mode of every key file: its owner reads and writes, nobody else does anything.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The permission bits that nobody but the owner may have.
const FOREIGN_BITS: u32 = 0o077;

/// Tells apart the temporary files of one process.
static TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// Reads a private file of at most `limit` bytes, or `None` where there is none.
///
/// Mode, owner and kind are those of the opened file, so that nobody can swap it between the check and the read.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, IdentityError> {
    // NONBLOCK: opening a pipe that somebody put there must not hang.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::MLINK) => return Err(IdentityError::Symlink { path: path.to_owned() }),
        Err(error) => return Err(IdentityError::io(path, "open")(error)),
    };
    let size = check(path, &file, limit)?;
    // Room for all of it at once: a vector that grows leaves copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size as usize + 1));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(IdentityError::io(path, "read"))?;
    if bytes.len() as u64 > limit {
        return Err(IdentityError::TooLarge { path: path.to_owned(), size: bytes.len() as u64, limit });
    }
    Ok(Some(bytes))
}

/// The size of an opened file that passes every check.
fn check(path: &Path, file: &File, limit: u64) -> Result<u64, IdentityError> {
    let stat = fstat(file).map_err(IdentityError::io(path, "examine"))?;
    let facts = Facts {
        regular: FileType::from_raw_mode(stat.st_mode).is_file(),
        mode: stat.st_mode & 0o7777,
        owner: stat.st_uid,
        size: u64::try_from(stat.st_size).unwrap_or(u64::MAX),
    };
    facts.judge(path, geteuid().as_raw(), limit)?;
    Ok(facts.size)
}

/// What the system says about an opened file.
struct Facts {
    regular: bool,
    mode: u32,
    owner: u32,
    size: u64,
}

impl Facts {
    fn judge(&self, path: &Path, ours: u32, limit: u64) -> Result<(), IdentityError> {
        let path = || path.to_owned();
        if !self.regular {
            return Err(IdentityError::NotAFile { path: path() });
        }
        if self.owner != ours {
            return Err(IdentityError::Owner { path: path(), owner: self.owner, ours });
        }
        if self.mode & FOREIGN_BITS != 0 {
            return Err(IdentityError::Loose { path: path(), mode: self.mode });
        }
        if self.size > limit {
            return Err(IdentityError::TooLarge { path: path(), size: self.size, limit });
        }
        Ok(())
    }
}

/// Whether [`create`] made the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// It did.
    Yes,
    /// Something of that name was there already, and was left alone.
    AlreadyThere,
}

/// Makes a private file that appears complete and on disk, or not at all. Never replaces anything.
pub(crate) fn create(path: &Path, content: &[u8]) -> Result<Created, IdentityError> {
    let temporary = Temporary::write(path, content)?;
    // A link, unlike a rename, fails where the name is taken.
    match fs::hard_link(&temporary.0, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Created::AlreadyThere),
        Err(error) => return Err(IdentityError::io(path, "create")(error)),
    }
    drop(temporary);
    sync_directory(path)?;
    Ok(Created::Yes)
}

/// Replaces a private file in one step: after a crash either the old content or the new is there, whole.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), IdentityError> {
    let temporary = Temporary::write(path, content)?;
    fs::rename(&temporary.0, path).map_err(IdentityError::io(path, "replace"))?;
    sync_directory(path)
}

/// Removes what a crash in the middle of a write left beside `path`, since it holds the secret too.
pub(crate) fn sweep(path: &Path) {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return };
    let prefix = format!(".{}.", name.to_string_lossy());
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(".new") {
            // Should another process be writing it just now, its rename fails, and nothing half-written is installed.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A private file beside its later place, on disk; removed when dropped, unless it was renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn write(target: &Path, content: &[u8]) -> Result<Self, IdentityError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
        let path = target.with_file_name(format!(".{name}.{}-{number}.new", std::process::id()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(open(&path, flags, PRIVATE).map_err(IdentityError::io(&path, "create"))?);
        let temporary = Self(path);
        let path = temporary.0.as_path();
        // The umask can only have taken bits away; the owner's must be there all the same.
        fchmod(&file, PRIVATE).map_err(IdentityError::io(path, "set the mode of"))?;
        file.write_all(content).map_err(IdentityError::io(path, "write"))?;
        file.sync_all().map_err(IdentityError::io(path, "sync"))?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes a new name in the directory of `path` survive a power loss.
fn sync_directory(path: &Path) -> Result<(), IdentityError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory).and_then(|file| file.sync_all()).map_err(IdentityError::io(directory, "sync"))
}

#[cfg(test)]
mod tests;
