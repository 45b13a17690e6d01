//! The links that are up, the connections behind them, and who may come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qpq_quic_common::Table;

use crate::config::Config;
use crate::link::{Link, Way};

/// All links, and room for the connections behind them.
#[derive(Debug)]
pub(crate) struct Links {
    max: usize,
    max_per_domain: usize,
    /// The links. Once it is closed, no connection gets room either.
    pub(crate) table: Table<Link>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
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
        let mut taken = self.links.taken();
        taken.connections = taken.connections.saturating_sub(1);
        if let Some(domain) = &self.inbound_from {
            let left = taken.inbound.get_mut(domain).map_or(0, |n| {
                *n = n.saturating_sub(1);
                *n
            });
            if left == 0 {
                taken.inbound.remove(domain);
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
            table: Table::default(),
            taken: Mutex::default(),
        })
    }

    /// Whether another connection may come.
    pub(crate) fn has_room(&self) -> bool {
        !self.table.is_closed() && self.connections() < self.max
    }

    /// Room for a connection from or (`inbound_from` is `None`) to a domain.
    pub(crate) fn room(self: &Arc<Self>, inbound_from: Option<&str>) -> Option<Room> {
        let mut taken = self.taken();
        if self.table.is_closed() || taken.connections >= self.max {
            return None;
        }
        if let Some(domain) = inbound_from {
            let n = taken.inbound.entry(domain.to_owned()).or_default();
            if *n >= self.max_per_domain {
                return None;
            }
            *n += 1;
        }
        taken.connections += 1;
        Some(Room { links: self.clone(), inbound_from: inbound_from.map(str::to_owned) })
    }

    /// Number of connections.
    pub(crate) fn connections(&self) -> usize {
        self.taken().connections
    }

    /// The number of links that were opened by either side.
    pub(crate) fn count(&self, way: Way) -> usize {
        self.table.all().iter().filter(|link| link.way == way).count()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
