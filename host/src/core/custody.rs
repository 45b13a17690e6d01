//! Offering what is held to the next hops, and giving copies up once they are durable elsewhere.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use qpq_schemas::envelope::Kind;
use qpq_schemas::link::{Answer, Verdict};
use qpq_schemas::{MessageId, PeerId};

use super::links::{Drain, InFlight};
use super::intake::REACCEPT_AFTER_MS;
use super::shelf::{Head, SeenState, Waiting};
use super::{Core, Effect, LinkId, Offered, RouteKind, RouteQuery};
use crate::store::Batch;

/// Envelopes on their way to one neighbour without its answer. At 256 B and 50 ms a round trip this is 80,000 a second.
pub const DEFAULT_WINDOW: usize = 4_096;

/// An answer that takes longer is taken for lost, and the envelope is offered again, in milliseconds.
const ANSWER_TIMEOUT_MS: u64 = 30_000;

/// When a queue is offered again after a refusal that named no time, in seconds.
const RETRY_SECS: u64 = 30;

/// Envelopes that one neighbour has declined, remembered at most.
const MAX_DECLINED: usize = 4_096;

/// Envelopes of which one neighbour holds a copy besides ours, remembered at most.
const MAX_COPIED: usize = 65_536;

/// Wire bytes of fresh envelopes kept in memory, so that sending them on costs no read.
const RECENT_BYTES: usize = 4 << 20;

/// Queue entries looked at for one link before another gets its turn.
const DRAIN_STEP: usize = 256;

/// The wire forms of the newest envelopes, up to [`RECENT_BYTES`].
#[derive(Default)]
pub(super) struct Recent {
    wires: HashMap<u64, Bytes>,
    order: VecDeque<u64>,
    bytes: usize,
}

impl Recent {
    pub(super) fn insert(&mut self, seq: u64, wire: &Bytes) {
        self.bytes += wire.len();
        self.wires.insert(seq, wire.clone());
        self.order.push_back(seq);
        while self.bytes > RECENT_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.remove(oldest);
        }
    }

    fn get(&self, seq: u64) -> Option<Bytes> {
        self.wires.get(&seq).cloned()
    }

    fn remove(&mut self, seq: u64) {
        if let Some(wire) = self.wires.remove(&seq) {
            self.bytes -= wire.len();
        }
    }
}

impl Core {
    /// Sends a fresh direct envelope towards its recipient.
    pub(super) fn dispatch(&mut self, head: &Head, now_ms: u64) {
        let mut links = Vec::new();
        self.router.route(now_ms, &RouteQuery { destination: head.destination, kind: head.kind, from: None }, &mut links);
        for link in links {
            self.drain(link, PeerId(head.destination), head.seq.saturating_sub(1));
        }
    }

    /// Lets a recipient's queue flow over a link, from behind a place on.
    fn drain(&mut self, link: LinkId, recipient: PeerId, after: u64) {
        let Some(state) = self.links.get_mut(&link) else { return };
        self.unpumped.insert(link);
        if state.draining.insert(recipient) {
            state.drains.push_back(Drain { recipient, after });
        } else if after == 0
            && let Some(drain) = state.drains.iter_mut().find(|drain| drain.recipient == recipient) {
            drain.after = 0;
        }
    }

    /// Lets everything flow that this step put into a queue. Once a step, so that offers leave in batches.
    pub(super) fn pump_all(&mut self, now_ms: u64) {
        for link in std::mem::take(&mut self.unpumped) {
            self.pump(link, now_ms);
        }
    }

    /// Fills a link's window with what waits for it.
    fn pump(&mut self, link: LinkId, now_ms: u64) {
        let mut items = Vec::new();
        while let Some(room) = self.room(link) {
            let step = self.next_casts(link, room, now_ms, &mut items) + self.next_drain(link, room, now_ms, &mut items);
            if step == 0 {
                break;
            }
        }
        if !items.is_empty() {
            self.effects.push(Effect::Offer { link, items });
        }
    }

