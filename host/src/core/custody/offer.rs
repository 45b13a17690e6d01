//! Offering: what waits goes into the windows of the links that lead to it.

use qpq_schemas::envelope::Priority;
use qpq_schemas::{MessageId, PeerId};

use super::super::intake::REACCEPT_AFTER_MS;
use super::super::links::InFlight;
use super::super::shelf::Waiting;
use super::super::{Core, Effect, LinkId, Offered};
use super::{MAX_COPIED, MAX_DECLINED};
use crate::store::Head;

/// Their bytes. They lie in memory until the neighbour reads them, so one that never reads must not get more.
const MAX_WINDOW_BYTES: usize = 1 << 20;

impl Core {
    /// Sends a fresh direct envelope towards its recipient, at once where the link has room and nothing waits before it.
    pub(in crate::core) fn dispatch(&mut self, head: &Head, now_ms: u64) {
        let recipient = PeerId(head.destination);
        let (links, known) = self.ways(recipient, now_ms);
        self.look_for(recipient, known, now_ms);
        for link in links {
            let Some(state) = self.links.get(&link) else { continue };
            if state.draining.contains(&recipient) || self.room(link) == 0 {
                self.drain(link, recipient);
            } else if self.may_offer(link, &head.id, head.source, known, now_ms) {
                self.take_off(link, InFlight::new(now_ms, Some(recipient), known), head.seq, head.id);
            }
        }
    }

    /// Lets a recipient's whole queue flow over a link.
    pub(super) fn drain(&mut self, link: LinkId, recipient: PeerId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        self.unpumped.insert(link);
        if state.draining.insert(recipient) {
            state.drains.push_back(recipient);
        }
    }

    /// Lets everything flow that this step put into a queue, and sends what was offered. Once a step, so that offers
    /// leave in batches.
    pub(in crate::core) fn pump_all(&mut self, now_ms: u64) {
        for link in std::mem::take(&mut self.unpumped) {
            self.pump(link, now_ms);
        }
        for (link, state) in &mut self.links {
            if !state.offers.is_empty() {
                let items = std::mem::take(&mut state.offers);
                self.effects.push(Effect::Offer { link: *link, items });
            }
        }
    }

    /// Fills a link's window with what waits for it: broadcasts first, then one recipient's queue after the other, at last
    /// the broadcasts that are no hurry.
    fn pump(&mut self, link: LinkId, now_ms: u64) {
        self.pump_casts(link, Priority::Normal, now_ms);
        while self.room(link) > 0 {
            let Some(recipient) = self.links.get_mut(&link).and_then(|state| state.drains.pop_front()) else { break };
            let more = self.pump_queue(link, recipient, now_ms);
            let Some(state) = self.links.get_mut(&link) else { break };
            if more {
                state.drains.push_back(recipient);
            } else {
                state.draining.remove(&recipient);
            }
        }
        self.pump_casts(link, Priority::Low, now_ms);
    }

    pub(in crate::core) fn room(&self, link: LinkId) -> usize {
        match self.links.get(&link) {
            Some(state) if state.in_flight_bytes < MAX_WINDOW_BYTES => {
                self.config.window.saturating_sub(state.in_flight.len())
            }
            _ => 0,
        }
    }

    /// Offers the broadcasts of that priority and of higher ones.
    fn pump_casts(&mut self, link: LinkId, least: Priority, now_ms: u64) {
        while self.room(link) > 0 {
            let Some(state) = self.links.get_mut(&link) else { return };
            let Some(id) = state.casts.pop(least) else { break };
            if let Some(head) = self.history(&id).filter(|_| !self.is_in_flight(link, &id)) {
                self.take_off(link, InFlight::new(now_ms, None, false), head.seq, id);
            }
        }
        let Some(state) = self.links.get_mut(&link) else { return };
        if state.casts.is_empty() && std::mem::take(&mut state.casts.lost) {
            self.announce_history(link, now_ms);
        }
    }

    /// Offers from one recipient's queue; whether something is left that had no room.
    fn pump_queue(&mut self, link: LinkId, recipient: PeerId, now_ms: u64) -> bool {
        let (links, known) = self.ways(recipient, now_ms);
        if !links.contains(&link) || self.is_paused(link, &recipient, now_ms) {
            return false;
        }
        let room = self.room(link);
        // It came from there; later on there may be a way from there again.
        let since = |at_ms: u64| now_ms.checked_sub(at_ms); // none: the clock was set back since then
        let lately = |waiting: &Waiting| {
            waiting.source.filter(|_| since(waiting.received_ms).is_some_and(|ms| ms < REACCEPT_AFTER_MS))
        };
        let queue = self.shelf.queue(&recipient);
        let queue = queue.filter(|waiting| self.may_offer(link, &waiting.id, lately(waiting), known, now_ms));
        let next: Vec<(u64, MessageId)> = queue.take(room + 1).map(|waiting| (waiting.seq, waiting.id)).collect();
        let mut taken = 0;
        for (seq, id) in &next {
            if self.room(link) == 0 {
                break;
            }
            self.take_off(link, InFlight::new(now_ms, Some(recipient), known), *seq, *id);
            taken += 1;
        }
        next.len() > taken
    }

    /// Whether a neighbour has declined so many envelopes that not each refusal is remembered: then all of a recipient's wait until
    /// the first of them that were declined may be offered again. Those of others don't.
    fn is_paused(&self, link: LinkId, recipient: &PeerId, now_ms: u64) -> bool {
        let neighbour = self.links.get(&link).and_then(|state| self.neighbours.get(&state.peer));
        neighbour
            .filter(|neighbour| neighbour.declined.len() >= MAX_DECLINED)
            .is_some_and(|neighbour| neighbour.retry.get(recipient).is_some_and(|retry_ms| *retry_ms > now_ms))
    }

    /// Whether to offer an envelope over a link now. `from` is the neighbour that brought it, as long as it must not go back.
    fn may_offer(&self, link: LinkId, id: &MessageId, from: Option<PeerId>, known: bool, now_ms: u64) -> bool {
        let Some(state) = self.links.get(&link) else { return false };
        let Some(neighbour) = self.neighbours.get(&state.peer) else { return false };
        let declined = neighbour.declined.get(id).is_some_and(|declined| declined.until_ms > now_ms);
        let busy = match known {
            true => self.flying.contains_key(id),
            false => {
                let copied = match neighbour.copied.get(id) {
                    Some(until_ms) => *until_ms > now_ms,
                    None => neighbour.copied.len() >= MAX_COPIED, // it has many, and gets more when some have gone on
                };
                copied || state.in_flight.contains_key(id)
            }
        };
        from != Some(state.peer) && !declined && !busy && self.may_leave(link, id)
    }

    fn take_off(&mut self, link: LinkId, mut flight: InFlight, seq: u64, id: MessageId) {
        flight.bytes = self.shelf.get(&id).map_or(0, |head| head.wire_len as usize);
        let Some(state) = self.links.get_mut(&link) else { return };
        state.in_flight_bytes += flight.bytes;
        match state.in_flight.insert(id, flight) {
            None => *self.flying.entry(id).or_default() += 1,
            Some(before) => state.in_flight_bytes -= before.bytes,
        }
        state.offers.push(Offered { seq, id, wire: self.recent.get(seq) });
    }

    pub(super) fn is_in_flight(&self, link: LinkId, id: &MessageId) -> bool {
        self.links.get(&link).is_some_and(|state| state.in_flight.contains_key(id))
    }
}
