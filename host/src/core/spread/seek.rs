//! Asking for what others hold and what didn't come by itself.

use std::collections::BTreeMap;

use qpq_schemas::link::{Announced, Frame, MAX_ANNOUNCED, MAX_SYNC_IDS, Sync, Tree};
use qpq_schemas::{MessageId, PeerId};

use super::lacking::{Ask, Holder, Lack};
use super::{Core, Effect, LinkId};
use crate::store::Head;

/// How long a neighbour may take to give what it announced while others hold it too, in milliseconds.
const GRAFT_MS: u64 = 1_500;

/// How long a neighbour may take that gives nothing of what it is asked for, in milliseconds.
pub(super) const GIVE_MS: u64 = 30_000;

/// How often more a neighbour may be asked in vain than it gives before it is not believed any more.
const MAX_IN_VAIN: u32 = 64;

/// How often more before others are asked first, whoever announced something before them.
const DOUBTED_IN_VAIN: u32 = 8;

/// How long it is not believed then, in milliseconds. What it does hold is found by comparing with it afterwards.
pub(super) const DEAF_MS: u64 = 600_000;

/// Broadcasts looked for in one step.
const SEEK_STEP: usize = 1_024;

impl Core {
    /// A neighbour announces what it holds. Most of it comes along the tree within the next moment.
    pub(super) fn announced(&mut self, peer: PeerId, list: &[Announced], now_ms: u64) {
        if self.is_deaf_to(&peer, now_ms) {
            return self.count("announcement-ignored");
        }
        for Announced { id, hops } in list {
            if self.shelf.seen(id).is_some() {
                self.has_it(peer, id);
                if !self.pending.contains_key(id) {
                    continue;
                }
            }
            let due_ms = now_ms + self.spread.patience_ms;
            let holder = Holder { peer, hops: Some(*hops) };
            if !self.spread.lacking.note(*id, holder, Ask::Graft, now_ms, due_ms) {
                self.count("announcement-no-room");
            }
        }
    }

    /// A neighbour holds what was missed here, if it was: it is asked for at once. Whether it lacks anything here.
    pub(super) fn missed(&mut self, peer: PeerId, ids: &[MessageId], now_ms: u64) -> bool {
        if self.is_deaf_to(&peer, now_ms) {
            self.count("announcement-ignored");
            return false;
        }
        let mut any = false;
        for id in ids.iter().filter(|id| self.lacks(id)).copied().collect::<Vec<_>>() {
            any |= self.spread.lacking.note(id, Holder { peer, hops: None }, Ask::Want, now_ms, now_ms);
        }
        self.seek(now_ms);
        any
    }

    fn is_deaf_to(&self, peer: &PeerId, now_ms: u64) -> bool {
        self.branch(peer).is_none_or(|branch| branch.deaf_until_ms > now_ms)
    }

    /// Whether it gives little of what it says to hold.
    fn is_doubted(&self, peer: &PeerId) -> bool {
        self.branch(peer).is_some_and(|branch| branch.in_vain >= DOUBTED_IN_VAIN)
    }

    /// Asks for what should have come by now, and somebody else where the one who was asked didn't give.
    pub(super) fn seek(&mut self, now_ms: u64) {
        let mut asks: BTreeMap<(PeerId, Ask), Vec<MessageId>> = BTreeMap::new();
        for id in self.spread.lacking.due(now_ms, SEEK_STEP) {
            if let Some(asked) = self.whom_to_ask(&id, now_ms) {
                asks.entry(asked).or_default().push(id);
            }
        }
        for ((peer, ask), ids) in asks {
            let Some(link) = self.preferred(&peer) else { continue };
            if ask == Ask::Graft {
                self.count("grafts");
                self.make_eager(peer);
            }
            let most = if ask == Ask::Graft { MAX_ANNOUNCED } else { MAX_SYNC_IDS };
            for ids in ids.chunks(most).map(<[_]>::to_vec) {
                let frame = match ask {
                    Ask::Graft => Frame::Tree(Tree::Graft(ids)),
                    Ask::Want => Frame::Sync(Sync::Want(ids)),
                };
                self.effects.push(Effect::Send { link, frame });
            }
        }
    }

