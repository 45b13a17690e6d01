//! The shape of the tree: to which neighbours a broadcast is sent at once, and to which it is only announced.
//!
//! One tree for all topics and senders. Each link is a branch at first. Whoever gets a second copy cuts the link that
//! brought it out of the tree; whoever misses something puts a link back into it. So the links that bring a copy first
//! are left, which are the quick ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use qpq_schemas::link::{Announced, Frame, MAX_TOPICS, SubscriptionChange, Tree};
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::lacking::{Ask, Lack};
use super::seek::DEAF_MS;
use super::{Cast, Core, Effect, LinkId};
use crate::store::Head;

/// Broadcasts remembered that came along the tree lately: a second copy of an older one says nothing of its shape.
const MAX_LIVE: usize = 4_096;

/// How often a neighbour is told again at most that its copies are not wanted, in milliseconds.
const PRUNE_AGAIN_MS: u64 = 1_000;

/// How many links fewer another way must have to count as shorter.
const SHORTER_BY: u8 = 2;

/// How often it must have been shorter, over how often it was not.
const MOVE_LEAD: u8 = 8;

/// How often a branch is moved to a shorter way at most, in milliseconds. Each move may cost somebody a delay.
pub(super) const MOVE_EVERY_MS: u64 = 10_000;

/// How long a new neighbour may take to show that it knows these rules, in milliseconds. Then it gets what an older node
/// understands, which is much for a slow link. One that names its history at once, as older nodes do, gets it at once.
pub(super) const UNKNOWN_MS: u64 = 10_000;

/// Topics remembered that a neighbour wants.
const MAX_WANTED: usize = 4 * MAX_TOPICS;

/// Whether a neighbour knows trees and comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// It has not shown so far; since then.
    Unknown(u64),
    /// It has not shown in time: an older node.
    Old,
    /// It does.
    New,
}

/// A neighbour's place in the tree.
pub(in crate::core) struct Branch {
    pub(super) speaks: Speaks,
    /// Whether broadcasts are sent to it at once.
    pub(super) eager: bool,
    /// How often the way over it was shorter than the one that brought a copy first, over how often it was not.
    lead: u8,
    /// When it was told last that its copies are not wanted.
    pruned_ms: Option<u64>,
    /// What is to be announced to it, with the links that it has crossed to here.
    announcements: BTreeMap<MessageId, u8>,
    /// What was missed here, and may be lacking there as well.
    pub(super) missed: Vec<MessageId>,
    wanted: BTreeSet<TopicId>,
    /// How often more it was asked in vain for what it had announced than it gave it.
    pub(super) in_vain: u32,
    /// Until then it is not believed what it announces.
    pub(super) deaf_until_ms: u64,
    /// When it gave something last that it was asked for.
    pub(super) gave_ms: u64,
}

impl Branch {
    pub(in crate::core) fn new(now_ms: u64) -> Self {
        Self {
            speaks: Speaks::Unknown(now_ms),
            eager: true,
            lead: 0,
            pruned_ms: None,
            announcements: BTreeMap::new(),
            missed: Vec::new(),
            wanted: BTreeSet::new(),
            in_vain: 0,
            deaf_until_ms: 0,
            gave_ms: 0,
        }
    }

    /// Whether broadcasts are sent to it unasked. An older node knows no announcements.
    pub(super) fn pushes(&self) -> bool {
        self.eager || !self.speaks_new()
    }

    pub(super) fn speaks_new(&self) -> bool {
        self.speaks == Speaks::New
    }

