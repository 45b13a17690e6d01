//! Looks over the database's journals before the database does, and mends them.
//!
//! Left to itself, fjall takes a damaged entry in the middle of a journal for the end of it, cuts off all that follows
//! without a word, and refuses to open at all when a checksum in the last batch doesn't fit. It also believes the lengths
//! it reads. So every batch is verified here first: an unfinished end is cut off, a damaged stretch in the middle is
//! taken out and what follows it is kept. The file as it was found goes to the folder `damaged`.
//!
//! The layout is that of fjall's format 3, described in `host/docs/store.md`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;
use xxhash_rust::xxh3::Xxh3;

/// First byte of a batch's head: count of items (u32 LE), sequence number (u64 LE).
const START: u8 = 1;
/// First byte of an item: type, compression, table (u64 LE), lengths of key (u16 LE), value and stored value (u32 LE).
const ITEM: u8 = 2;
/// First byte of a batch's end: checksum over the items (u64 LE), four fixed bytes.
const END: u8 = 3;
/// First byte of a note that a table was cleared: table (u64 LE).
const CLEAR: u8 = 4;
const START_LEN: usize = 13;
const ITEM_LEN: usize = 21;
const END_LEN: usize = 13;
const CLEAR_LEN: usize = 9;
const MAGIC: &[u8] = b"FJL\x03";
/// Bytes read at a time. A batch is longer only when a single submission is.
const WINDOW: usize = 1 << 20;
/// How far the numbers of two neighbouring batches may lie apart around a damaged stretch. Bytes that only look like
/// a batch, inside some message's payload, would have to guess the number.
const MAX_GAP: u64 = 64;
/// How a journal's name ends while it is being written afresh.
const UNFINISHED: &str = "jnl-new";
/// The folder, beside the database, for files as they were found.
pub(super) const DAMAGED_DIR: &str = "damaged";
/// Files of one name that are kept there. A dying disk must not fill itself with evidence.
const MAX_KEPT: u32 = 8;

/// What was done to the journals.
#[derive(Debug, Default)]
pub(super) struct Mended {
    /// Damaged stretches found.
    pub(super) damaged: u64,
    /// What was done, in words.
    pub(super) notes: Vec<String>,
}

/// What a journal holds, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct JournalReport {
    /// The file's name.
    pub file: String,
    /// Bytes of it that are in use.
    pub bytes: u64,
    /// Intact batches.
    pub batches: u64,
    /// Damaged stretches: the first byte, and the one behind the last.
    pub damaged: Vec<(u64, u64)>,
    /// Intact batches whose number was damaged; it can be restored.
    pub renumbered: u64,
    /// Whether an unfinished write stands at the end. A crash leaves such a thing; nobody was told of it.
    pub unfinished_end: bool,
}

/// A batch that was verified.
#[derive(Debug, Clone, Copy)]
struct Batch {
    at: u64,
    len: u64,
    number: u64,
}

impl Batch {
    fn end(&self) -> u64 {
        self.at + self.len
    }
}

/// What a journal holds.
#[derive(Debug, Default)]
struct Survey {
    batches: Vec<Batch>,
    /// Damaged stretches: from, to.
    damaged: Vec<(u64, u64)>,
    /// Bytes behind the last batch that are not zero: an unfinished write.
    has_tail: bool,
}

/// Verifies all journals in `db` and mends those that need it. With `rewrite_last`, the newest is written afresh even
/// if it looks intact: after a failed sync the page cache may show what the disk does not hold.
pub(super) fn mend(db: &Path, rewrite_last: bool) -> io::Result<Mended> {
    let mut mended = Mended::default();
    remove_unfinished(db)?;
    let count = journals(db)?.len();
    let mut n = 0;
    survey_each(db, &mut |path, file, survey, renumbered| {
        n += 1;
        let afresh = rewrite_last && n == count;
        if !survey.damaged.is_empty() || renumbered > 0 || afresh {
            rewrite(path, file, &survey.batches, afresh && survey.damaged.is_empty() && renumbered == 0)?;
        } else if survey.has_tail {
            cut(path, survey)?;
        }
        note(&mut mended, path, survey, renumbered);
        Ok(())
    })?;
    Ok(mended)
}

