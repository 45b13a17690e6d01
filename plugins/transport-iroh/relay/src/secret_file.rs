//! Files of the relay: secrets private from their first byte and refused when others can read them; every file is
//! replaced in one step.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::problem::Problem;

/// The largest certificate, key or configuration file that is read, in bytes. Real ones have a few thousand.
const MAX_FILE: u64 = 1 << 20;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// Its owner alone.
    Secret,
    /// Everybody.
    Public,
}

impl Secrecy {
    fn mode(self) -> u32 {
        match self {
            Self::Secret => 0o600,
            Self::Public => 0o644,
        }
    }
}

/// Makes a folder, and those above it, which others may look into but not change.
pub(crate) fn make_folder(path: &Path) -> Result<(), Problem> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(Problem::file(path, "make"))
}

/// Reads a text file. A secret that others can read is refused.
///
/// The mode is that of the opened file, so that nobody can swap it between the check and the read.
pub(crate) fn read(path: &Path, secrecy: Secrecy) -> Result<String, Problem> {
    let file = File::open(path).map_err(Problem::file(path, "read"))?;
    let mode = file.metadata().map_err(Problem::file(path, "examine"))?.mode() & 0o7777;
    if secrecy == Secrecy::Secret && mode & 0o077 != 0 {
        return Err(Problem::Loose { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(Problem::file(path, "read"))?;
    Ok(text)
}

/// Writes a file that isn't there yet.
pub(crate) fn create(path: &Path, text: &str, secrecy: Secrecy) -> Result<(), Problem> {
    if path.symlink_metadata().is_ok() {
        return Err(Problem::Exists { path: path.to_owned() });
    }
    replace(path, text, secrecy)
}

/// Writes a file beside its place and moves it there, so that whoever reads it sees the old or the new one whole.
pub(crate) fn replace(path: &Path, text: &str, secrecy: Secrecy) -> Result<(), Problem> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(secrecy.mode())
        .open(&beside)
        .map_err(Problem::file(&beside, "write"))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(Problem::file(&beside, "write"))?;
    fs::rename(&beside, path).map_err(Problem::file(path, "write"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Problem::file(folder, "sync"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_secret_is_private_and_refused_when_it_no_longer_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path, "secret", Secrecy::Secret).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read(&path, Secrecy::Secret).unwrap(), "secret");
        for mode in [0o640, 0o604, 0o644, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let told = read(&path, Secrecy::Secret).unwrap_err().to_string();
            assert!(told.contains("chmod 600") && !told.contains("secret "), "{told}");
        }
    }

    #[test]
    fn nothing_is_overwritten_unless_it_is_meant_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create(&path, "one", Secrecy::Public).unwrap();
        assert!(matches!(create(&path, "two", Secrecy::Public), Err(Problem::Exists { .. })));
        assert_eq!(read(&path, Secrecy::Public).unwrap(), "one");
        replace(&path, "two", Secrecy::Public).unwrap();
        assert_eq!(read(&path, Secrecy::Public).unwrap(), "two");
    }
}
