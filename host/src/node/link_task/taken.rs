//! When frames came in, for the pause of a swap.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use qpq_schemas::PeerId;

/// When the links of one instance took their first and last frames in, after the handshake, by neighbour.
#[derive(Default)]
pub(in crate::node) struct Taken {
    times: Mutex<BTreeMap<PeerId, (Instant, Instant)>>,
    /// The instance is being replaced: who goes from now on is expected back.
    parting: AtomicBool,
}

impl Taken {
    pub(in crate::node) fn note(&self, peer: PeerId) {
        let now = Instant::now();
        self.lock().entry(peer).or_insert((now, now)).1 = now;
    }

    /// The neighbour's link is gone.
    pub(in crate::node) fn forget(&self, peer: &PeerId) {
        if !self.parting.load(Ordering::Acquire) {
            self.lock().remove(peer);
        }
    }

    /// From now on nobody is forgotten.
    pub(in crate::node) fn part(&self) {
        self.parting.store(true, Ordering::Release);
    }

    pub(in crate::node) fn times(&self) -> BTreeMap<PeerId, (Instant, Instant)> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PeerId, (Instant, Instant)>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
