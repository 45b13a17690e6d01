//! Broadcasts that others are known to hold and that are lacking here: from whom to ask for each, and when.

use std::collections::{BTreeMap, BTreeSet};

use qpq_schemas::{MessageId, PeerId};

/// Broadcasts lacking here that are remembered at most, of all neighbours. At about 200 bytes each, 13 MB.
const MAX_LACKING: usize = 65_536;

/// Those for which one neighbour was the first to say that it holds them: when it only announces them.
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
    /// Who said so first.
    owner: PeerId,
    /// When to look at it again.
    due_ms: u64,
}

/// All of them. Sorted, so that what follows from them doesn't depend on any hash.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    lacks: BTreeMap<MessageId, Lack>,
    due: BTreeSet<(u64, MessageId)>,
    /// How many each neighbour was the first to name.
    owned: BTreeMap<PeerId, usize>,
    /// How many each neighbour is asked for as missed.
    wanted: BTreeMap<PeerId, usize>,
}

impl Lacking {
    /// Notes that a neighbour holds one, to be looked at when that time comes. False when there is no room for it.
    pub(super) fn note(&mut self, id: MessageId, holder: Holder, ask: Ask, now_ms: u64, due_ms: u64) -> bool {
        if let Some(lack) = self.lacks.get_mut(&id) {
            if lack.holders.len() < MAX_HOLDERS && !lack.holders.iter().any(|other| other.peer == holder.peer) {
                lack.holders.push(holder);
            }
            if lack.asked.is_none() && due_ms < lack.due_ms {
                lack.ask = ask;
                self.put_off(&id, due_ms);
            }
            return true;
        }
        let most = if ask == Ask::Graft { MAX_ANNOUNCED_BY } else { MAX_MISSED_BY };
        let owned = self.owned.get(&holder.peer).copied().unwrap_or(0);
        if owned >= most || self.lacks.len() >= MAX_LACKING {
            return false;
        }
        *self.owned.entry(holder.peer).or_default() += 1;
        self.due.insert((due_ms, id));
        let (owner, holders) = (holder.peer, vec![holder]);
        self.lacks.insert(id, Lack { holders, asked: None, ask, first_ms: now_ms, owner, due_ms });
        true
    }

    /// It is here, or is given up.
    pub(super) fn take(&mut self, id: &MessageId) -> Option<Lack> {
        let lack = self.lacks.remove(id)?;
        self.due.remove(&(lack.due_ms, *id));
        lower(&mut self.owned, &lack.owner);
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
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// The first ones whose time has come.
    pub(super) fn due(&self, now_ms: u64, max: usize) -> Vec<MessageId> {
        self.due.iter().take_while(|(due_ms, _)| *due_ms <= now_ms).take(max).map(|(_, id)| *id).collect()
    }

    pub(super) fn get(&self, id: &MessageId) -> Option<&Lack> {
        self.lacks.get(id)
    }

    /// Looks at it again at another time.
    pub(super) fn put_off(&mut self, id: &MessageId, due_ms: u64) {
        let Some(lack) = self.lacks.get_mut(id) else { return };
        self.due.remove(&(lack.due_ms, *id));
        self.due.insert((due_ms, *id));
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

    /// A neighbour is gone: what it held or was asked for is looked at again at once.
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
        let late = self.due.range((latest_ms.saturating_add(1), MessageId([0; 32]))..).map(|(_, id)| *id);
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
