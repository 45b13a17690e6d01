//! Reads all of a database, and holds it against itself: every checksum, and what one table says of another.

use std::collections::{HashMap, HashSet};

use qpq_schemas::MessageId;
use qpq_schemas::envelope::{EnvelopeRef, LARGEST_PAYLOAD};
use serde::Serialize;

use super::engine::{Cursor, Damage, Engine, Fault, META_KEY, Space};
use super::format::{self, RECORD_META, record_seq, seen_bucket, seen_key_parts};
use super::scan::{walk, walk_records};
use super::{Head, Places, SeenState, index};

/// Damaged entries that are listed, not just counted.
pub(super) const MAX_LISTED: usize = 100_000;
/// Entries between two calls of the progress function.
const PROGRESS_EVERY: u64 = 50_000;

/// How far a long look has come: the table, and entries read of it so far.
pub type Progress<'a> = &'a mut dyn FnMut(&'static str, u64);

/// What one table holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// Its name.
    pub name: &'static str,
    /// Entries, damaged ones included.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Entries that are damaged.
    pub damaged: u64,
}

/// Envelopes kept for one reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Portion {
    /// How many.
    pub messages: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
}

/// What the envelopes in a store are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Envelopes {
    /// All of them. One may be kept in several places.
    pub all: Portion,
    /// In custody.
    pub waiting: Portion,
    /// Broadcasts kept for those who come later.
    pub history: Portion,
    /// In the inbox.
    pub inbox: Portion,
    /// Past their time, not removed yet.
    pub expired: u64,
    /// Different recipients of what waits.
    pub recipients: u64,
    /// When the oldest one arrived, Unix time in milliseconds.
    pub oldest_ms: Option<u64>,
    /// When the newest one arrived, Unix time in milliseconds.
    pub newest_ms: Option<u64>,
}

/// What an audit found.
#[derive(Default)]
pub(super) struct Audit {
    pub(super) tables: Vec<TableReport>,
    /// The first [`MAX_LISTED`] damaged entries.
    pub(super) damage: Vec<Damage>,
    /// How many there are.
    pub(super) damaged: u64,
    /// Stretches of tables that can't be read.
    pub(super) unreadable: Vec<String>,
    pub(super) envelopes: Envelopes,
    /// Different ids among those seen.
    pub(super) seen_ids: u64,
    /// Ids noted as held that have no record: set aside before, so they can be fetched again.
    pub(super) held_without_record: u64,
    pub(super) cursor: Option<Cursor>,
    /// What is wrong with the index on disk.
    pub(super) index: Vec<String>,
    only_waiting: u64,
    next_seq: u64,
    next_chunk: u64,
    recipients: HashSet<[u8; 32]>,
    /// The beginnings of all records' ids, with their numbers.
    ids: Vec<(u64, u64)>,
}

impl Audit {
    /// Reads everything in `engine`. Records past `now_ms` count as expired.
    pub(super) fn of(engine: &Engine, now_ms: u64, progress: Progress<'_>) -> Result<Self, Fault> {
        let mut audit = Self::default();
        audit.records(engine, now_ms, progress)?;
        audit.duplicates(engine)?;
        audit.seen(engine, progress)?;
        audit.values(engine, progress)?;
        audit.note(engine);
        audit.quarantine(engine, progress)?;
        let commits = audit.cursor.map(|cursor| cursor.commits);
        audit.index = index::problems(engine, commits, audit.only_waiting, progress)?;
        audit.envelopes.recipients = audit.recipients.len() as u64;
        Ok(audit)
    }

    /// Whether nothing is damaged.
    pub(super) fn is_sound(&self) -> bool {
        self.damaged == 0 && self.unreadable.is_empty() && self.index.is_empty()
    }

    /// Whether the note of the last numbers is as it was written.
    pub(super) fn has_true_cursor(&self) -> bool {
        self.tables.iter().all(|table| table.name != Space::Meta.name() || table.damaged == 0)
    }

