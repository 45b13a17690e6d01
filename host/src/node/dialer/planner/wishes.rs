//! Peers that a link is wanted to, by whichever address.

use std::collections::{BTreeMap, VecDeque};

use qpq_schemas::PeerId;
use qpq_schemas::link::CloseCode;
use rand::rngs::StdRng;

use super::super::address::{by_key, scheme};
use super::super::pause::{Pauses, Retry};
use super::{End, Fact, Meaning, Planner, View};
use crate::core::LinkId;

/// Peers that a link is wanted to at most. What is found beyond them is left to the next announcement.
const MAX_WISHES: usize = 1_024;

/// Addresses that one round dials at most.
const MAX_CANDIDATES: usize = 8;

/// How long an address counts that discovery found, in milliseconds: as long as the records of mDNS do at most
/// (RFC 6762, section 10), and then some.
const FOUND_MS: u64 = 180_000;

/// How long mail that waits keeps a wish alive, in milliseconds. The core says so again every 10 seconds.
const MAIL_MS: u64 = 30_000;

/// Between the first dials of one round, in milliseconds: the connection attempt delay of RFC 8305, section 8. A dial that
/// fails starts the next one at once.
const STAGGER_MS: u64 = 250;

/// Where two nodes find each other, the one with the larger key leaves the other this time to dial, in milliseconds.
const DEFER_MS: u64 = 300;

/// However often a found node is announced anew, its pauses start anew only so often, in milliseconds. So made-up
/// announcements can't make this node dial without end.
const RENEW_MS: u64 = 5_000;

/// The place in a round of the address that is a mere key, behind the best that are known.
const BY_KEY_PLACE: usize = 2;

/// A peer that a link is wanted to.
#[derive(Debug, Default)]
pub(super) struct Wish {
    /// Mail waits until then, as far as is known.
    mail_until_ms: u64,
    /// Addresses that discovery found, and until when they count.
    found: BTreeMap<String, u64>,
    renewed_ms: Option<u64>,
    round: Option<Round>,
    retry: Retry,
    /// There is nothing to dial for it at present.
    idle: bool,
}

/// The addresses of a peer, dialled one shortly after the other.
#[derive(Debug, Default)]
struct Round {
    rest: VecDeque<String>,
    under_way: usize,
    next_ms: u64,
}

impl Wish {
    /// When its next dial is due, if one is.
    pub(super) fn next_dial_ms(&self) -> Option<u64> {
        self.round.as_ref().filter(|round| !round.rest.is_empty()).map(|round| round.next_ms)
    }

    /// When to look at it again: for its next round, or its end.
    pub(super) fn next_look_ms(&self) -> Option<u64> {
        let end = self.found.values().copied().chain([self.mail_until_ms]).max().unwrap_or_default();
        match self.round {
            None if self.idle => Some(end),
            None => Some(self.retry.due_ms.min(end)),
            Some(_) => None,
        }
    }

    pub(super) fn start(&mut self, now_ms: u64) -> Option<String> {
        let round = self.round.as_mut()?;
        let uri = round.rest.pop_front()?;
        round.under_way += 1;
        round.next_ms = now_ms + STAGGER_MS;
        Some(uri)
    }

    pub(super) fn done(
        &mut self,
        outcome: Result<(LinkId, PeerId), End>,
        pauses: Pauses,
        now_ms: u64,
        rng: &mut StdRng,
    ) {
        let Some(round) = &mut self.round else { return };
        round.under_way = round.under_way.saturating_sub(1);
        let Err(end) = outcome else { return self.retry.now(now_ms) };
        round.next_ms = now_ms;
        // Somebody else at one of its addresses says nothing about the peer.
        if matches!(end.meaning(), Meaning::Unwanted) && end.code != Some(CloseCode::WRONG_PEER) {
            self.retry.unwanted(pauses, now_ms, rng);
        }
    }

    /// A link to the peer is gone.
    pub(super) fn ended(&mut self, end: &End, pauses: Pauses, now_ms: u64, rng: &mut StdRng) {
        match end.meaning() {
            Meaning::Restarts => self.retry.restarts(now_ms),
            Meaning::Unwanted => self.retry.unwanted(pauses, now_ms, rng),
            Meaning::WasGood | Meaning::Duplicate => self.retry.ended(pauses, now_ms, rng),
            Meaning::Failed => self.retry.failed(pauses, now_ms, rng),
        }
    }

    pub(super) fn hurry(&mut self, within_ms: u64, now_ms: u64) {
        self.retry.after(within_ms, now_ms);
    }

    /// Whether an address of that kind would bring something: for mail any link will do, of a found node one by each
    /// transport is wanted, so that another can take over.
    fn lacks(&self, kind: &str, linked: &[&str], now_ms: u64) -> bool {
        let mail = self.mail_until_ms > now_ms && linked.is_empty();
        mail || (self.found.keys().any(|uri| scheme(uri) == kind) && !linked.contains(&kind))
    }