    fn whom_to_ask(&mut self, id: &MessageId, now_ms: u64) -> Option<(PeerId, Ask)> {
        if self.pending.contains_key(id) {
            self.spread.lacking.put_off(id, now_ms + self.spread.patience_ms); // it is being checked and written
            return None;
        }
        if self.shelf.seen(id).is_some() {
            self.spread.lacking.take(id);
            return None;
        }
        let asked = self.spread.lacking.get(id)?.asked;
        if let Some((peer, Ask::Want)) = asked
            && let Some(until_ms) = self.branch(&peer).map(|branch| branch.gave_ms + GIVE_MS).filter(|at| *at > now_ms)
        {
            self.spread.lacking.put_off(id, until_ms.min(now_ms + GIVE_MS)); // it is giving, one after the other
            return None;
        }
        if let Some(peer) = self.spread.lacking.in_vain(id) {
            self.asked_in_vain(peer, now_ms);
        }
        let lack = self.spread.lacking.get(id)?;
        let (ask, others) = (lack.ask, lack.holders.len() > 1);
        let believed = lack.holders.iter().filter(|holder| !self.is_deaf_to(&holder.peer, now_ms));
        let Some(holder) = believed.min_by_key(|holder| self.is_doubted(&holder.peer)).copied() else {
            self.spread.lacking.take(id);
            self.count("lacking-given-up");
            return None;
        };
        self.spread.lacking.ask(id, holder.peer, ask);
        let patient = ask == Ask::Want || !others;
        self.spread.lacking.put_off(id, now_ms + if patient { GIVE_MS } else { GRAFT_MS });
        Some((holder.peer, ask))
    }

    fn asked_in_vain(&mut self, peer: PeerId, now_ms: u64) {
        self.count("asked-in-vain");
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        neighbour.branch.in_vain += 1;
        let others = self.links.values().any(|link| link.peer != peer); // else there is nobody to be protected from it
        if neighbour.branch.in_vain >= MAX_IN_VAIN && others {
            neighbour.branch.in_vain = 0;
            neighbour.branch.deaf_until_ms = now_ms + DEAF_MS;
            self.spread.lacking.part(&peer, now_ms);
            self.count("announcer-not-believed");
        }
    }

    /// A broadcast is here: whoever gave it may be asked in vain for another one.
    pub(super) fn given(&mut self, head: &Head, lack: Option<&Lack>, now_ms: u64) {
        let Some(source) = head.source else { return };
        let asked = lack.and_then(|lack| lack.asked).map(|(peer, _)| peer);
        if let Some(neighbour) = self.neighbours.get_mut(&source) {
            neighbour.branch.in_vain = neighbour.branch.in_vain.saturating_sub(1);
            if asked == Some(source) {
                neighbour.branch.gave_ms = now_ms;
            }
        }
        asked.into_iter().for_each(|peer| self.go_on_comparing(peer, now_ms));
    }

    /// A broadcast came, and is not kept: it is looked for no longer.
    pub(in crate::core) fn not_kept(&mut self, head: &Head, now_ms: u64) {
        if let Some(lack) = self.spread.lacking.take(&head.id) {
            self.given(head, Some(&lack), now_ms);
        }
    }

    /// What a neighbour was asked for came and can't be taken: it has crossed too many links, or the neighbour has brought
    /// enough for now. That it gave it all the same; somebody else may be asked.
    pub(in crate::core) fn of_no_use(&mut self, link: LinkId, id: &MessageId, now_ms: u64) {
        let asked = self.spread.lacking.get(id).and_then(|lack| lack.asked).map(|(peer, _)| peer);
        if asked.is_some() && asked == self.peer_of(link) {
            self.spread.lacking.in_vain(id);
            self.spread.lacking.put_off(id, now_ms);
        }
    }

    /// A neighbour is gone.
    pub(in crate::core) fn branch_down(&mut self, peer: &PeerId, now_ms: u64) {
        self.spread.lacking.part(peer, now_ms);
    }
}
