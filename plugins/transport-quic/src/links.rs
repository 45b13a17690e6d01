//! The links that are up, and who may come up beside them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use qpq_quic_common::Table;

use crate::config::Config;
use crate::link::{Link, Way};

/// All links, with the bounds of the configuration.
#[derive(Debug)]
pub(crate) struct Links {
    max: usize,
    max_per_address: usize,
    /// The links.
    pub(crate) table: Table<Link>,
}

impl Links {
    /// No links; bounds from the configuration.
    pub(crate) fn new(config: &Config) -> Self {
        Self { max: config.max_links, max_per_address: config.max_links_per_address, table: Table::default() }
    }

    /// Whether another link from (or, outbound, to) that address may come up.
    pub(crate) fn has_room(&self, way: Way, remote: IpAddr) -> bool {
        self.table.has_room(|links| self.fits(links, way, remote))
    }

    /// Enters the link that `make` makes with its number. `None` when there is no room.
    pub(crate) fn admit(&self, way: Way, remote: IpAddr, make: impl FnOnce(u64) -> Link) -> Option<Arc<Link>> {
        self.table.enter(|links| self.fits(links, way, remote), make)
    }

    fn fits(&self, links: &HashMap<u64, Arc<Link>>, way: Way, remote: IpAddr) -> bool {
        let same = |link: &&Arc<Link>| link.way == Way::In && link.remote().ip() == remote;
        let alone = links.len() < self.max_per_address;
        links.len() < self.max
            && (way == Way::Out || alone || links.values().filter(same).count() < self.max_per_address)
    }
}
