//! Taking in: all refusals are decided before anything is evicted.

use qpq_schemas::MessageId;
use qpq_schemas::envelope::Kind;

use super::entry::Entry;
use super::limits::{PAST_MS, Room};
use super::names::{NameId, Tally};
use super::queues::RecipientQueue;
use super::{Gone, Reject, RejectCode, Shelf};
use crate::store::{End, Fate, Head, Places, Quota, SeenState};

impl Shelf {
    /// Takes a message in, or says why not. One that was passed on is taken again: whether that is wise is the caller's say.
    ///  It stays hidden until [`Shelf::confirm`]; if it can't be stored, call
    /// [`Shelf::discard`]. Returns what had to make room for it: to be removed from disk.
    ///
    /// The caller has checked the envelope and its signature, and gives it the next sequence number.
    ///
    /// # Errors
    /// [`Reject`], with nothing changed but a counter.
    pub fn admit(&mut self, head: &Head, now_ms: u64) -> Result<Vec<Gone>, Reject> {
        let ahead = self.read_ahead(head, now_ms);
        match ahead.and_then(|()| self.victims(head, now_ms)) {
            Err(reject) => {
                self.forget_ahead(head);
                self.count(reject.name());
                reject.quota.into_iter().for_each(|quota| self.count_refused(quota));
                Err(reject)
            }
            Ok(victims) => {
                let gone = self.make_way(&victims, now_ms);
                if !gone.is_empty() {
                    // What went may have been what the queue's end was known by. If that can't be read this once, the message stands
                    // a few rounds further in front.
                    _ = self.look_up_lane(head);
                }
                self.put(head, true);
                self.count("accepted");
                Ok(gone)
            }
        }
    }

    /// What has to leave, or why the message can't be taken.
    fn victims(&self, head: &Head, now_ms: u64) -> Result<Victims, Reject> {
        self.fresh(&head.id)?;
        if head.expires_ms <= now_ms {
            return Err(RejectCode::Expired.into());
        }
        let mut victims = Victims::default();
        if head.places.has(Places::WAITING) {
            self.fits_queue(head)?;
        }
        if head.places.has(Places::INBOX) {
            self.inbox_victims(head, &mut victims)?;
        }
        if head.places.has(Places::HISTORY) {
            self.topic_victims(head, now_ms, &mut victims)?;
        }
        self.total_victims(head, now_ms, &mut victims)?;
        Ok(victims)
    }

    fn fresh(&self, id: &MessageId) -> Result<(), Reject> {
        match self.warm_or_seen(id) {
            None | Some(SeenState::PassedOn { .. }) => Ok(()),
            Some(state) => Err(RejectCode::Known(state).into()),
        }
    }

    fn fits_queue(&self, head: &Head) -> Result<(), Reject> {
        let quota = self.limits.recipient();
        let queue = self.names.find(&head.destination).and_then(|name| self.queues.get(name));
        if !queue.map_or_else(Room::default, RecipientQueue::used).fits(quota, head.wire_len) {
            return Err(Reject::full(RejectCode::RecipientFull, Quota::Recipient));
        }
        if self.favoured.contains(&head.sender) {
            return Ok(());
        }
        let Some(sender) = self.names.find(&head.sender.0) else { return Ok(()) };
        let here = queue.map_or_else(Room::default, |queue| queue.used_by(sender));
        let in_all = self.names.tally(sender, Tally::Waiting);
        if !here.fits(self.limits.share(quota), head.wire_len) {
            return Err(Reject::full(RejectCode::SenderFull, Quota::SenderShare));
        }
        if !in_all.fits(self.limits.sender(), head.wire_len) {
            return Err(Reject::full(RejectCode::SenderFull, Quota::Sender));
        }
        Ok(())
    }

    /// In the inbox broadcasts make room, oldest first, then direct messages that were read. Others don't.
    fn inbox_victims(&self, head: &Head, victims: &mut Victims) -> Result<(), Reject> {
        let quota = self.limits.inbox();
        if head.kind != Kind::Broadcast
            && !self.favoured.contains(&head.sender)
            && let Some(sender) = self.names.find(&head.sender.0)
        {
            let mut used = self.names.tally(sender, Tally::Inbox);
            let mut own =
                self.read_messages().filter(|slot| self.entries.get(*slot).is_some_and(|e| e.sender == sender));
            while !used.fits(self.limits.share(quota), head.wire_len) {
                let slot = own.next().ok_or(Reject::full(RejectCode::SenderFull, Quota::InboxShare))?;
                used.sub(self.len_of(slot));
                victims.inbox.push((slot, Quota::InboxShare));
            }
        }
        let mut used = self.inbox_used;
        victims.inbox.iter().for_each(|(slot, _)| used.sub(self.len_of(*slot)));
        let broadcasts = self.inbox_broadcasts.iter().filter_map(|seq| self.inbox.get(seq).copied());
        let mut oldest = broadcasts.chain(self.read_messages());
        while !used.fits(quota, head.wire_len) {
            let slot = oldest.next().ok_or(Reject::full(RejectCode::RecipientFull, Quota::Inbox))?;
            if !victims.inbox.iter().any(|(other, _)| *other == slot) {
                used.sub(self.len_of(slot));
                victims.inbox.push((slot, Quota::Inbox));
            }
        }
        Ok(())
    }

