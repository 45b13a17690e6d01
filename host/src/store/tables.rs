//! Looks over the database's own lists of its tables before the database reads them.
//!
//! fjall writes a checksum of each list of tables beside it, and doesn't check it. A flipped bit there makes it forget
//! tables, and delete their files; one in the table of contents of any file makes it ask for so much memory that the
//! process is aborted. So both are verified here first; when they don't fit, the store refuses to open and nothing is touched.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

/// The end of a file: four fixed bytes, version, type of checksum, checksum of the contents (u128 LE), their place and
/// length (u64 LE each).
const TRAILER_LEN: u64 = 4 + 1 + 1 + 16 + 8 + 8;
const TRAILER_MAGIC: &[u8] = b"SFA!";
const CONTENTS_MAGIC: &[u8] = b"TOC!";
/// One table in a list: id (u64 LE), type of checksum, checksum (u128 LE), number (u64 LE).
const TABLE_LEN: usize = 8 + 1 + 16 + 8;
/// The longest table of contents that is read. They have a dozen entries.
const MAX_CONTENTS: u64 = 1 << 20;

/// Verifies what the database in `db` will rely on. The inner error says what is damaged.
pub(super) fn verify(db: &Path) -> io::Result<Result<(), String>> {
    let spaces = db.join("keyspaces");
    if !spaces.exists() {
        return Ok(Err("the folder of its tables is missing".into()));
    }
    for entry in fs::read_dir(spaces)? {
        let space = entry?.path();
        // Without this file the table space was never finished; the database removes it.
        if space.join("current").exists()
            && let Err(what) = verify_space(&space)?
        {
            return Ok(Err(what));
        }
    }
    Ok(Ok(()))
}

fn verify_space(space: &Path) -> io::Result<Result<(), String>> {
    let current = fs::read(space.join("current"))?;
    let Some((id, rest)) = current.split_first_chunk::<8>() else {
        return Ok(Err(format!("{} is too short", space.join("current").display())));
    };
    let list = space.join(format!("v{}", u64::from_le_bytes(*id)));
    let bytes = match fs::read(&list) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err(format!("{} is missing", list.display())));
        }
        Err(error) => return Err(error),
    };
    if rest.first_chunk() != Some(&xxh3_128(&bytes).to_le_bytes()) {
        return Ok(Err(format!("{} does not fit its checksum", list.display())));
    }
    let Some(tables) = tables_of(&bytes) else {
        return Ok(Err(format!("{} can't be read", list.display())));
    };
    for id in tables {
        let table = space.join("tables").join(id.to_string());
        match File::open(&table).and_then(|file| has_sound_contents(&file)) {
            Ok(true) => {}
            Ok(false) => return Ok(Err(format!("{} has a damaged table of contents", table.display()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Err(format!("{} is missing", table.display()))),
            Err(error) => return Err(error),
        }
    }
    Ok(Ok(()))
}

/// The ids of the tables in a list whose checksum fits.
fn tables_of(list: &[u8]) -> Option<Vec<u64>> {
    let at = list.len().checked_sub(16)?;
    let contents = usize::try_from(u64_at(list, at)?).ok()?;
    let mut at = contents + CONTENTS_MAGIC.len() + 4;
    let section = loop {
        let (pos, len) = (u64_at(list, at)?, u64_at(list, at + 8)?);
        let name_len = usize::from(u16::from_le_bytes(*list.get(at + 16..)?.first_chunk()?));
        let name = list.get(at + 18..)?.get(..name_len)?;
        if name == b"tables" {
            break list.get(usize::try_from(pos).ok()?..)?.get(..usize::try_from(len).ok()?)?;
        }
        at += 18 + name_len;
    };
    let mut ids = Vec::new();
    let (levels, mut rest) = section.split_first()?;
    for _ in 0..*levels {
        let (runs, after) = rest.split_first()?;
        rest = after;
        for _ in 0..*runs {
            let (count, after) = rest.split_first_chunk::<4>()?;
            let tables = after.get(..(u32::from_le_bytes(*count) as usize).checked_mul(TABLE_LEN)?)?;
            ids.extend(tables.chunks_exact(TABLE_LEN).filter_map(|table| u64_at(table, 0)));
            rest = after.get(tables.len()..)?;
        }
    }
    Some(ids)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
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
