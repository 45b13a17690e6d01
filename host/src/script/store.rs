//! `mesh.store`: a bot's durable memory, held in RAM and written behind.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::api::{ApiError, Reply};

use super::limits::{STORE_KEY_BYTES, STORE_OP_BYTES, ScriptLimits};

/// A key's place in the store, its value as stored, and when it dies (Unix time in milliseconds).
pub type StoredEntry = (Vec<u8>, Vec<u8>, Option<u64>);

/// A change to a bot's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreOp {
    /// Sets a key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value, opaque to the store.
        value: Vec<u8>,
        /// When it dies, Unix time in milliseconds. Dead entries may be dropped at any time.
        expires_ms: Option<u64>,
    },
    /// Removes a key, which need not be there.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

impl StoreOp {
    /// What it counts for in the bot's quota of writing, in bytes.
    pub(crate) fn written_bytes(&self) -> usize {
        STORE_OP_BYTES + self.bytes()
    }

    /// Size of key and value, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
        }
    }

    fn parts(&self) -> (&Vec<u8>, Option<Entry>) {
        match self {
            Self::Put { key, value, expires_ms } => {
                (key, Some(Entry { value: value.clone(), expires_ms: *expires_ms }))
            }
            Self::Delete { key } => (key, None),
        }
    }
}

/// Where bots' data lives on disk. One bot never sees another's.
pub trait BotStore: Send + Sync + 'static {
    /// Everything that is kept for `bot`.
    fn load(&self, bot: &str) -> Reply<Vec<StoredEntry>>;
    /// Applies the changes in one atomic step; the reply comes once they are durable. Commits of one bot take
    /// effect in the order of the calls.
    fn commit(&self, bot: &str, ops: Vec<StoreOp>) -> Reply<()>;
}

/// Keys that begin with this byte are the host's own and invisible to scripts.
pub(crate) const HOST_PREFIX: u8 = 0;

fn is_bots(key: &[u8]) -> bool {
    key.first() != Some(&HOST_PREFIX)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub value: Vec<u8>,
    pub expires_ms: Option<u64>,
}

impl Entry {
    fn alive(&self, now_ms: u64) -> bool {
        self.expires_ms.is_none_or(|at| at > now_ms)
    }
}

/// One bot's entries, with the changes that are not on disk yet.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<Vec<u8>, Entry>,
    dirty: BTreeMap<Vec<u8>, Option<Entry>>,
    bytes: usize,
}

impl Cache {
    /// The cache of what was on disk; what has died meanwhile goes with the next commit.
    pub(crate) fn new(loaded: Vec<StoredEntry>, now_ms: u64) -> Self {
        let mut cache = Self::default();
        for (key, value, expires_ms) in loaded {
            cache.bytes += key.len() + value.len();
            cache.entries.insert(key, Entry { value, expires_ms });
        }
        cache.drop_expired(now_ms);
        cache
    }

