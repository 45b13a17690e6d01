//! Which tests of a plugin failed the last time, for `--only-failed`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Remembers in the user's cache folder. Nothing depends on it: what can't be written is forgotten.
pub(super) struct Failed(Option<PathBuf>);

#[derive(Serialize, Deserialize)]
struct Memory {
    seed: u64,
    failed: Vec<String>,
}

impl Failed {
    /// The memory for a plugin's file.
    pub(super) fn of(file: &Path) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let cache = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
        let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let name = format!("{:016x}.json", xxh3_64(file.as_os_str().as_encoded_bytes()));
        Self(cache.map(|cache| cache.join("qpq/plugin-test").join(name)))
    }

    /// The names of the tests that failed, and their seed; `None` when there are none.
    pub(super) fn read(&self) -> Option<(Vec<String>, u64)> {
        let memory: Memory = serde_json::from_slice(&std::fs::read(self.0.as_ref()?).ok()?).ok()?;
        (!memory.failed.is_empty()).then_some((memory.failed, memory.seed))
    }

    /// Keeps what failed now, and what failed before and was not run again.
    pub(super) fn keep(&self, seed: u64, failed: &[String], run: &[&str]) {
        let Some(path) = &self.0 else { return };
        let mut all = failed.to_vec();
        let before = self.read().map(|(names, _)| names).unwrap_or_default();
        all.extend(before.into_iter().filter(|name| !run.contains(&name.as_str())));
        if all.is_empty() {
            let _ = std::fs::remove_file(path);
            return;
        }
        let memory = Memory { seed, failed: all };
        if let (Some(folder), Ok(text)) = (path.parent(), serde_json::to_vec(&memory)) {
            let _ = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_remembered_until_it_passes() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Failed(Some(folder.path().join("a/b.json")));
        assert_eq!(memory.read(), None);
        memory.keep(7, &["x".to_owned(), "y".to_owned()], &["x", "y", "z"]);
        assert_eq!(memory.read(), Some((vec!["x".to_owned(), "y".to_owned()], 7)));
        memory.keep(7, &[], &["x"]);
        assert_eq!(memory.read(), Some((vec!["y".to_owned()], 7)));
        memory.keep(7, &[], &["y"]);
        assert_eq!(memory.read(), None);
    }
}
