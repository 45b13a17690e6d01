//! Figures for people.

use std::cmp::Reverse;

use qpq_schemas::PeerId;

use super::limits::Room;
use super::queues::RecipientQueue;
use super::{Shelf, Turn};
use crate::api::{QueueInfo, StoreStats};

/// Queues shown among the longest.
const LONGEST: usize = 10;

impl Shelf {
    /// What stands on the shelf. The engine's fields are left at their defaults. Walks over all queues: not for hot paths.
    pub fn stats(&self) -> StoreStats {
        let mut longest: Vec<QueueInfo> = self.queues.iter().map(|(name, _)| self.queue_info(name)).collect();
        let oldest_ms = longest.iter().map(|queue| queue.oldest_ms).min();
        let waiting = self.queues.iter().fold(Room::default(), |sum, (_, queue)| sum.plus(queue.used()));
        longest.sort_by_key(|queue| Reverse((queue.messages, queue.bytes)));
        longest.truncate(LONGEST);
        StoreStats {
            waiting: waiting.messages as usize,
            waiting_bytes: waiting.bytes,
            recipients: self.queues.len(),
            longest,
            broadcasts: self.history.used().messages as usize,
            broadcast_bytes: self.history.used().bytes,
            inbox: self.inbox.len(),
            seen: self.entries.len() + self.seen.len(),
            oldest_ms,
            counters: self.counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            ..StoreStats::default()
        }
    }

    fn queue_info(&self, name: u32) -> QueueInfo {
        let queue = self.queues.get(name);
        let used = queue.map_or_else(Room::default, RecipientQueue::used);
        let slots = queue.into_iter().flat_map(|queue| queue.behind(Turn::START));
        QueueInfo {
            recipient: PeerId(self.names.key(name)),
            messages: used.messages as usize,
            bytes: used.bytes,
            oldest_ms: slots.filter_map(|slot| Some(self.entries.get(slot)?.received_ms)).min().unwrap_or(0),
        }
    }
}
