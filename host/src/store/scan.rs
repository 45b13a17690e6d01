//! Reads everything at open: heads for the indexes in memory, the ids seen, the engine's own numbers.
//! Every entry's checksum is verified; damaged entries are set aside, unreadable stretches are stepped over.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::mpsc::{self, SyncSender};

use fjall::Keyspace;

use super::engine::{Cursor, Damage, Engine, Fault, META_KEY, Space, guarded};
use super::format::{self, record_key, record_seq};
use super::{Head, SeenEntry};
use qpq_schemas::MessageId;

/// Damaged entries that are set aside by one commit.
const SET_ASIDE_AT_ONCE: usize = 256;
/// Look-ups spent on finding what is readable around unreadable blocks of one table.
const MAX_PROBES: u32 = 200_000;
/// Heads or ids that are handed from thread to thread at once.
const PORTION: usize = 512;
/// Portions that may be under way: a few hundred kilobytes, enough that no thread waits for another one's hiccup.
const PORTIONS_UNDER_WAY: usize = 4;
/// How far sequence numbers jump when the note of the last one is damaged or may be too old, so that none is used twice.
const SEQ_JUMP: u64 = 1 << 32;

impl Cursor {
    /// Leaves out numbers that may have been used by what is gone.
    pub(super) fn jump(&mut self) {
        self.next_seq = self.next_seq.saturating_add(SEQ_JUMP);
        self.next_chunk = self.next_chunk.saturating_add(SEQ_JUMP);
    }
}

/// Something found intact.
#[derive(Debug)]
pub enum Found {
    /// A record.
    Head(Head),
    /// An id that was seen, in its last state.
    Seen(SeenEntry),
}

/// What a scan found, apart from what it handed out.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) cursor: Cursor,
    /// Entries whose checksum did not fit.
    pub(super) damage: Vec<Damage>,
    /// Stretches of tables that the database could not read.
    pub(super) unreadable: Vec<String>,
}

/// Reads all tables. A second thread reads and verifies the records, and a third one the rest, while the caller's puts
/// what they find to its use: that takes about as long, so two cores halve the time of a start.
pub(super) fn scan(engine: &Engine, now_ms: u64, each: &mut dyn FnMut(Found)) -> Result<Scan, Fault> {
    let (heads, heads_found) = mpsc::sync_channel(PORTIONS_UNDER_WAY);
    let (ids, ids_found) = mpsc::sync_channel(PORTIONS_UNDER_WAY);
    let (records, rest) = std::thread::scope(|scope| {
        let records = scope.spawn(move || scan_records(engine, Portions::new(heads)));
        let rest = scope.spawn(move || scan_rest(engine, now_ms, Portions::new(ids)));
        heads_found.into_iter().flatten().for_each(|head| each(Found::Head(head)));
        ids_found.into_iter().flatten().for_each(|entry| each(Found::Seen(entry)));
        (joined(records.join()), joined(rest.join()))
    });
    let ((mut scan, mut next_seq), (rest, next_chunk)) = (records?, rest?);
    scan.damage.extend(rest.damage);
    scan.unreadable.extend(rest.unreadable);
    if let Some(last) = engine.quarantine.prefix([Space::Records as u8]).next_back() {
        let key = last.key().map_err(|error| Fault::reading(&error))?;
        next_seq = next_seq.max(record_seq(key.get(1..).unwrap_or_default()).map_or(0, |seq| seq.saturating_add(1)));
    }
    scan.cursor = noted_cursor(engine, &mut scan, next_seq);
    scan.cursor.next_seq = scan.cursor.next_seq.max(next_seq);
    scan.cursor.next_chunk = scan.cursor.next_chunk.max(next_chunk);
    Ok(scan)
}

impl Scan {
    /// Whether the note of the last numbers is as it was written.
    pub(super) fn has_true_cursor(&self) -> bool {
        self.damage.iter().all(|damage| damage.space != Space::Meta)
    }
}

/// What a scan found of some tables, and the next number after those in use.
type Part = Result<(Scan, u64), Fault>;

fn joined(part: std::thread::Result<Part>) -> Part {
    part.unwrap_or_else(|_| Err(Fault::Damaged("the database gave up on what it read".into())))
}

/// Hands things to another thread, many at a time.
struct Portions<T> {
    to: SyncSender<Vec<T>>,
    gathered: Vec<T>,
}

