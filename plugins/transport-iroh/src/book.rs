//! Where peers were reached: so that a peer can be dialled by its key alone, and a relayed link finds back to a direct path.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use iroh::{EndpointId, TransportAddr};

use crate::limits::{BOOK_ADDRESSES, BOOK_PEERS};
use crate::path::Path;

/// Direct addresses by peer, newest first; bounded.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    by_peer: HashMap<EndpointId, VecDeque<SocketAddr>>,
    /// Peers in the order in which they were noted first.
    order: VecDeque<EndpointId>,
}

impl Book {
    /// Notes where a peer is, or may be.
    pub(crate) fn note(&self, peer: EndpointId, addr: SocketAddr) {
        let mut pages = self.lock();
        if !pages.by_peer.contains_key(&peer) {
            if pages.order.len() >= BOOK_PEERS
                && let Some(oldest) = pages.order.pop_front()
            {
                pages.by_peer.remove(&oldest);
            }
            pages.order.push_back(peer);
        }
        let addrs = pages.by_peer.entry(peer).or_default();
        addrs.retain(|known| *known != addr);
        addrs.push_front(addr);
        addrs.truncate(BOOK_ADDRESSES);
    }

    /// Notes where a link's packets go, if that is the peer itself.
    pub(crate) fn note_path(&self, peer: EndpointId, path: &Path) {
        if let Some(TransportAddr::Ip(addr)) = &path.addr {
            self.note(peer, *addr);
        }
    }

    /// The noted addresses of a peer, newest first.
    pub(crate) fn of(&self, peer: &EndpointId) -> Vec<SocketAddr> {
        self.lock().by_peer.get(peer).into_iter().flatten().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> EndpointId {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        iroh::SecretKey::from_bytes(&seed).public()
    }

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn the_newest_addresses_come_first_and_old_ones_go() {
        let book = Book::default();
        for port in (1..=20).chain([15]) {
            book.note(peer(1), at(port));
        }
        assert_eq!(book.of(&peer(1)), [15, 20, 19, 18, 17, 16, 14, 13].map(at));
        assert_eq!(book.of(&peer(2)), []);
    }

    #[test]
    fn a_full_book_forgets_the_peer_that_was_noted_first() {
        let book = Book::default();
        let peers: Vec<_> = (0..=BOOK_PEERS as u32).map(peer).collect();
        peers.iter().for_each(|peer| book.note(*peer, at(1)));
        assert_eq!(book.of(&peers[0]), []);
        assert!(peers[1..].iter().all(|peer| !book.of(peer).is_empty()));
        assert_eq!(book.lock().by_peer.len(), BOOK_PEERS);
    }
}
