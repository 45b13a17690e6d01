//! How many links there may be at a time, of all and of those whose peer has proven nothing yet.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One address may hold this part of the half-open places, so that a few of them can't keep all newcomers out.
const PART_OF_ONE_ADDRESS: usize = 4;

/// The places for links.
pub(in crate::node) struct Places {
    all: Arc<Semaphore>,
    inbound: Arc<Semaphore>,
    half_open: Arc<Semaphore>,
    by_address: Arc<ByAddress>,
}

/// Half-open links of each address; no more entries than half-open places.
struct ByAddress {
    counts: Mutex<HashMap<String, usize>>,
    max: usize,
}

/// A link's place among them, until it is dropped.
pub(super) struct Place {
    /// Taken by others' links until they have proven who they are.
    pub(super) half_open: Option<HalfOpen>,
    _inbound: Option<OwnedSemaphorePermit>,
    _any: OwnedSemaphorePermit,
}

/// A place among those that have not proven who they are, until it is dropped.
pub(in crate::node) struct HalfOpen {
    address: String,
    by_address: Arc<ByAddress>,
    _any: OwnedSemaphorePermit,
}

impl Places {
    /// A quarter of all places is kept for links that this node opens, so that strangers can't cut it off.
    pub(in crate::node) fn new(max: usize, max_half_open: usize) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        let by_address = ByAddress { counts: Mutex::default(), max: (max_half_open / PART_OF_ONE_ADDRESS).max(1) };
        Self {
            all: places(max),
            inbound: places(max - max / 4),
            half_open: places(max_half_open),
            by_address: Arc::new(by_address),
        }
    }

    /// A place for a new link with that remote URI, or the setting that leaves none. A favoured one is opened by this node
    /// or a trusted peer.
    pub(super) fn take(&self, favoured: bool, remote: &str) -> Result<Place, &'static str> {
        let take = |places: &Arc<Semaphore>, setting| Arc::clone(places).try_acquire_owned().map_err(|_| setting);
        Ok(Place {
            half_open: if favoured { None } else { Some(self.half_open(address_of(remote))?) },
            _inbound: if favoured { None } else { Some(take(&self.inbound, "links.max")?) },
            _any: take(&self.all, "links.max")?,
        })
    }

    fn half_open(&self, address: String) -> Result<HalfOpen, &'static str> {
        let any = Arc::clone(&self.half_open).try_acquire_owned().map_err(|_| "links.max_half_open")?;
        let mut counts = self.by_address.counts();
        let count = counts.entry(address.clone()).or_default();
        if *count >= self.by_address.max {
            return Err("links.max_half_open, a quarter of it for one address");
        }
        *count += 1;
        Ok(HalfOpen { address, by_address: Arc::clone(&self.by_address), _any: any })
    }
}

impl ByAddress {
    fn counts(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        let mut counts = self.by_address.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// What one party can be taken for: the host of a URI without its port, of IPv6 the network of 64 bits, in which everybody has
/// as many addresses as they like.
pub(in crate::node) fn address_of(uri: &str) -> String {
    let place = uri.split_once("://").map_or(uri, |(_, place)| place);
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner.and_then(|host| host.parse::<Ipv6Addr>().ok()) {
        Some(address) if address.to_ipv4_mapped().is_none() => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}/64")
        }
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_addresses_leave_half_open_places_to_others() {
        let places = Places::new(100, 8);
        let mut held = Vec::new();
        for address in ["udp://192.0.2.1:7", "udp://192.0.2.2:7"] {
            for _ in 0..50 {
                held.extend(places.take(false, address));
            }
        }
        assert_eq!(held.len(), 4);
        assert!(places.take(false, "quic://192.0.2.1:9").is_err(), "the port and the transport don't count");
        assert!(places.take(true, "udp://192.0.2.1:7").is_ok(), "a favoured one needs no such place");
        held.push(places.take(false, "udp://192.0.2.3:7").expect("a newcomer has room"));
        held.clear();
        assert!(places.by_address.counts().is_empty());
        assert!(places.take(false, "udp://192.0.2.1:7").is_ok());
    }

    #[test]
    fn a_link_that_has_proven_itself_gives_its_half_open_place_back() {
        let places = Places::new(100, 4);
        let mut place = places.take(false, "udp://192.0.2.1:7").expect("room");
        assert!(places.take(false, "udp://192.0.2.1:8").is_err());
        drop(place.half_open.take());
        assert!(places.take(false, "udp://192.0.2.1:8").is_ok());
    }

    #[test]
    fn all_half_open_places_together_are_bounded() {
        let places = Places::new(100, 8);
        let held: Vec<_> = (0..50).filter_map(|n| places.take(false, &format!("udp://192.0.2.{n}:7")).ok()).collect();
        assert_eq!((held.len(), places.by_address.counts().len()), (8, 8));
        assert!(places.take(false, "udp://192.0.2.77:7").is_err());
        assert_eq!(places.by_address.counts().len(), 8, "who is refused leaves nothing behind");
    }

    #[test]
    fn an_address_is_what_one_party_has() {
        assert_eq!(address_of("quic://192.0.2.1:70"), "192.0.2.1");
        assert_eq!(address_of("quic://[2001:db8:1:2:3::4]:70"), address_of("udp://[2001:db8:1:2::9]:1"));
        assert_ne!(address_of("quic://[2001:db8:1:2::4]:70"), address_of("quic://[2001:db8:1:3::4]:70"));
        assert_ne!(address_of("quic://[::ffff:192.0.2.1]:7"), address_of("quic://[::ffff:192.0.2.2]:7"));
        assert_eq!(address_of("loopback"), "loopback");
    }
}