    /// Nothing of it lies in the future.
    pub(in crate::core) fn clock_set_back(&mut self, now_ms: u64) {
        self.deaf_until_ms = self.deaf_until_ms.min(now_ms + DEAF_MS);
        self.gave_ms = self.gave_ms.min(now_ms);
        if let Speaks::Unknown(since_ms) = &mut self.speaks {
            *since_ms = now_ms.min(*since_ms);
        }
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.speaks, Speaks::Unknown(_))
    }

    pub(super) fn announce(&mut self, head: &Head) {
        self.announcements.insert(head.id, head.hop_count);
    }

    /// It needs to hear nothing more of this one.
    fn forget(&mut self, id: &MessageId) {
        self.announcements.remove(id);
    }

    pub(super) fn announcements(&self) -> usize {
        self.announcements.len()
    }

    pub(super) fn take_announcements(&mut self) -> Vec<Announced> {
        std::mem::take(&mut self.announcements).into_iter().map(|(id, hops)| Announced { id, hops }).collect()
    }

    pub(super) fn wants(&self, head: &Head) -> bool {
        self.wanted.contains(&TopicId(head.destination))
    }

    pub(super) fn subscribe(&mut self, change: SubscriptionChange, topics: &[TopicId]) {
        if change == SubscriptionChange::Set {
            self.wanted.clear();
        }
        for topic in topics {
            match change {
                SubscriptionChange::Remove => _ = self.wanted.remove(topic),
                _ if self.wanted.len() < MAX_WANTED => _ = self.wanted.insert(*topic),
                _ => {}
            }
        }
    }
}

/// How a broadcast came here first.
#[derive(Debug, Clone, Copy)]
struct Came {
    /// From whom; nobody where it was made here.
    source: Option<PeerId>,
    /// Somebody else who was asked for it as missed, so that a copy from there was to come.
    wanted_of: Option<PeerId>,
}

/// The broadcasts that came along the tree lately.
#[derive(Debug, Default)]
pub(super) struct Live {
    order: VecDeque<MessageId>,
    came: BTreeMap<MessageId, Came>,
}

impl Live {
    fn insert(&mut self, id: MessageId, came: Came) {
        if self.came.insert(id, came).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > MAX_LIVE {
            self.order.pop_front().map(|oldest| self.came.remove(&oldest));
        }
    }

    /// Whether a second copy from that neighbour shows a loop in the tree.
    fn shows_loop(&self, id: &MessageId, from: PeerId) -> bool {
        let from = Some(from);
        self.came.get(id).is_some_and(|came| came.source != from && came.wanted_of != from)
    }
}

impl Core {
    pub(in crate::core) fn tree(&mut self, link: LinkId, tree: Tree, now_ms: u64) {
        let Some(peer) = self.speaker(link) else { return self.count("tree-between-domains") };
        match tree {
            Tree::Announce(list) => self.announced(peer, &list, now_ms),
            Tree::Graft(ids) => self.grafted(peer, link, &ids),
            Tree::Prune => {
                self.count("pruned");
                self.make_lazy(peer, now_ms);
            }
        }
    }

    /// A neighbour of this mesh that has just shown that it knows these rules.
    pub(super) fn speaker(&mut self, link: LinkId) -> Option<PeerId> {
        let peer = self.peer_of(link).filter(|peer| self.domain_of(peer).is_none())?;
        self.neighbours.get_mut(&peer)?.branch.speaks = Speaks::New;
        Some(peer)
    }

    fn grafted(&mut self, peer: PeerId, link: LinkId, ids: &[MessageId]) {
        self.count("grafted");
        self.make_eager(peer);
        for head in ids.iter().filter_map(|id| self.history(id)).collect::<Vec<_>>() {
            self.queue_cast(self.preferred(&peer).unwrap_or(link), &head, Cast::New);
        }
    }

    pub(super) fn make_eager(&mut self, peer: PeerId) {
        if let Some(neighbour) = self.neighbours.get_mut(&peer) {
            neighbour.branch.eager = true;
        }
    }

