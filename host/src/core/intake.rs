//! An envelope's way in: shape, time, dedup, signature, quota, disk; and the answer to whoever brought it.
//!
//! The signature is checked before the id is remembered. Otherwise anyone could send a known envelope with a
//! broken signature first, and have the true one dropped as a duplicate.

use bytes::Bytes;
use qpq_schemas::envelope::{Envelope, EnvelopeRef, Kind, Refusal};
use qpq_schemas::link::{Answer, Verdict};
use qpq_schemas::{MessageId, PeerId};

use super::refusals::Refused;
use super::toll::Charge;
use super::{Core, Effect, LinkId, RouteKind, RouteQuery};
use crate::api::{ApiError, Receipt};
use crate::store::{Head, Quota, SeenState};

/// Bytes that may wait for their signature check and the disk together. Past it new envelopes are put off.
const MAX_PENDING_BYTES: usize = 32 << 20;

/// When a neighbour may offer again what was put off for lack of room, in seconds.
const RETRY_BUSY_SECS: u16 = 1;

/// An envelope that was passed on is taken back after this time, if another way leads to its recipient now.
pub(super) const REACCEPT_AFTER_MS: u64 = 10_000;

/// The code of the answer for an imported envelope that is here already, or was.
pub const KNOWN: &str = "known";

/// Who waits for an envelope's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiter {
    /// The neighbour behind a link.
    Link(LinkId),
    /// A local client, by its token.
    Client(u64),
}

/// An envelope that is being checked or written.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) waiters: Vec<Waiter>,
}

/// An envelope with what is known of its arrival.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) id: MessageId,
    pub(super) envelope: Envelope,
    /// Its place on the shelf, once it has one.
    pub(super) head: Option<Head>,
    /// The neighbour that it came from.
    pub(super) source: Option<PeerId>,
    /// The link that it came in by.
    pub(super) link: Option<LinkId>,
    /// Where it was counted.
    pub(super) charge: Option<Charge>,
}

impl Core {
    pub(super) fn envelopes(&mut self, link: LinkId, wires: Vec<Bytes>, now_ms: u64) {
        let Some(source) = self.links.get(&link).map(|state| state.peer) else { return };
        for wire in wires {
            self.count("received");
            if let Some(candidate) = self.first_look(link, source, &wire, now_ms) {
                self.unchecked.push(candidate);
            }
        }
    }

    /// All checks that cost nothing. What passes them is new and wants its signature checked.
    fn first_look(&mut self, link: LinkId, source: PeerId, wire: &Bytes, now_ms: u64) -> Option<Candidate> {
        let envelope = match Envelope::from_wire(wire.clone(), self.config.max_payload) {
            Ok(envelope) => envelope,
            Err(refusal) => {
                self.count(refusal.code());
                self.owe_too_large(link, &refusal, wire);
                return None; // else there is no id to answer for
            }
        };
        let view = envelope.view();
        let id = view.id();
        let timely = view.check_times(now_ms).and_then(|()| view.check_hops());
        if let Err(refusal) = timely.and_then(|()| self.check_block(view.sender())) {
            self.count(refusal.code());
            self.refused(id, refusal.code(), Some(source), now_ms);
            self.owe(link, Answer { id, verdict: verdict_of(&refusal), retry_after_secs: 0 });
            self.of_no_use(link, &id, now_ms);
            return None;
        }
        if let Some(answer) = self.known(link, id, &envelope, now_ms) {
            self.count("duplicate");
            if envelope.view().kind() == Kind::Broadcast {
                self.second_copy(link, &id, now_ms);
            }
            self.owe(link, answer);
            return None;
        }
        if let Some(pending) = self.pending.get_mut(&id) {
            if !pending.waiters.contains(&Waiter::Link(link)) {
                pending.waiters.push(Waiter::Link(link)); // once, however often it offers the same
            }
            self.count("duplicate");
            return None;
        }
        if self.pending_bytes > MAX_PENDING_BYTES {
            self.count("put-off");
            self.refused(id, "put-off", Some(source), now_ms);
            self.shelf.count_refused(Quota::Pending);
            self.owe(link, Answer { id, verdict: Verdict::RelayFull, retry_after_secs: RETRY_BUSY_SECS });
            self.of_no_use(link, &id, now_ms);
            return None;
        }
        let charge = match self.admit_from(link, envelope.view(), id, now_ms) {
            Ok(charge) => charge,
            Err(answer) => {
                self.owe(link, answer);
                self.of_no_use(link, &id, now_ms);
                return None;
            }
        };
        let hops = view.hop_count().saturating_add(1);
        let envelope = envelope.with_hop_count(hops); // also copies it out of the frame it came in
        self.await_outcome(id, &envelope, Waiter::Link(link));
        Some(Candidate { id, envelope, head: None, source: Some(source), link: Some(link), charge })
    }

