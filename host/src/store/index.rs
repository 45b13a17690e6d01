//! The index on disk: where each message that only waits stands in its recipient's queue, and when it ends.
//!
//! It says nothing that can't be built from the records, but for the ranks. Each entry is written with its record, in the same
//! batch, and removed with it; so what is read here is on disk, and a crash leaves index and records in step. Whether it is
//! complete is said by a mark in `meta` that names the commit which wrote it: a program that knows nothing of this index
//! commits without it, and the index is then built anew.

mod audit;

pub(super) use audit::problems;

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use fjall::compaction::Leveled;
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry, PartitioningPolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use qpq_schemas::envelope::{Kind, Priority};
use qpq_schemas::{MessageId, PeerId};

use super::engine::{Engine, Fault, guarded};
use super::format::{self, CHECKSUM, take};
use super::prepared::Prepared;
use super::scan::walk;
use super::{Filed, Head, InLane, Places, Store, StoreError, reading};

/// The key of the mark in `meta`.
pub(super) const MARK_KEY: &[u8] = b"index";
/// Memory for gathered entries of one table, in bytes. What is gathered, what waits to be written and what is not yet given back
/// take about eight times as much in all.
const MEMTABLE: u64 = 2 << 20;
/// The same for the table with the large entries.
const LARGE_MEMTABLE: u64 = 4 << 20;
/// Tables of one memtable each that are gathered before they are merged into the next level. Entries come in random order, so
/// each merge rewrites all of that level: the more come at once, the less is written.
const UNMERGED: u8 = 12;
/// Bytes of a merged table. So many of them as are gathered make up the first level.
const TABLE_BYTES: u64 = 8 << 20;
/// Bits for each id that save a look at the disk for an id that isn't there: one in a hundred looks in vain.
const FILTER_BITS: f32 = 10.0;

/// The beginning of a key. Nobody finds another key with the same 16 bytes.
type Half = [u8; 16];
/// Recipient, rank, number: sorts as the queue does.
type QueueKey = [u8; 32];

/// The tables.
pub(super) struct Index {
    /// Where in the queues each id stands.
    pub(super) ids: Keyspace,
    /// The messages, by recipient and rank.
    pub(super) queues: Keyspace,
    /// Their lengths, by recipient, sender and rank.
    pub(super) lanes: Keyspace,
    /// Their places in the queues, by the second in which they end.
    pub(super) ends: Keyspace,
}

impl Filed {
    /// The second in which it ends, never too early.
    pub fn ends_secs(&self) -> u32 {
        u32::try_from(self.head.expires_ms.div_ceil(1_000)).unwrap_or(u32::MAX)
    }
}

fn half(key: &[u8; 32]) -> Half {
    key.first_chunk().copied().unwrap_or_default()
}

fn joined<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    let bytes = parts.iter().copied().flatten();
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    key
}

fn queue_key(recipient: &[u8; 32], rank: u64, seq: u64) -> QueueKey {
    joined(&[&half(recipient), &rank.to_be_bytes(), &seq.to_be_bytes()])
}

fn lane_prefix(recipient: &[u8; 32], sender: &PeerId) -> [u8; 32] {
    joined(&[&half(recipient), &half(&sender.0)])
}

/// The keys of one message in all tables.
struct Keys {
    id: [u8; 32],
    queue: QueueKey,
    lane: [u8; 48],
    end: [u8; 12],
}

impl Keys {
    fn of(filed: &Filed) -> Self {
        let Filed { head, rank } = filed;
        let (rank, seq) = (rank.to_be_bytes(), head.seq.to_be_bytes());
        Self {
            id: head.id.0,
            queue: queue_key(&head.destination, filed.rank, head.seq),
            lane: joined(&[&lane_prefix(&head.destination, &head.sender), &rank, &seq]),
            end: joined(&[&filed.ends_secs().to_be_bytes(), &seq]),
        }
    }

    /// The value in the table of ends: the part of the place in the queue that the key doesn't tell.
    fn end_value(&self) -> &[u8] {
        self.queue.get(..24).unwrap_or_default()
    }
}

/// The entry in the table of queues.
fn encode(filed: &Filed) -> Vec<u8> {
    let head = &filed.head;
    let key = queue_key(&head.destination, filed.rank, head.seq);
    let mut value = Vec::with_capacity(CHECKSUM + 16 + 32 + 32 + 24 + 8 + 32);
    value.extend_from_slice(&[0; CHECKSUM]);
    value.extend_from_slice(head.destination.get(16..).unwrap_or_default());
    value.extend_from_slice(&head.id.0);
    value.extend_from_slice(&head.sender.0);
    value.extend_from_slice(&head.created_ms.to_be_bytes());
    value.extend_from_slice(&head.received_ms.to_be_bytes());
    value.extend_from_slice(&head.expires_ms.to_be_bytes());
    value.extend_from_slice(&head.wire_len.to_be_bytes());
    value.extend_from_slice(&[head.kind as u8, head.priority as u8, head.hop_count, head.max_hops]);
    value.extend_from_slice(head.source.as_ref().map_or(&[][..], |source| &source.0[..]));
    format::close(&key, &mut value);
    value
}