    pub(crate) fn get(&self, key: &[u8], now_ms: u64) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.alive(now_ms))
    }

    /// Sets a key, within the quota.
    pub(crate) fn put(&mut self, key: &[u8], entry: Entry, limits: &ScriptLimits, now_ms: u64) -> Result<(), ApiError> {
        if self.bytes_with(key, &entry, limits).is_none() {
            self.drop_expired(now_ms);
        }
        let Some(after) = self.bytes_with(key, &entry, limits) else { return Err(self.full(limits)) };
        self.bytes = after;
        self.dirty.insert(key.to_vec(), Some(entry.clone()));
        self.entries.insert(key.to_vec(), entry);
        Ok(())
    }

    fn full(&self, limits: &ScriptLimits) -> ApiError {
        let kib = limits.store_bytes >> 10;
        let message = format!(
            "the bot's store is full ({} keys of {}, {} KiB of {kib}): delete something or give entries a ttl",
            self.keys(),
            limits.store_keys,
            self.bytes >> 10
        );
        ApiError::new("store-full", message)
    }

    /// Takes changes that the bot has made in its own process, all or none, within the quota. They wait to be written.
    pub(crate) fn apply(&mut self, ops: &[StoreOp], limits: &ScriptLimits, now_ms: u64) -> Result<(), ApiError> {
        if !self.fits(ops, limits) {
            self.drop_expired(now_ms);
            if !self.fits(ops, limits) {
                return Err(self.full(limits));
            }
        }
        for op in ops {
            let (key, change) = op.parts();
            self.change(key, change.clone());
            self.dirty.insert(key.clone(), change);
        }
        Ok(())
    }

    /// Takes changes that another version of the bot has made and written. What was changed here meanwhile stays.
    pub(crate) fn adopt(&mut self, ops: &[StoreOp]) {
        for op in ops {
            let (key, change) = op.parts();
            if !self.dirty.contains_key(key) {
                self.change(key, change);
            }
        }
    }

    fn change(&mut self, key: &[u8], change: Option<Entry>) {
        let old = self.entries.remove(key).map_or(0, |old| key.len() + old.value.len());
        self.bytes -= old;
        if let Some(entry) = change {
            self.bytes += key.len() + entry.value.len();
            self.entries.insert(key.to_vec(), entry);
        }
    }

    /// Whether the store keeps to its quota with these changes, or at least grows no further beyond it. The host's own keys
    /// aren't counted: the bot doesn't see them.
    fn fits(&self, ops: &[StoreOp], limits: &ScriptLimits) -> bool {
        // The last change of a key counts.
        let last: BTreeMap<&[u8], Option<usize>> = ops
            .iter()
            .map(|op| match op {
                StoreOp::Put { key, .. } => (key.as_slice(), Some(op.bytes())),
                StoreOp::Delete { key } => (key.as_slice(), None),
            })
            .collect();
        let before = self.keys();
        let (mut bytes, mut keys) = (self.bytes, before);
        for (key, size) in &last {
            let old = self.entries.get(*key).map(|old| key.len() + old.value.len());
            bytes = bytes - old.unwrap_or(0) + size.unwrap_or(0);
            if is_bots(key) {
                keys = keys - usize::from(old.is_some()) + usize::from(size.is_some());
            }
        }
        (bytes <= limits.store_bytes || bytes <= self.bytes) && (keys <= limits.store_keys || keys <= before)
    }

    /// The entries, as they are stored.
    pub(crate) fn entries(&self) -> Vec<StoredEntry> {
        let entry = |(key, entry): (&Vec<u8>, &Entry)| (key.clone(), entry.value.clone(), entry.expires_ms);
        self.entries.iter().map(entry).collect()
    }

    /// The size with this entry in place, if that is within the quota.
    fn bytes_with(&self, key: &[u8], entry: &Entry, limits: &ScriptLimits) -> Option<usize> {
        let old = self.entries.get(key);
        let old_bytes = old.map_or(0, |old| key.len() + old.value.len());
        let after = self.bytes - old_bytes + key.len() + entry.value.len();
        let fits = after <= limits.store_bytes && (old.is_some() || !is_bots(key) || self.keys() < limits.store_keys);
        fits.then_some(after)
    }

    /// Removes a key; whether it was there.
    pub(crate) fn delete(&mut self, key: &[u8], now_ms: u64) -> bool {
        let Some(old) = self.entries.remove(key) else { return false };
        self.bytes -= key.len() + old.value.len();
        self.dirty.insert(key.to_vec(), None);
        old.alive(now_ms)
    }

    fn drop_expired(&mut self, now_ms: u64) {
        let dead: Vec<Vec<u8>> =
            self.entries.iter().filter(|(_, e)| !e.alive(now_ms)).map(|(k, _)| k.clone()).collect();
        for key in dead {
            self.delete(&key, now_ms);
        }
    }

    /// The next live entry beyond `after` among those with `prefix`, in order or in reverse.
    pub(crate) fn step(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        reverse: bool,
        now_ms: u64,
    ) -> Option<(&[u8], &Entry)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let fits = |(key, entry): &(&Vec<u8>, &Entry)| key.starts_with(prefix) && is_bots(key) && entry.alive(now_ms);
        let found = if reverse {
            let end = match after {
                Some(key) => Excluded(key.to_vec()),
                None => after_prefix(prefix).map_or(Unbounded, Excluded),
            };
            let range = self.entries.range::<Vec<u8>, _>((Included(prefix.to_vec()), end));
            range.rev().find(fits)
        } else {
            let start = after.map_or(Included(prefix.to_vec()), |key| Excluded(key.to_vec()));
            let range = self.entries.range::<Vec<u8>, _>((start, Unbounded));
            range.take_while(|(key, _)| key.starts_with(prefix)).find(fits)
        };
        found.map(|(key, entry)| (key.as_slice(), entry))
    }

    /// The bot's own keys.
    pub(crate) fn keys(&self) -> usize {
        let host = self.entries.range(..vec![HOST_PREFIX + 1]).count();
        self.entries.len() - host
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the changes that are to be written.
    pub(crate) fn take_dirty(&mut self) -> BTreeMap<Vec<u8>, Option<Entry>> {
        std::mem::take(&mut self.dirty)
    }

    /// Puts back changes that could not be written, behind newer ones.
    pub(crate) fn put_back(&mut self, dirty: BTreeMap<Vec<u8>, Option<Entry>>) {
        for (key, change) in dirty {
            self.dirty.entry(key).or_insert(change);
        }
    }
}

/// The first key that sorts after all keys with this prefix.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    if let Some(byte) = end.last_mut() {
        *byte += 1;
    }
    Some(end)
}