/// Writes what is intact in the journals of `db` into `to`, and leaves those of `db` alone. Says of each what it holds.
pub(super) fn copy_intact(db: &Path, to: &Path) -> io::Result<(Mended, Vec<JournalReport>)> {
    let mut mended = Mended::default();
    let mut reports = Vec::new();
    survey_each(db, &mut |path, file, survey, renumbered| {
        let name = path.file_name().unwrap_or_default();
        write_batches(&to.join(name), file, &survey.batches)?;
        note(&mut mended, path, survey, renumbered);
        reports.push(JournalReport {
            file: name.to_string_lossy().into_owned(),
            bytes: survey.batches.last().map_or(0, Batch::end),
            batches: survey.batches.len() as u64,
            damaged: survey.damaged.clone(),
            renumbered,
            unfinished_end: survey.has_tail,
        });
        Ok(())
    })?;
    Ok((mended, reports))
}

/// Called with each journal's path, file and survey, and how many of its batches had a damaged number.
type OnSurvey<'a> = &'a mut dyn FnMut(&Path, &File, &Survey, u64) -> io::Result<()>;

fn survey_each(db: &Path, each: OnSurvey<'_>) -> io::Result<()> {
    let mut last_number = None;
    for path in journals(db)? {
        let file = File::open(&path)?;
        let mut survey = survey(&file, last_number)?;
        let renumbered = renumber(&mut survey.batches, last_number);
        last_number = survey.batches.last().map(|batch| batch.number).or(last_number);
        each(&path, &file, &survey, renumbered)?;
    }
    Ok(())
}

fn note(mended: &mut Mended, path: &Path, survey: &Survey, renumbered: u64) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    mended.damaged += survey.damaged.len() as u64;
    for (from, to) in &survey.damaged {
        mended.notes.push(format!("journal {name}: bytes {from} to {to} are damaged; what was written there is lost"));
    }
    if renumbered > 0 {
        mended.damaged += renumbered;
        mended.notes.push(format!("journal {name}: {renumbered} batches had a damaged number, which was restored"));
    }
    if survey.has_tail {
        mended.notes.push(format!("journal {name}: an unfinished write at the end was cut off"));
    }
}

/// Removes what a crash left of a journal that was being written afresh.
fn remove_unfinished(db: &Path) -> io::Result<()> {
    for entry in fs::read_dir(db)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == UNFINISHED) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The journals, oldest first.
pub(super) fn journals(db: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(numbered(db)?.into_iter().map(|(_, path)| path).collect())
}

/// The journals with their numbers, oldest first.
pub(super) fn numbered(db: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(db)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}

/// Puts an empty journal where there is none. Without any, the database forgets how far it had counted, and takes what it
/// writes for older than what its tables hold.
pub(super) fn begin(db: &Path, number: u64) -> io::Result<()> {
    if numbered(db)?.is_empty() {
        File::create(db.join(format!("{number}.jnl")))?.sync_all()?;
    }
    File::open(db)?.sync_all()
}

fn survey(file: &File, before: Option<u64>) -> io::Result<Survey> {
    let mut reader = Reader::new(file)?;
    let mut survey = Survey::default();
    let mut at = 0;
    loop {
        while let Some(batch) = reader.batch(at)? {
            at = batch.end();
            survey.batches.push(batch);
        }
        if reader.is_blank(at)? {
            return Ok(survey);
        }
        let last = survey.batches.last().map(|batch| batch.number).or(before);
        let Some(next) = reader.next_batch(at + 1, last)? else {
            survey.has_tail = true;
            return Ok(survey);
        };
        survey.damaged.push((at, next));
        at = next;
    }
}