/// Reads an entry of the table of queues, verifying its checksum.
fn decode(key: &[u8], value: &[u8]) -> Result<Filed, String> {
    let mut rest = format::open(key, value)?;
    let mut place = key;
    let mut destination = [0; 32];
    let (front, back) = destination.split_at_mut(16);
    front.copy_from_slice(&take::<16>(&mut place)?);
    back.copy_from_slice(&take::<16>(&mut rest)?);
    let (rank, seq) = (u64::from_be_bytes(take(&mut place)?), u64::from_be_bytes(take(&mut place)?));
    let (id, sender) = (MessageId(take(&mut rest)?), PeerId(take(&mut rest)?));
    let mut number = || Ok::<_, String>(u64::from_be_bytes(take(&mut rest)?));
    let (created_ms, received_ms, expires_ms) = (number()?, number()?, number()?);
    let wire_len = u32::from_be_bytes(take(&mut rest)?);
    let [kind, priority, hop_count, max_hops] = take(&mut rest)?;
    let kind = Kind::from_byte(kind).ok_or("a kind that is unknown")?;
    let priority = Priority::from_byte(priority).ok_or("a priority that is unknown")?;
    let source = if rest.is_empty() { None } else { Some(PeerId(take(&mut rest)?)) };
    let head = Head {
        seq,
        id,
        kind,
        priority,
        hop_count,
        max_hops,
        places: Places::WAITING,
        sender,
        destination,
        wire_len,
        created_ms,
        received_ms,
        expires_ms,
        source,
    };
    Ok(Filed { head, rank })
}

/// The names of the tables.
const QUEUES: &str = "queues";
const LANES: &str = "lanes";
const ENDS: &str = "ends";
const IDS: &str = "ids";

/// Keeps nothing of a table in memory that can be read when it is needed: by itself the database keeps 5 bytes for each record
/// there. A key that is looked for is in one place only, so that a filter saves nothing; and the parts of a table's own index are
/// read one by one, since all in one they would take the place of everything else in the cache.
pub(super) fn lean(options: KeyspaceCreateOptions) -> KeyspaceCreateOptions {
    options.filter_policy(FilterPolicy::disabled()).index_block_partitioning_policy(PartitioningPolicy::all(true))
}

impl Index {
    /// Whether that is the name of one of its tables.
    pub(super) fn has(table: &str) -> bool {
        [QUEUES, LANES, ENDS, IDS].contains(&table)
    }

