//! What the core remembers of each link.

use std::collections::{HashMap, HashSet, VecDeque};

use qpq_schemas::link::{Answer, Frame, MAX_ANSWERS, MAX_TOPICS, SubscriptionChange, Verdict};
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::federation::Domain;
use super::neighbours::Quality;
use super::spread::Casts;
use super::{Core, Effect, LinkId, Notice, Offered};

/// Bad signatures from one link before it is closed.
const MAX_BAD: u32 = 32;

/// One authenticated link.
pub(super) struct LinkState {
    /// The key behind it.
    pub(super) peer: PeerId,
    /// The domain that it leads to, where it leads out of this mesh.
    pub(super) domain: Option<Domain>,
    /// Custody answers gathered in this step.
    pub(super) owed: Vec<Answer>,
    /// Envelopes sent and not answered.
    pub(super) in_flight: HashMap<MessageId, InFlight>,
    /// Their bytes.
    pub(super) in_flight_bytes: usize,
    /// Envelopes to be sent at the end of this step.
    pub(super) offers: Vec<Offered>,
    /// Recipients whose queues go over this link, served in turn.
    pub(super) drains: VecDeque<PeerId>,
    /// The recipients in `drains`.
    pub(super) draining: HashSet<PeerId>,
    /// Broadcasts to be sent.
    pub(super) casts: Casts,
    /// How good it is, once that was measured.
    pub(super) quality: Option<Quality>,
    /// The link that takes its place.
    pub(super) successor: Option<LinkId>,
    /// To be closed when that one is used, and nothing is under way any more.
    pub(super) retires: bool,
    /// Since when that one is used.
    pub(super) succeeded_ms: Option<u64>,
    /// Bad signatures so far.
    bad: u32,
}

/// An envelope on its way to a neighbour.
pub(super) struct InFlight {
    /// When it was sent.
    pub(super) since_ms: u64,
    /// Whom it is for, when it is a direct one.
    pub(super) recipient: Option<PeerId>,
    /// The router knew this link to lead there.
    pub(super) known: bool,
    /// Its length on the wire.
    pub(super) bytes: usize,
    /// Since it was sent, another neighbour was promised that it is held here. So the answer doesn't free the copy.
    pub(super) stale: bool,
}

impl InFlight {
    pub(super) fn new(since_ms: u64, recipient: Option<PeerId>, known: bool) -> Self {
        Self { since_ms, recipient, known, bytes: 0, stale: false }
    }
}

/// A refusal, and how long it holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Declined {
    /// Until when not to offer the envelope again.
    pub(super) until_ms: u64,
    /// How long that was, in seconds; it doubles with each refusal.
    pub(super) pause_secs: u64,
    /// The neighbour's word.
    pub(super) verdict: Verdict,
}

impl LinkState {
    fn new(peer: PeerId, domain: Option<Domain>) -> Self {
        Self {
            peer,
            domain,
            owed: Vec::new(),
            in_flight: HashMap::new(),
            in_flight_bytes: 0,
            offers: Vec::new(),
            drains: VecDeque::new(),
            draining: HashSet::new(),
            casts: Casts::default(),
            quality: None,
            successor: None,
            retires: false,
            succeeded_ms: None,
            bad: 0,
        }
    }
}

impl Core {
    pub(super) fn link_up(&mut self, link: LinkId, peer: PeerId, domain: Option<Domain>, now_ms: u64) {
        if self.blocked.contains(&peer) {
            return self.close(link, "blocked by this node's admin");
        }
        if let Some(why) = domain.as_ref().and_then(|domain| self.refuse_domain(&peer, domain)) {
            return self.close(link, &why);
        }
        let (out, was_outside) = (domain.is_some(), self.domain_of(&peer).is_some());
        self.links.insert(link, LinkState::new(peer, domain));
        let first = self.join(link, peer, now_ms);
        if first || (was_outside && !out) {
            self.greet(link, now_ms);
        }
        if !out {
            self.forget_gateway(&peer);
            self.tell_router(now_ms, |router, out| router.link_up(now_ms, link, peer, out));
        }
        if first {
            self.effects.push(Effect::Notice(Notice::PeerUp(peer)));
        }
        self.effects.push(Effect::Notice(Notice::LinkChange { peer, up: true }));
        self.take_place(link, now_ms);
        if first || was_outside {
            self.reroute_all(); // what waits for this neighbour, or for any way at all, may go now
        }
    }