    fn damage(&mut self, table: &mut TableReport, space: Space, key: &[u8], what: String) {
        table.damaged += 1;
        self.damaged += 1;
        if self.damage.len() < MAX_LISTED {
            self.damage.push(Damage { space, key: key.to_vec(), what });
        }
    }

    fn records(&mut self, engine: &Engine, now_ms: u64, progress: Progress<'_>) -> Result<(), Fault> {
        let mut table = TableReport { name: Space::Records.name(), ..TableReport::default() };
        let unreadable = walk_records(&engine.records, &mut |key, value| {
            table.saw(key, value, progress);
            self.next_seq = self.next_seq.max(record_seq(key).map_or(0, |seq| seq.saturating_add(1)));
            match sound_record(key, value) {
                Ok(head) => self.envelope(&head, now_ms),
                Err(what) => self.damage(&mut table, Space::Records, key, what),
            }
        })?;
        self.unreadable.extend(unreadable);
        self.tables.push(table);
        Ok(())
    }

    fn envelope(&mut self, head: &Head, now_ms: u64) {
        self.ids.push((prefix(&head.id), head.seq));
        self.only_waiting += u64::from(head.places == Places::WAITING);
        let of = &mut self.envelopes;
        of.all.add(head);
        for (place, portion) in
            [(Places::WAITING, &mut of.waiting), (Places::HISTORY, &mut of.history), (Places::INBOX, &mut of.inbox)]
        {
            if head.places.has(place) {
                portion.add(head);
            }
        }
        of.expired += u64::from(head.expires_ms <= now_ms);
        of.oldest_ms = Some(of.oldest_ms.map_or(head.received_ms, |oldest| oldest.min(head.received_ms)));
        of.newest_ms = of.newest_ms.max(Some(head.received_ms));
        if head.places.has(Places::WAITING) {
            self.recipients.insert(head.destination);
        }
    }

    /// Of two records with one id the later one is of no use.
    fn duplicates(&mut self, engine: &Engine) -> Result<(), Fault> {
        self.ids.sort_unstable();
        let alike: Vec<(u64, u64)> = self
            .ids
            .windows(2)
            .filter_map(|w| Some((w.first()?, w.get(1)?)))
            .filter(|(a, b)| a.0 == b.0)
            .map(|(a, b)| (a.1, b.1))
            .collect();
        let mut table = TableReport::default();
        for (first, second) in alike {
            let id = |seq: u64| -> Result<Option<MessageId>, Fault> {
                let key = format::record_key(seq);
                let value = Engine::get(&engine.records, &key)?;
                Ok(value.and_then(|value| format::decode_record(&key, &value).ok()).map(|head| head.id))
            };
            if let (Some(one), Some(other)) = (id(first)?, id(second)?)
                && one == other
            {
                let what = format!("the same message as record {first}");
                self.damage(&mut table, Space::Records, &format::record_key(second), what);
            }
        }
        if let Some(records) = self.tables.first_mut() {
            records.damaged += table.damaged;
        }
        Ok(())
    }

    fn seen(&mut self, engine: &Engine, progress: Progress<'_>) -> Result<(), Fault> {
        let mut table = TableReport { name: Space::Seen.name(), ..TableReport::default() };
        let mut states: HashMap<u64, bool> = HashMap::new();
        let unreadable = walk(&engine.seen, &mut |key, value| {
            table.saw(key, value, progress);
            let sound = seen_key_parts(key).and_then(|(bucket, number)| {
                self.next_chunk = self.next_chunk.max(number.saturating_add(1));
                let entries = format::decode_seen(key, value)?;
                match entries.iter().all(|entry| seen_bucket(entry.expires_ms) == bucket) {
                    true => Ok(entries),
                    false => Err("an id in it ends in another hour than its key says".to_owned()),
                }
            });
            match sound {
                Ok(entries) => {
                    states.extend(entries.iter().map(|entry| (prefix(&entry.id), entry.state == SeenState::Held)));
                }
                Err(what) => self.damage(&mut table, Space::Seen, key, what),
            }
        })?;
        self.seen_ids = states.len() as u64;
        let held = |prefix: &u64| {
            let at = self.ids.partition_point(|(other, _)| other < prefix);
            self.ids.get(at).is_some_and(|(other, _)| other == prefix)
        };
        self.held_without_record = states.iter().filter(|(id, is_held)| **is_held && !held(id)).count() as u64;
        self.unreadable.extend(unreadable);
        self.tables.push(table);
        Ok(())
    }