    /// Opens the tables. Where there are none, makes them if they are `wanted`.
    pub(super) fn open(db: &Database, wanted: bool) -> fjall::Result<Option<Self>> {
        if !wanted && !db.keyspace_exists(IDS) {
            return Ok(None);
        }
        let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(FILTER_BITS));
        let merged = || Arc::new(Leveled::default().with_l0_threshold(UNMERGED).with_table_target_size(TABLE_BYTES));
        let options = |memtable: u64| {
            let options = KeyspaceCreateOptions::default().manual_journal_persist(true).max_memtable_size(memtable);
            lean(options.compaction_strategy(merged()))
        };
        // Each new envelope asks whether its id is here. That must not cost a look at the disk.
        let ids = || {
            options(MEMTABLE)
                .filter_policy(FilterPolicy::all(filter))
                .filter_block_partitioning_policy(PartitioningPolicy::all(false))
                .filter_block_pinning_policy(PinningPolicy::all(true))
        };
        Ok(Some(Self {
            queues: db.keyspace(QUEUES, || options(LARGE_MEMTABLE))?,
            lanes: db.keyspace(LANES, || options(MEMTABLE))?,
            ends: db.keyspace(ENDS, || options(MEMTABLE))?,
            // The last one that is made says that all are there.
            ids: db.keyspace(IDS, ids)?,
        }))
    }

    pub(super) fn tables(&self) -> [&Keyspace; 4] {
        [&self.queues, &self.lanes, &self.ends, &self.ids]
    }

    /// Adds to a commit what its batches file and take out. What the same commit files and takes out again is left out, since
    /// one key must not occur twice.
    ///
    /// The ids come last: readers may see a part of a commit while it is being applied, and take a missing id for the sign
    /// that all the rest is gone.
    pub(super) fn put(&self, write: &mut OwnedWriteBatch, group: &[Prepared]) {
        let gone: HashSet<u64> = group.iter().flat_map(|batch| &batch.unfile).map(|filed| filed.head.seq).collect();
        let filed = || group.iter().flat_map(|batch| &batch.file).filter(|filed| !gone.contains(&filed.head.seq));
        let stays: HashSet<MessageId> =
            if gone.is_empty() { HashSet::new() } else { filed().map(|f| f.head.id).collect() };
        let mut last = Vec::new();
        let mut out = HashSet::new();
        for one in group.iter().flat_map(|batch| &batch.unfile).filter(|one| out.insert(one.head.seq)) {
            let keys = Keys::of(one);
            write.remove(&self.queues, keys.queue);
            write.remove(&self.lanes, keys.lane);
            write.remove(&self.ends, keys.end);
            if !stays.contains(&one.head.id) {
                last.push((keys.id, None));
            }
        }
        for one in filed() {
            let keys = Keys::of(one);
            write.insert(&self.queues, keys.queue, encode(one));
            write.insert(&self.lanes, keys.lane, one.head.wire_len.to_be_bytes());
            write.insert(&self.ends, keys.end, keys.end_value());
            last.push((keys.id, Some(keys.queue)));
        }
        for (id, place) in last {
            match place {
                Some(place) => write.insert(&self.ids, id, place),
                None => write.remove(&self.ids, id),
            }
        }
    }

    fn clear(&self) -> Result<(), Fault> {
        self.tables().into_iter().try_for_each(|table| table.clear().map_err(|error| Fault::writing(&error)))
    }

    fn find(&self, id: &MessageId) -> Result<Option<Filed>, Fault> {
        let Some(place) = Engine::get(&self.ids, &id.0)? else { return Ok(None) };
        Ok(self.at(&place)?.filter(|filed| filed.head.id == *id))
    }

    fn at(&self, place: &[u8]) -> Result<Option<Filed>, Fault> {
        let Some(value) = Engine::get(&self.queues, place)? else { return Ok(None) };
        decode(place, &value).map(Some).map_err(Fault::Damaged)
    }

    fn queue(&self, recipient: &[u8; 32], after: (u64, u64), limit: usize) -> Result<Vec<Filed>, Fault> {
        let from = queue_key(recipient, after.0, after.1);
        let mut found = Vec::new();
        let to = queue_key(recipient, u64::MAX, u64::MAX);
        each(&self.queues, (Bound::Excluded(&from), Bound::Included(&to)), |key, value| {
            let filed = decode(key, value).map_err(Fault::Damaged)?;
            if filed.head.destination == *recipient {
                found.push(filed);
            }
            Ok(found.len() < limit)
        })?;
        Ok(found)
    }

    fn lane(&self, recipient: &[u8; 32], sender: &PeerId) -> Result<Vec<InLane>, Fault> {
        let prefix = lane_prefix(recipient, sender);
        let (from, to): ([u8; 48], [u8; 48]) = (joined(&[&prefix]), joined(&[&prefix, &[u8::MAX; 16]]));
        let mut found = Vec::new();
        each(&self.lanes, (Bound::Included(&from), Bound::Included(&to)), |mut key, mut value| {
            let mut read = || {
                take::<32>(&mut key)?;
                let (rank, seq) = (u64::from_be_bytes(take(&mut key)?), u64::from_be_bytes(take(&mut key)?));
                Ok(InLane { rank, seq, wire_len: u32::from_be_bytes(take(&mut value)?) })
            };
            found.push(read().map_err(Fault::Damaged)?);
            Ok(true)
        })?;
        Ok(found)
    }

    fn ended(&self, until_secs: u32, after: (u32, u64), limit: usize) -> Result<Vec<Filed>, Fault> {
        let from: [u8; 12] = joined(&[&after.0.to_be_bytes(), &after.1.to_be_bytes()]);
        let to: [u8; 12] = joined(&[&until_secs.to_be_bytes(), &[u8::MAX; 8]]);
        let mut places = Vec::new();
        if from < to {
            each(&self.ends, (Bound::Excluded(&from), Bound::Included(&to)), |key, value| {
                let seq = key.get(4..).unwrap_or_default();
                places.push(joined::<32>(&[value, seq]));
                Ok(places.len() < limit)
            })?;
        }
        let mut found = Vec::with_capacity(places.len());
        for place in places {
            found.extend(self.at(&place)?);
        }
        Ok(found)
    }
}

type Edges<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Visits entries in order until one is not to be followed by another.
fn each<const N: usize>(
    table: &Keyspace,
    (from, to): (Bound<&[u8; N]>, Bound<&[u8; N]>),
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let edges: Edges<'_> = (from.map(|key| &key[..]), to.map(|key| &key[..]));
    guarded(|| {
        for guard in table.range::<&[u8], _>(edges) {
            let (key, value) = guard.into_inner().map_err(|error| Fault::reading(&error))?;
            if !visit(&key, &value)? {
                break;
            }
        }
        Ok(())
    })
}

