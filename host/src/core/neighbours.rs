//! Neighbours, and which of several links to one is used.
//!
//! This is the one place that chooses between parallel links. A routing plugin names a neighbour by any link to it;
//! the core sends over the preferred one. So nothing goes to a neighbour twice, whatever the plugin answers.

use std::collections::{BTreeMap, HashMap};

use qpq_schemas::{MessageId, PeerId};

use super::links::{Declined, LinkState};
use super::spread::{Branch, Cast, Casts, Talk};
use super::{Core, Effect, LinkId};

/// Added to every round trip, in microseconds: below it networks don't differ in a way that anybody could feel, and the
/// clock of the measurement has steps of a millisecond.
const FLOOR_US: u64 = 2_000;

/// Another link must cost less than this share of the present one's cost to replace it, in percent.
const BETTER_PERCENT: u64 = 80;

/// How long it must stay so much better, in milliseconds: three measurements of a quiet link. A moment's jam changes nothing.
const BETTER_FOR_MS: u64 = 3_000;

/// How long a link is kept whose place another one has taken, in milliseconds: the neighbour hears of that at about the same
/// time, and what it had sent by then shall still be answered.
const RETIRE_AFTER_MS: u64 = 250;

/// How often is looked whether everything that went over it is answered, in milliseconds.
const RETIRE_LOOK_MS: u64 = 50;

/// How good a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quality {
    /// Smoothed round-trip time in microseconds.
    pub(super) rtt_us: u64,
    /// Lost frames in a million.
    pub(super) loss_ppm: u32,
}

impl Quality {
    /// What the link costs: the round trip, divided by the square of the share that arrives, since both the frame and
    /// its answer must.
    fn cost(self) -> u64 {
        let arrives = u64::from(1_000_000_u32.saturating_sub(self.loss_ppm)).max(10_000);
        let once = self.rtt_us.saturating_add(FLOOR_US).saturating_mul(1_000_000) / arrives;
        once.saturating_mul(1_000_000) / arrives
    }

    fn clearly_beats(self, other: Self) -> bool {
        self.cost().saturating_mul(100) < other.cost().saturating_mul(BETTER_PERCENT)
    }
}

/// What the core remembers of a neighbour, whichever link it is reached by.
pub(super) struct Neighbour {
    /// The links to it, oldest first; never empty.
    links: Vec<LinkId>,
    /// The one that is used.
    preferred: LinkId,
    /// A link that is clearly better, and since when.
    rival: Option<(LinkId, u64)>,
    /// When to tell the neighbour again what we hold, since it did not take all.
    pub(super) announce_at_ms: Option<u64>,
    /// When to offer a recipient's queue again.
    pub(super) retry: HashMap<PeerId, u64>,
    /// Envelopes that the neighbour did not take.
    pub(super) declined: HashMap<MessageId, Declined>,
    /// Envelopes of unknown way of which the neighbour took a copy, and when to offer it again.
    pub(super) copied: HashMap<MessageId, u64>,
    /// Its place in the tree of broadcasts.
    pub(super) branch: Branch,
    /// How its history is compared with ours.
    pub(super) talk: Talk,
}

impl Neighbour {
    fn new(link: LinkId, now_ms: u64) -> Self {
        Self {
            links: vec![link],
            preferred: link,
            rival: None,
            announce_at_ms: None,
            retry: HashMap::new(),
            declined: HashMap::new(),
            copied: HashMap::new(),
            branch: Branch::new(now_ms),
            talk: Talk::default(),
        }
    }
}

impl Neighbour {
    /// The links to it, oldest first.
    pub(super) fn links(&self) -> impl Iterator<Item = &LinkId> {
        self.links.iter()
    }

    /// The one that is used.
    pub(super) fn preferred(&self) -> LinkId {
        self.preferred
    }
}

/// How a link is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkUse {
    /// Envelopes sent and not yet in the neighbour's custody.
    pub in_flight: usize,
    /// Whether it is the one that is used, of several to the same neighbour.
    pub preferred: bool,
}

impl Core {
    /// Enters a link; whether it is the first to that neighbour.
    pub(super) fn join(&mut self, link: LinkId, peer: PeerId, now_ms: u64) -> bool {
        match self.neighbours.get_mut(&peer) {
            Some(neighbour) => {
                neighbour.links.push(link);
                false
            }
            None => self.neighbours.insert(peer, Neighbour::new(link, now_ms)).is_none(),
        }
    }

