//! The keys that direct messages to this node are sealed to: a new one each day, old ones kept only as long as mail
//! sealed to them can still arrive.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qpq_schemas::PeerId;
use qpq_schemas::envelope::{EnvelopeRef, MAX_CLOCK_SKEW_MS, MAX_TTL_SECS};
use qpq_schemas::sealing::{self, SealError, SealingKeyPair, SealingPublic};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};

use super::private_json::{self, Secret, Seed};
use super::{Identity, IdentityError, private_file};

/// The name of the sealing keys' file in the data directory.
pub const SEALING_FILE: &str = "sealing.json";

/// How long a sealing key is given out, in milliseconds: a day.
pub const ROTATE_MS: u64 = 24 * 3_600_000;

/// How long others may use a record, in milliseconds: a week. Without a record they would seal to the identity itself,
/// which is never rotated, so a node that is away for some days must not lose its record at once.
pub const RECORD_LIFETIME_MS: u64 = 7 * ROTATE_MS;

/// How long after it was made a key may still be needed, in milliseconds: given out on its last day, used on the last
/// day of that record, for a message of the longest life, by clocks that differ.
pub const KEEP_MS: u64 = ROTATE_MS + RECORD_LIFETIME_MS + MAX_TTL_SECS as u64 * 1000 + MAX_CLOCK_SKEW_MS;

/// The most keys kept, whatever the clock does.
pub const MAX_KEYS: usize = 256;

/// How many younger keys there must be before one is deleted, so that a clock that leaps ahead by years deletes nothing.
const KEEP_KEYS: usize = KEEP_MS.div_ceil(ROTATE_MS) as usize;

/// The largest file of sealing keys that is read, in bytes.
const MAX_SEALING_FILE: u64 = 512 * MAX_KEYS as u64;

/// The format of `sealing.json`.
const SEALING_SCHEMA: &str = "qpq.sealing/1";

/// This node's sealing keys, the youngest last. There is always one.
pub struct SealingKeys {
    path: Option<PathBuf>,
    own: Arc<Identity>,
    newest: Held,
    older: Vec<Held>,
    /// Converted from the identity: for whoever has no record of this node yet.
    fallback: SealingKeyPair,
}

/// A key and when it was made, Unix time in milliseconds.
#[derive(Clone)]
struct Held {
    created_ms: u64,
    pair: SealingKeyPair,
}

impl Held {
    fn generate(now_ms: u64, rng: &mut impl CryptoRng) -> Self {
        Self { created_ms: now_ms, pair: SealingKeyPair::generate(rng) }
    }
}