impl Engine {
    /// The commit that the mark names.
    pub(super) fn marked(&self) -> Option<u64> {
        let value = Self::get(&self.meta, MARK_KEY).ok().flatten()?;
        let mut commits = format::decode_kv(MARK_KEY, &value).ok()?;
        take(&mut commits).ok().map(u64::from_be_bytes)
    }

    /// Removes the mark, so that the index is built anew at the next start.
    pub(super) fn doubt_index(&self) -> Result<(), Fault> {
        self.indexed.store(false, Relaxed);
        guarded(|| {
            let mut write = self.db.batch().durability(Some(PersistMode::SyncData));
            write.remove(&self.meta, MARK_KEY);
            write.commit().map_err(|error| Fault::writing(&error))
        })
    }

    /// Empties the index. The mark goes first, so that a crash in between leaves none that is half there.
    pub(super) fn empty_index(&self) -> Result<(), Fault> {
        let Some(index) = &self.index else { return Ok(()) };
        self.doubt_index()?;
        guarded(|| {
            index.clear()?;
            self.db.persist(PersistMode::SyncAll).map_err(|error| Fault::writing(&error))
        })
    }

    /// What of the index can't be read, in words.
    pub(super) fn unreadable_index(&self) -> Option<String> {
        let tables = self.index.iter().flat_map(Index::tables);
        tables.filter_map(|table| walk(table, &mut |_, _| ()).ok()).find_map(|found| found.into_iter().next())
    }

    /// Whether anything stands in the index, or is said to.
    pub(super) fn has_index(&self) -> bool {
        let empty = |table: &Keyspace| table.is_empty().unwrap_or(false);
        self.index.as_ref().is_some_and(|index| self.marked().is_some() || !index.tables().into_iter().all(empty))
    }
}

/// Reading the index. What is answered is on disk; what a batch under way changes may show or not.
impl Store {
    /// Where a message stands that only waits.
    ///
    /// # Errors
    /// [`StoreError::DamagedValue`], [`StoreError::Io`] or [`StoreError::Closed`], here and below.
    pub fn filed(&self, id: &MessageId) -> Result<Option<Filed>, StoreError> {
        self.look(|index| index.find(id))
    }

    /// Up to `limit` messages of a recipient's queue behind a rank and record number, in order.
    pub fn filed_for(&self, recipient: &[u8; 32], after: (u64, u64), limit: usize) -> Result<Vec<Filed>, StoreError> {
        self.look(|index| index.queue(recipient, after, limit))
    }

    /// The messages of one sender in a recipient's queue.
    pub fn lane(&self, recipient: &[u8; 32], sender: &PeerId) -> Result<Vec<InLane>, StoreError> {
        self.look(|index| index.lane(recipient, sender))
    }

    /// Up to `limit` messages that end in that second or before, behind a second and record number, in order.
    pub fn ended(&self, until_secs: u32, after: (u32, u64), limit: usize) -> Result<Vec<Filed>, StoreError> {
        self.look(|index| index.ended(until_secs, after, limit))
    }

    /// The intact ones of up to `limit` records from a number on, and the number behind the last of them; none when there
    /// are no more.
    pub fn heads(&self, from: u64, limit: usize) -> Result<(Vec<Head>, Option<u64>), StoreError> {
        let (from, to) = (format::record_key(from), format::record_key(u64::MAX));
        let (mut heads, mut next, mut seen) = (Vec::new(), None, 0);
        let engine = |engine: &Engine| {
            each(&engine.records, (Bound::Included(&from), Bound::Included(&to)), |key, value| {
                heads.extend(format::decode_record(key, value)); // what is damaged is set aside when it is read
                next = format::record_seq(key).ok().and_then(|seq| seq.checked_add(1));
                seen += 1;
                Ok(seen < limit)
            })
        };
        self.0.shared.try_engine(engine).map_err(|fault| reading(&fault))?;
        Ok((heads, next))
    }

    fn look<T>(&self, look: impl FnOnce(&Index) -> Result<T, Fault>) -> Result<T, StoreError> {
        let looked = self.0.shared.try_engine(|engine| {
            let index = engine.index.as_ref().ok_or(Fault::Closed)?;
            let looked = look(index);
            if matches!(looked, Err(Fault::Damaged(_))) && engine.indexed.load(Relaxed) {
                tracing::error!("the index on disk is damaged; it is built anew at the next start");
                _ = engine.doubt_index();
            }
            looked
        });
        looked.map_err(|fault| reading(&fault))
    }
}
