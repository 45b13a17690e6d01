//! Looking at what stands on the shelf. What is not durable yet is shown to nobody.

use std::cmp::Reverse;
use std::ops::Bound;

use qpq_schemas::{MessageId, PeerId, TopicId};

use super::files::Cold;
use super::queues::{RecipientQueue, Turn};
use super::{Head, Ledger, Places, SeenEntry, SeenState, Shelf, Waiting};

/// The place of the first id that is only remembered, in a search.
const REMEMBERED: u64 = 1 << 62;

impl Shelf {
    /// What became of an id, if it is known: held (also before it is durable), delivered or passed on.
    pub fn seen(&self, id: &MessageId) -> Option<SeenState> {
        // An id that is held may be remembered from an earlier time, too.
        self.cold_unless_warm(id).map(|_| SeenState::Held).or_else(|| self.warm_or_seen(id))
    }

    /// The same, of what is known in memory.
    pub(super) fn warm_or_seen(&self, id: &MessageId) -> Option<SeenState> {
        match self.slot(id) {
            Some(_) => Some(SeenState::Held),
            None => self.seen.get(id).map(|entry| entry.state),
        }
    }

    fn cold_unless_warm(&self, id: &MessageId) -> Option<Head> {
        if self.filing.is_none() || self.slot(id).is_some() { None } else { self.cold(id).map(|filed| filed.head) }
    }

    /// All that is remembered of an id, as it is written to disk.
    pub fn seen_entry(&self, id: &MessageId) -> Option<SeenEntry> {
        self.get(id).map(|head| head.seen(SeenState::Held)).or_else(|| self.seen.get(id))
    }

    /// A message on the shelf, also one that is not durable yet.
    pub fn get(&self, id: &MessageId) -> Option<Head> {
        match self.slot(id) {
            Some(slot) => Some(self.entries.get(slot)?.head(&self.names)),
            None => self.cold_unless_warm(id),
        }
    }

    /// A message that waits for its recipient or the next hop.
    pub fn waiting(&self, id: &MessageId) -> Option<Head> {
        match self.slot(id) {
            Some(slot) => self.shown(slot).filter(|head| head.places.has(Places::WAITING)),
            None => self.cold_unless_warm(id),
        }
    }

    /// A broadcast that is kept for late joiners.
    pub fn broadcast(&self, id: &MessageId) -> Option<Head> {
        self.shown(self.slot(id)?).filter(|head| head.places.has(Places::HISTORY))
    }