    /// The addresses to dial, the best first.
    fn candidates(
        &self,
        peer: &PeerId,
        linked: &[&str],
        now_ms: u64,
        planner: &Planner,
        view: &View<'_>,
    ) -> VecDeque<String> {
        let mut all: Vec<String> = self.found.keys().cloned().collect();
        if self.mail_until_ms > now_ms && linked.is_empty() {
            all.extend((view.addresses)(peer));
        }
        let key = by_key(peer);
        if !all.iter().any(|uri| scheme(uri) == scheme(&key)) {
            all.insert(all.len().min(BY_KEY_PLACE), key);
        }
        let mut chosen: VecDeque<String> = VecDeque::new();
        for uri in all {
            let kind = scheme(&uri);
            let useful = (view.serves)(kind) && self.lacks(kind, linked, now_ms);
            if useful && !planner.servers.contains_key(&uri) && !chosen.contains(&uri) && chosen.len() < MAX_CANDIDATES
            {
                chosen.push_back(uri);
            }
        }
        chosen
    }
}

impl Planner {
    /// Discovery found a peer at these addresses. Hearsay: it costs a failed dial at worst.
    pub(in crate::node) fn suggest(&mut self, peer: PeerId, uris: &[String], now_ms: u64) {
        if peer == self.me || (!self.wishes.contains_key(&peer) && self.wishes.len() >= MAX_WISHES) {
            return;
        }
        let defer = if self.me < peer { 0 } else { DEFER_MS };
        let wish = self.wishes.entry(peer).or_default();
        let new = uris.iter().take(MAX_CANDIDATES).any(|uri| !wish.found.contains_key(uri));
        wish.found.extend(uris.iter().take(MAX_CANDIDATES).map(|uri| (uri.clone(), now_ms + FOUND_MS)));
        while wish.found.len() > MAX_CANDIDATES {
            let oldest = wish.found.iter().min_by_key(|(_, until)| **until).map(|(uri, _)| uri.clone());
            oldest.into_iter().for_each(|uri| _ = wish.found.remove(&uri));
        }
        if new && wish.renewed_ms.is_none_or(|at| at + RENEW_MS <= now_ms) {
            wish.renewed_ms = Some(now_ms);
            wish.retry.now(now_ms + defer);
            self.servers.values_mut().filter(|s| s.peer == Some(peer)).for_each(|server| server.hurry(0, now_ms));
        }
    }

    /// Discovery no longer sees a peer.
    pub(in crate::node) fn withdraw(&mut self, peer: &PeerId) {
        if let Some(wish) = self.wishes.get_mut(peer) {
            wish.found.clear();
        }
    }

    /// Mail waits for a peer.
    pub(in crate::node) fn want(&mut self, peer: PeerId, now_ms: u64) -> bool {
        let new = !self.wishes.contains_key(&peer);
        if peer == self.me || (new && self.wishes.len() >= MAX_WISHES) {
            return false;
        }
        let wish = self.wishes.entry(peer).or_default();
        let began = wish.mail_until_ms <= now_ms;
        wish.mail_until_ms = now_ms + MAIL_MS;
        if new {
            wish.retry.now(now_ms);
        }
        began
    }

    pub(super) fn look_at_wishes(&mut self, now_ms: u64, view: &View<'_>) {
        for (peer, mut wish) in std::mem::take(&mut self.wishes) {
            wish.found.retain(|_, until| *until > now_ms);
            let over = wish.found.is_empty() && wish.mail_until_ms <= now_ms && wish.round.is_none();
            if over || (view.blocked)(&peer) {
                continue;
            }
            self.look_at_wish(&peer, &mut wish, now_ms, view);
            self.wishes.insert(peer, wish);
        }
    }

    fn look_at_wish(&mut self, peer: &PeerId, wish: &mut Wish, now_ms: u64, view: &View<'_>) {
        let linked: Vec<&str> =
            view.links.iter().filter(|fact| fact.peer == *peer).map(|fact: &Fact| scheme(&fact.remote)).collect();
        let full = view.links.len() >= self.limits.max_links && wish.mail_until_ms <= now_ms;
        let mut round = wish.round.take();
        if let Some(round) = &mut round {
            round.rest.retain(|uri| wish.lacks(scheme(uri), &linked, now_ms));
        }
        if round.as_ref().is_some_and(|round| round.rest.is_empty() && round.under_way == 0) {
            round = None;
            if !wish.candidates(peer, &linked, now_ms, self, view).is_empty() && wish.retry.due_ms <= now_ms {
                wish.retry.failed(self.limits.pauses, now_ms, &mut self.rng);
            }
        }
        wish.idle = full;
        if round.is_none() && !full && wish.retry.due_ms <= now_ms {
            let rest = wish.candidates(peer, &linked, now_ms, self, view);
            wish.idle = rest.is_empty();
            round = (!wish.idle).then_some(Round { rest, under_way: 0, next_ms: now_ms });
        }
        wish.round = round;
    }
}
