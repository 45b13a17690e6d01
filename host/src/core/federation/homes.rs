//! Where peers live, as others say, and whose home is being asked for.

use std::collections::{HashMap, VecDeque};

use qpq_schemas::PeerId;

use super::Domain;

/// Homes that were said or found at most. Past it they are asked for again.
const MAX_HOMES: usize = 65_536;

/// Peers that are asked for at a time. The mail of others waits until there is room.
const MAX_WANTED: usize = 4_096;

/// The first pause before a question is repeated, in milliseconds; it doubles each time.
const FIRST_PAUSE_MS: u64 = 1_000;

/// The longest pause, in milliseconds.
const LONGEST_PAUSE_MS: u64 = 300_000;

/// Who was not wanted for so long is asked for no more, in milliseconds. Waiting mail says so again every ten seconds.
const WANTED_MS: u64 = 60_000;

/// Where peers live.
#[derive(Debug, Default)]
pub(super) struct Homes {
    /// What a user or the directory said, or a domain proved.
    said: HashMap<PeerId, Domain>,
    /// Homes that lie behind another domain, which carries for it.
    via: HashMap<PeerId, Domain>,
    wanted: HashMap<PeerId, Question>,
    /// Those of `wanted` that were never asked for.
    fresh: VecDeque<PeerId>,
}

/// How a question stands.
#[derive(Debug)]
struct Question {
    next_ms: u64,
    pause_ms: u64,
    wanted_ms: u64,
}

impl Homes {
    /// Where a peer lives, as was said.
    pub(super) fn said(&self, peer: &PeerId) -> Option<&Domain> {
        self.said.get(peer)
    }

    /// The domain that carries for a peer's home.
    pub(super) fn via(&self, peer: &PeerId) -> Option<&Domain> {
        self.via.get(peer)
    }

    /// Notes where a peer lives.
    pub(super) fn say(&mut self, peer: PeerId, domain: Option<Domain>) {
        self.said.remove(&peer);
        self.via.remove(&peer);
        if let Some(domain) = domain {
            insert(&mut self.said, peer, domain);
        }
    }

    /// A domain has proven where a peer lives.
    pub(super) fn found(&mut self, peer: PeerId, domain: Domain, via: Option<Domain>) {
        self.wanted.remove(&peer);
        self.say(peer, Some(domain));
        if let Some(via) = via {
            insert(&mut self.via, peer, via);
        }
    }

    /// A peer's mail was refused where it should live: nobody carries for it any more, and its home is wanted.
    pub(super) fn doubt(&mut self, peer: PeerId, now_ms: u64) {
        self.via.remove(&peer);
        self.want(peer, now_ms);
    }

    /// Somebody's home is wanted.
    pub(super) fn want(&mut self, peer: PeerId, now_ms: u64) {
        if let Some(question) = self.wanted.get_mut(&peer) {
            question.wanted_ms = now_ms;
        } else if self.wanted.len() < MAX_WANTED {
            self.wanted.insert(peer, Question { next_ms: now_ms, pause_ms: FIRST_PAUSE_MS, wanted_ms: now_ms });
            self.fresh.push_back(peer);
        }
    }

    /// Another domain wants somebody's home. Half of the places are kept for this domain's own mail, and such a question lives
    /// no longer for being asked again.
    pub(super) fn want_for_another(&mut self, peer: PeerId, now_ms: u64) {
        if self.wanted.len() < MAX_WANTED / 2 && !self.wanted.contains_key(&peer) {
            self.want(peer, now_ms);
        }
    }

    /// Whether an answer about a peer is waited for.
    pub(super) fn is_wanted(&self, peer: &PeerId) -> bool {
        self.wanted.contains_key(peer)
    }

    /// Whether somebody was never asked for.
    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// There is somebody new to ask: all questions start anew.
    pub(super) fn ask_again(&mut self, now_ms: u64) {
        for question in self.wanted.values_mut() {
            (question.next_ms, question.pause_ms) = (now_ms, FIRST_PAUSE_MS);
        }
    }

    /// Up to `max` peers to ask for now that were never asked for.
    pub(super) fn take_fresh(&mut self, now_ms: u64, max: usize) -> Vec<PeerId> {
        let fresh: Vec<PeerId> = self.fresh.drain(..max.min(self.fresh.len())).collect();
        fresh
            .into_iter()
            .filter(|peer| self.wanted.get_mut(peer).is_some_and(|question| question.ask(now_ms)))
            .collect()
    }

    /// Up to `max` peers whose question is due again. Drops those that nobody wants any more.
    pub(super) fn take_due(&mut self, now_ms: u64, max: usize) -> Vec<PeerId> {
        self.fresh.clear(); // all of them are due
        self.wanted.retain(|_, question| now_ms < question.wanted_ms.saturating_add(WANTED_MS));
        let due = self.wanted.iter_mut().filter(|(_, question)| question.next_ms <= now_ms).take(max);
        due.filter_map(|(peer, question)| question.ask(now_ms).then_some(*peer)).collect()
    }
}

impl Question {
    /// Counts as asked, if it is due.
    fn ask(&mut self, now_ms: u64) -> bool {
        let due = self.next_ms <= now_ms;
        if due {
            self.next_ms = now_ms + self.pause_ms;
            self.pause_ms = (2 * self.pause_ms).min(LONGEST_PAUSE_MS);
        }
        due
    }
}

/// A full map is emptied: what is still of use will be asked for or said again.
fn insert(map: &mut HashMap<PeerId, Domain>, peer: PeerId, domain: Domain) {
    if map.len() >= MAX_HOMES && !map.contains_key(&peer) {
        map.clear();
    }
    map.insert(peer, domain);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_repeated_with_growing_pauses_while_it_is_wanted() {
        let (mut homes, peer) = (Homes::default(), PeerId([1; 32]));
        homes.want(peer, 0);
        assert_eq!(homes.take_fresh(0, 32), [peer]);
        let mut asked = Vec::new();
        for now_ms in (0..100_000).step_by(100) {
            if now_ms < 40_000 {
                homes.want(peer, now_ms);
            }
            asked.extend(homes.take_due(now_ms, 32).iter().map(|_| now_ms));
        }
        assert_eq!(asked, [1_000, 3_000, 7_000, 15_000, 31_000, 63_000]);
        assert!(!homes.is_wanted(&peer), "nobody wanted it for a minute");
    }

    #[test]
    fn a_flood_of_unknown_recipients_is_bounded() {
        let mut homes = Homes::default();
        for n in 0..100_000u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            homes.want(PeerId(key), 0);
        }
        assert_eq!(homes.wanted.len(), MAX_WANTED);
        assert_eq!(homes.take_due(0, 32).len(), 32);
    }
}
