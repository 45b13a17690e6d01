//! What each neighbour brings in is bounded, whatever keys signed it: keys cost nothing, links do.
//!
//! An envelope counts once, when it is looked at first. One that is put off for lack of room comes again, so it is given back.

use std::collections::BTreeMap;

use qpq_schemas::envelope::EnvelopeRef;
use qpq_schemas::link::{Answer, Verdict};
use qpq_schemas::{MessageId, PeerId};

use super::federation::Domain;
use super::intake::Candidate;
use super::quota::{Limit, Quota};
use super::{Core, LinkId};
use crate::store;

/// Neighbours whose use is counted at a time, also after their links went down: about 500 KB.
const MAX_TOLLS: usize = 4_096;

/// Where an envelope was counted.
#[derive(Debug, Clone)]
pub(super) enum Charge {
    /// On a neighbour of this mesh.
    Neighbour(PeerId),
    /// On another domain.
    Domain(Domain),
}

/// What each neighbour has used.
#[derive(Debug)]
pub(super) struct Tolls {
    limit: Limit,
    /// Where the admin said something else.
    limits: BTreeMap<PeerId, Limit>,
    used: BTreeMap<PeerId, Quota>,
}

impl Tolls {
    pub(super) fn new(limit: Limit) -> Self {
        Self { limit, limits: BTreeMap::new(), used: BTreeMap::new() }
    }

    /// Whether there is room for a bound of this neighbour's own.
    fn has_room(&self, peer: &PeerId) -> bool {
        self.limits.len() < MAX_TOLLS || self.limits.contains_key(peer)
    }

    /// Bounds one neighbour anew. Without room for that it keeps the common bound.
    pub(super) fn set_limit(&mut self, peer: PeerId, limit: Option<Limit>) {
        self.used.remove(&peer);
        match limit {
            Some(limit) if self.has_room(&peer) => _ = self.limits.insert(peer, limit),
            Some(_) => {}
            None => _ = self.limits.remove(&peer),
        }
    }

    fn take(&mut self, peer: PeerId, bytes: u64, now_ms: u64) -> Result<(), u16> {
        if self.used.len() >= MAX_TOLLS && !self.used.contains_key(&peer) {
            self.used.pop_first(); // a full bucket is the worst that follows
        }
        let limit = self.limits.get(&peer).copied().unwrap_or(self.limit);
        self.used.entry(peer).or_insert_with(|| Quota::new(limit, now_ms)).take(bytes, now_ms)
    }
}

impl Core {
    /// How many neighbours have bounds of their own already, if one more is too many.
    pub fn too_many_limits(&self, peer: &PeerId) -> Option<usize> {
        (!self.tolls.has_room(peer)).then_some(MAX_TOLLS)
    }

    /// Counts an envelope on whoever brought it; where that one has brought enough, what to answer. A peer that the admin
    /// trusts is bounded by what there is room for.
    pub(super) fn admit_from(
        &mut self,
        link: LinkId,
        view: EnvelopeRef<'_>,
        id: MessageId,
        now_ms: u64,
    ) -> Result<Option<Charge>, Answer> {
        if let Some(domain) = self.domain_behind(link).cloned() {
            return self.admit_from_domain(domain, view, id, now_ms).map(Some);
        }
        let Some(peer) = self.peer_of(link).filter(|peer| !self.shelf.favours(peer)) else { return Ok(None) };
        match self.tolls.take(peer, view.wire().len() as u64, now_ms) {
            Ok(()) => Ok(Some(Charge::Neighbour(peer))),
            Err(retry_after_secs) => {
                self.count("link-quota");
                self.refused(id, "link-quota", Some(peer), now_ms);
                self.shelf.count_refused(store::Quota::Link);
                Err(Answer { id, verdict: Verdict::RelayFull, retry_after_secs })
            }
        }
    }

    /// An envelope was put off for want of room here.
    pub(super) fn give_back(&mut self, candidate: &Candidate) {
        let bytes = candidate.envelope.wire().len() as u64;
        match &candidate.charge {
            Some(Charge::Neighbour(peer)) => {
                if let Some(quota) = self.tolls.used.get_mut(peer) {
                    quota.give_back(bytes);
                }
            }
            Some(Charge::Domain(domain)) => self.give_back_to_domain(domain, bytes),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_finds_no_room_is_known_before_it_is_set() {
        let bound = Some(Limit { messages_per_minute: 1, bytes_per_minute: 1_000 });
        let peer = |n: usize| {
            let mut key = [0; 32];
            key.iter_mut().zip(n.to_le_bytes()).for_each(|(to, from)| *to = from);
            PeerId(key)
        };
        let mut tolls = Tolls::new(Limit { messages_per_minute: 9, bytes_per_minute: 9_000 });
        (0..MAX_TOLLS).for_each(|n| tolls.set_limit(peer(n), bound));
        assert!(!tolls.has_room(&peer(MAX_TOLLS)) && tolls.has_room(&peer(0)));
        tolls.set_limit(peer(0), None);
        assert!(tolls.has_room(&peer(MAX_TOLLS)));
    }
}
