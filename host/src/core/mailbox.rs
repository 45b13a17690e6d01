//! Mailboxes: mail of people who have no node of their own waits here until they fetch it.
//!
//! A direct envelope for such a key has arrived when it is on this disk. It stays in the recipient's queue, is offered to
//! nobody but the recipient itself, and leaves when the recipient has it, or at its expiry. The quotas of a recipient hold.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use qpq_schemas::record::NodeRecord;
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::shelf::Waiting;
use super::{Core, Effect, LinkId};
use crate::store::{Batch, End, Fate, Head, Places, SeenState};

/// What a mailbox's holder wants to see.
#[derive(Debug, Clone)]
pub struct MailQuery {
    /// Whose mailbox it is.
    pub peer: PeerId,
    /// Topics whose broadcasts belong to it.
    pub topics: Vec<TopicId>,
    /// Broadcasts must have a larger sequence number.
    pub after: u64,
    /// Messages at most.
    pub limit: usize,
    /// Bytes of envelopes at most, beyond the first message.
    pub max_bytes: usize,
}

/// Where a message of a mailbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailPlace {
    /// Its place in the store.
    pub seq: u64,
    /// Its id.
    pub id: MessageId,
    /// Whether it came by a topic: such a message stays here.
    pub broadcast: bool,
    wire_len: usize,
}

impl MailPlace {
    fn of_waiting(waiting: &Waiting) -> Self {
        Self { seq: waiting.seq, id: waiting.id, broadcast: false, wire_len: waiting.wire_len as usize }
    }
}

impl Core {
    /// Mail for this key stays here from now on, or no longer does.
    pub(super) fn set_mailbox(&mut self, peer: PeerId, kept: bool) {
        let changed = match kept {
            true => peer != self.config.me && self.mailboxes.insert(peer),
            false => self.mailboxes.remove(&peer),
        };
        if changed {
            self.learned_of(peer);
            self.reroute_all();
        }
    }

    /// The links that mail for a mailbox may leave by: one to its holder, should that be a neighbour. `None` for keys
    /// without a mailbox, whose mail the router sends on.
    pub(super) fn ways_from_mailbox(&self, recipient: &PeerId) -> Option<Vec<LinkId>> {
        self.mailboxes.contains(recipient).then(|| self.preferred(recipient).into_iter().collect())
    }

    /// A message became durable that somebody with a mailbox here may wait for.
    pub(super) fn tell_mailbox(&mut self, head: &Head) {
        let waits = match head.places.has(Places::WAITING) {
            true => self.mailboxes.contains(&PeerId(head.destination)),
            false => head.places.has(Places::HISTORY) && !self.mailboxes.is_empty(),
        };
        if waits {
            self.effects.push(Effect::MailCame { destination: head.destination });
        }
    }

    /// The holder has these messages on its disk: our copies of direct ones may go.
    pub(super) fn collected(&mut self, peer: PeerId, ids: &[MessageId], now_ms: u64) {
        let mut batch = Batch::default();
        for id in ids {
            if self.shelf.waiting(id).is_some_and(|head| head.destination == peer.0) {
                let fate = Fate::new(End::Collected, now_ms).by(&peer.0);
                self.hand_over(id, SeenState::Delivered, fate, &mut batch);
                self.count("collected");
            }
        }
        self.persist(batch);
    }

    /// The next messages of a mailbox: direct ones first, in the order of the queue, then broadcasts, in order of arrival.
    /// Takes time for what it returns and for the number of topics, not for all that is held.
    pub fn mail(&self, query: &MailQuery) -> Vec<MailPlace> {
        // A place beyond all that were ever given out is of another store: then all is new.
        let after = if query.after < self.next_seq { query.after } else { 0 };
        let direct = self.shelf.queue(&query.peer).map(|waiting| MailPlace::of_waiting(&waiting));
        let mut mail: Vec<MailPlace> = direct.take(query.limit).collect();
        let room = query.limit.saturating_sub(mail.len());
        mail.extend(self.casts_after(&query.topics, after, room));
        let mut bytes = 0;
        let fits = mail.iter().take_while(|place| {
            bytes += place.wire_len;
            bytes <= query.max_bytes
        });
        let fitting = fits.count().max(1);
        mail.truncate(fitting);
        mail
    }

    /// Up to `max` broadcasts of several topics, in order of arrival.
    fn casts_after(&self, topics: &[TopicId], after: u64, max: usize) -> Vec<MailPlace> {
        let mut topics: Vec<_> = topics.iter().map(|topic| self.shelf.history_after(topic, after)).collect();
        let mut next = BinaryHeap::new();
        for (place, topic) in topics.iter_mut().enumerate() {
            next.extend(topic.next().map(|head| Reverse((head.seq, place, head.id, head.wire_len))));
        }
        let mut casts = Vec::new();
        while casts.len() < max {
            let Some(Reverse((seq, place, id, wire_len))) = next.pop() else { break };
            casts.push(MailPlace { seq, id, broadcast: true, wire_len: wire_len as usize });
            let more = topics.get_mut(place).and_then(Iterator::next);
            next.extend(more.map(|head| Reverse((head.seq, place, head.id, head.wire_len))));
        }
        casts
    }

    /// How many messages and bytes may wait for one recipient.
    pub fn recipient_quota(&self) -> (u64, u64) {
        (self.config.limits.recipient_messages.into(), self.config.limits.recipient_bytes)
    }

    /// Takes in the record of somebody with a mailbox here, whose signature and times were checked, and has it spread. Says
    /// what is to be done.
    pub fn client_record(&mut self, record: NodeRecord, wire: &[u8]) -> Vec<Effect> {
        if !self.blocked.contains(&record.peer) && record.peer != self.config.me {
            self.learn(None, record, wire);
        }
        std::mem::take(&mut self.effects)
    }
}