    /// From now on a neighbour gets announcements. So it does of what was about to be sent to it.
    fn make_lazy(&mut self, peer: PeerId, now_ms: u64) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        neighbour.branch.eager = false;
        let link = neighbour.preferred();
        let Some(state) = self.links.get_mut(&link) else { return };
        for head in state.casts.take_new().iter().filter_map(|id| self.history(id)).collect::<Vec<_>>() {
            match head.floods() {
                true => self.queue_cast(link, &head, Cast::New),
                false => self.announce(peer, &head, now_ms),
            }
        }
    }

    /// Cuts a link out of the tree, because it brought a copy that another had brought before.
    pub(super) fn prune(&mut self, peer: PeerId, now_ms: u64) {
        let outside = self.domain_of(&peer).is_some();
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        if outside || !neighbour.branch.speaks_new() {
            return;
        }
        let lately = neighbour.branch.pruned_ms.is_some_and(|at| (at..at + PRUNE_AGAIN_MS).contains(&now_ms));
        if neighbour.branch.eager || !lately {
            neighbour.branch.pruned_ms = Some(now_ms);
            let link = neighbour.preferred();
            self.effects.push(Effect::Send { link, frame: Frame::Tree(Tree::Prune) });
            self.count("prunes");
        }
        self.make_lazy(peer, now_ms);
    }

    /// A neighbour brought a broadcast that is known.
    pub(in crate::core) fn second_copy(&mut self, link: LinkId, id: &MessageId, now_ms: u64) {
        let Some(peer) = self.peer_of(link) else { return };
        self.has_it(peer, id);
        if self.spread.live.shows_loop(id, peer) {
            self.prune(peer, now_ms);
        }
    }

    /// A neighbour has a broadcast: it needs to hear nothing more of it.
    pub(super) fn has_it(&mut self, peer: PeerId, id: &MessageId) {
        let head = self.shelf.get(id);
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        neighbour.branch.forget(id);
        let state = self.links.get_mut(&neighbour.preferred());
        if let (Some(state), Some(head)) = (state, head) {
            state.casts.forget(&head);
        }
    }

    /// Draws the conclusions from a broadcast that came along the tree, or was made here.
    pub(super) fn shape(&mut self, head: &Head, others: &[PeerId], lack: Option<&Lack>, now_ms: u64) {
        let wanted = lack.and_then(|lack| lack.asked).filter(|(_, ask)| *ask == Ask::Want);
        self.spread.live.insert(head.id, Came { source: head.source, wanted_of: wanted.map(|(peer, _)| peer) });
        for peer in others.iter().filter(|peer| head.source != Some(**peer)) {
            self.prune(*peer, now_ms);
        }
        let Some(source) = head.source.filter(|source| self.domain_of(source).is_none()) else { return };
        self.make_eager(source);
        let asked = lack.and_then(|lack| lack.asked).map(|(peer, _)| peer);
        if asked != Some(source) {
            self.spread.came_after(lack.map_or(0, |lack| now_ms.saturating_sub(lack.first_ms)));
            self.look_for_shorter_way(source, head.hop_count, lack, now_ms);
        }
    }

    /// Moves the branch to a neighbour over which most of what comes would have crossed clearly fewer links. One broadcast
    /// alone proves nothing: with senders everywhere, what is shorter for one is longer for another.
    fn look_for_shorter_way(&mut self, source: PeerId, hops: u8, lack: Option<&Lack>, now_ms: u64) {
        let mut best = None;
        for (peer, neighbour) in &mut self.neighbours {
            let branch = &mut neighbour.branch;
            if branch.eager || !branch.speaks_new() {
                continue;
            }
            let holder = lack.and_then(|lack| lack.holders.iter().find(|holder| holder.peer == *peer));
            let there = holder.and_then(|holder| holder.hops);
            let shorter = there.is_some_and(|there| there.saturating_add(1 + SHORTER_BY) <= hops);
            branch.lead = if shorter { branch.lead.saturating_add(1) } else { branch.lead.saturating_sub(1) };
            if branch.lead >= MOVE_LEAD {
                best = Some((*peer, neighbour.preferred()));
            }
        }
        let Some((peer, link)) = best.filter(|_| self.spread.move_at_ms <= now_ms) else { return };
        self.spread.move_at_ms = now_ms + MOVE_EVERY_MS;
        self.neighbours.values_mut().for_each(|neighbour| neighbour.branch.lead = 0);
        self.count("branch-moved");
        self.make_eager(peer);
        self.effects.push(Effect::Send { link, frame: Frame::Tree(Tree::Graft(Vec::new())) });
        self.prune(source, now_ms);
    }
}
