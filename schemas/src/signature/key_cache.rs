use std::collections::HashMap;

use super::equation::PublicKey;
use crate::PeerId;

/// The decompressed keys of those whose signatures were good lately, in two generations: when the young one
/// is full, the old one is dropped. Bounded, and every step takes constant time.
pub(super) struct KeyCache {
    young: HashMap<PeerId, PublicKey>,
    old: HashMap<PeerId, PublicKey>,
    generation: usize,
}

impl KeyCache {
    /// Keeps at most `capacity` keys, about 250 bytes each.
    pub(super) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation: capacity / 2 }
    }

    pub(super) fn find(&mut self, id: PeerId) -> Option<PublicKey> {
        if let Some(key) = self.young.get(&id) {
            return Some(*key);
        }
        let key = self.old.remove(&id)?;
        self.insert(id, key);
        Some(key)
    }

    /// Only keys that made a good signature go in, so that a stream of made-up senders pushes nobody out.
    pub(super) fn insert(&mut self, id: PeerId, key: PublicKey) {
        if self.generation == 0 {
            return;
        }
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, key);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
