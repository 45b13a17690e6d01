//! Taking in: all refusals are decided before anything is evicted.

use qpq_schemas::MessageId;
use qpq_schemas::envelope::Kind;

use super::entry::Entry;
use super::limits::{PAST_MS, Room};
use super::names::{NameId, Tally};
use super::queues::RecipientQueue;
use super::{Gone, Reject, RejectCode, Shelf, Why};
use crate::store::{Head, Places, SeenState};

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
        match self.victims(head, now_ms) {
            Err(code) => {
                let reject = Reject::from(code);
                self.count(reject.name());
                Err(reject)
            }
            Ok(victims) => {
                let gone = self.make_way(&victims, now_ms);
                self.put(head, true);
                self.count("accepted");
                Ok(gone)
            }
        }
    }

    /// Whether a message would be taken in, without taking it in.
    ///
    /// # Errors
    /// [`Reject`], as [`Shelf::admit`] would give it.
    pub fn would_admit(&self, head: &Head, now_ms: u64) -> Result<(), Reject> {
        self.victims(head, now_ms).map(drop).map_err(Reject::from)
    }

    /// What has to leave, or why the message can't be taken.
    fn victims(&self, head: &Head, now_ms: u64) -> Result<Victims, RejectCode> {
        self.fresh(&head.id)?;
        if head.expires_ms <= now_ms {
            return Err(RejectCode::Expired);
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

    fn fresh(&self, id: &MessageId) -> Result<(), RejectCode> {
        match self.seen(id) {
            None | Some(SeenState::PassedOn { .. }) => Ok(()),
            Some(state) => Err(RejectCode::Known(state)),
        }
    }

    fn fits_queue(&self, head: &Head) -> Result<(), RejectCode> {
        let quota = self.limits.recipient();
        let queue = self.names.find(&head.destination).and_then(|name| self.queues.get(name));
        if !queue.map_or_else(Room::default, RecipientQueue::used).fits(quota, head.wire_len) {
            return Err(RejectCode::RecipientFull);
        }
        if self.favoured.contains(&head.sender) {
            return Ok(());
        }
        let Some(sender) = self.names.find(&head.sender.0) else { return Ok(()) };
        let here = queue.map_or_else(Room::default, |queue| queue.used_by(sender));
        let in_all = self.names.tally(sender, Tally::Waiting);
        let fits =
            here.fits(self.limits.share(quota), head.wire_len) && in_all.fits(self.limits.sender(), head.wire_len);
        if fits { Ok(()) } else { Err(RejectCode::SenderFull) }
    }

    /// In the inbox broadcasts make room, oldest first, then direct messages that were read. Others don't.
    fn inbox_victims(&self, head: &Head, victims: &mut Victims) -> Result<(), RejectCode> {
        let quota = self.limits.inbox();
        if head.kind != Kind::Broadcast
            && !self.favoured.contains(&head.sender)
            && let Some(sender) = self.names.find(&head.sender.0)
        {
            let mut used = self.names.tally(sender, Tally::Inbox);
            let mut own =
                self.read_messages().filter(|slot| self.entries.get(*slot).is_some_and(|e| e.sender == sender));
            while !used.fits(self.limits.share(quota), head.wire_len) {
                let slot = own.next().ok_or(RejectCode::SenderFull)?;
                used.sub(self.len_of(slot));
                victims.inbox.push(slot);
            }
        }
        let mut used = self.inbox_used;
        victims.inbox.iter().for_each(|slot| used.sub(self.len_of(*slot)));
        let broadcasts = self.inbox_broadcasts.iter().filter_map(|seq| self.inbox.get(seq).copied());
        let mut oldest = broadcasts.chain(self.read_messages());
        while !used.fits(quota, head.wire_len) {
            let slot = oldest.next().ok_or(RejectCode::RecipientFull)?;
            if !victims.inbox.contains(&slot) {
                used.sub(self.len_of(slot));
                victims.inbox.push(slot);
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
    fn topic_victims(&self, head: &Head, now_ms: u64, victims: &mut Victims) -> Result<(), RejectCode> {
        let quota = self.limits.topic();
        if u64::from(head.wire_len) > quota.bytes {
            return Err(RejectCode::RelayFull);
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
                return Err(RejectCode::Outranked);
            }
            if used.fits(quota, head.wire_len) {
                break;
            }
            used.sub(self.len_of(slot));
            victims.history.push(slot);
        }
        if used.fits(quota, head.wire_len) { Ok(()) } else { Err(RejectCode::RelayFull) }
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

    /// When the node as a whole is full: what has expired, then broadcasts that are kept for late joiners only.
    fn total_victims(&self, head: &Head, now_ms: u64, victims: &mut Victims) -> Result<(), RejectCode> {
        let quota = self.limits.total();
        let mut used = self.used;
        for slot in victims.history.iter().filter(|slot| self.is_history_only(**slot)) {
            used.sub(self.len_of(*slot));
        }
        if used.fits(quota, head.wire_len) {
            return Ok(());
        }
        let expired = self.expired(now_ms).map(|slot| (slot, Why::Expired));
        let kept =
            self.history.first_to_go().filter(|slot| self.is_history_only(*slot)).map(|slot| (slot, Why::Evicted));
        for (slot, why) in expired.chain(kept) {
            if victims.history.contains(&slot) || victims.whole.iter().any(|(other, _)| *other == slot) {
                continue;
            }
            used.sub(self.len_of(slot));
            victims.whole.push((slot, why));
            if used.fits(quota, head.wire_len) {
                return Ok(());
            }
        }
        Err(RejectCode::RelayFull)
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
            for slot in slots {
                self.count("evicted");
                // A direct message in the inbox was for us, and had arrived.
                let read = self.entries.get(*slot).is_some_and(|entry| entry.kind != Kind::Broadcast);
                let state = read.then_some(SeenState::Delivered);
                gone.extend(self.leave(*slot, places, state, Why::Evicted, now_ms));
            }
        }
        for (slot, why) in &victims.whole {
            gone.extend(self.drop_slot(*slot, *why, now_ms));
        }
        gone
    }
}

/// Slots that make room, by what they leave.
#[derive(Debug, Default)]
struct Victims {
    inbox: Vec<u32>,
    history: Vec<u32>,
    whole: Vec<(u32, Why)>,
}
