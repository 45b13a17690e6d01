//! Which library of a plugin was loaded without harm before, so that a start needn't try it in a process of its own again.
//!
//! The mark is taken away before a library is loaded and set again after that: a library that takes the node down all the
//! same is tried at the next start.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Name of the mark in the folder of a plugin's copies.
const MARK: &str = "tried";

/// The mark of one plugin, for the library that its file holds now.
pub(super) struct Tried {
    path: PathBuf,
    /// What changes with each change of the file; empty when there is none.
    now: String,
    known: bool,
}

impl Tried {
    /// Takes the mark away, and remembers what it said.
    pub(super) fn take(folder: &Path, library: &Path) -> Self {
        let path = folder.join(MARK);
        let now = fs::metadata(library).map(|meta| state(&meta)).unwrap_or_default();
        let known = !now.is_empty() && fs::read_to_string(&path).is_ok_and(|before| before == now);
        let gone = fs::remove_file(&path).is_ok();
        Self { path, now, known: known && gone }
    }

    /// Whether the last load of this very file did no harm.
    pub(super) fn is_known(&self) -> bool {
        self.known
    }

    /// The library was loaded. Without a mark, as on a full disk, the next start only takes longer.
    pub(super) fn keep(self) {
        let _ = fs::write(self.path, self.now);
    }
}

fn state(meta: &fs::Metadata) -> String {
    let (changed, modified) = ((meta.ctime(), meta.ctime_nsec()), (meta.mtime(), meta.mtime_nsec()));
    format!("{} {} {} {changed:?} {modified:?} {}", meta.dev(), meta.ino(), meta.size(), env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_until_it_changes_or_its_load_does_not_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let library = folder.path().join("x.so");
        fs::write(&library, "one").expect("written");
        let first = Tried::take(folder.path(), &library);
        assert!(!first.is_known());
        first.keep();
        let second = Tried::take(folder.path(), &library);
        assert!(second.is_known());
        drop(second); // the process died
        let third = Tried::take(folder.path(), &library);
        assert!(!third.is_known());
        third.keep();
        fs::write(&library, "two, and longer").expect("written");
        assert!(!Tried::take(folder.path(), &library).is_known());
    }

    #[test]
    fn a_file_that_is_not_there_is_never_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let library = folder.path().join("x.so");
        Tried::take(folder.path(), &library).keep();
        assert!(!Tried::take(folder.path(), &library).is_known());
    }
}
