//! A folder with bots, gone when it is dropped.

use std::fs;
use std::path::{Path, PathBuf};

pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("qpq-bench-{:016x}", rand::random::<u64>()));
        fs::create_dir_all(&path).map_err(|error| error.to_string())?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&self, file: &Path, text: &str) -> Result<(), String> {
        let file = self.path.join(file);
        let write = || {
            fs::create_dir_all(file.parent().unwrap_or(&self.path))?;
            fs::write(&file, text)
        };
        write().map_err(|error| format!("{}: {error}", file.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
