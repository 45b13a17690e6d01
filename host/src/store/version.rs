//! The database's own version file.
//!
//! fjall says of a damaged one only that the version is invalid. Where there is none, it takes the folder for a new database and
//! begins an empty one in it. So the file is looked at before the database opens.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::DamagedFile;
use super::open::write_synced;

/// The file, in the database's folder.
pub(super) const VERSION_FILE: &str = "version";
/// What it begins with; a byte with the version follows.
const NAME: &[u8] = b"FJL";
/// The version that is read and written.
const OURS: u8 = 3;
/// The longest file that is looked at, in bytes.
const MAX_FILE: u64 = 256;

/// What is wrong with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// There is none.
    Missing,
    /// It is not what the database wrote.
    Unreadable,
    /// It names another version.
    Other(u8),
}

impl Wrong {
    /// What it is, and what helps.
    pub(super) fn text(self) -> String {
        match self {
            Self::Missing => "the database's version file is missing; `qpq store repair` writes it afresh".to_owned(),
            Self::Unreadable => {
                "the database's version file can't be read; `qpq store repair` writes it afresh".to_owned()
            }
            Self::Other(version) => format!(
                "the database's version file names version {version}, and this program reads version {OURS}. Where another program \
                 wrote it, use that one; else the file is damaged, and `qpq store repair` copies all to a fresh database"
            ),
        }
    }

    pub(super) fn in_file(self, db: &Path) -> DamagedFile {
        DamagedFile { file: db.join(VERSION_FILE), what: self.text(), lost: false }
    }
}

/// What is wrong with the version file of the database in `db`, if anything is.
pub(super) fn wrong(db: &Path) -> io::Result<Option<Wrong>> {
    let path = db.join(VERSION_FILE);
    let bytes = match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(Wrong::Missing)),
        Ok(meta) if meta.len() > MAX_FILE => return Ok(Some(Wrong::Unreadable)),
        Ok(_) => fs::read(path)?,
        Err(error) => return Err(error),
    };
    Ok(match bytes.strip_prefix(NAME) {
        Some([OURS, ..]) => None,
        Some([other, ..]) => Some(Wrong::Other(*other)),
        _ => Some(Wrong::Unreadable),
    })
}

/// Writes the file afresh.
pub(super) fn write(db: &Path) -> io::Result<()> {
    write_synced(db, VERSION_FILE, &[NAME, &[OURS]].concat())
}
