//! The table of links, and who may enter it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::Notify;

use crate::config::Config;
use crate::link::{Link, Way};

/// All links that are up, by number.
#[derive(Debug)]
pub(crate) struct Links {
    max: usize,
    max_per_address: usize,
    table: RwLock<HashMap<u64, Arc<Link>>>,
    /// Nobody enters any more. Read and written with the table locked.
    closed: AtomicBool,
    last: AtomicU64,
    emptied: Notify,
}

impl Links {
    /// No links; bounds from the configuration.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            max: config.max_links,
            max_per_address: config.max_links_per_address,
            table: RwLock::default(),
            closed: AtomicBool::new(false),
            last: AtomicU64::new(0),
            emptied: Notify::new(),
        }
    }

    /// Whether another link from (or, outbound, to) that address may come up.
    pub(crate) fn has_room(&self, way: Way, remote: IpAddr) -> bool {
        self.fits(&self.read(), way, remote)
    }

    /// Enters the link that `make` makes with its number. `None` when there is no room.
    pub(crate) fn admit(&self, way: Way, remote: IpAddr, make: impl FnOnce(u64) -> Link) -> Option<Arc<Link>> {
        let mut table = self.write();
        if !self.fits(&table, way, remote) {
            return None;
        }
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let link = Arc::new(make(id));
        table.insert(id, link.clone());
        Some(link)
    }

    /// The link of that number.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Link>> {
        self.read().get(&id).cloned()
    }

    /// Takes the link out.
    pub(crate) fn remove(&self, id: u64) {
        let mut table = self.write();
        table.remove(&id);
        if table.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Lets nobody enter any more.
    pub(crate) fn close(&self) {
        let _table = self.write();
        self.closed.store(true, Ordering::Release);
    }

    /// Whether [`Self::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// All links, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Link>> {
        let mut links: Vec<_> = self.read().values().cloned().collect();
        links.sort_unstable_by_key(|link| link.id);
        links
    }

    /// Number of links.
    pub(crate) fn len(&self) -> usize {
        self.read().len()
    }

    /// Waits until no link is left.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // Registered before the look, or the last link could go unnoticed in between.
            emptied.as_mut().enable();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn fits(&self, table: &HashMap<u64, Arc<Link>>, way: Way, remote: IpAddr) -> bool {
        let same = |link: &&Arc<Link>| link.way == Way::In && link.remote().ip() == remote;
        let alone = table.len() < self.max_per_address;
        !self.closed.load(Ordering::Acquire)
            && table.len() < self.max
            && (way == Way::Out || alone || table.values().filter(same).count() < self.max_per_address)
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<u64, Arc<Link>>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<u64, Arc<Link>>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}
