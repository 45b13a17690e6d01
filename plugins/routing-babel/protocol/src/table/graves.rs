//! Feasibility distances of destinations that had to give way. Somebody may still go through this node to one of them,
//! since he hasn't read of it yet; so it must not be taken in again as if it had never been known (RFC 8966, 3.2.5).

use std::collections::{BTreeMap, VecDeque};

use super::Told;
use crate::limits::{FORGET_MS, MAX_GRAVES};
use crate::record::Key;

/// Half a key: nobody finds another one with the same.
type Half = [u8; 16];

#[derive(Debug, Clone, Copy)]
struct Grave {
    seqno: u64,
    metric: u32,
    until_ms: u64,
}

/// The distances, for [`FORGET_MS`] each.
#[derive(Debug, Default)]
pub struct Graves {
    graves: BTreeMap<Half, Grave>,
    /// In the order in which they end. One may have been opened, or made again, since.
    ends: VecDeque<(u64, Half)>,
}

fn half(key: &Key) -> Half {
    let mut half = [0; 16];
    half.copy_from_slice(key.split_at(16).0);
    half
}

impl Graves {
    /// Number of bytes that they take.
    pub fn bytes(&self) -> usize {
        self.graves.len() * size_of::<(Half, Grave)>() + self.ends.capacity() * size_of::<(u64, Half)>()
    }

    /// Whether another distance can be kept, so that something may give way. The last quarter is for neighbours with less than
    /// their least share.
    pub fn have_room(&self, entitled: bool) -> bool {
        self.ends.len() < if entitled { MAX_GRAVES } else { MAX_GRAVES / 4 * 3 }
    }

    /// Keeps the distance of a destination that gives way now.
    pub fn keep(&mut self, key: &Key, distance: &Told, now_ms: u64) {
        let until_ms = now_ms + FORGET_MS;
        let (half, grave) = (half(key), Grave { seqno: distance.seqno, metric: distance.metric, until_ms });
        self.graves.insert(half, grave);
        self.ends.push_back((until_ms, half));
    }

    /// The distance of a destination, if it is kept.
    pub fn find(&self, key: &Key) -> Option<Told> {
        self.graves.get(&half(key)).map(|grave| Told { seqno: grave.seqno, metric: grave.metric, hops: 0 })
    }

    /// The destination has a row again.
    pub fn remove(&mut self, key: &Key) {
        self.graves.remove(&half(key));
    }

    /// Drops those whose time is over.
    pub fn sweep(&mut self, now_ms: u64) {
        while let Some((_, half)) = self.ends.front().copied().filter(|(until_ms, _)| *until_ms <= now_ms) {
            self.ends.pop_front();
            if self.graves.get(&half).is_some_and(|grave| grave.until_ms <= now_ms) {
                self.graves.remove(&half);
            }
        }
    }
}