    /// Takes a link off; returns the link that is used from now on, if there is any left.
    pub(super) fn part(&mut self, link: LinkId, peer: PeerId) -> Option<LinkId> {
        let neighbour = self.neighbours.get_mut(&peer)?;
        neighbour.links.retain(|other| *other != link);
        neighbour.rival = neighbour.rival.filter(|(rival, _)| *rival != link);
        if neighbour.preferred == link {
            // Of those that were not measured yet the newest: the others should have been.
            let cost =
                |link: &LinkId| self.links.get(link).and_then(|state| state.quality).map_or(u64::MAX, Quality::cost);
            let best = neighbour.links.iter().rev().copied().min_by_key(cost);
            match best {
                Some(best) => (neighbour.preferred, neighbour.rival) = (best, None),
                None => {
                    let gone = self.neighbours.remove(&peer);
                    // Nobody knows when it comes back, so its copies are none to rely upon.
                    for id in gone.iter().flat_map(|neighbour| neighbour.copied.keys()) {
                        self.shelf.held_elsewhere(id, None);
                    }
                    return None;
                }
            }
        }
        Some(neighbour.preferred)
    }

    /// The link that is used to a neighbour.
    pub(super) fn preferred(&self, peer: &PeerId) -> Option<LinkId> {
        self.neighbours.get(peer).map(|neighbour| neighbour.preferred)
    }

