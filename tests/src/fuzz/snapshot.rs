//! A folder kept in memory, from which as many copies are made as there are inputs.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The files of a folder, sorted by path. Journals have room set aside: the zeros at their ends are left out.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
    folders: Vec<PathBuf>,
}

impl Snapshot {
    /// Of what `make` leaves in a folder. Empty when the machine has no room for it.
    pub(super) fn of(make: impl FnOnce(&Path)) -> Self {
        let mut snapshot = Self::default();
        let Ok(folder) = fast_folder() else { return snapshot };
        make(folder.path());
        snapshot.take_in(folder.path(), Path::new(""));
        snapshot.files.sort();
        snapshot
    }

    fn take_in(&mut self, root: &Path, below: &Path) {
        for entry in fs::read_dir(root.join(below)).into_iter().flatten().flatten() {
            let path = below.join(entry.file_name());
            if entry.path().is_dir() {
                self.folders.push(path.clone());
                self.take_in(root, &path);
            } else if let Ok(mut bytes) = fs::read(entry.path()) {
                if path.extension().is_some_and(|ending| ending == "jnl") {
                    let len = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                    bytes.truncate(len);
                }
                self.files.push((path, bytes));
            }
        }
    }

    /// A copy, in which the file of that number has other bytes. `None` when the machine has no room for it.
    pub(super) fn copy_with(&self, number: usize, bytes: &[u8]) -> Option<TempDir> {
        let folder = fast_folder().ok()?;
        self.folders.iter().try_for_each(|path| fs::create_dir_all(folder.path().join(path))).ok()?;
        for (n, (path, kept)) in self.files.iter().enumerate() {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.path().join(path)).ok()?;
            file.write_all(if n == number { bytes } else { kept }).ok()?;
        }
        Some(folder)
    }

    /// The number of a file.
    pub(super) fn number(&self, path: &Path) -> Option<usize> {
        self.files.iter().position(|(known, _)| known == path)
    }
}

/// In memory where there is such a place: the copies are many and short-lived.
pub(super) fn fast_folder() -> std::io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}