    /// The answer for an id that was here before, if that settles it.
    fn known(&mut self, link: LinkId, id: MessageId, envelope: &Envelope, now_ms: u64) -> Option<Answer> {
        let stored = Answer { id, verdict: Verdict::Stored, retry_after_secs: 0 };
        let view = envelope.view();
        match self.shelf.seen(&id)? {
            SeenState::Held if self.pending.contains_key(&id) => None, // not durable yet: its waiters hear of it
            SeenState::Held => {
                self.promised(&id);
                Some(stored)
            }
            SeenState::Delivered => Some(stored),
            SeenState::PassedOn { .. } if view.kind() == Kind::Broadcast => Some(stored),
            SeenState::PassedOn { at_ms, .. }
                // In the future: the clock was set back since then.
                if (at_ms > now_ms || now_ms - at_ms > REACCEPT_AFTER_MS)
                    && self.leads_elsewhere(link, envelope, now_ms) =>
            {
                None // taken back: the loop has dissolved
            }
            SeenState::PassedOn { .. } => {
                Some(Answer { id, verdict: Verdict::Seen, retry_after_secs: (REACCEPT_AFTER_MS / 1_000) as u16 })
            }
        }
    }

    /// An envelope over this node's limit may be fine elsewhere, so its neighbour is told.
    fn owe_too_large(&mut self, link: LinkId, refusal: &Refusal, wire: &[u8]) {
        if let (Refusal::PayloadTooLarge { .. }, Ok(view)) = (refusal, EnvelopeRef::parse(wire, usize::MAX)) {
            self.owe(link, Answer { id: view.id(), verdict: Verdict::TooLarge, retry_after_secs: 0 });
        }
    }

    /// Remembers for a while why an envelope was not taken.
    pub(super) fn refused(&mut self, id: MessageId, code: &'static str, source: Option<PeerId>, at_ms: u64) {
        self.refusals.note(id, Refused { code, at_ms, source });
    }

    fn check_block(&self, sender: PeerId) -> Result<(), Refusal> {
        if self.blocked.contains(&sender) { Err(Refusal::BlockedSender) } else { Ok(()) }
    }

    fn await_outcome(&mut self, id: MessageId, envelope: &Envelope, waiter: Waiter) {
        self.pending_bytes += envelope.wire().len();
        self.pending.entry(id).or_default().waiters.push(waiter);
    }
}

impl Core {
    /// Whether the router knows a way to the recipient that doesn't lead back over `link`.
    fn leads_elsewhere(&mut self, link: LinkId, envelope: &Envelope, now_ms: u64) -> bool {
        let view = envelope.view();
        let query = RouteQuery { destination: view.destination(), kind: view.kind(), from: Some(link) };
        let mut links = Vec::new();
        let known = self.router.route(now_ms, &query, &mut links) == RouteKind::Known;
        known && links.iter().any(|other| self.peer_of(*other) != self.peer_of(link))
    }

    pub(super) fn submit(&mut self, token: u64, envelope: Envelope, trusted: bool, now_ms: u64) {
        let view = envelope.view();
        let id = view.id();
        let checks = view.check_times(now_ms).and_then(|()| self.check_block(view.sender()));
        if let Err(refusal) = checks {
            self.count(refusal.code());
            self.refused(id, refusal.code(), None, now_ms);
            let result = Err(ApiError::new(refusal.code(), refusal.to_string()));
            return self.effects.push(Effect::Answer { token, result });
        }
        if self.shelf.seen(&id).is_some() && !self.pending.contains_key(&id) {
            let result = Ok(Receipt { id, expires_ms: view.expires_ms() });
            return self.effects.push(Effect::Answer { token, result });
        }
        let candidate = Candidate { id, envelope, head: None, source: None, link: None, charge: None };
        self.hand_in(token, candidate, trusted, now_ms);
    }

    /// An envelope out of a file counts as one that a neighbour offers: everything is checked, and one that was here is not
    /// taken again. Where it came from is noted as this node's own key.
    pub(super) fn import(&mut self, token: u64, envelope: &Envelope, now_ms: u64) {
        let view = envelope.view();
        let (id, hops) = (view.id(), view.hop_count().saturating_add(1));
        let timely = view.check_times(now_ms).and_then(|()| view.check_hops());
        if let Err(refusal) = timely.and_then(|()| self.check_block(view.sender())) {
            self.count(refusal.code());
            self.refused(id, refusal.code(), Some(self.config.me), now_ms);
            let result = Err(ApiError::new(refusal.code(), refusal.to_string()));
            return self.effects.push(Effect::Answer { token, result });
        }
        if self.shelf.seen(&id).is_some() && !self.pending.contains_key(&id) {
            self.count("duplicate");
            let result = Err(ApiError::new(KNOWN, "it is here already, or was"));
            return self.effects.push(Effect::Answer { token, result });
        }
        self.count("imported");
        let (envelope, source) = (envelope.with_hop_count(hops), Some(self.config.me));
        let candidate = Candidate { id, envelope, head: None, source, link: None, charge: None };
        self.hand_in(token, candidate, false, now_ms);
    }

    fn hand_in(&mut self, token: u64, candidate: Candidate, trusted: bool, now_ms: u64) {
        let known = self.pending.contains_key(&candidate.id);
        self.pending.entry(candidate.id).or_default().waiters.push(Waiter::Client(token));
        if known {
            return;
        }
        self.pending_bytes += candidate.envelope.wire().len();
        if trusted { self.accept(vec![candidate], now_ms) } else { self.unchecked.push(candidate) }
    }
}

/// The word for a neighbour whose envelope was refused.
pub(super) fn verdict_of(refusal: &Refusal) -> Verdict {
    match refusal {
        Refusal::Expired { .. } => Verdict::TooOld,
        Refusal::Hops { .. } => Verdict::Hops,
        Refusal::PayloadTooLarge { .. } => Verdict::TooLarge,
        _ => Verdict::Refused,
    }
}