    /// The direct messages of the inbox that were read, oldest first.
    fn read_messages(&self) -> impl Iterator<Item = u32> + '_ {
        let read = self.inbox.range(..=self.inbox_read);
        read.filter(|(seq, _)| !self.inbox_broadcasts.contains(seq)).map(|(_, slot)| *slot)
    }

    /// In a full topic a sender beyond its share makes room for itself; else the lowest priority and oldest goes.
    fn topic_victims(&self, head: &Head, now_ms: u64, victims: &mut Victims) -> Result<(), Reject> {
        let quota = self.limits.topic();
        if u64::from(head.wire_len) > quota.bytes {
            return Err(Reject::full(RejectCode::RelayFull, Quota::Topic));
        }
        let Some(topic) = self.names.find(&head.destination) else { return Ok(()) };
        let mut used = self.history.used_by(topic);
        if used.fits(quota, head.wire_len) {
            return Ok(());
        }
        let sender = self.names.find(&head.sender.0);
        let own =
            sender.filter(|sender| !self.used_in_topic(topic, *sender).fits(self.limits.share(quota), head.wire_len));
        let is_own = |slot: &u32| self.entries.get(*slot).is_some_and(|entry| Some(entry.sender) == own);
        let first = self.history.first_to_go_of(topic).filter(|slot| own.is_some() && is_own(slot));
        let then = self.history.first_to_go_of(topic).filter(|slot| own.is_none() || !is_own(slot));
        for slot in first.chain(then) {
            if self.is_outranked(head, slot, now_ms) {
                return Err(Reject::full(RejectCode::Outranked, Quota::Topic));
            }
            if used.fits(quota, head.wire_len) {
                break;
            }
            used.sub(self.len_of(slot));
            victims.history.push((slot, if own.is_some() && is_own(&slot) { Quota::TopicShare } else { Quota::Topic }));
        }
        if used.fits(quota, head.wire_len) { Ok(()) } else { Err(Reject::full(RejectCode::RelayFull, Quota::Topic)) }
    }

    /// Whether a message from the past would push out a newer one. A late joiner gets much of that kind.
    fn is_outranked(&self, head: &Head, slot: u32, now_ms: u64) -> bool {
        let newer = |other: &Entry| other.priority == head.priority && other.created_ms > head.created_ms;
        head.created_ms.saturating_add(PAST_MS) < now_ms && self.entries.get(slot).is_some_and(newer)
    }

    fn used_in_topic(&self, topic: NameId, sender: NameId) -> Room {
        let mut used = Room::default();
        for entry in self.history.first_to_go_of(topic).filter_map(|slot| self.entries.get(slot)) {
            if entry.sender == sender {
                used.add(entry.len);
            }
        }
        used
    }

    /// When the node as a whole is full: what has expired, then broadcasts that are kept for late joiners only, then what a
    /// neighbour holds as well.
    fn total_victims(&self, head: &Head, now_ms: u64, victims: &mut Victims) -> Result<(), Reject> {
        let quota = self.limits.total();
        let mut used = self.used;
        for (slot, _) in victims.history.iter().filter(|(slot, _)| self.is_history_only(*slot)) {
            used.sub(self.len_of(*slot));
        }
        if used.fits(quota, head.wire_len) {
            return Ok(());
        }
        let full = Fate::new(End::Evicted(Quota::Total), now_ms);
        let expired = self.expired(now_ms).map(|slot| (slot, Fate::new(End::Expired, now_ms)));
        let kept = self.history.first_to_go().filter(|slot| self.is_history_only(*slot)).map(|slot| (slot, full));
        let copies = self.replicas.first_to_go().filter(|(slot, _)| self.is_waiting_only(*slot));
        let copies = copies.map(|(slot, by)| (slot, Fate { by, ..full }));
        for (slot, fate) in expired.chain(kept).chain(copies) {
            if victims.history.iter().any(|(other, _)| *other == slot) || victims.has_whole(slot) {
                continue;
            }
            used.sub(self.len_of(slot));
            victims.whole.push((slot, fate));
            if used.fits(quota, head.wire_len) {
                return Ok(());
            }
        }
        Err(Reject::full(RejectCode::RelayFull, Quota::Total))
    }

    fn is_waiting_only(&self, slot: u32) -> bool {
        self.entries.get(slot).is_some_and(|entry| entry.places == Places::WAITING)
    }

    fn is_history_only(&self, slot: u32) -> bool {
        self.entries.get(slot).is_some_and(|entry| entry.places == Places::HISTORY)
    }

    fn len_of(&self, slot: u32) -> u32 {
        self.entries.get(slot).map_or(0, |entry| entry.len)
    }

    fn make_way(&mut self, victims: &Victims, now_ms: u64) -> Vec<Gone> {
        let mut gone = Vec::new();
        for (slots, places) in [(&victims.inbox, Places::INBOX), (&victims.history, Places::HISTORY)] {
            for (slot, quota) in slots {
                let end = End::Evicted(*quota);
                self.count_end(end);
                // A direct message in the inbox was for us, and had arrived.
                let read = self.entries.get(*slot).is_some_and(|entry| entry.kind != Kind::Broadcast);
                let state = read.then_some(SeenState::Delivered);
                gone.extend(self.leave(*slot, places, state, Fate::new(end, now_ms)));
            }
        }
        for (slot, fate) in &victims.whole {
            gone.extend(self.drop_slot(*slot, *fate));
        }
        gone
    }
}

/// Slots that make room, by what they leave, and for which bound.
#[derive(Debug, Default)]
struct Victims {
    inbox: Vec<(u32, Quota)>,
    history: Vec<(u32, Quota)>,
    whole: Vec<(u32, Fate)>,
}

impl Victims {
    fn has_whole(&self, slot: u32) -> bool {
        self.whole.iter().any(|(other, _)| *other == slot)
    }
}