    /// Tells a neighbour all that it may want to know.
    pub(super) fn greet(&mut self, link: LinkId, now_ms: u64) {
        if let Some(peer) = self.peer_of(link).filter(|peer| self.domain_of(peer).is_some()) {
            return self.greet_domain(link, peer, now_ms);
        }
        self.tell_subscriptions(link);
        self.send_all_records(link);
        if let Some(peer) = self.peer_of(link) {
            self.greet_with_history(peer, now_ms);
        }
    }

    pub(super) fn link_down(&mut self, link: LinkId, now_ms: u64) {
        let Some(state) = self.links.remove(&link) else { return };
        for id in state.in_flight.keys() {
            self.landed(id);
        }
        let peer = state.peer;
        let heir = self.part(link, peer);
        if state.domain.is_none() {
            self.tell_router(now_ms, |router, out| router.link_down(now_ms, link, out));
        }
        match heir {
            Some(heir) => self.take_over(state, heir, now_ms),
            None => {
                self.domain_down(&peer);
                self.branch_down(&peer, now_ms);
                self.effects.push(Effect::Notice(Notice::PeerDown(peer)));
            }
        }
        self.effects.push(Effect::Notice(Notice::LinkChange { peer, up: false }));
        self.reroute_all();
    }

    /// Whether a link leads out of this mesh, to another domain.
    pub(super) fn leads_out(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|state| state.domain.is_some())
    }

    /// Whether any link leads to that peer directly.
    pub(super) fn linked(&self, peer: PeerId) -> bool {
        self.neighbours.contains_key(&peer)
    }

    pub(super) fn close(&mut self, link: LinkId, reason: &str) {
        self.effects.push(Effect::Close { link, reason: reason.to_owned() });
    }

    /// Counts a bad signature, and cuts the neighbour off who sends too many.
    pub(super) fn bad_signature(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.bad += 1;
        if state.bad == MAX_BAD {
            self.close(link, "too many envelopes with bad signatures");
        }
    }

    fn tell_subscriptions(&mut self, link: LinkId) {
        let topics: Vec<TopicId> = self.subscribed.iter().copied().collect();
        let mut change = SubscriptionChange::Set;
        for chunk in topics.chunks(MAX_TOPICS) {
            self.effects.push(Effect::Send { link, frame: Frame::Subscriptions(change, chunk.to_vec()) });
            change = SubscriptionChange::Add;
        }
    }

    pub(super) fn block(&mut self, peer: PeerId) {
        self.blocked.insert(peer);
        let links: Vec<_> = self.links.iter().filter(|(_, state)| state.peer == peer).map(|(link, _)| *link).collect();
        for link in links {
            self.close(link, "blocked by this node's admin");
        }
    }

    /// A trusted peer's messages are bounded by what there is room for, not by one sender's share, and its record makes
    /// no room for others'.
    pub(super) fn trust(&mut self, peer: PeerId, trusted: bool) {
        self.shelf.favour(peer, trusted);
        self.records.favour(peer, trusted);
    }

    /// Owes a neighbour the answer about one envelope; they leave together at the end of the step.
    pub(super) fn owe(&mut self, link: LinkId, answer: Answer) {
        if let Some(state) = self.links.get_mut(&link) {
            state.owed.push(answer);
        }
    }

    pub(super) fn flush_answers(&mut self) {
        for (link, state) in &mut self.links {
            while !state.owed.is_empty() {
                let rest = state.owed.split_off(state.owed.len().min(MAX_ANSWERS));
                let answers = std::mem::replace(&mut state.owed, rest);
                self.effects.push(Effect::Send { link: *link, frame: Frame::Custody(answers) });
            }
        }
    }
}
