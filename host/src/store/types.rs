//! What goes into the store and comes out of it.

use std::time::Duration;

use bytes::Bytes;
use qpq_schemas::envelope::{EnvelopeRef, Kind, Priority};
use qpq_schemas::{MessageId, PeerId};
use serde::{Deserialize, Serialize};

use super::fate::Fate;
use super::holdings::Loss;

/// What a stored envelope is kept for. A set of reasons; the record goes when none is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Places(pub u8);

impl Places {
    /// Kept for nothing.
    pub const NONE: Self = Self(0);
    /// In custody: waits for its recipient or the next hop.
    pub const WAITING: Self = Self(1);
    /// A broadcast kept for late joiners.
    pub const HISTORY: Self = Self(2);
    /// In this node's inbox.
    pub const INBOX: Self = Self(4);
    /// Every bit that has a meaning.
    pub const ALL: Self = Self(7);

    /// Whether every place of `other` is in this set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the other.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is left.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// All that the indexes in memory need to know of a stored envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Place in the store's order of arrival. Never used twice.
    pub seq: u64,
    /// The message's id.
    pub id: MessageId,
    /// Direct, broadcast or receipt.
    pub kind: Kind,
    /// How urgent it is taken to be: what its sender says, but an emergency only once its admins' signatures were counted.
    pub priority: Priority,
    /// Links crossed, as the relays say.
    pub hop_count: u8,
    /// Links that it may cross at most.
    pub max_hops: u8,
    /// What it is kept for.
    pub places: Places,
    /// Who signed it.
    pub sender: PeerId,
    /// The recipient's key, or the topic id.
    pub destination: [u8; 32],
    /// Length of the envelope on the wire, in bytes.
    pub wire_len: u32,
    /// When the sender made it, Unix time in milliseconds, by the sender's clock.
    pub created_ms: u64,
    /// When it arrived here, Unix time in milliseconds.
    pub received_ms: u64,
    /// When it dies, Unix time in milliseconds.
    pub expires_ms: u64,
    /// The neighbour that it came from; `None` when it was made here.
    pub source: Option<PeerId>,
}

impl Head {
    /// The head of an envelope that gets that sequence number. Hashes the envelope for its id. Anybody can say that it is an
    /// emergency, so that counts as high here.
    pub fn of(envelope: EnvelopeRef<'_>, seq: u64, places: Places, received_ms: u64, source: Option<PeerId>) -> Self {
        Self::with_id(envelope, envelope.id(), seq, places, received_ms, source)
    }

    /// As [`Head::of`], for a caller who knows the id.
    pub fn with_id(
        envelope: EnvelopeRef<'_>,
        id: MessageId,
        seq: u64,
        places: Places,
        received_ms: u64,
        source: Option<PeerId>,
    ) -> Self {
        Self {
            seq,
            id,
            kind: envelope.kind(),
            priority: envelope.flags().priority.min(Priority::High),
            hop_count: envelope.hop_count(),
            max_hops: envelope.max_hops(),
            places,
            sender: envelope.sender(),
            destination: envelope.destination(),
            wire_len: u32::try_from(envelope.wire().len()).unwrap_or(u32::MAX),
            created_ms: envelope.created_ms(),
            received_ms,
            expires_ms: envelope.expires_ms(),
            source,
        }
    }

    /// Whether it may cross another link.
    pub fn may_go_on(&self) -> bool {
        self.hop_count < self.max_hops
    }
}

/// An envelope to be stored.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// What the indexes know of it. Its sequence number is larger than every one used before (see
    /// [`Recovery::next_seq`]); what the envelope tells itself must be the same here.
    pub head: Head,
    /// The envelope on the wire.
    pub wire: Bytes,
}

/// A message that only waits, as it stands in the index on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filed {
    /// What the index knows of it.
    pub head: Head,
    /// Its rank in its recipient's queue.
    pub rank: u64,
}

/// What the index on disk knows of one message of a sender in a recipient's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InLane {
    /// Its rank in the queue.
    pub rank: u64,
    /// Its record.
    pub seq: u64,
    /// Length of the envelope on the wire, in bytes.
    pub wire_len: u32,
}

/// Where the index of what waits is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexPlace {
    /// In memory, built at each start.
    #[default]
    Memory,
    /// In tables beside the records.
    Disk,
}

/// A record read back, its checksum verified.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    /// What the indexes know of it.
    pub head: Head,
    /// The envelope on the wire.
    pub wire: Bytes,
}

/// What became of a message that this node has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeenState {
    /// Stored here.
    Held,
    /// Its recipient has it: this node, or the peer that acknowledged it.
    Delivered,
    /// Given into another node's custody, expired, or a broadcast that made room.
    PassedOn {
        /// The first 8 bytes of the neighbour's key that it came from; zeros when it was made here.
        source: [u8; 8],
        /// Links it had crossed when it came.
        hops: u8,
        /// When it left, Unix time in milliseconds (kept to the second).
        at_ms: u64,
    },
}

/// One id in the deduplication set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenEntry {
    /// The message's id.
    pub id: MessageId,
    /// Until when the id is remembered: the message's end plus the accepted clock skew. Unix time in milliseconds.
    /// Entries of one id must all carry the same time.
    pub expires_ms: u64,
    /// What became of it.
    pub state: SeenState,
    /// Who took it, when, and why it went. Decides nothing: it is for people who ask.
    pub fate: Fate,
}