/// A batch's number isn't under its checksum. One that breaks the order is given a number that fits between its
/// neighbours': only the order has a meaning. Returns how many there were.
fn renumber(batches: &mut [Batch], before: Option<u64>) -> u64 {
    let mut renumbered = 0;
    let mut last = before;
    for n in 0..batches.len() {
        let next = batches.get(n + 1).map(|batch| batch.number);
        let Some(batch) = batches.get_mut(n) else { break };
        let least = last.map_or(0, |last| last.saturating_add(1));
        let too_high = next.is_some_and(|next| batch.number >= next && next > least);
        if batch.number < least || too_high {
            batch.number = if last.is_some() { least } else { next.unwrap_or(1).saturating_sub(1) };
            renumbered += 1;
        }
        last = Some(batch.number);
    }
    renumbered
}

/// Cuts off the unfinished end.
fn cut(path: &Path, survey: &Survey) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(survey.batches.last().map_or(0, Batch::end))?;
    file.sync_all()
}

/// Puts a file with just these batches in the journal's place. The one that was there is kept, unless it is the same.
fn rewrite(path: &Path, file: &File, batches: &[Batch], same: bool) -> io::Result<()> {
    let fresh = path.with_extension(UNFINISHED);
    let written = write_batches(&fresh, file, batches);
    if written.is_err() {
        let _ = fs::remove_file(&fresh); // the disk may be full, and this would keep it so
    }
    written?;
    if !same {
        keep(path)?;
    }
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |db| File::open(db)?.sync_all())
}

fn write_batches(fresh: &Path, file: &File, batches: &[Batch]) -> io::Result<()> {
    let mut out = File::create(fresh)?;
    let mut bytes = Vec::new();
    for batch in batches {
        bytes.resize(usize::try_from(batch.len).map_err(io::Error::other)?, 0);
        file.read_exact_at(&mut bytes, batch.at)?;
        if let Some(number) = bytes.get_mut(5..START_LEN) {
            number.copy_from_slice(&batch.number.to_le_bytes());
        }
        out.write_all(&bytes)?;
    }
    out.sync_all()
}

/// Keeps a second name for a file in the folder for damaged ones.
fn keep(path: &Path) -> io::Result<()> {
    let Some(home) = path.parent().and_then(Path::parent) else { return Ok(()) };
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let place = free_place(home, &name)?;
    fs::hard_link(path, &place)
}

/// A place in the folder for damaged files. When all are taken, the last one is emptied.
pub(super) fn free_place(home: &Path, name: &str) -> io::Result<PathBuf> {
    let folder = home.join(DAMAGED_DIR);
    fs::create_dir_all(&folder)?;
    let place = |n: u32| folder.join(format!("{name}.{n}"));
    if let Some(free) = (1..=MAX_KEPT).map(place).find(|place| !place.exists()) {
        return Ok(free);
    }
    let last = place(MAX_KEPT);
    if last.is_dir() {
        fs::remove_dir_all(&last)?;
    } else {
        fs::remove_file(&last)?;
    }
    Ok(last)
}

