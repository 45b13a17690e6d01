//! Broadcasts: along a tree to everybody, by announcement to who has no branch, and history for those who were away.
//!
//! `host/docs/broadcast.md` tells the rules and their reasons. [`tree`] shapes the tree, [`seek`] asks for what was
//! announced and didn't come, [`reconcile`] finds out in what two neighbours differ.

mod lacking;
mod queue;
mod reconcile;
mod seek;
mod tree;

use qpq_schemas::link::{Frame, MAX_ANNOUNCED, MAX_SYNC_IDS, SubscriptionChange, Sync, Tree};
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::{Core, Effect, LinkId};
use crate::store::Head;
use lacking::{Ask, Lack, Lacking};
pub(super) use queue::{Cast, Casts};
pub(super) use reconcile::Talk;
pub(super) use tree::Branch;
use tree::Live;

/// How much history an older node, or another domain, is told of, newest first.
const MAX_HISTORY: usize = 16_384;

/// A broadcast that may cross no more links than this goes to all neighbours, not along the tree: two nodes that are near
/// each other may be far apart in the tree.
const FLOODED_HOPS: u8 = 4;

/// How long announcements are gathered, in milliseconds. They are no hurry: most are of what comes along the tree anyway.
const GATHER_MS: u64 = 50;

/// How long what was announced may take along the tree before it is asked for, in milliseconds. In a mesh of 1,000 nodes
/// the tree needs less than half of it.
const MIN_PATIENCE_MS: u64 = 500;

/// The same where the tree is known to be slow.
const MAX_PATIENCE_MS: u64 = 4_000;

/// What the core remembers of broadcasts under way.
pub(super) struct Spread {
    live: Live,
    lacking: Lacking,
    /// See [`MIN_PATIENCE_MS`].
    patience_ms: u64,
    /// When to send the announcements that were gathered.
    flush_at_ms: Option<u64>,
    /// When a branch may be moved again to a shorter way.
    move_at_ms: u64,
    /// The number of the last comparison that was begun here.
    session: u32,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            live: Live::default(),
            lacking: Lacking::default(),
            patience_ms: MIN_PATIENCE_MS,
            flush_at_ms: None,
            move_at_ms: 0,
            session: 0,
        }
    }
}

impl Spread {
    /// When there is something to do.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.flush_at_ms.into_iter().chain(self.lacking.next_ms()).min()
    }

    /// What was announced came so much later by itself: the patience follows, up at once and down slowly.
    fn came_after(&mut self, late_ms: u64) {
        let wanted = late_ms.saturating_mul(3).div_euclid(2).clamp(MIN_PATIENCE_MS, MAX_PATIENCE_MS);
        self.patience_ms = wanted.max(self.patience_ms - self.patience_ms.saturating_sub(wanted) / 4);
    }
}

/// What is new here goes on.
impl Core {
    /// Passes a broadcast on that has just become durable. `others` brought it while it was being checked and written.
    pub(super) fn spread(&mut self, head: &Head, others: &[PeerId], now_ms: u64) {
        let lack = self.spread.lacking.take(&head.id);
        self.given(head, lack.as_ref(), now_ms);
        let asked = lack.as_ref().and_then(|lack| lack.asked);
        let missed = matches!(asked, Some((peer, Ask::Want)) if head.source == Some(peer));
        let has = |peer: &PeerId| {
            let told = |lack: &Lack| lack.holders.iter().any(|holder| holder.peer == *peer);
            head.source == Some(*peer) || others.contains(peer) || lack.as_ref().is_some_and(told)
        };
        if !missed && !head.floods() {
            self.shape(head, others, lack.as_ref(), now_ms);
        }
        if !head.may_go_on() {
            return self.count("scope-reached");
        }
        for (peer, link) in self.preferred_links().collect::<Vec<_>>() {
            let Some(to) = self.neighbours.get_mut(&peer).filter(|_| !has(&peer)) else { continue };
            let pushed = head.floods() || to.branch.pushes();
            match self.domain_of(&peer) {
                Some(_) => {}
                None if missed => self.offer_missed(peer, head.id),
                None if pushed => self.queue_cast(link, head, Cast::New),
                None => self.announce(peer, head, now_ms),
            }
        }
        for link in self.bridges(&TopicId(head.destination)) {
            if self.peer_of(link) != head.source {
                self.queue_cast(link, head, Cast::New);
            }
        }
    }

    pub(super) fn queue_cast(&mut self, link: LinkId, head: &Head, cast: Cast) {
        if !self.may_leave(link, &head.id) {
            return;
        }
        let Some(state) = self.links.get_mut(&link).filter(|state| !state.in_flight.contains_key(&head.id)) else {
            return;
        };
        state.casts.push(head, cast);
        self.unpumped.insert(link);
    }