impl<T> Portions<T> {
    fn new(to: SyncSender<Vec<T>>) -> Self {
        Self { to, gathered: Vec::with_capacity(PORTION) }
    }

    fn put(&mut self, one: T) {
        self.gathered.push(one);
        if self.gathered.len() >= PORTION {
            self.send();
        }
    }

    fn send(&mut self) {
        // When nobody takes it any more, the scan has failed elsewhere.
        let _ = self.to.send(std::mem::replace(&mut self.gathered, Vec::with_capacity(PORTION)));
    }
}

impl<T> Drop for Portions<T> {
    fn drop(&mut self) {
        self.send();
    }
}

/// The numbers noted with the last commit; a safe guess when the note is damaged.
fn noted_cursor(engine: &Engine, scan: &mut Scan, next_seq: u64) -> Cursor {
    let what = match Engine::get(&engine.meta, META_KEY) {
        Ok(None) if next_seq == 0 => return Cursor { next_seq: 1, ..Cursor::default() },
        Ok(None) => "the note of the last number is missing".to_owned(),
        Ok(Some(value)) => match format::decode_kv(META_KEY, &value).map(Cursor::decode) {
            Ok(Some(cursor)) => return cursor,
            Ok(None) => "the note of the last number is too short".to_owned(),
            Err(what) => what,
        },
        Err(fault) => format!("{fault:?}"),
    };
    scan.damage.push(Damage { space: Space::Meta, key: META_KEY.to_vec(), what });
    let mut cursor = Cursor { next_seq, ..Cursor::default() };
    cursor.jump();
    cursor
}

fn scan_records(engine: &Engine, mut found: Portions<Head>) -> Part {
    let mut next_seq = 0;
    let mut damage = Vec::new();
    let unreadable = walk_records(&engine.records, &mut |key, value| {
        if let Ok(seq) = record_seq(key) {
            next_seq = next_seq.max(seq.saturating_add(1));
        }
        match format::decode_record(key, value) {
            Ok(head) => found.put(head),
            Err(what) => damage.push(Damage { space: Space::Records, key: key.to_vec(), what }),
        }
    })?;
    Ok((Scan { damage, unreadable, ..Scan::default() }, next_seq))
}

/// Values first: nobody waits for them, and ids are not taken before all records are.
fn scan_rest(engine: &Engine, now_ms: u64, found: Portions<SeenEntry>) -> Part {
    let mut scan = Scan::default();
    scan_kv(engine, &mut scan)?;
    let next_chunk = scan_seen(engine, now_ms, &mut scan, found)?;
    Ok((scan, next_chunk))
}

/// Hands out the last state of each id. Chunks of one bucket stand together, in the order they were written.
fn scan_seen(engine: &Engine, now_ms: u64, scan: &mut Scan, mut found: Portions<SeenEntry>) -> Result<u64, Fault> {
    let mut next_chunk = 0;
    let mut bucket = 0;
    let mut states: HashMap<MessageId, SeenEntry> = HashMap::new();
    let damage = &mut scan.damage;
    let mut flush = |states: &mut HashMap<MessageId, SeenEntry>| {
        states.drain().map(|(_, entry)| entry).filter(|entry| entry.expires_ms > now_ms).for_each(|e| found.put(e));
    };
    let unreadable = walk(&engine.seen, &mut |key, value| match format::seen_key_parts(key)
        .and_then(|parts| Ok((parts, format::decode_seen(key, value)?)))
    {
        Ok(((of, number), entries)) => {
            if of != bucket {
                flush(&mut states);
                bucket = of;
            }
            next_chunk = next_chunk.max(number.saturating_add(1));
            states.extend(entries.into_iter().map(|entry| (entry.id, entry)));
        }
        Err(what) => damage.push(Damage { space: Space::Seen, key: key.to_vec(), what }),
    })?;
    flush(&mut states);
    scan.unreadable.extend(unreadable);
    Ok(next_chunk)
}

fn scan_kv(engine: &Engine, scan: &mut Scan) -> Result<(), Fault> {
    let damage = &mut scan.damage;
    let unreadable = walk(&engine.kv, &mut |key, value| {
        if let Err(what) = format::decode_kv(key, value) {
            damage.push(Damage { space: Space::Kv, key: key.to_vec(), what });
        }
    })?;
    scan.unreadable.extend(unreadable);
    Ok(())
}

