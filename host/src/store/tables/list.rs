//! The bytes of a list of tables, as the database writes them: named sections, a table of contents, a trailer.

use xxhash_rust::xxh3::xxh3_128;

/// The end of a file: four fixed bytes, version, type of checksum, checksum of the contents (u128 LE), their place and
/// length (u64 LE each).
pub(super) const TRAILER_LEN: u64 = 4 + 1 + 1 + 16 + 8 + 8;
pub(super) const TRAILER_MAGIC: &[u8] = b"SFA!";
/// The trailer's version, and its type of checksum: XXH3.
const TRAILER_KIND: [u8; 2] = [1, 0];
pub(super) const CONTENTS_MAGIC: &[u8] = b"TOC!";
/// The section that names the tables.
const TABLES: &[u8] = b"tables";
/// Type of checksum in an entry: XXH3.
const XXH3: u8 = 0;
/// One table in a list: id (u64 LE), type of checksum, checksum (u128 LE), number (u64 LE).
const TABLE_LEN: usize = 8 + 1 + 16 + 8;
/// Levels of a list, and runs of tables in one level.
const LEVELS: u8 = 7;
/// Tables that a list made by [`with_tables`] can name: one in each run, as many runs as a byte can count.
pub(in crate::store) const MAX_TABLES: usize = LEVELS as usize * u8::MAX as usize;

/// A table as a list names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Listed {
    /// Its number, which is also the name of its file.
    pub(in crate::store) id: u64,
    /// XXH3-128 over the file.
    pub(in crate::store) sum: u128,
}

/// The tables in a list. `None` when it can't be read.
pub(super) fn tables_of(list: &[u8]) -> Option<Vec<Listed>> {
    let sections = sections(list)?;
    let (_, section) = sections.into_iter().find(|(name, _)| *name == TABLES)?;
    let mut found = Vec::new();
    let (levels, mut rest) = section.split_first()?;
    for _ in 0..*levels {
        let (runs, after) = rest.split_first()?;
        rest = after;
        for _ in 0..*runs {
            let (count, after) = rest.split_first_chunk::<4>()?;
            let tables = after.get(..(u32::from_le_bytes(*count) as usize).checked_mul(TABLE_LEN)?)?;
            found.extend(tables.chunks_exact(TABLE_LEN).filter_map(listed));
            rest = after.get(tables.len()..)?;
        }
    }
    Some(found)
}

fn listed(entry: &[u8]) -> Option<Listed> {
    let sum = u128::from_le_bytes(*entry.get(9..)?.first_chunk()?);
    Some(Listed { id: u64_at(entry, 0)?, sum })
}

/// A list like `empty`, which the database made for a table space without tables, but with these. Each is a run of its
/// own, so nothing is said about the order or the bounds of their keys. `None` when `empty` can't be read, or when there
/// are more than [`MAX_TABLES`].
pub(super) fn with_tables(empty: &[u8], tables: &[Listed]) -> Option<Vec<u8>> {
    if tables.len() > MAX_TABLES {
        return None;
    }
    let section = encode_tables(tables);
    let mut file = Vec::new();
    let mut contents = CONTENTS_MAGIC.to_vec();
    let sections = sections(empty)?;
    contents.extend_from_slice(&u32::try_from(sections.len()).ok()?.to_le_bytes());
    for (name, bytes) in sections {
        let bytes = if name == TABLES { &section } else { bytes };
        contents.extend_from_slice(&(file.len() as u64).to_le_bytes());
        contents.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        contents.extend_from_slice(&u16::try_from(name.len()).ok()?.to_le_bytes());
        contents.extend_from_slice(name);
        file.extend_from_slice(bytes);
    }
    let at = file.len() as u64;
    file.extend_from_slice(&contents);
    file.extend_from_slice(TRAILER_MAGIC);
    file.extend_from_slice(&TRAILER_KIND);
    file.extend_from_slice(&xxh3_128(&contents).to_le_bytes());
    file.extend_from_slice(&at.to_le_bytes());
    file.extend_from_slice(&(contents.len() as u64).to_le_bytes());
    Some(file)
}

fn encode_tables(tables: &[Listed]) -> Vec<u8> {
    let mut section = vec![LEVELS];
    let mut runs = tables.chunks(usize::from(u8::MAX));
    for _ in 0..LEVELS {
        let level = runs.next().unwrap_or_default();
        section.push(u8::try_from(level.len()).unwrap_or(u8::MAX));
        for table in level {
            section.extend_from_slice(&1_u32.to_le_bytes());
            section.extend_from_slice(&table.id.to_le_bytes());
            section.push(XXH3);
            section.extend_from_slice(&table.sum.to_le_bytes());
            section.extend_from_slice(&0_u64.to_le_bytes());
        }
    }
    section
}

/// The named sections of a file, by its table of contents.
fn sections(file: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let contents_at = usize::try_from(u64_at(file, file.len().checked_sub(16)?)?).ok()?;
    let mut at = contents_at.checked_add(CONTENTS_MAGIC.len())?;
    let count = u32::from_le_bytes(*file.get(at..)?.first_chunk()?);
    at += 4;
    let mut found = Vec::new();
    for _ in 0..count {
        let (pos, len) = (usize::try_from(u64_at(file, at)?).ok()?, usize::try_from(u64_at(file, at + 8)?).ok()?);
        let name_len = usize::from(u16::from_le_bytes(*file.get(at + 16..)?.first_chunk()?));
        let name = file.get(at + 18..)?.get(..name_len)?;
        found.push((name, file.get(pos..)?.get(..len)?));
        at += 18 + name_len;
    }
    Some(found)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}