    /// What waits for a recipient: the most urgent class first, in it one message of each sender in turn, each sender's in
    /// order of arrival.
    pub fn queue(&self, recipient: &PeerId) -> impl Iterator<Item = Waiting> + '_ {
        let queue = self.queue_of(recipient);
        let mut warm = queue.into_iter().flat_map(RecipientQueue::turns).peekable();
        let mut cold = Cold::of(self, queue, recipient.0).peekable();
        std::iter::from_fn(move || {
            loop {
                let next_cold = cold.peek().map(|filed| Turn::new(filed.rank, filed.head.seq));
                let Some((turn, slot)) = warm.next_if(|(turn, _)| next_cold.is_none_or(|cold| *turn <= cold)) else {
                    return cold.next().as_ref().map(Waiting::from);
                };
                _ = cold.next_if(|_| next_cold == Some(turn)); // it is in both
                let waiting = self.waiting_at(slot);
                if waiting.is_some() {
                    return waiting;
                }
            }
        })
    }

    /// Everyone for whom something waits (or is about to), in no particular order.
    pub fn recipients(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.queues.iter().map(|(name, _)| PeerId(self.names.key(name)))
    }

    /// Whether something waits for a recipient (or is about to).
    pub fn has_waiting(&self, recipient: &PeerId) -> bool {
        self.queue_of(recipient).is_some()
    }

    /// The topics whose broadcasts are kept, in no particular order.
    pub fn topics(&self) -> impl Iterator<Item = TopicId> + '_ {
        self.history.topics().map(|name| TopicId(self.names.key(name)))
    }

    /// The broadcasts kept of a topic, newest first by their senders' clocks.
    pub fn history(&self, topic: &TopicId) -> impl Iterator<Item = Head> + '_ {
        let slots = self.names.find(&topic.0).map(|name| self.history.newest_first(name));
        slots.into_iter().flatten().filter_map(|slot| self.shown(slot))
    }

    /// The broadcasts kept of a topic that arrived behind a place, in order of arrival. Ends before the first one that is
    /// not durable yet, so that a reader's place never passes one that shows up later.
    pub fn history_after(&self, topic: &TopicId, seq: u64) -> impl Iterator<Item = Head> + '_ {
        let slots = self.names.find(&topic.0).map(|name| self.history.arrived_after(name, seq));
        slots.into_iter().flatten().map_while(|slot| self.shown(slot))
    }

    /// The broadcasts that may be given to others, in the order in which two nodes compare them.
    pub fn ledger(&self) -> &Ledger {
        self.history.ledger()
    }

    /// How many messages wait for a recipient (or are about to), and their bytes.
    pub fn waiting_for(&self, recipient: &PeerId) -> (u64, u64) {
        self.queue_of(recipient).map_or((0, 0), |queue| (queue.used().messages.into(), queue.used().bytes))
    }

    /// The newest broadcasts kept of all topics that have not ended, newest first by their senders' clocks.
    pub fn newest_broadcasts(&self, now_ms: u64, max: usize) -> Vec<MessageId> {
        let kept = self.history.first_to_go().filter_map(|slot| self.entries.get(slot));
        let kept = kept.filter(|entry| !entry.pending && entry.expires_ms > now_ms);
        let mut kept: Vec<(Reverse<u64>, MessageId)> =
            kept.map(|entry| (Reverse(entry.created_ms), entry.id)).collect();
        if max < kept.len() {
            kept.select_nth_unstable(max);
            kept.truncate(max);
        }
        kept.sort_unstable();
        kept.into_iter().map(|(_, id)| id).collect()
    }

    /// The inbox behind `after`, oldest first. Ends before the first message that is not durable yet, so that a reader's
    /// place never passes one that shows up later.
    pub fn inbox(&self, after: u64) -> impl Iterator<Item = Head> + '_ {
        let behind = self.inbox.range((Bound::Excluded(after), Bound::Unbounded));
        behind.map_while(|(_, slot)| self.shown(*slot))
    }

    /// The inbox, newest first.
    pub fn inbox_newest(&self) -> impl Iterator<Item = Head> + '_ {
        self.inbox.values().rev().filter_map(|slot| self.shown(*slot))
    }

    /// Whether the inbox was read up to that place.
    pub fn is_read(&self, seq: u64) -> bool {
        seq <= self.inbox_read
    }

    /// The ids that are wanted, of up to `looks` messages from a place on; and the place to go on from, unless that was all.
    /// Begin with place 0. What comes meanwhile may be missed.
    pub fn search(&self, wanted: impl Fn(&MessageId) -> bool, place: u64, looks: u32) -> (Vec<MessageId>, Option<u64>) {
        // Those that are held stand before the rest.
        let Some(slot) = place.checked_sub(REMEMBERED).and_then(|slot| u32::try_from(slot).ok()) else {
            let (heads, next) = self.walk(place, looks);
            let found = heads.into_iter().map(|head| head.id).filter(|id| wanted(id)).collect();
            return (found, Some(next.unwrap_or(REMEMBERED)));
        };
        let (ids, next) = self.seen.ids_from(slot, looks);
        (ids.copied().filter(|id| wanted(id)).collect(), next.map(|slot| REMEMBERED + u64::from(slot)))
    }

    /// How many messages are held, also those that are not durable yet.
    pub fn held(&self) -> usize {
        self.used.messages as usize
    }

    /// The durable messages that are held, of up to `looks` from a place on; and the place to go on from, unless that was all.
    /// Begin with place 0. What comes meanwhile may be missed.
    pub fn walk(&self, place: u64, looks: u32) -> (Vec<Head>, Option<u64>) {
        if let Some(filing) = &self.filing {
            return self.walk_records(filing, place, looks);
        }
        let slot = u32::try_from(place).unwrap_or(u32::MAX);
        let end = slot.saturating_add(looks).min(self.entries.slots());
        let heads = (slot..end).filter_map(|slot| self.shown(slot)).collect();
        (heads, (end < self.entries.slots()).then_some(u64::from(end)))
    }

    fn queue_of(&self, recipient: &PeerId) -> Option<&RecipientQueue> {
        self.queues.get(self.names.find(&recipient.0)?)
    }

    fn shown(&self, slot: u32) -> Option<Head> {
        self.entries.get(slot).filter(|entry| !entry.pending).map(|entry| entry.head(&self.names))
    }

    fn waiting_at(&self, slot: u32) -> Option<Waiting> {
        let entry = self.entries.get(slot).filter(|entry| !entry.pending)?;
        Some(Waiting {
            seq: entry.seq,
            id: entry.id,
            source: entry.source(&self.names),
            received_ms: entry.received_ms,
            expires_ms: entry.expires_ms,
            wire_len: entry.len,
        })
    }
}
