//! Inbound handshakes that are not finished: how many there may be, and who has to go when there are too many.
//!
//! An honest peer needs a few milliseconds, a half-open handshake lives until it is given up. So room is made by giving up
//! the oldest one, of the same address where that has too many: a flood pushes out itself.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::config::Config;

/// All that are under way.
#[derive(Debug)]
pub(crate) struct Handshakes {
    max: usize,
    max_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    /// Oldest first.
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    address: IpAddr,
    /// Dropped to give it up.
    _give_up: oneshot::Sender<()>,
}

/// A place among them.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    table: Arc<Handshakes>,
    /// Resolves when the handshake is given up.
    given_up: oneshot::Receiver<()>,
}

impl Place {
    /// Waits until the place is needed for another.
    pub(crate) async fn given_up(&mut self) {
        let _ = (&mut self.given_up).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.lock().entries.retain(|entry| entry.number != self.number);
    }
}

impl Handshakes {
    /// None yet.
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            max: config.max_handshakes,
            max_per_address: config.max_handshakes_per_address,
            open: Mutex::default(),
        })
    }

    /// Whether addresses have to prove themselves first.
    pub(crate) fn busy(&self) -> bool {
        self.len() >= self.max.div_ceil(2)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// A place, and whether another had to go for it.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> (Place, bool) {
        let mut open = self.lock();
        let of_address = open.entries.iter().filter(|entry| entry.address == address).count();
        let leaves = if of_address >= self.max_per_address {
            open.entries.iter().position(|entry| entry.address == address)
        } else {
            (open.entries.len() >= self.max).then_some(0)
        };
        let gave_up = leaves.and_then(|place| open.entries.remove(place)).is_some();
        open.last += 1;
        let number = open.last;
        let (give_up, given_up) = oneshot::channel();
        open.entries.push_back(Entry { number, address, _give_up: give_up });
        drop(open);
        (Place { number, table: self.clone(), given_up }, gave_up)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn table(max: usize, per_address: usize) -> Arc<Handshakes> {
        let config = Config { max_handshakes: max, max_handshakes_per_address: per_address, ..Config::default() };
        Handshakes::new(&config)
    }

    fn is_given_up(place: &mut Place) -> bool {
        place.given_up().now_or_never().is_some()
    }

    #[test]
    fn a_flood_from_one_address_pushes_out_itself() {
        let table = table(100, 3);
        let (flood, honest) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let (mut first, _) = table.enter(honest);
        let mut places: Vec<Place> = (0..50).map(|_| table.enter(flood).0).collect();
        assert_eq!(places.iter_mut().filter_map(|place| is_given_up(place).then_some(())).count(), 47);
        assert!(!is_given_up(&mut first));
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn many_addresses_push_out_the_oldest() {
        let table = table(4, 4);
        let mut places: Vec<Place> = (0..6).map(|i| table.enter([10, 0, 0, i].into()).0).collect();
        let gone: Vec<bool> = places.iter_mut().map(is_given_up).collect();
        assert_eq!(gone, [true, true, false, false, false, false]);
        assert!(table.busy());
        drop(places);
        assert!(table.len() == 0 && !table.busy());
    }
}
