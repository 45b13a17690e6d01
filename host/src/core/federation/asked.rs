//! Questions of other domains that could not be answered, so that whoever asked hears of it once they can.

use std::collections::{BTreeMap, HashMap};

use qpq_schemas::PeerId;

/// Peers that are remembered at most. Of others the asker hears when it asks again.
const MAX_ASKED: usize = 4_096;

/// Gateways that are remembered for one peer, at most.
const MAX_ASKERS: usize = 16;

/// How long a question is remembered, in milliseconds: twice the longest pause between two, so that whoever still wants to know
/// has asked again.
const REMEMBERED_MS: u64 = 600_000;

/// How often a full memory is looked through for what is too old, in milliseconds.
const PURGE_EVERY_MS: u64 = 10_000;

/// Which gateways asked for which peers, and when.
#[derive(Debug, Default)]
pub(super) struct Asked {
    by: HashMap<PeerId, BTreeMap<PeerId, u64>>,
    /// Peers of `by` of whom something was learned since the last look.
    learned: Vec<PeerId>,
    /// A full memory is not looked through before.
    next_purge_ms: u64,
}

impl Asked {
    /// A gateway asked for a peer of whom nothing could be said.
    pub(super) fn note(&mut self, peer: PeerId, gateway: PeerId, now_ms: u64) {
        if self.by.len() >= MAX_ASKED && !self.by.contains_key(&peer) {
            if now_ms >= self.next_purge_ms {
                self.next_purge_ms = now_ms + PURGE_EVERY_MS;
                self.by.retain(|_, askers| askers.values().any(|at| now_ms < at + REMEMBERED_MS));
            }
            if self.by.len() >= MAX_ASKED {
                return;
            }
        }
        let askers = self.by.entry(peer).or_default();
        if askers.len() < MAX_ASKERS || askers.contains_key(&gateway) {
            askers.insert(gateway, now_ms);
        }
    }

    /// Something was learned of a peer.
    pub(super) fn learn(&mut self, peer: PeerId) {
        if self.by.contains_key(&peer) {
            self.learned.push(peer);
        }
    }

    /// Those of whom something was learned, each with the gateways that asked for it.
    pub(super) fn take_learned(&mut self, now_ms: u64) -> Vec<(PeerId, Vec<PeerId>)> {
        let learned = std::mem::take(&mut self.learned).into_iter();
        let askers = learned.filter_map(|peer| Some((peer, self.by.remove(&peer)?)));
        let still = |askers: BTreeMap<PeerId, u64>| {
            askers.into_iter().filter(|(_, at)| now_ms < at + REMEMBERED_MS).map(|(gateway, _)| gateway).collect()
        };
        askers.map(|(peer, askers)| (peer, still(askers))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: usize) -> PeerId {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_be_bytes());
        PeerId(key)
    }

    #[test]
    fn who_asked_is_told_once_and_only_for_a_while() {
        let mut asked = Asked::default();
        asked.note(peer(1), peer(7), 0);
        asked.note(peer(1), peer(8), REMEMBERED_MS - 1);
        asked.learn(peer(1));
        asked.learn(peer(2));
        assert_eq!(asked.take_learned(REMEMBERED_MS), [(peer(1), vec![peer(8)])]);
        asked.learn(peer(1));
        assert!(asked.take_learned(REMEMBERED_MS).is_empty());
    }

    #[test]
    fn questions_without_end_cost_a_bounded_memory() {
        let mut asked = Asked::default();
        (0..100_000).for_each(|n| asked.note(peer(n), peer(7), 0));
        (0..1_000).for_each(|n| asked.note(peer(1), peer(n), 0));
        assert_eq!((asked.by.len(), asked.by[&peer(1)].len()), (MAX_ASKED, MAX_ASKERS));
        asked.note(peer(200_000), peer(7), REMEMBERED_MS);
        assert_eq!(asked.by.len(), 1, "the old ones make room");
    }
}