    /// The links that are used, one to each neighbour.
    pub(super) fn preferred_links(&self) -> impl Iterator<Item = (PeerId, LinkId)> + '_ {
        self.neighbours.iter().map(|(peer, neighbour)| (*peer, neighbour.preferred))
    }

    /// Any link to the same neighbour becomes the one that is used; each once.
    pub(super) fn use_preferred(&self, links: &mut Vec<LinkId>) {
        links.retain_mut(|link| match self.peer_of(*link).and_then(|peer| self.preferred(&peer)) {
            Some(preferred) => {
                *link = preferred;
                true
            }
            None => false,
        });
        links.sort_unstable();
        links.dedup();
    }

    /// The neighbour behind a link.
    pub(super) fn peer_of(&self, link: LinkId) -> Option<PeerId> {
        self.links.get(&link).map(|state| state.peer)
    }

    /// What is remembered of the neighbour behind a link.
    pub(super) fn behind(&mut self, link: LinkId) -> Option<&mut Neighbour> {
        let peer = self.peer_of(link)?;
        self.neighbours.get_mut(&peer)
    }

    /// A link was measured: perhaps it is the better one by now.
    pub(super) fn measured(&mut self, link: LinkId, quality: Quality, now_ms: u64) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.quality = Some(quality);
        let (peer, inside) = (state.peer, state.domain.is_none());
        if inside {
            self.tell_router(now_ms, |router, out| {
                router.link_measured(now_ms, link, quality.rtt_us, quality.loss_ppm, out);
            });
        }
        if let Some((old, new)) = self.weigh(peer, now_ms) {
            self.change_over(old, new);
        }
    }

    /// Compares the links to a neighbour; the change, if there is to be one.
    fn weigh(&mut self, peer: PeerId, now_ms: u64) -> Option<(LinkId, LinkId)> {
        let neighbour = self.neighbours.get_mut(&peer)?;
        let quality =
            |link: LinkId| self.links.get(&link).and_then(|state| state.quality).map(|quality| (link, quality));
        let (_, present) = quality(neighbour.preferred)?;
        let measured = neighbour.links.iter().filter_map(|link| quality(*link));
        let best = measured.min_by_key(|(_, quality)| quality.cost()).filter(|(_, best)| best.clearly_beats(present));
        let Some((best, _)) = best else {
            neighbour.rival = None;
            return None;
        };
        match neighbour.rival {
            Some((rival, since)) if rival == best && since + BETTER_FOR_MS <= now_ms => {
                let old = std::mem::replace(&mut neighbour.preferred, best);
                neighbour.rival = None;
                Some((old, best))
            }
            Some((rival, since)) if rival == best && since <= now_ms => None,
            _ => {
                neighbour.rival = Some((best, now_ms));
                None
            }
        }
    }

    /// One link takes the place of another to the same neighbour, as soon as both are up.
    pub(super) fn succeeds(&mut self, before: LinkId, after: LinkId, close: bool, now_ms: u64) {
        if let Some(state) = self.links.get_mut(&before) {
            state.successor = Some(after);
            state.retires |= close;
            self.take_place(after, now_ms);
        }
    }

    /// Whatever that link is the successor of is used no more.
    pub(super) fn take_place(&mut self, after: LinkId, now_ms: u64) {
        let Some(peer) = self.peer_of(after) else { return };
        let goes = |(_, state): &(&LinkId, &LinkState)| state.successor == Some(after) && state.peer == peer;
        for before in self.links.iter().filter(goes).map(|(link, _)| *link).collect::<Vec<_>>() {
            if let Some(neighbour) = self.neighbours.get_mut(&peer).filter(|neighbour| neighbour.preferred == before) {
                (neighbour.preferred, neighbour.rival) = (after, None);
                self.change_over(before, after);
            }
            if let Some(state) = self.links.get_mut(&before) {
                state.succeeded_ms.get_or_insert(now_ms);
                self.next_retirement_ms.get_or_insert(now_ms + RETIRE_AFTER_MS);
            }
        }
    }

    /// Closes the links whose places others have taken, once everything that this node sent over them is answered, and the
    /// neighbour has had the time to do the same.
    pub(super) fn retire_links(&mut self, now_ms: u64) {
        let stays = |after: LinkId| self.links.contains_key(&after);
        let retires = |state: &LinkState| state.retires && state.successor.is_some_and(stays);
        let retiring: Vec<(LinkId, bool)> = self
            .links
            .iter()
            .filter(|(_, state)| retires(state))
            .map(|(link, state)| {
                let heard = state.succeeded_ms.is_some_and(|since| since + RETIRE_AFTER_MS <= now_ms);
                (*link, heard && state.in_flight.is_empty() && state.offers.is_empty() && state.owed.is_empty())
            })
            .collect();
        let all = retiring.iter().all(|(_, done)| *done);
        self.next_retirement_ms = (!all).then_some(now_ms + RETIRE_LOOK_MS);
        let done = retiring.into_iter().filter(|(_, done)| *done);
        self.effects.extend(done.map(|(link, _)| Effect::Retire { link }));
    }

    /// Both links live: what waits for the old one goes over the new one, what is under way is answered over the old.
    fn change_over(&mut self, old: LinkId, new: LinkId) {
        self.count("changed-over");
        let Some(state) = self.links.get_mut(&old) else { return };
        let casts = std::mem::take(&mut state.casts);
        state.drains.clear();
        state.draining.clear();
        self.casts_move(casts, new);
        self.reroute_all();
    }

    /// A link died, and another to the same neighbour goes on: what waited or was under way is offered over that one.
    pub(super) fn take_over(&mut self, dead: LinkState, heir: LinkId, now_ms: u64) {
        let under_way = dead.in_flight.iter().filter(|(_, flight)| flight.recipient.is_none());
        for head in under_way.filter_map(|(id, _)| self.history(id)).collect::<Vec<_>>() {
            self.queue_cast(heir, &head, Cast::New);
        }
        self.casts_move(dead.casts, heir);
        self.greet(heir, now_ms); // what told the neighbour of our topics, records and history may have been lost as well
        self.reroute_all();
    }

    fn casts_move(&mut self, casts: Casts, to: LinkId) {
        if let Some(state) = self.links.get_mut(&to) {
            state.casts.take_over(casts);
            self.unpumped.insert(to);
        }
    }

    /// How each link is used.
    pub fn links_in_use(&self) -> BTreeMap<LinkId, LinkUse> {
        let use_of = |(link, state): (&LinkId, &LinkState)| {
            let preferred = self.preferred(&state.peer) == Some(*link);
            (*link, LinkUse { in_flight: state.in_flight.len(), preferred })
        };
        self.links.iter().map(use_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_costs_as_much_as_the_repetitions_that_it_needs() {
        let cost = |rtt_us, loss_ppm| Quality { rtt_us, loss_ppm }.cost();
        assert_eq!(cost(8_000, 0), 10_000);
        assert_eq!(cost(8_000, 500_000), 40_000);
        assert!(cost(u64::MAX, 1_000_000) >= cost(1_000_000, 999_999), "no overflow");
        assert!(
            !Quality { rtt_us: 0, loss_ppm: 0 }.clearly_beats(Quality { rtt_us: 400, loss_ppm: 0 }),
            "as good on a LAN"
        );
    }
}
