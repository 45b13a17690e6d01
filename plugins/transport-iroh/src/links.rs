//! The table of links, and who may enter it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use iroh::EndpointId;
use tokio::sync::Notify;

use crate::config::Config;
use crate::link::{Link, Origin};

/// All links that are up, by number.
#[derive(Debug)]
pub(crate) struct Links {
    max: usize,
    max_per_address: usize,
    max_per_peer: usize,
    max_relayed: usize,
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
            max_per_peer: config.max_links_per_peer,
            max_relayed: config.max_relayed_links,
            table: RwLock::default(),
            closed: AtomicBool::new(false),
            last: AtomicU64::new(0),
            emptied: Notify::new(),
        }
    }

    /// Whether another link from there may come up. The peer is known once it has proven its key.
    pub(crate) fn has_room(&self, origin: Origin, peer: Option<EndpointId>) -> bool {
        self.fits(&self.read(), origin, peer)
    }

    /// Enters the link that `make` makes with its number. `None` when there is no room.
    pub(crate) fn admit(&self, origin: Origin, peer: EndpointId, make: impl FnOnce(u64) -> Link) -> Option<Arc<Link>> {
        let mut table = self.write();
        if !self.fits(&table, origin, Some(peer)) {
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

    fn fits(&self, table: &HashMap<u64, Arc<Link>>, origin: Origin, peer: Option<EndpointId>) -> bool {
        let count = |same: &dyn Fn(&Link) -> bool| table.values().filter(|link| same(link)).count();
        let from = |ip: IpAddr| count(&|link| link.origin == Origin::Address(ip)) < self.max_per_address;
        let place = match origin {
            Origin::Here => true,
            Origin::Address(ip) => table.len() < self.max_per_address || from(ip),
            Origin::Relay => {
                table.len() < self.max_relayed || count(&|link| link.origin == Origin::Relay) < self.max_relayed
            }
        };
        let of_peer = |peer: EndpointId| count(&|link| link.origin != Origin::Here && link.peer == peer);
        let peer_ok = origin == Origin::Here
            || table.len() < self.max_per_peer
            || peer.is_none_or(|peer| of_peer(peer) < self.max_per_peer);
        !self.closed.load(Ordering::Acquire) && table.len() < self.max && place && peer_ok
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<u64, Arc<Link>>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<u64, Arc<Link>>> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}
