//! The gateways of other domains: remembered, also over restarts, so that what they brought doesn't leave by another domain
//! unless transit is allowed. So a link to one that can't be remembered is refused.

use std::sync::Arc;

use qpq_schemas::PeerId;

use super::{Core, Domain};
use crate::core::LinkId;
use crate::store::Batch;

/// Where the gateways are kept over restarts, in the store's key-value space.
pub const GATEWAY_PREFIX: &[u8] = b"gateway/";

/// Gateways that are remembered, of all domains.
const MAX_GATEWAYS: usize = 4_096;

/// The same for one domain: keys cost it nothing, and it must not take the places of others.
const MAX_GATEWAYS_OF_DOMAIN: usize = 256;

/// What is written of a gateway, or that nothing is any more.
fn write(peer: &PeerId, domain: Option<&Domain>) -> Batch {
    let kv = vec![([GATEWAY_PREFIX, &peer.0].concat(), domain.map(|domain| domain.as_bytes().to_vec()))];
    Batch { kv, ..Batch::default() }
}

impl Core {
    /// Why a gateway can't be remembered, if so.
    pub(super) fn no_room_for(&self, peer: &PeerId, domain: &Domain) -> Option<String> {
        let gateways = &self.federation.gateways;
        let of_domain = || gateways.values().filter(|known| *known == domain).count();
        let full = gateways.len() >= MAX_GATEWAYS || of_domain() >= MAX_GATEWAYS_OF_DOMAIN;
        let text = "this node remembers too many gateways; at its next start it forgets those whose mail is gone";
        (full && !gateways.contains_key(peer)).then(|| text.to_owned())
    }

    pub(super) fn remember_gateway(&mut self, link: LinkId, peer: PeerId) {
        let Some(domain) = self.links.get(&link).and_then(|state| state.domain.clone()) else { return };
        if self.federation.gateways.get(&peer) == Some(&domain) {
            return;
        }
        if let Some(why) = self.no_room_for(&peer, &domain) {
            return self.close(link, &why);
        }
        self.federation.gateways.insert(peer, Arc::clone(&domain));
        self.persist(write(&peer, Some(&domain)));
    }

    /// A neighbour by an ordinary link is a part of this mesh, whatever it was before: what it brings may go where ours may.
    pub(in crate::core) fn forget_gateway(&mut self, peer: &PeerId) {
        if self.federation.gateways.remove(peer).is_some() {
            self.persist(write(peer, None));
        }
    }

    /// Takes back a gateway that was kept over a restart; false when it is none.
    pub fn restore_gateway(&mut self, key: &[u8], domain: &[u8]) -> bool {
        let domain = std::str::from_utf8(domain).ok().map(Domain::from);
        match (gateway_of(key), domain) {
            (Some(peer), Some(domain)) if self.federation.gateways.len() < MAX_GATEWAYS => {
                self.federation.gateways.insert(peer, domain);
                true
            }
            _ => false,
        }
    }
}

/// The gateway that is kept under a key of the store.
pub fn gateway_of(key: &[u8]) -> Option<PeerId> {
    key.strip_prefix(GATEWAY_PREFIX).and_then(|key| key.try_into().ok()).map(PeerId)
}
