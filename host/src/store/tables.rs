//! Looks over the database's own lists of its tables before the database reads them.
//!
//! fjall writes a checksum of each list of tables beside it, and doesn't check it. A flipped bit there makes it forget
//! tables, and delete their files; one in the table of contents of any file makes it ask for so much memory that the
//! process is aborted. So both are verified here first; when they don't fit, the store refuses to open and nothing is
//! touched. A repair writes such a list afresh, from the tables themselves.

mod list;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use list::{CONTENTS_MAGIC, TRAILER_LEN, TRAILER_MAGIC, u64_at};
pub(super) use list::{Listed, MAX_TABLES};

/// The folder of the table spaces in a database.
pub(super) const SPACES_DIR: &str = "keyspaces";
/// The table space in which the database keeps the names of the others.
pub(super) const NAMES_SPACE: u64 = 0;
/// The folder of the tables in a table space.
pub(super) const TABLES_DIR: &str = "tables";
/// The file that names the list in force: its number (u64 LE), its checksum (u128 LE), the type of checksum.
pub(super) const CURRENT_FILE: &str = "current";
/// The longest table of contents that is read. They have a dozen entries.
const MAX_CONTENTS: u64 = 1 << 20;
/// The longest list that is read, in bytes: half a million tables.
const MAX_LIST: u64 = 16 << 20;
/// Bytes read at a time where a whole file is summed.
const WINDOW: usize = 1 << 20;

/// Verifies what the database in `db` will rely on. The inner error says what is damaged.
pub(super) fn verify(db: &Path) -> io::Result<Result<(), String>> {
    if !db.join(SPACES_DIR).exists() {
        return Ok(Err("the folder of its tables is missing".into()));
    }
    if !space(db, NAMES_SPACE).join(CURRENT_FILE).exists() {
        return Ok(Err("the folder of its tables' names is missing, or has no list".into()));
    }
    for space in spaces(db)? {
        let tables = match listed(&space)? {
            Ok(tables) => tables,
            Err(what) => return Ok(Err(what)),
        };
        for table in tables {
            if let Some(what) = unsound(&table_path(&space, table.id))? {
                return Ok(Err(what));
            }
        }
    }
    Ok(Ok(()))
}

/// The folder of the table space with that number.
pub(super) fn space(db: &Path, number: u64) -> PathBuf {
    db.join(SPACES_DIR).join(number.to_string())
}

/// The folders of the table spaces, in the order of their numbers. One without tables and without a list in force was never
/// finished; the database removes it. It would remove one whose list is lost, too, so that one counts.
pub(super) fn spaces(db: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(db.join(SPACES_DIR))? {
        let space = entry?.path();
        let number = space.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
        found.extend(
            number.filter(|_| space.join(CURRENT_FILE).exists() || has_tables(&space)).map(|number| (number, space)),
        );
    }
    found.sort();
    Ok(found.into_iter().map(|(_, space)| space).collect())
}

fn has_tables(space: &Path) -> bool {
    fs::read_dir(space.join(TABLES_DIR)).is_ok_and(|mut tables| tables.next().is_some())
}

/// The file of a table.
pub(super) fn table_path(space: &Path, id: u64) -> PathBuf {
    space.join(TABLES_DIR).join(id.to_string())
}

/// The file of the list in force.
pub(super) fn list_path(space: &Path) -> io::Result<Option<PathBuf>> {
    let current = current(space)?;
    Ok(current.first_chunk().map(|id| space.join(format!("v{}", u64::from_le_bytes(*id)))))
}

