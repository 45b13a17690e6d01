//! Figures for people.

use std::cmp::Reverse;

use qpq_schemas::PeerId;

use super::Shelf;
use super::files::Filing;
use super::limits::Room;
use super::queues::RecipientQueue;
use crate::api::{QueueInfo, SenderUse, StoreQuotas, StoreStats};
use crate::store::Quota;

/// Queues shown among the longest.
const LONGEST: usize = 10;

fn by_name((quota, count): (&Quota, &u64)) -> (String, u64) {
    (quota.name().to_owned(), *count)
}

impl Shelf {
    /// What stands on the shelf. The engine's fields are left at their defaults. Walks over all queues: not for hot paths.
    pub fn stats(&self) -> StoreStats {
        let mut longest: Vec<QueueInfo> = self.queues.iter().map(|(name, _)| self.queue_info(name)).collect();
        let oldest_ms = longest.iter().map(|queue| queue.oldest_ms).min();
        longest.sort_by_key(|queue| queue.oldest_ms);
        let oldest = longest.iter().take(LONGEST).cloned().collect();
        let waiting = self.queues.iter().fold(Room::default(), |sum, (_, queue)| sum.plus(queue.used()));
        longest.sort_by_key(|queue| Reverse((queue.messages, queue.bytes)));
        longest.truncate(LONGEST);
        let unread = self.filing.as_ref().map(Filing::unread).filter(|count| *count > 0);
        let unread = unread.map(|count| ("index-unread".to_owned(), count));
        StoreStats {
            waiting: waiting.messages as usize,
            waiting_bytes: waiting.bytes,
            recipients: self.queues.len(),
            longest,
            broadcasts: self.history.used().messages as usize,
            broadcast_bytes: self.history.used().bytes,
            inbox: self.inbox.len(),
            seen: self.held() + self.seen.len(),
            oldest_ms,
            oldest,
            senders: self.senders(),
            evicted: self.evicted_by.iter().map(by_name).collect(),
            refused: self.refused_by.iter().map(by_name).collect(),
            total: self.held(),
            total_bytes: self.used.bytes,
            inbox_bytes: self.inbox_used.bytes,
            replicas: self.replicas.len(),
            quotas: self.quotas(),
            counters: self.counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).chain(unread).collect(),
            ..StoreStats::default()
        }
    }

    /// The senders of whom most waits.
    fn senders(&self) -> Vec<SenderUse> {
        let waiting = self.names.waiting().map(|(key, used)| SenderUse {
            sender: PeerId(key),
            nickname: None,
            messages: used.messages.into(),
            bytes: used.bytes,
        });
        let mut senders: Vec<SenderUse> = waiting.collect();
        senders.sort_by_key(|sender| Reverse((sender.messages, sender.bytes)));
        senders.truncate(LONGEST);
        senders
    }

    /// The bounds. Those of links are the core's, and left at 0.
    fn quotas(&self) -> StoreQuotas {
        let limits = &self.limits;
        StoreQuotas {
            recipient_messages: limits.recipient_messages.into(),
            recipient_bytes: limits.recipient_bytes,
            sender_share_percent: limits.sender_share_percent.into(),
            sender_messages: limits.sender_messages.into(),
            sender_bytes: limits.sender_bytes,
            topic_messages: limits.topic_messages.into(),
            topic_bytes: limits.topic_bytes,
            inbox_messages: limits.inbox_messages.into(),
            inbox_bytes: limits.inbox_bytes,
            total_messages: limits.total_messages.into(),
            total_bytes: limits.total_bytes,
            ..StoreQuotas::default()
        }
    }

    fn queue_info(&self, name: u32) -> QueueInfo {
        let queue = self.queues.get(name);
        let used = queue.map_or_else(Room::default, RecipientQueue::used);
        QueueInfo {
            recipient: PeerId(self.names.key(name)),
            nickname: None,
            messages: used.messages as usize,
            bytes: used.bytes,
            oldest_ms: self.oldest_of(name),
        }
    }
}
