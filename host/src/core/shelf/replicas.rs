//! Waiting messages of which a neighbour holds a copy as well: they make room before anything is refused.
//!
//! Whether a neighbour may be relied upon is for the custody rules to say; here they are only kept in order.

use std::collections::BTreeMap;

use qpq_schemas::PeerId;

use super::history::Kept;
use crate::store::{KeyPrefix, prefix};

/// Priority, age by the sender's clock, slot: sorts what goes first to the front.
type Rank = (u8, u64, u32);

/// The copies, with who holds another.
#[derive(Debug, Default)]
pub(super) struct Replicas(BTreeMap<Rank, KeyPrefix>);

fn rank(kept: Kept) -> Rank {
    (kept.priority, kept.created_ms, kept.slot)
}

impl Replicas {
    pub(super) fn insert(&mut self, kept: Kept, holder: &PeerId) {
        self.0.insert(rank(kept), prefix(&holder.0));
    }

    /// Takes one out; whether it was there.
    pub(super) fn remove(&mut self, kept: Kept) -> bool {
        self.0.remove(&rank(kept)).is_some()
    }

    pub(super) fn has(&self, kept: Kept) -> bool {
        self.0.contains_key(&rank(kept))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Slots and holders in the order in which they go: lowest priority, then oldest.
    pub(super) fn first_to_go(&self) -> impl Iterator<Item = (u32, KeyPrefix)> + '_ {
        self.0.iter().map(|((_, _, slot), holder)| (*slot, *holder))
    }
}