/// Changes as operations for the disk.
pub(crate) fn operations(dirty: &BTreeMap<Vec<u8>, Option<Entry>>) -> Vec<StoreOp> {
    let op = |(key, change): (&Vec<u8>, &Option<Entry>)| match change.clone() {
        Some(Entry { value, expires_ms }) => StoreOp::Put { key: key.clone(), value, expires_ms },
        None => StoreOp::Delete { key: key.clone() },
    };
    dirty.iter().map(op).collect()
}

/// Checks a key that a script gives.
pub(crate) fn check_key(key: &[u8]) -> Result<(), String> {
    match key {
        [] => Err("must not be empty".to_owned()),
        [HOST_PREFIX, ..] => Err("must not begin with a zero byte".to_owned()),
        key if key.len() > STORE_KEY_BYTES => {
            Err(format!("must have at most {STORE_KEY_BYTES} bytes, has {}", key.len()))
        }
        _ => Ok(()),
    }
}

/// A store in RAM, for tests and for running a script once.
#[derive(Debug, Default)]
pub struct MemoryStore {
    bots: Mutex<BTreeMap<String, BTreeMap<Vec<u8>, Entry>>>,
}

impl BotStore for MemoryStore {
    fn load(&self, bot: &str) -> Reply<Vec<StoredEntry>> {
        let bots = super::lock(&self.bots);
        let entries = bots.get(bot).into_iter().flatten();
        let loaded = entries.map(|(key, entry)| (key.clone(), entry.value.clone(), entry.expires_ms)).collect();
        Box::pin(std::future::ready(Ok(loaded)))
    }

    fn commit(&self, bot: &str, ops: Vec<StoreOp>) -> Reply<()> {
        let mut bots = super::lock(&self.bots);
        let entries = bots.entry(bot.to_owned()).or_default();
        for op in ops {
            match op {
                StoreOp::Put { key, value, expires_ms } => entries.insert(key, Entry { value, expires_ms }),
                StoreOp::Delete { key } => entries.remove(&key),
            };
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str, expires_ms: Option<u64>) -> Entry {
        Entry { value: text.into(), expires_ms }
    }

    #[test]
    fn the_quota_counts_keys_and_bytes_and_lets_the_dead_go_first() {
        let limits = ScriptLimits { store_keys: 2, store_bytes: 20, ..ScriptLimits::default() };
        let mut cache = Cache::default();
        cache.put(b"a", entry("1", Some(10)), &limits, 0).unwrap();
        cache.put(b"b", entry("2", None), &limits, 0).unwrap();
        assert_eq!(cache.put(b"c", entry("3", None), &limits, 5).unwrap_err().code, "store-full");
        cache.put(b"c", entry("3", None), &limits, 11).unwrap();
        assert_eq!(
            cache.put(b"b", entry("a value that is too long", None), &limits, 11).unwrap_err().code,
            "store-full"
        );
        assert_eq!(cache.bytes(), 4);
    }

    #[test]
    fn the_hosts_own_keys_take_no_room_from_the_bots_wherever_it_is_counted() {
        let limits = ScriptLimits { store_keys: 2, ..ScriptLimits::default() };
        let put = |key: &[u8]| StoreOp::Put { key: key.to_vec(), value: b"x".to_vec(), expires_ms: None };
        let (mut childs, mut hosts) = (Cache::default(), Cache::default());
        hosts.apply(&[put(b"a"), put(b"\0begun"), put(b"b")], &limits, 0).unwrap();
        for key in [&b"a"[..], b"b", b"\0begun"] {
            childs.put(key, entry("x", None), &limits, 0).unwrap();
        }
        assert_eq!((hosts.keys(), childs.keys()), (2, 2));
        hosts.apply(&[put(b"\0other")], &limits, 0).unwrap();
        for full in [hosts.apply(&[put(b"c")], &limits, 0), childs.put(b"c", entry("x", None), &limits, 0)] {
            assert!(full.unwrap_err().message.contains("2 keys of 2"));
        }
    }

    #[test]
    fn walking_goes_both_ways_and_stays_within_the_prefix() {
        let limits = ScriptLimits::default();
        let mut cache = Cache::default();
        for key in ["a", "n/1", "n/2", "n/3", "o", "\0host"] {
            cache.put(key.as_bytes(), entry(key, None), &limits, 0).unwrap();
        }
        let walk = |prefix: &str, reverse| {
            let (mut keys, mut at) = (Vec::new(), None::<Vec<u8>>);
            while let Some((key, _)) = cache.step(prefix.as_bytes(), at.as_deref(), reverse, 0) {
                keys.push(String::from_utf8(key.to_vec()).unwrap());
                at = Some(key.to_vec());
            }
            keys
        };
        assert_eq!(walk("n/", false), ["n/1", "n/2", "n/3"]);
        assert_eq!(walk("n/", true), ["n/3", "n/2", "n/1"]);
        assert_eq!(walk("", true), ["o", "n/3", "n/2", "n/1", "a"]);
    }
}
