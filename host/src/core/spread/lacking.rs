//! Broadcasts that others are known to hold and that are lacking here: from whom to ask for each, and when.
//!
//! Each stands in the share of one neighbour that named it. Room and turns are divided by shares, so that a neighbour which names what
//! nobody has takes neither from others.

use std::collections::{BTreeMap, BTreeSet};

use qpq_schemas::{MessageId, PeerId};

/// Broadcasts lacking here that are remembered at most, of all neighbours. At about 200 bytes each, 13 MB. Beyond it the largest share
/// gives way to smaller ones.
const MAX_LACKING: usize = 65_536;

/// Those in the share of one neighbour: when it only announces them.
const MAX_ANNOUNCED_BY: usize = 2_048;

/// The same when they come from comparing what both hold. An older node names so many at once.
const MAX_MISSED_BY: usize = 16_384;

/// Neighbours remembered of those that hold one.
const MAX_HOLDERS: usize = 8;

/// How a neighbour is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    /// It shall also send everything else at once from now on.
    Graft,
    /// It shall send this one.
    Want,
}

/// A neighbour that holds what is lacking here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) peer: PeerId,
    /// Links that it has crossed to there, as the neighbour says; none where it doesn't say.
    pub(super) hops: Option<u8>,
}

/// One broadcast that is lacking here.
#[derive(Debug, Clone)]
pub(super) struct Lack {
    /// Who holds it, the first to say so first; those that were asked in vain are gone.
    pub(super) holders: Vec<Holder>,
    /// Who is asked at the moment.
    pub(super) asked: Option<(PeerId, Ask)>,
    /// How the next one is asked.
    pub(super) ask: Ask,
    /// When it was first heard of.
    pub(super) first_ms: u64,
    /// In whose share it stands.
    owner: PeerId,
    /// When to look at it again.
    due_ms: u64,
}

/// All of them. Sorted, so that what follows from them doesn't depend on any hash.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    lacks: BTreeMap<MessageId, Lack>,
    /// The share of each neighbour, by when to look at them. None is empty.
    shares: BTreeMap<PeerId, BTreeSet<(u64, MessageId)>>,
    /// How many each neighbour is asked for as missed.
    wanted: BTreeMap<PeerId, usize>,
}

impl Lacking {
    /// Notes that a neighbour holds one, to be looked at when that time comes. False when there is no room for it.
    pub(super) fn note(&mut self, id: MessageId, holder: Holder, ask: Ask, now_ms: u64, due_ms: u64) -> bool {
        let peer = holder.peer;
        if let Some(lack) = self.lacks.get_mut(&id) {
            if lack.holders.len() < MAX_HOLDERS && !lack.holders.iter().any(|other| other.peer == peer) {
                lack.holders.push(holder);
            }
            if lack.asked.is_none() && due_ms < lack.due_ms {
                lack.ask = ask;
                self.put_off(&id, due_ms);
            }
            self.belong_to_smaller(&id, peer);
            return true;
        }
        let most = if ask == Ask::Graft { MAX_ANNOUNCED_BY } else { MAX_MISSED_BY };
        if self.share(&peer) >= most || !self.has_room(&peer) {
            return false;
        }
        self.shares.entry(peer).or_default().insert((due_ms, id));
        let holders = vec![holder];
        self.lacks.insert(id, Lack { holders, asked: None, ask, first_ms: now_ms, owner: peer, due_ms });
        true
    }

    fn share(&self, peer: &PeerId) -> usize {
        self.shares.get(peer).map_or(0, BTreeSet::len)
    }

    /// Room for one more in a neighbour's share. The largest gives up what it would look at last, if it stays the larger one.
    fn has_room(&mut self, peer: &PeerId) -> bool {
        if self.lacks.len() < MAX_LACKING {
            return true;
        }
        let Some((_, largest)) = self.shares.iter().max_by_key(|(_, share)| share.len()) else { return false };
        let last = largest.last().filter(|_| largest.len() > self.share(peer) + 1).map(|(_, id)| *id);
        last.is_some_and(|id| self.take(&id).is_some())
    }

    /// What several name stands in the smallest of their shares: so a large one is made of what nobody else has.
    fn belong_to_smaller(&mut self, id: &MessageId, peer: PeerId) {
        let Some(lack) = self.lacks.get(id).filter(|lack| self.share(&peer) + 1 < self.share(&lack.owner)) else {
            return;
        };
        let (owner, due_ms) = (lack.owner, lack.due_ms);
        self.leave_share(&owner, due_ms, id);
        self.shares.entry(peer).or_default().insert((due_ms, *id));
        self.lacks.entry(*id).and_modify(|lack| lack.owner = peer);
    }

