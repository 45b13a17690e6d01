//! The table of links, the connections behind them, and who may enter.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::config::Config;
use crate::link::{Link, Way};

/// All links that are up, by number, and all connections.
#[derive(Debug)]
pub(crate) struct Links {
    max: usize,
    max_per_domain: usize,
    table: Mutex<Table>,
    /// Nobody enters any more. Read and written with the table locked.
    closed: AtomicBool,
    last: AtomicU64,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Table {
    links: HashMap<u64, Arc<Link>>,
    connections: usize,
    /// Inbound connections by the first domain of their certificate.
    inbound: HashMap<String, usize>,
}

/// Room for one connection.
#[derive(Debug)]
pub(crate) struct Room {
    links: Arc<Links>,
    inbound_from: Option<String>,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut table = self.links.lock();
        table.connections = table.connections.saturating_sub(1);
        if let Some(domain) = &self.inbound_from {
            let left = table.inbound.get_mut(domain).map_or(0, |n| {
                *n = n.saturating_sub(1);
                *n
            });
            if left == 0 {
                table.inbound.remove(domain);
            }
        }
    }
}

impl Links {
    /// No links; bounds from the configuration.
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            max: config.max_links,
            max_per_domain: config.max_links_per_domain,
            table: Mutex::default(),
            closed: AtomicBool::new(false),
            last: AtomicU64::new(0),
            emptied: Notify::new(),
        })
    }

    /// Whether another connection may come.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_closed() && self.lock().connections < self.max
    }

    /// Room for a connection from or (`inbound_from` is `None`) to a domain.
    pub(crate) fn room(self: &Arc<Self>, inbound_from: Option<&str>) -> Option<Room> {
        let mut table = self.lock();
        if self.is_closed() || table.connections >= self.max {
            return None;
        }
        if let Some(domain) = inbound_from {
            let n = table.inbound.entry(domain.to_owned()).or_default();
            if *n >= self.max_per_domain {
                return None;
            }
            *n += 1;
        }
        table.connections += 1;
        Some(Room { links: self.clone(), inbound_from: inbound_from.map(str::to_owned) })
    }

    /// Enters a link over a connection that has room; `None` when nobody enters any more.
    pub(crate) fn enter(&self, make: impl FnOnce(u64) -> Link) -> Option<Arc<Link>> {
        let mut table = self.lock();
        if self.is_closed() {
            return None;
        }
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let link = Arc::new(make(id));
        table.links.insert(id, link.clone());
        Some(link)
    }

    /// The link of that number.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Link>> {
        self.lock().links.get(&id).cloned()
    }

    /// Takes the link out.
    pub(crate) fn remove(&self, id: u64) {
        let mut table = self.lock();
        table.links.remove(&id);
        if table.links.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// Lets nobody enter any more.
    pub(crate) fn close(&self) {
        let _table = self.lock();
        self.closed.store(true, Ordering::Release);
    }

    /// Whether [`Self::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// All links, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Link>> {
        let mut links: Vec<_> = self.lock().links.values().cloned().collect();
        links.sort_unstable_by_key(|link| link.id);
        links
    }

    /// Number of links.
    pub(crate) fn len(&self) -> usize {
        self.lock().links.len()
    }

    /// Number of connections.
    pub(crate) fn connections(&self) -> usize {
        self.lock().connections
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

    /// The number of links that were opened by either side.
    pub(crate) fn count(&self, way: Way) -> usize {
        self.lock().links.values().filter(|link| link.way == way).count()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