/// Sets aside what a scan found damaged. Returns how many entries that were.
pub(super) fn set_aside(engine: &Engine, damage: &[Damage]) -> Result<u64, Fault> {
    damage.chunks(SET_ASIDE_AT_ONCE).map(|chunk| engine.set_aside(chunk)).sum()
}

/// As [`set_aside`], also where an entry's own checksum fits.
pub(super) fn quarantine(engine: &Engine, damage: &[Damage]) -> Result<u64, Fault> {
    damage.chunks(SET_ASIDE_AT_ONCE).map(|chunk| engine.quarantine(chunk, true)).sum()
}

/// Visits all entries of a table in order. Around an unreadable stretch it goes on from the far end.
/// Returns a description of each such stretch.
pub(super) fn walk(table: &Keyspace, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<Vec<String>, Fault> {
    let mut last: Option<Vec<u8>> = None;
    let Some(what) = forward(table, Bound::Unbounded, Bound::Unbounded, &mut |key, value| {
        last = Some(key.to_vec());
        visit(key, value);
    })?
    else {
        return Ok(Vec::new());
    };
    let start = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut behind = Vec::new();
    backward(table, start, Bound::Unbounded, &mut |key, value| behind.push((key.to_vec(), value.to_vec())))?;
    for (key, value) in behind.iter().rev() {
        visit(key, value);
    }
    Ok(vec![format!("a stretch of table {} could not be read: {what}", table.name())])
}

/// As [`walk`], for the records: their keys are numbers, so every readable one between unreadable blocks is found.
pub(super) fn walk_records(table: &Keyspace, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<Vec<String>, Fault> {
    let mut unreadable = Vec::new();
    let mut probes = MAX_PROBES;
    let mut open = vec![(0, u64::MAX)];
    while let Some((from, to)) = open.pop() {
        let Some((first_bad, what)) = records_forward(table, from, to, visit)? else { continue };
        let last_bad = records_backward(table, first_bad, to, visit)?;
        if probes == 0 || first_bad >= last_bad {
            unreadable.push(format!("records {first_bad} to {last_bad} could not be read: {what}"));
            continue;
        }
        probes -= 1;
        let middle = first_bad + (last_bad - first_bad) / 2;
        open.push((middle + 1, last_bad));
        open.push((first_bad, middle));
    }
    Ok(unreadable)
}

/// Visits the records `from..=to`. Returns where it got stuck, if it did.
fn records_forward(
    table: &Keyspace,
    from: u64,
    to: u64,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<Option<(u64, String)>, Fault> {
    let mut next = from;
    let (start, end) = (record_key(from), record_key(to));
    let stuck = forward(table, Bound::Included(&start), Bound::Included(&end), &mut |key, value| {
        next = record_seq(key).map_or(next, |seq| seq.saturating_add(1));
        visit(key, value);
    })?;
    Ok(stuck.map(|what| (next, what)))
}

/// Visits the records `from..=to` from the end. Returns the first one at which it got stuck.
fn records_backward(table: &Keyspace, from: u64, to: u64, visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<u64, Fault> {
    let mut last = to;
    let (start, end) = (record_key(from), record_key(to));
    backward(table, Bound::Included(&start), Bound::Included(&end), &mut |key, value| {
        last = record_seq(key).map_or(last, |seq| seq.saturating_sub(1));
        visit(key, value);
    })?;
    Ok(last)
}

type Edge<'a> = Bound<&'a [u8]>;

/// Visits entries in order until the end (`None`) or until one can't be read.
fn forward(
    table: &Keyspace,
    start: Edge<'_>,
    end: Edge<'_>,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<Option<String>, Fault> {
    until_stuck(|| table.range::<&[u8], _>((start, end)), visit)
}

fn backward(
    table: &Keyspace,
    start: Edge<'_>,
    end: Edge<'_>,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<Option<String>, Fault> {
    until_stuck(|| table.range::<&[u8], _>((start, end)).rev(), visit)
}

fn until_stuck<I: Iterator<Item = fjall::Guard>>(
    open: impl FnOnce() -> I,
    visit: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<Option<String>, Fault> {
    let walked = guarded(|| {
        for guard in open() {
            let (key, value) = guard.into_inner().map_err(|error| Fault::reading(&error))?;
            visit(&key, &value);
        }
        Ok(())
    });
    match walked {
        Ok(()) => Ok(None),
        Err(Fault::Damaged(what)) => Ok(Some(what)),
        Err(other) => Err(other),
    }
}