/// Changes that come into being together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Envelopes to store.
    pub append: Vec<NewRecord>,
    /// Records to remove, by sequence number.
    pub remove: Vec<u64>,
    /// Ids seen, or seen in a new state. The last entry of an id counts. One that is held needs none: its record says so.
    pub seen: Vec<SeenEntry>,
    /// Ids whose remembrance ended before this time may be dropped from disk (Unix time in milliseconds; 0 drops none).
    pub forget_before_ms: u64,
    /// Values to set (`Some`) or remove (`None`) in the key-value space. Keys ≤ [`super::MAX_KEY`], values ≤ [`super::MAX_VALUE`].
    pub kv: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// What enters the index on disk, where there is one: appended by this batch, or standing in the store already.
    pub file: Vec<Filed>,
    /// What leaves it.
    pub unfile: Vec<Filed>,
    /// With this batch the index on disk has all that it should have.
    pub index_built: bool,
}

impl Batch {
    /// Puts another batch behind this one.
    pub fn merge(&mut self, other: Self) {
        self.append.extend(other.append);
        self.remove.extend(other.remove);
        self.seen.extend(other.seen);
        self.kv.extend(other.kv);
        self.file.extend(other.file);
        self.unfile.extend(other.unfile);
        self.index_built |= other.index_built;
        self.forget_before_ms = self.forget_before_ms.max(other.forget_before_ms);
    }

    /// Roughly the bytes that this batch holds in memory and adds to the disk.
    pub fn bytes(&self) -> usize {
        let records: usize = self.append.iter().map(|r| r.wire.len() + 128).sum();
        let kv: usize = self.kv.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, Vec::len) + 64).sum();
        let filed = (self.file.len() + self.unfile.len()) * size_of::<Filed>();
        records + kv + filed + self.seen.len() * 80 + self.remove.len() * 32
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.append.is_empty()
            && self.remove.is_empty()
            && self.seen.is_empty()
            && self.kv.is_empty()
            && self.file.is_empty()
            && self.unfile.is_empty()
            && !self.index_built
            && self.forget_before_ms == 0
    }

    /// Whether it takes more room than it frees, so that it is the first to be refused on a full disk.
    pub(super) fn grows(&self) -> bool {
        !self.append.is_empty() || !self.file.is_empty() || self.kv.iter().any(|(_, value)| value.is_some())
    }
}

/// What stood in the store when it was opened.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Every intact record, oldest first. Also those past their time: what to expire is for the core to say,
    /// because the clock may be wrong at boot.
    pub heads: Vec<Head>,
    /// The ids remembered, each once, in its last state; without those past their time.
    pub seen: Vec<SeenEntry>,
    /// Records and values that were found damaged and set aside, now.
    pub damaged: u64,
    /// The next free sequence number. Larger than any ever used, also those of records that are gone.
    pub next_seq: u64,
    /// What was mended while opening, in words for the log.
    pub repairs: Vec<String>,
    /// What is gone that the store had when it was last opened.
    pub losses: Vec<Loss>,
    /// What the store has lost, now or earlier, in words, and what helps. It stays until a repair puts it away.
    pub lost: Option<String>,
    /// The index on disk has all that it should have. Where there should be one and this is not so, it is empty, and wants to be
    /// built.
    pub indexed: bool,
}

/// Tuning of the engine. The defaults suit a router with 128 MiB as well as a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Memory for blocks read from disk, in bytes. Default 8 MiB.
    pub cache_bytes: u64,
    /// Records gathered in memory before a table is written, in bytes. Default 16 MiB.
    pub memtable_bytes: u64,
    /// How long submissions are gathered under load before they are committed, in microseconds. Default 2,000.
    /// A lone submission never waits.
    pub gather_us: u64,
    /// Batches that may wait for the disk. Default 4,096.
    pub queue_batches: usize,
    /// Bytes that may wait for the disk. Default 16 MiB.
    pub queue_bytes: usize,
    /// Free space that is left alone on the disk, in bytes; on a small disk a sixteenth of it, if that is less. Default 16 MiB.
    pub reserve_bytes: u64,
    /// Where the index of what waits is kept. Default memory.
    pub index: IndexPlace,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 8 << 20,
            memtable_bytes: 16 << 20,
            gather_us: 2_000,
            queue_batches: 4_096,
            queue_bytes: 16 << 20,
            reserve_bytes: 16 << 20,
            index: IndexPlace::Memory,
        }
    }
}

impl StoreConfig {
    pub(super) fn gather(&self) -> Duration {
        Duration::from_micros(self.gather_us.min(super::MAX_GATHER_US))
    }
}

/// The engine's own figures. Counters since the process started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Size of the database on disk, in bytes.
    pub disk_bytes: u64,
    /// Commits done.
    pub commits: u64,
    /// Batches in them.
    pub batches: u64,
    /// Records appended.
    pub records: u64,
    /// Batches in the largest commit.
    pub largest_commit: u64,
    /// Duration of the last commit with its sync, in microseconds.
    pub last_commit_us: u64,
    /// Longest commit so far, in microseconds.
    pub slowest_commit_us: u64,
    /// Batches waiting for the disk now.
    pub queued: usize,
    /// Batches refused because the queue was full.
    pub refused: u64,
    /// Records and values found damaged, also while opening.
    pub damaged: u64,
    /// Times that the database was reopened after a failure.
    pub reopened: u64,
    /// The store takes nothing new, and why.
    pub read_only: Option<String>,
    /// What the store has lost, now or earlier, and what helps.
    pub lost: Option<String>,
}
