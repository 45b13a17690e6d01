//! Custody: which ways there are for what is held, what becomes of it when neighbours answer, and giving copies up once they are
//! durable elsewhere. Offering itself is in [`offer`].

mod offer;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use qpq_schemas::envelope::Kind;
use qpq_schemas::link::{Answer, Verdict};
use qpq_schemas::{MessageId, PeerId};

use super::intake::REACCEPT_AFTER_MS;
use super::links::{Declined, InFlight};
use super::{Core, Effect, LinkId, Notice, RouteKind, RouteQuery};
use crate::store::{Batch, End, Fate, Places, SeenState};

/// Envelopes on their way to one neighbour without its answer. At 50 ms a round trip this is 80,000 a second.
pub(super) const DEFAULT_WINDOW: usize = 4_096;

/// An answer that takes longer is taken for lost, and the envelope is offered again, in milliseconds.
pub(super) const ANSWER_TIMEOUT_MS: u64 = 30_000;

/// When the neighbour with the larger key offers again what both offered to each other, in milliseconds.
const AGAIN_MS: u64 = 1_000;

/// When a queue is offered again after a refusal that named no time, in seconds.
const RETRY_SECS: u64 = 30;

/// The same after a refusal that time alone won't change, in seconds.
pub(super) const RETRY_HOPELESS_SECS: u64 = 600;

/// Envelopes that one neighbour has declined, remembered at most.
pub(super) const MAX_DECLINED: usize = 4_096;

/// Envelopes of which one neighbour holds a copy besides ours, remembered at most.
const MAX_COPIED: usize = 65_536;

/// The neighbour's copy may have gone on since, so it is offered again after this time, in milliseconds.
pub(super) const COPY_AGAIN_MS: u64 = 600_000;

/// Recipients that are routed anew in one step.
const REROUTE_STEP: usize = 256;