/// Reads batches through a window.
struct Reader<'a> {
    file: &'a File,
    len: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Reader<'a> {
    fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, len: file.metadata()?.len(), window: Vec::new(), window_at: 0 })
    }

    /// The bytes `at..at + len`, or `None` behind the end of the file.
    fn bytes(&mut self, at: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let end = at.saturating_add(len as u64);
        if end > self.len {
            return Ok(None);
        }
        if at < self.window_at || end > self.window_at + self.window.len() as u64 {
            let wanted = (WINDOW.max(len) as u64).min(self.len - at);
            self.window.resize(usize::try_from(wanted).map_err(io::Error::other)?, 0);
            self.window_at = at;
            self.file.read_exact_at(&mut self.window, at)?;
        }
        let from = usize::try_from(at - self.window_at).map_err(io::Error::other)?;
        Ok(self.window.get(from..from + len))
    }

    fn field<const N: usize>(&mut self, at: u64) -> io::Result<Option<[u8; N]>> {
        Ok(self.bytes(at, N)?.and_then(|bytes| bytes.first_chunk().copied()))
    }

    /// The batch at a place, if there is a whole and intact one.
    fn batch(&mut self, start: u64) -> io::Result<Option<Batch>> {
        let Some([START, head @ ..]) = self.field::<START_LEN>(start)? else { return Ok(None) };
        let [c0, c1, c2, c3, number @ ..] = head;
        let mut at = start + START_LEN as u64;
        let mut hasher = Xxh3::new();
        for _ in 0..u32::from_le_bytes([c0, c1, c2, c3]) {
            let Some(len) = self.item_len(at)? else { return Ok(None) };
            let Some(item) = self.bytes(at, len)? else { return Ok(None) };
            hasher.update(item);
            at += len as u64;
        }
        let Some([END, end @ ..]) = self.field::<END_LEN>(at)? else { return Ok(None) };
        let (sum, magic) = end.split_at(8);
        if sum != hasher.digest().to_le_bytes() || magic != MAGIC {
            return Ok(None);
        }
        let len = at + END_LEN as u64 - start;
        Ok(Some(Batch { at: start, len, number: u64::from_le_bytes(number) }))
    }

    /// How long the item at a place says it is.
    fn item_len(&mut self, at: u64) -> io::Result<Option<usize>> {
        match self.field::<1>(at)? {
            Some([CLEAR]) => Ok(Some(CLEAR_LEN)),
            Some([ITEM]) => {
                let Some(head) = self.field::<ITEM_LEN>(at)? else { return Ok(None) };
                let [_, _, compression, _, _, _, _, _, _, _, _, k0, k1, v0, v1, v2, v3, s @ ..] = head;
                let key = usize::from(u16::from_le_bytes([k0, k1]));
                let (value, stored) = (u32::from_le_bytes([v0, v1, v2, v3]), u32::from_le_bytes(s));
                let sound = compression == 0 && value == stored;
                Ok(sound.then_some(ITEM_LEN + key + stored as usize))
            }
            _ => Ok(None),
        }
    }

    /// Whether there is nothing but zeros from a place on: room that was set aside in advance.
    fn is_blank(&mut self, from: u64) -> io::Result<bool> {
        const ZEROS: [u8; 4_096] = [0; 4_096];
        let mut at = from;
        while at < self.len {
            // Most of the room is a hole in the file, which takes neither disk nor time.
            at = match rustix::fs::seek(self.file, SeekFrom::Data(at)) {
                Ok(data) => data.max(at),
                Err(rustix::io::Errno::NXIO) => return Ok(true),
                Err(_) => at,
            };
            let len = usize::try_from(self.len.saturating_sub(at).min(WINDOW as u64)).map_err(io::Error::other)?;
            let Some(bytes) = self.bytes(at, len)? else { return Ok(true) };
            if !bytes.chunks(ZEROS.len()).all(|chunk| ZEROS.starts_with(chunk)) {
                return Ok(false);
            }
            at += len as u64;
        }
        Ok(true)
    }

    /// The next place with an intact batch that plausibly belongs to the journal: its number follows closely on the last
    /// one's, or the batches from there on run to the journal's end.
    fn next_batch(&mut self, from: u64, last: Option<u64>) -> io::Result<Option<u64>> {
        let mut at = from;
        while at < self.len {
            let len = usize::try_from((self.len - at).min(WINDOW as u64)).map_err(io::Error::other)?;
            let starts: Vec<u64> = match self.bytes(at, len)? {
                Some(bytes) => (at..).zip(bytes).filter(|(_, byte)| **byte == START).map(|(place, _)| place).collect(),
                None => return Ok(None),
            };
            for start in starts {
                if let Some(batch) = self.batch(start)?
                    && last.is_none_or(|last| batch.number > last)
                    && (last.is_some_and(|last| batch.number <= last.saturating_add(MAX_GAP))
                        || self.runs_out(batch)?)
                {
                    return Ok(Some(start));
                }
            }
            at += len as u64;
        }
        Ok(None)
    }

    /// Whether the batches from this one on run to the journal's end.
    fn runs_out(&mut self, batch: Batch) -> io::Result<bool> {
        let mut at = batch.end();
        while let Some(next) = self.batch(at)? {
            at = next.end();
        }
        self.is_blank(at)
    }
}

#[cfg(test)]
mod tests;