    fn values(&mut self, engine: &Engine, progress: Progress<'_>) -> Result<(), Fault> {
        let mut table = TableReport { name: Space::Kv.name(), ..TableReport::default() };
        let unreadable = walk(&engine.kv, &mut |key, value| {
            table.saw(key, value, progress);
            if let Err(what) = format::decode_kv(key, value) {
                self.damage(&mut table, Space::Kv, key, what);
            }
        })?;
        self.unreadable.extend(unreadable);
        self.tables.push(table);
        Ok(())
    }

    /// The note of the last numbers must be ahead of all numbers in use.
    fn note(&mut self, engine: &Engine) {
        let mut table = TableReport { name: Space::Meta.name(), ..TableReport::default() };
        let found = Engine::get(&engine.meta, META_KEY);
        let noted = match &found {
            Ok(None) if self.next_seq == 0 && self.next_chunk == 0 => Ok(None),
            Ok(None) => Err("the note of the last number is missing".to_owned()),
            Ok(Some(value)) => {
                table.entries = 1;
                table.bytes = (META_KEY.len() + value.len()) as u64;
                format::decode_kv(META_KEY, value)
                    .and_then(|note| {
                        Cursor::decode(note).ok_or_else(|| "the note of the last number is too short".into())
                    })
                    .map(Some)
            }
            Err(fault) => Err(fault.to_string()),
        };
        match noted {
            Ok(Some(cursor)) if cursor.next_seq < self.next_seq => {
                let what =
                    format!("the next number is noted as {}, and {} is in use", cursor.next_seq, self.next_seq - 1);
                self.damage(&mut table, Space::Meta, META_KEY, what);
            }
            Ok(Some(cursor)) if cursor.next_chunk < self.next_chunk => {
                let what =
                    format!("the next chunk is noted as {}, and {} is in use", cursor.next_chunk, self.next_chunk - 1);
                self.damage(&mut table, Space::Meta, META_KEY, what);
            }
            Ok(cursor) => self.cursor = cursor,
            Err(what) => self.damage(&mut table, Space::Meta, META_KEY, what),
        }
        self.tables.push(table);
    }

    fn quarantine(&mut self, engine: &Engine, progress: Progress<'_>) -> Result<(), Fault> {
        let mut table = TableReport { name: "quarantine", ..TableReport::default() };
        let unreadable = walk(&engine.quarantine, &mut |key, value| table.saw(key, value, progress))?;
        self.unreadable.extend(unreadable);
        self.tables.push(table);
        Ok(())
    }
}

/// The head of a record that is intact, and is the envelope that it says it is.
fn sound_record(key: &[u8], value: &[u8]) -> Result<Head, String> {
    let head = format::decode_record(key, value)?;
    let wire = value.get(RECORD_META..).unwrap_or_default();
    let view = EnvelopeRef::parse(wire, LARGEST_PAYLOAD).map_err(|refusal| refusal.to_string())?;
    if view.id() != head.id {
        return Err("its id is not that of its envelope".into());
    }
    Ok(head)
}

fn prefix(id: &MessageId) -> u64 {
    id.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl TableReport {
    fn saw(&mut self, key: &[u8], value: &[u8], progress: &mut dyn FnMut(&'static str, u64)) {
        self.entries += 1;
        self.bytes += (key.len() + value.len()) as u64;
        if self.entries.is_multiple_of(PROGRESS_EVERY) {
            progress(self.name, self.entries);
        }
    }
}

impl Portion {
    fn add(&mut self, head: &Head) {
        self.messages += 1;
        self.bytes += u64::from(head.wire_len);
    }
}
