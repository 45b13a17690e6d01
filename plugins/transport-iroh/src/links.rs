//! The links that are up, and who may come up beside them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use iroh::EndpointId;
use qpq_quic_common::Table;

use crate::config::Config;
use crate::link::{Link, Origin};

/// All links, with the bounds of the configuration.
#[derive(Debug)]
pub(crate) struct Links {
    max: usize,
    max_per_address: usize,
    max_per_peer: usize,
    max_relayed: usize,
    /// The links.
    pub(crate) table: Table<Link>,
}

impl Links {
    /// No links; bounds from the configuration.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            max: config.max_links,
            max_per_address: config.max_links_per_address,
            max_per_peer: config.max_links_per_peer,
            max_relayed: config.max_relayed_links,
            table: Table::default(),
        }
    }

    /// Whether another link from there may come up. The peer is known once it has proven its key.
    pub(crate) fn has_room(&self, origin: Origin, peer: Option<EndpointId>) -> bool {
        self.table.has_room(|links| self.fits(links, origin, peer))
    }

    /// Enters the link that `make` makes with its number. `None` when there is no room.
    pub(crate) fn admit(&self, origin: Origin, peer: EndpointId, make: impl FnOnce(u64) -> Link) -> Option<Arc<Link>> {
        self.table.enter(|links| self.fits(links, origin, Some(peer)), make)
    }

    fn fits(&self, links: &HashMap<u64, Arc<Link>>, origin: Origin, peer: Option<EndpointId>) -> bool {
        let count = |same: &dyn Fn(&Link) -> bool| links.values().filter(|link| same(link)).count();
        let from = |ip: IpAddr| count(&|link| link.origin == Origin::Address(ip)) < self.max_per_address;
        let place = match origin {
            Origin::Here => true,
            Origin::Address(ip) => links.len() < self.max_per_address || from(ip),
            Origin::Relay => {
                links.len() < self.max_relayed || count(&|link| link.origin == Origin::Relay) < self.max_relayed
            }
        };
        let of_peer = |peer: EndpointId| count(&|link| link.origin != Origin::Here && link.peer == peer);
        let peer_ok = origin == Origin::Here
            || links.len() < self.max_per_peer
            || peer.is_none_or(|peer| of_peer(peer) < self.max_per_peer);
        links.len() < self.max && place && peer_ok
    }
}