    fn room(&self, link: LinkId) -> Option<usize> {
        let state = self.links.get(&link)?;
        let busy = !state.casts.is_empty() || !state.drains.is_empty();
        let room = self.config.window.saturating_sub(state.in_flight.len());
        (busy && room > 0).then_some(room)
    }

    /// Offers broadcasts; says how many entries it looked at.
    fn next_casts(&mut self, link: LinkId, room: usize, now_ms: u64, items: &mut Vec<Offered>) -> usize {
        let mut looked = 0;
        while looked < room.min(DRAIN_STEP) {
            let Some(state) = self.links.get_mut(&link) else { break };
            let Some((seq, id)) = state.casts.pop_front() else { break };
            looked += 1;
            if self.shelf.broadcast_seq(&id).is_some() {
                self.take_off(link, InFlight { since_ms: now_ms, recipient: None, known: false }, seq, id, items);
            }
        }
        let emptied = self.links.get_mut(&link).is_some_and(|state| state.casts.is_empty() && std::mem::take(&mut state.casts_lost));
        if emptied {
            self.announce_history(link, now_ms);
        }
        looked
    }

    /// Offers from one recipient's queue; says how many entries it looked at.
    fn next_drain(&mut self, link: LinkId, room: usize, now_ms: u64, items: &mut Vec<Offered>) -> usize {
        let Some(drain) = self.links.get_mut(&link).and_then(|state| state.drains.pop_front()) else { return 0 };
        let mut links = Vec::new();
        let query = RouteQuery { destination: drain.recipient.0, kind: Kind::Direct, from: None };
        let known = self.router.route(now_ms, &query, &mut links) == RouteKind::Known;
        let next = self.shelf.queue_after(&drain.recipient, drain.after, room.min(DRAIN_STEP));
        let Some(last) = next.last().map(|entry| entry.seq).filter(|_| links.contains(&link)) else {
            if let Some(state) = self.links.get_mut(&link) {
                state.draining.remove(&drain.recipient);
            }
            return 1;
        };
        for entry in &next {
            if self.may_offer(link, entry, known, now_ms) {
                let flight = InFlight { since_ms: now_ms, recipient: Some(drain.recipient), known };
                self.take_off(link, flight, entry.seq, entry.id, items);
            }
        }
        if let Some(state) = self.links.get_mut(&link) {
            state.drains.push_back(Drain { after: last, ..drain });
        }
        next.len()
    }

    fn may_offer(&mut self, link: LinkId, entry: &Waiting, known: bool, now_ms: u64) -> bool {
        let Some(state) = self.links.get_mut(&link) else { return false };
        if entry.source == Some(state.peer) {
            // Back to where it came from only when that is the way by now, and the loop had time to dissolve.
            if !known || now_ms < entry.received_ms + REACCEPT_AFTER_MS {
                return false;
            }
        }
        let declined = state.declined.get(&entry.id).is_some_and(|until| *until > now_ms);
        let busy = match known {
            true => self.flying.contains_key(&entry.id),
            false => state.in_flight.contains_key(&entry.id) || state.copied.contains(&entry.id),
        };
        !declined && !busy
    }