/// Wire bytes of fresh envelopes kept in memory, so that sending them on costs no read.
const RECENT_BYTES: usize = 4 << 20;

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
        while self.bytes > RECENT_BYTES || self.order.len() > 2 * self.wires.len() + 64 {
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

/// Recipients whose mail may have another way now.
#[derive(Default)]
pub(super) struct Reroute {
    /// Those that were not looked at yet.
    rest: Vec<PeerId>,
    /// Something changed since these were listed: look at all of them once more.
    again: bool,
}

/// Single recipients noted for a new look at most; past it all are looked at.
const MAX_NOTED: usize = 65_536;

impl Reroute {
    /// Whether somebody is left to be looked at.
    pub(super) fn is_due(&self) -> bool {
        self.again || !self.rest.is_empty()
    }

    /// These may have another way now; others have not.
    pub(super) fn note(&mut self, recipients: impl Iterator<Item = PeerId>) {
        if self.again {
            return;
        }
        self.rest.extend(recipients);
        if self.rest.len() > MAX_NOTED {
            (self.rest, self.again) = (Vec::new(), true);
        }
    }
}

impl Core {
    /// The links towards a recipient, and whether the router knows them to lead there.
    pub(super) fn ways(&mut self, recipient: PeerId, now_ms: u64) -> (Vec<LinkId>, bool) {
        if let Some(links) = self.ways_from_mailbox(&recipient) {
            return (links, true);
        }
        let mut links = Vec::new();
        let query = RouteQuery { destination: recipient.0, kind: Kind::Direct, from: None };
        let known = self.router.route(now_ms, &query, &mut links) == RouteKind::Known;
        self.use_preferred(&mut links);
        let out = if known { Vec::new() } else { self.ways_between(recipient, now_ms) };
        if out.is_empty() { (links, known) } else { (out, true) }
    }

    /// Says so where mail waits for somebody to whom no way is known: perhaps a link can be made. Not to somebody in another
    /// domain: with an ordinary link both domains would be one mesh.
    fn look_for(&mut self, recipient: PeerId, known: bool, now_ms: u64) {
        if !known && !self.linked(recipient) && !self.waits_for_domain(&recipient, now_ms) {
            self.effects.push(Effect::Notice(Notice::NoWay(recipient)));
        }
    }

    /// A neighbour is told that this envelope is held here, and may drop its own copy for that. If it is on its way to
    /// another neighbour already, that one's answer may rest on a copy that is dropped for our word: in a loop of routes
    /// all of them would be. So only the answer to an offer that is made after this frees our copy.
    ///
    /// For the same reason a copy that a neighbour was found to hold as well is no ground any more to drop ours when room is
    /// short: that neighbour may come to rely on ours.
    pub(super) fn promised(&mut self, id: &MessageId) {
        self.shelf.held_elsewhere(id, None);
        if self.flying.contains_key(id) {
            let flights = self.links.values_mut().filter_map(|state| state.in_flight.get_mut(id));
            flights.for_each(|flight| flight.stale = true);
        }
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
            state.in_flight_bytes -= flight.bytes;
            self.landed(&answer.id);
            match flight.recipient {
                Some(recipient) => self.answer(link, peer, recipient, &flight, &answer, now_ms, &mut batch),
                None => self.spread_answer(link, &answer, now_ms),
            }
        }
        self.persist(batch);
        self.unpumped.insert(link);
    }

    #[allow(clippy::too_many_arguments, reason = "one answer in its whole context")]
    fn answer(
        &mut self,
        link: LinkId,
        peer: PeerId,
        recipient: PeerId,
        flight: &InFlight,
        answer: &Answer,
        now_ms: u64,
        batch: &mut Batch,
    ) {
        match answer.verdict {
            Verdict::Stored if recipient == peer => {
                let fate = Fate::new(End::Taken, now_ms).by(&peer.0);
                self.hand_over(&answer.id, SeenState::Delivered, fate, batch);
            }
            Verdict::Stored if flight.known && flight.stale => {
                self.count("kept-as-promised");
                self.offer_anew(peer, link, recipient, now_ms);
            }
            Verdict::Stored if flight.known => {
                let state = self.shelf.get(&answer.id).map(|head| head.passed_on(now_ms));
                let fate = Fate::new(End::Custody, now_ms).by(&peer.0);
                self.hand_over(&answer.id, state.unwrap_or(SeenState::Delivered), fate, batch);
            }
            Verdict::Stored => {
                self.copied(link, answer.id, now_ms);
                if !flight.stale {
                    self.shelf.held_elsewhere(&answer.id, Some(&peer));
                }
            }
            _ => {
                self.doubt_home(link, recipient, answer.verdict, now_ms);
                self.declined(link, recipient, answer, now_ms);
            }
        }
    }

    /// An answer didn't count, since somebody was promised our copy meanwhile. Two neighbours that each take the other for the way
    /// would offer the same to each other for ever, so only the one with the smaller key does it at once.
    fn offer_anew(&mut self, peer: PeerId, link: LinkId, recipient: PeerId, now_ms: u64) {
        if self.config.me < peer {
            return self.drain(self.preferred(&peer).unwrap_or(link), recipient);
        }
        if let Some(neighbour) = self.neighbours.get_mut(&peer) {
            let at = neighbour.retry.entry(recipient).or_insert(now_ms + AGAIN_MS);
            *at = (*at).min(now_ms + AGAIN_MS);
        }
    }

    /// A broadcast that a neighbour did not take for now is named to it again later, with all others.
    fn spread_answer(&mut self, link: LinkId, answer: &Answer, now_ms: u64) {
        let later = matches!(answer.verdict, Verdict::RelayFull | Verdict::RecipientFull | Verdict::SenderFull);
        self.count(if answer.verdict == Verdict::Stored { "spread" } else { "spread-declined" });
        if answer.verdict == Verdict::Stored
            && let Some(head) = self.shelf.get(&answer.id)
            && let Some(state) = self.links.get_mut(&link)
        {
            state.casts.forget(&head); // it asked for it while it was under way
        }
        if later {
            self.announce_after(link, u64::from(answer.retry_after_secs) * 1_000, now_ms);
        }
    }

    pub(super) fn announce_later(&mut self, link: LinkId, now_ms: u64) {
        self.announce_after(link, 0, now_ms);
    }

    fn announce_after(&mut self, link: LinkId, pause_ms: u64, now_ms: u64) {
        if let Some(neighbour) = self.behind(link) {
            neighbour.announce_at_ms.get_or_insert(now_ms + pause_ms.max(REACCEPT_AFTER_MS));
        }
    }

    /// A neighbour took a copy of an envelope whose way nobody knows; ours stays.
    fn copied(&mut self, link: LinkId, id: MessageId, now_ms: u64) {
        self.count("copied");
        if let Some(neighbour) = self.behind(link) {
            neighbour.copied.insert(id, now_ms + COPY_AGAIN_MS);
        }
    }

    /// Forgets which envelopes neighbours declined or hold copies of where that is over, once there are very many.
    fn forget_answers(&mut self, now_ms: u64) {
        for neighbour in self.neighbours.values_mut() {
            if neighbour.declined.len() >= MAX_DECLINED {
                neighbour.declined.retain(|_, declined| declined.until_ms > now_ms);
            }
            if neighbour.copied.len() >= MAX_COPIED {
                // When the neighbour goes only what is noted here is taken back.
                let over = neighbour.copied.extract_if(|_, until_ms| *until_ms <= now_ms);
                over.for_each(|(id, _)| self.shelf.held_elsewhere(&id, None));
            }
        }
    }

    pub(super) fn hand_over(&mut self, id: &MessageId, state: SeenState, fate: Fate, batch: &mut Batch) {
        if let Some(gone) = self.shelf.release_to(id, Places::WAITING, state, fate) {
            self.recent.remove(gone.head.seq);
            gone.put_into(batch);
        }
    }

    fn declined(&mut self, link: LinkId, recipient: PeerId, answer: &Answer, now_ms: u64) {
        self.count("declined");
        let Some(neighbour) = self.behind(link) else { return };
        let secs = match answer.verdict {
            Verdict::TooOld | Verdict::TooLarge | Verdict::Hops | Verdict::Refused => RETRY_HOPELESS_SECS,
            _ if answer.retry_after_secs == 0 => RETRY_SECS,
            _ => u64::from(answer.retry_after_secs),
        };
        let before = neighbour.declined.get(&answer.id).map_or(0, |declined| declined.pause_secs);
        let pause_secs = secs.max((2 * before).min(RETRY_HOPELESS_SECS));
        let until_ms = now_ms + pause_secs * 1_000;
        if neighbour.declined.len() < MAX_DECLINED {
            let verdict = answer.verdict;
            neighbour.declined.insert(answer.id, Declined { until_ms, pause_secs, verdict });
        }
        let retry = neighbour.retry.entry(recipient).or_insert(until_ms);
        *retry = until_ms.min(*retry);
    }

    /// Drops a copy that is no longer needed.
    pub(super) fn give_up(&mut self, id: &MessageId, state: SeenState, fate: Fate) {
        let mut batch = Batch::default();
        self.hand_over(id, state, fate, &mut batch);
        self.persist(batch);
    }

    /// Has removals and notes written at the end of this step.
    pub(super) fn persist(&mut self, batch: Batch) {
        self.unwritten.removals.merge(batch);
    }

    /// Has the router asked anew for every recipient with something waiting.
    pub(super) fn reroute_all(&mut self) {
        self.reroute.again = true;
    }

    /// Asks for some of them. A step at a time, so that mail for very many recipients holds nothing up.
    pub(super) fn reroute_step(&mut self, now_ms: u64) {
        if self.reroute.rest.is_empty() && std::mem::take(&mut self.reroute.again) {
            self.reroute.rest = self.shelf.recipients().collect();
            self.reroute.rest.sort_unstable(); // so that the same events always have the same effects
        }
        let from = self.reroute.rest.len().saturating_sub(REROUTE_STEP);
        for recipient in self.reroute.rest.split_off(from) {
            let (links, known) = self.ways(recipient, now_ms);
            self.look_for(recipient, known, now_ms);
            links.into_iter().for_each(|link| self.drain(link, recipient));
        }
    }

    /// Offers again what was refused for a time, and what was never answered.
    pub(super) fn retry_offers(&mut self, now_ms: u64) {
        self.forget_answers(now_ms);
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            self.look_for_unanswered(link, now_ms);
        }
        for (peer, link) in self.preferred_links().collect::<Vec<_>>() {
            let quiet = self.links.get(&link).is_some_and(|state| state.casts.is_empty());
            let Some(neighbour) = self.neighbours.get_mut(&peer) else { continue };
            let announce = neighbour.announce_at_ms.take_if(|at| quiet && *at <= now_ms).is_some();
            let due = neighbour.retry.extract_if(|_, at| *at <= now_ms);
            let mut due: Vec<PeerId> = due.map(|(peer, _)| peer).collect();
            due.sort_unstable();
            due.into_iter().for_each(|recipient| self.drain(link, recipient));
            if announce {
                self.announce_history(link, now_ms);
            }
        }
        // What may go back to where it came from by now, or was left behind by a race, gets its chance.
        if self.next_sweep_ms <= now_ms {
            self.next_sweep_ms = now_ms + REACCEPT_AFTER_MS;
            self.reroute_all();
        }
    }

    /// What was never answered counts as lost, and is offered again.
    fn look_for_unanswered(&mut self, link: LinkId, now_ms: u64) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let lost = |_: &MessageId, flight: &mut InFlight| flight.since_ms + ANSWER_TIMEOUT_MS <= now_ms;
        let lost: Vec<_> = state.in_flight.extract_if(lost).collect();
        state.in_flight_bytes -= lost.iter().map(|(_, flight)| flight.bytes).sum::<usize>();
        for (id, flight) in lost {
            match (flight.recipient, self.behind(link)) {
                (Some(recipient), Some(neighbour)) => _ = neighbour.retry.insert(recipient, now_ms),
                _ => self.announce_later(link, now_ms),
            }
            self.landed(&id);
            self.count("unanswered");
        }
    }
}