/// What says which list is in force; nothing where that file is missing.
fn current(space: &Path) -> io::Result<Vec<u8>> {
    match fs::read(space.join(CURRENT_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        outcome => outcome,
    }
}

/// The tables that the list in force names, its checksum verified. The inner error says what is damaged.
pub(super) fn listed(space: &Path) -> io::Result<Result<Vec<Listed>, String>> {
    let current = current(space)?;
    let (Some((_, rest)), Some(list)) = (current.split_first_chunk::<8>(), list_path(space)?) else {
        return Ok(Err(format!("{} is missing or too short", space.join(CURRENT_FILE).display())));
    };
    let bytes = match fs::metadata(&list) {
        Ok(meta) if meta.len() > MAX_LIST => return Ok(Err(format!("{} is too long", list.display()))),
        Ok(_) => fs::read(&list)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err(format!("{} is missing", list.display())));
        }
        Err(error) => return Err(error),
    };
    if rest.first_chunk() != Some(&xxh3_128(&bytes).to_le_bytes()) {
        return Ok(Err(format!("{} does not fit its checksum", list.display())));
    }
    Ok(list::tables_of(&bytes).ok_or_else(|| format!("{} can't be read", list.display())))
}

/// All tables that lie in a table space, with the checksums that they really have, in the order of their numbers.
pub(super) fn found(space: &Path) -> io::Result<Vec<Listed>> {
    let mut found = Vec::new();
    let folder = space.join(TABLES_DIR);
    if !folder.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(id) = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok()) else { continue };
        found.push(Listed { id, sum: sum_of(&path)? });
    }
    found.sort_by_key(|table| table.id);
    Ok(found)
}

/// Puts a list of these tables in force in a table space that has none yet. Nothing of it is synced.
pub(super) fn relist(space: &Path, tables: &[Listed]) -> io::Result<()> {
    let unfit = || io::Error::other(format!("a table space takes up to {MAX_TABLES} tables, not {}", tables.len()));
    let path = list_path(space)?.ok_or_else(|| io::Error::other("the list in force is too short"))?;
    let bytes = list::with_tables(&fs::read(&path)?, tables).ok_or_else(unfit)?;
    fs::write(&path, &bytes)?;
    let mut current = fs::read(space.join(CURRENT_FILE))?;
    if let Some(sum) = current.get_mut(8..24) {
        sum.copy_from_slice(&xxh3_128(&bytes).to_le_bytes());
    }
    fs::write(space.join(CURRENT_FILE), current)
}

/// XXH3-128 over a file.
pub(super) fn sum_of(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let mut hasher = Xxh3::new();
    let mut window = vec![0; WINDOW];
    loop {
        match file.read(&mut window)? {
            0 => return Ok(hasher.digest128()),
            read => hasher.update(window.get(..read).unwrap_or_default()),
        }
    }
}

/// What is wrong with the end of a table's file, if anything is.
pub(super) fn unsound(table: &Path) -> io::Result<Option<String>> {
    match File::open(table).and_then(|file| has_sound_contents(&file)) {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some(format!("{} has a damaged table of contents", table.display()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Some(format!("{} is missing", table.display()))),
        Err(error) => Err(error),
    }
}

/// Whether a file's trailer and table of contents fit together.
fn has_sound_contents(file: &File) -> io::Result<bool> {
    let len = file.metadata()?.len();
    let Some(trailer_at) = len.checked_sub(TRAILER_LEN) else { return Ok(false) };
    let mut trailer = [0; TRAILER_LEN as usize];
    file.read_exact_at(&mut trailer, trailer_at)?;
    let (sum, place) = trailer.split_at(6 + 16);
    let contents_at = u64_at(place, 0).unwrap_or(u64::MAX);
    let Some(contents_len) = trailer_at.checked_sub(contents_at).filter(|len| *len <= MAX_CONTENTS) else {
        return Ok(false);
    };
    let mut contents = vec![0; usize::try_from(contents_len).map_err(io::Error::other)?];
    file.read_exact_at(&mut contents, contents_at)?;
    Ok(sum.starts_with(TRAILER_MAGIC)
        && contents.starts_with(CONTENTS_MAGIC)
        && sum.get(6..) == Some(&xxh3_128(&contents).to_le_bytes()[..]))
}