impl SealingKeys {
    /// Reads the keys of that data directory, or makes the first; rotates when it is time.
    ///
    /// # Errors
    /// As for the identity file; and when the keys belong to another identity.
    pub fn open(
        data_directory: &Path,
        own: Arc<Identity>,
        now_ms: u64,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, IdentityError> {
        let path = data_directory.join(SEALING_FILE);
        private_file::sweep(&path);
        let mut held = match private_file::read(&path, MAX_SEALING_FILE)? {
            Some(bytes) => read(&path, &bytes, own.peer_id())?,
            None => Vec::new(),
        };
        let Some(newest) = held.pop() else {
            let mut keys = Self::in_memory(own, now_ms, rng);
            keys.path = Some(path);
            keys.write(&keys.newest, &[])?;
            return Ok(keys);
        };
        let fallback = SealingKeyPair::of_identity(own.signing_key());
        let mut keys = Self { path: Some(path), own, newest, older: held, fallback };
        keys.rotate(now_ms, rng)?;
        Ok(keys)
    }

    /// Keys that are never written down, for tests and simulators.
    pub fn in_memory(own: Arc<Identity>, now_ms: u64, rng: &mut impl CryptoRng) -> Self {
        let fallback = SealingKeyPair::of_identity(own.signing_key());
        Self { path: None, own, newest: Held::generate(now_ms, rng), older: Vec::new(), fallback }
    }

    /// When [`rotate`](Self::rotate) has something to do next, Unix time in milliseconds.
    pub fn next_rotation_ms(&self) -> u64 {
        self.newest.created_ms.saturating_add(ROTATE_MS)
    }

    /// Makes a new key when the youngest is a day old, and deletes those that nobody can need any more. Tells whether
    /// it did; the node's record must then be made anew. Writes the file, so it blocks for some milliseconds.
    ///
    /// # Errors
    /// When the file can't be written; then nothing changes, and the next call tries again.
    pub fn rotate(&mut self, now_ms: u64, rng: &mut impl CryptoRng) -> Result<bool, IdentityError> {
        // A key "made" more than a day from now tells of a clock that was wrong; it would never be rotated.
        let from_the_future = self.newest.created_ms > now_ms.saturating_add(ROTATE_MS);
        if now_ms < self.next_rotation_ms() && !from_the_future {
            return Ok(false);
        }
        let newest = Held::generate(now_ms, rng);
        let mut older = self.older.clone();
        older.push(self.newest.clone());
        retire(&mut older, now_ms);
        // On disk before anybody can seal to it.
        self.write(&newest, &older)?;
        (self.newest, self.older) = (newest, older);
        Ok(true)
    }

    /// The public key to give out now.
    pub fn public(&self) -> SealingPublic {
        self.newest.pair.public()
    }

    /// Opens the sealed payload of an envelope for this node.
    ///
    /// # Errors
    /// When it is malformed, was altered, or is sealed to a key that is gone.
    pub fn open_payload(&self, envelope: EnvelopeRef<'_>) -> Result<Vec<u8>, SealError> {
        let pairs = std::iter::once(&self.newest).chain(self.older.iter().rev()).map(|held| &held.pair);
        sealing::open(pairs.chain([&self.fallback]), &envelope.aad(), envelope.payload())
    }

    /// Whose keys they are.
    pub fn identity(&self) -> &Identity {
        &self.own
    }

    /// How many keys are held.
    pub fn count(&self) -> usize {
        1 + self.older.len()
    }

    fn write(&self, newest: &Held, older: &[Held]) -> Result<(), IdentityError> {
        let Some(path) = &self.path else { return Ok(()) };
        let keys = older.iter().chain([newest]);
        let content = Secret::json(&SealingFile {
            schema: SEALING_SCHEMA.to_owned(),
            peer_id: self.own.peer_id(),
            keys: keys.map(|h| KeyEntry { created_ms: h.created_ms, secret: Seed::new(h.pair.secret()) }).collect(),
        });
        private_file::replace(path, content.as_bytes())
    }
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKeys")
            .field("newest", &self.newest.pair)
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

/// Deletes what nobody can need: too old by the clock, and followed by as many keys as that takes.
fn retire(older: &mut Vec<Held>, now_ms: u64) {
    let rest = older.len();
    let mut place = 0;
    older.retain(|held| {
        place += 1;
        let younger = rest - place + 1;
        younger < KEEP_KEYS || held.created_ms.saturating_add(KEEP_MS) >= now_ms
    });
    older.drain(..older.len().saturating_sub(MAX_KEYS - 1));
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealingFile {
    schema: String,
    peer_id: PeerId,
    keys: Vec<KeyEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    created_ms: u64,
    secret: Seed,
}

fn read(path: &Path, bytes: &[u8], own: PeerId) -> Result<Vec<Held>, IdentityError> {
    let file: SealingFile = private_json::parse(path, bytes, SEALING_SCHEMA)?;
    if file.peer_id != own {
        return Err(IdentityError::OtherIdentity { path: path.to_owned() });
    }
    let held = |entry: KeyEntry| Held {
        created_ms: entry.created_ms,
        pair: SealingKeyPair::from_secret(entry.secret.bytes()),
    };
    Ok(file.keys.into_iter().map(held).collect())
}

#[cfg(test)]
mod tests;