    fn leave_share(&mut self, owner: &PeerId, due_ms: u64, id: &MessageId) {
        let Some(share) = self.shares.get_mut(owner) else { return };
        share.remove(&(due_ms, *id));
        if share.is_empty() {
            self.shares.remove(owner);
        }
    }

    /// It is here, or is given up.
    pub(super) fn take(&mut self, id: &MessageId) -> Option<Lack> {
        let lack = self.lacks.remove(id)?;
        self.leave_share(&lack.owner, lack.due_ms, id);
        if let Some((peer, Ask::Want)) = lack.asked {
            lower(&mut self.wanted, &peer);
        }
        Some(lack)
    }

    /// How many a neighbour is asked for as missed, without having given them yet.
    pub(super) fn wanted_of(&self, peer: &PeerId) -> usize {
        self.wanted.get(peer).copied().unwrap_or(0)
    }

    /// When to look at the first one.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.shares.values().filter_map(|share| share.first()).map(|(due_ms, _)| *due_ms).min()
    }

    /// The first ones whose time has come, as many of each share.
    pub(super) fn due(&self, now_ms: u64, max: usize) -> Vec<MessageId> {
        let is_due = |share: &&BTreeSet<(u64, MessageId)>| share.first().is_some_and(|(due_ms, _)| *due_ms <= now_ms);
        let each = max.div_ceil(self.shares.values().filter(is_due).count().max(1));
        let of = |share: &BTreeSet<(u64, MessageId)>| {
            let due = share.iter().take_while(|(due_ms, _)| *due_ms <= now_ms);
            due.take(each).map(|(_, id)| *id).collect::<Vec<_>>()
        };
        self.shares.values().flat_map(of).collect()
    }

    pub(super) fn get(&self, id: &MessageId) -> Option<&Lack> {
        self.lacks.get(id)
    }

    /// Looks at it again at another time.
    pub(super) fn put_off(&mut self, id: &MessageId, due_ms: u64) {
        let Some(lack) = self.lacks.get_mut(id) else { return };
        if let Some(share) = self.shares.get_mut(&lack.owner) {
            share.remove(&(lack.due_ms, *id));
            share.insert((due_ms, *id));
        }
        lack.due_ms = due_ms;
    }

    /// Who was asked has not given it: the neighbour, if there was one. It counts as a holder no more.
    pub(super) fn in_vain(&mut self, id: &MessageId) -> Option<PeerId> {
        let lack = self.lacks.get_mut(id)?;
        let (peer, ask) = lack.asked.take()?;
        lack.holders.retain(|holder| holder.peer != peer);
        if ask == Ask::Want {
            lower(&mut self.wanted, &peer);
        }
        Some(peer)
    }

    /// A neighbour is asked.
    pub(super) fn ask(&mut self, id: &MessageId, peer: PeerId, ask: Ask) {
        let Some(lack) = self.lacks.get_mut(id) else { return };
        lack.asked = Some((peer, ask));
        if ask == Ask::Want {
            *self.wanted.entry(peer).or_default() += 1;
        }
    }

    /// A neighbour is gone, or not believed any more: what it held or was asked for is looked at again at once.
    pub(super) fn part(&mut self, peer: &PeerId, now_ms: u64) {
        let held = |(_, lack): &(&MessageId, &Lack)| lack.holders.iter().any(|holder| holder.peer == *peer);
        for id in self.lacks.iter().filter(held).map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(lack) = self.lacks.get_mut(&id) else { continue };
            lack.holders.retain(|holder| holder.peer != *peer);
            if lack.asked.is_some_and(|(asked, _)| asked == *peer) {
                self.in_vain(&id);
                self.put_off(&id, now_ms);
            }
        }
    }

    /// Looks at everything by then: the clock was set back.
    pub(super) fn not_after(&mut self, latest_ms: u64) {
        let later = (latest_ms.saturating_add(1), MessageId([0; 32]));
        let late = self.shares.values().flat_map(|share| share.range(later..)).map(|(_, id)| *id);
        late.collect::<Vec<_>>().iter().for_each(|id| self.put_off(id, latest_ms));
    }
}

fn lower(counts: &mut BTreeMap<PeerId, usize>, peer: &PeerId) {
    let Some(count) = counts.get_mut(peer) else { return };
    *count = count.saturating_sub(1);
    if *count == 0 {
        counts.remove(peer);
    }
}