    fn take_off(&mut self, link: LinkId, flight: InFlight, seq: u64, id: MessageId, items: &mut Vec<Offered>) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if state.in_flight.insert(id, flight).is_none() {
            *self.flying.entry(id).or_default() += 1;
        }
        items.push(Offered { seq, id, wire: self.recent.get(seq) });
    }

    /// An envelope is under way on one link less.
    pub(super) fn landed(&mut self, id: &MessageId) {
        if let Some(count) = self.flying.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                self.flying.remove(id);
            }
        }
    }

    /// The neighbour says what became of the envelopes that it was offered.
    pub(super) fn answers(&mut self, link: LinkId, answers: Vec<Answer>, now_ms: u64) {
        let mut batch = Batch::default();
        for answer in answers {
            let Some(state) = self.links.get_mut(&link) else { return };
            let Some(flight) = state.in_flight.remove(&answer.id) else {
                self.count("answer-unasked");
                continue;
            };
            let peer = state.peer;
            self.landed(&answer.id);
            self.answer(link, peer, &flight, &answer, now_ms, &mut batch);
        }
        self.persist(batch);
        self.unpumped.insert(link);
    }

    fn answer(&mut self, link: LinkId, peer: PeerId, flight: &InFlight, answer: &Answer, now_ms: u64, batch: &mut Batch) {
        let Some(recipient) = flight.recipient else {
            return self.count(if answer.verdict == Verdict::Stored { "spread" } else { "spread-declined" });
        };
        match answer.verdict {
            Verdict::Stored if recipient == peer => self.hand_over(&answer.id, SeenState::Delivered, batch),
            Verdict::Stored if flight.known => {
                let state = self.passed_on(&answer.id, now_ms);
                self.hand_over(&answer.id, state, batch);
            }
            Verdict::Stored => self.copied(link, answer.id),
            _ => self.declined(link, recipient, answer, now_ms),
        }
    }

    /// A neighbour took a copy of an envelope whose way nobody knows; ours stays.
    fn copied(&mut self, link: LinkId, id: MessageId) {
        self.count("copied");
        if let Some(state) = self.links.get_mut(&link) {
            if state.copied.len() >= MAX_COPIED {
                state.copied.clear(); // the worst that follows is an offer made twice
            }
            state.copied.insert(id);
        }
    }

    fn hand_over(&mut self, id: &MessageId, state: SeenState, batch: &mut Batch) {
        if let Some(seq) = self.shelf.remove(id, state) {
            self.count("forwarded");
            self.recent.remove(seq);
            batch.remove.push(seq);
            batch.seen.extend(self.shelf.seen_entry(id));
        }
    }

    fn declined(&mut self, link: LinkId, recipient: PeerId, answer: &Answer, now_ms: u64) {
        self.count("declined");
        let Some(state) = self.links.get_mut(&link) else { return };
        let secs = if answer.retry_after_secs == 0 { RETRY_SECS } else { u64::from(answer.retry_after_secs) };
        let at = now_ms + secs * 1_000;
        if state.declined.len() < MAX_DECLINED {
            state.declined.insert(answer.id, at);
        }
        if !state.retry.iter().any(|(_, waiting)| *waiting == recipient) {
            state.retry.push((at, recipient));
        }
    }

    /// Drops a copy that is no longer needed.
    pub(super) fn give_up(&mut self, id: &MessageId, state: SeenState) {
        let mut batch = Batch::default();
        self.hand_over(id, state, &mut batch);
        self.persist(batch);
    }

    pub(super) fn persist(&mut self, batch: Batch) {
        if !batch.is_empty() {
            let ticket = self.ticket();
            self.effects.push(Effect::Persist { ticket, batch });
        }
    }

    /// Asks the router anew for every recipient with something waiting.
    pub(super) fn reroute_all(&mut self, now_ms: u64) {
        let mut links = Vec::new();
        for recipient in self.shelf.recipients() {
            links.clear();
            let query = RouteQuery { destination: recipient.0, kind: Kind::Direct, from: None };
            self.router.route(now_ms, &query, &mut links);
            for link in &links {
                self.drain(*link, recipient, 0);
            }
        }
    }

    /// Offers again what was refused for a time, and what was never answered.
    pub(super) fn retry_offers(&mut self, now_ms: u64) {
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            let Some(state) = self.links.get_mut(&link) else { continue };
            state.declined.retain(|_, until| *until > now_ms);
            let lost: Vec<_> = state
                .in_flight
                .iter()
                .filter(|(_, flight)| flight.since_ms + ANSWER_TIMEOUT_MS <= now_ms)
                .map(|(id, flight)| (*id, flight.recipient))
                .collect();
            let mut due: Vec<_> = state.retry.extract_if(.., |(at, _)| *at <= now_ms).map(|(_, peer)| peer).collect();
            for (id, recipient) in lost {
                state.in_flight.remove(&id);
                due.extend(recipient);
                self.landed(&id);
                self.count("unanswered");
            }
            due.sort_unstable();
            due.dedup();
            for recipient in due {
                self.drain(link, recipient, 0);
            }
        }
    }
}
