//! The links of an instance.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// All links that are up, by number. Who may enter is the plugin's decision.
#[derive(Debug)]
pub struct Table<L> {
    links: RwLock<HashMap<u64, Arc<L>>>,
    /// Nobody enters any more. Written with the table locked, and read so by whoever enters.
    closed: AtomicBool,
    last: AtomicU64,
    emptied: Notify,
}

impl<L> Default for Table<L> {
    fn default() -> Self {
        Self {
            links: RwLock::default(),
            closed: AtomicBool::new(false),
            last: AtomicU64::new(0),
            emptied: Notify::new(),
        }
    }
}

impl<L> Table<L> {
    /// Whether another link may come up: the table is open, and what is in it leaves room, as `fits` says.
    pub fn has_room(&self, fits: impl FnOnce(&HashMap<u64, Arc<L>>) -> bool) -> bool {
        let links = self.read();
        !self.is_closed() && fits(&links)
    }

    /// Enters the link that `make` makes with its number: from 1 on, never used again. `None` when the table is closed, or
    /// `fits` sees no room.
    pub fn enter(
        &self,
        fits: impl FnOnce(&HashMap<u64, Arc<L>>) -> bool,
        make: impl FnOnce(u64) -> L,
    ) -> Option<Arc<L>> {
        let mut links = self.write();
        if self.is_closed() || !fits(&links) {
            return None;
        }
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let link = Arc::new(make(id));
        links.insert(id, link.clone());
        Some(link)
    }

    /// The link of that number.
    pub fn get(&self, id: u64) -> Option<Arc<L>> {
        self.read().get(&id).cloned()
    }

    /// Takes the link out.
    pub fn remove(&self, id: u64) {
        let mut links = self.write();
        links.remove(&id);
        if links.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Lets nobody enter any more.
    pub fn close(&self) {
        let _links = self.write();
        self.closed.store(true, Ordering::Release);
    }

    /// Whether [`Self::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// All links, oldest first.
    pub fn all(&self) -> Vec<Arc<L>> {
        let mut links: Vec<_> = self.read().iter().map(|(id, link)| (*id, link.clone())).collect();
        links.sort_unstable_by_key(|(id, _)| *id);
        links.into_iter().map(|(_, link)| link).collect()
    }

    /// Number of links.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Asks each link to end within `patience`, and waits until none is left. Returns how many are late all the same.
    pub async fn end_all(&self, patience: Duration, ask: impl Fn(&L)) -> usize {
        for link in self.all() {
            ask(&link);
        }
        // A link that is late ends by its own patience; a moment more lets it hand back what it did not send.
        let late = timeout(patience + patience / 8, self.emptied()).await.is_err();
        if late { self.len() } else { 0 }
    }

    async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // Registered before the look, or the last link could go unnoticed in between.
            emptied.as_mut().enable();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<u64, Arc<L>>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<u64, Arc<L>>> {
        self.links.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