    /// Tells a neighbour later that this is here, with whatever else becomes so.
    fn announce(&mut self, peer: PeerId, head: &Head, now_ms: u64) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        neighbour.branch.announce(head);
        let full = neighbour.branch.announcements() >= MAX_ANNOUNCED;
        let at_ms = self.spread.flush_at_ms.get_or_insert(now_ms + GATHER_MS);
        if full {
            *at_ms = now_ms;
        }
    }

    /// What this node had missed may be new to a neighbour as well, but most have it: they are told, and ask.
    fn offer_missed(&mut self, peer: PeerId, id: MessageId) {
        if let Some(neighbour) = self.neighbours.get_mut(&peer) {
            neighbour.branch.missed.push(id);
        }
    }

    /// Sends what this step gathered for [`Core::offer_missed`].
    pub(super) fn flush_missed(&mut self) {
        for neighbour in self.neighbours.values_mut().filter(|neighbour| !neighbour.branch.missed.is_empty()) {
            let link = neighbour.preferred();
            for ids in std::mem::take(&mut neighbour.branch.missed).chunks(MAX_SYNC_IDS) {
                self.effects.push(Effect::Send { link, frame: Frame::Sync(Sync::Have(ids.to_vec())) });
            }
        }
    }

    /// Does what is due by now.
    pub(super) fn spread_tick(&mut self, now_ms: u64) {
        if self.spread.flush_at_ms.take_if(|at| *at <= now_ms).is_some() {
            for neighbour in self.neighbours.values_mut() {
                let link = neighbour.preferred();
                for list in neighbour.branch.take_announcements().chunks(MAX_ANNOUNCED) {
                    self.effects.push(Effect::Send { link, frame: Frame::Tree(Tree::Announce(list.to_vec())) });
                }
            }
        }
        self.seek(now_ms);
    }

    /// A clock that was set back must not put everything off.
    pub(super) fn spread_not_after(&mut self, now_ms: u64) {
        self.spread.flush_at_ms = self.spread.flush_at_ms.map(|at| at.min(now_ms + GATHER_MS));
        self.spread.move_at_ms = self.spread.move_at_ms.min(now_ms + tree::MOVE_EVERY_MS);
        self.spread.lacking.not_after(now_ms + seek::GIVE_MS);
    }
}

/// Lists of what is held.
impl Core {
    /// Finds out what a neighbour lacks: by comparing, or, where it can't, by naming all to it, the newest first.
    pub(super) fn announce_history(&mut self, link: LinkId, now_ms: u64) {
        let Some(peer) = self.peer_of(link) else { return };
        let newest = match self.domain_of(&peer) {
            Some(_) => self.bridged_history(link, now_ms, MAX_HISTORY),
            None if self.branch(&peer).is_some_and(Branch::speaks_new) => return self.compare(peer, now_ms),
            None => self.shelf.newest_broadcasts(now_ms, MAX_HISTORY),
        };
        let newest: Vec<MessageId> = newest.into_iter().filter(|id| self.history(id).is_some()).collect();
        for chunk in newest.chunks(MAX_SYNC_IDS) {
            self.effects.push(Effect::Send { link, frame: Frame::Sync(Sync::Have(chunk.to_vec())) });
        }
    }

    /// A broadcast that is kept here for those who lack it, and may still go on.
    pub(super) fn history(&self, id: &MessageId) -> Option<Head> {
        self.shelf.broadcast(id).filter(Head::may_go_on)
    }

    pub(super) fn sync(&mut self, link: LinkId, sync: Sync, now_ms: u64) {
        let Some(peer) = self.peer_of(link) else { return };
        let outside = self.domain_of(&peer).is_some();
        match sync {
            Sync::Have(ids) if outside => {
                let lacking: Vec<_> = ids.into_iter().filter(|id| self.lacks(id)).collect();
                if !lacking.is_empty() {
                    self.effects.push(Effect::Send { link, frame: Frame::Sync(Sync::Want(lacking)) });
                }
            }
            Sync::Have(ids) => {
                if self.branch(&peer).is_some_and(Branch::is_unknown) {
                    self.is_older(peer, now_ms);
                }
                self.missed(peer, &ids, now_ms);
            }
            Sync::Want(ids) => {
                let mut given = false;
                for head in ids.iter().filter_map(|id| self.history(id)).collect::<Vec<_>>() {
                    let wanted = self.branch(&peer).is_some_and(|branch| branch.wants(&head));
                    self.queue_cast(link, &head, if wanted { Cast::Wanted } else { Cast::Missed });
                    given = true;
                }
                if given {
                    self.talk_was_of_use(&peer);
                }
            }
        }
    }

    /// Whether a broadcast never was here.
    fn lacks(&self, id: &MessageId) -> bool {
        self.shelf.seen(id).is_none() && !self.pending.contains_key(id)
    }
}

/// Topics that are wanted.
impl Core {
    pub(super) fn subscribe(&mut self, topic: TopicId) {
        if self.subscribed.insert(topic) {
            self.shelf.into_inbox(&topic);
            self.subscriptions_changed(SubscriptionChange::Add, topic);
        }
    }

    pub(super) fn unsubscribe(&mut self, topic: TopicId) {
        if self.subscribed.remove(&topic) {
            self.subscriptions_changed(SubscriptionChange::Remove, topic);
        }
    }

    fn subscriptions_changed(&mut self, change: SubscriptionChange, topic: TopicId) {
        let inside = self.preferred_links().filter(|(peer, _)| self.domain_of(peer).is_none());
        for (_, link) in inside.collect::<Vec<_>>() {
            let frame = Frame::Subscriptions(change, vec![topic]);
            self.effects.push(Effect::Send { link, frame });
        }
    }

    /// A neighbour says which topics it wants: what it missed of them is sent to it before the rest.
    pub(super) fn neighbour_wants(&mut self, link: LinkId, change: SubscriptionChange, topics: &[TopicId]) {
        if let Some(neighbour) = self.behind(link) {
            neighbour.branch.subscribe(change, topics);
        }
    }

    fn branch(&self, peer: &PeerId) -> Option<&Branch> {
        self.neighbours.get(peer).map(|neighbour| &neighbour.branch)
    }
}

impl Head {
    /// Whether it goes to all neighbours, and shapes no tree.
    fn floods(&self) -> bool {
        self.max_hops <= FLOODED_HOPS
    }
}
