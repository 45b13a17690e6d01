//! Broadcasts: to every neighbour but the one it came from, and history for those who were away.

use qpq_schemas::link::{Frame, MAX_SYNC_IDS, Sync};
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::{Core, Effect, LinkId, RouteQuery};
use crate::core::shelf::Head;

/// Broadcasts waiting for one link at most. Past it the oldest are left to the history exchange.
const MAX_CASTS: usize = 16_384;

/// How much history is announced to a neighbour, newest first.
const MAX_HISTORY: usize = 16_384;

impl Core {
    /// Queues a broadcast for the neighbours who haven't had it.
    pub(super) fn spread(&mut self, head: &Head, now_ms: u64) {
        let query = RouteQuery { destination: head.destination, kind: head.kind, from: self.link_of(head.source) };
        let mut links = Vec::new();
        self.router.route(now_ms, &query, &mut links);
        for link in links {
            self.queue_cast(link, head.seq, head.id, head.source);
        }
    }

    fn link_of(&self, peer: Option<PeerId>) -> Option<LinkId> {
        let peer = peer?;
        self.links.iter().find(|(_, state)| state.peer == peer).map(|(link, _)| *link)
    }

    fn queue_cast(&mut self, link: LinkId, seq: u64, id: MessageId, source: Option<PeerId>) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if source == Some(state.peer) || state.in_flight.contains_key(&id) {
            return;
        }
        if state.casts.len() >= MAX_CASTS {
            state.casts.pop_front();
            state.casts_lost = true;
        }
        state.casts.push_back((seq, id));
        self.unpumped.insert(link);
    }

    /// Tells a neighbour which broadcasts are held here.
    pub(super) fn announce_history(&mut self, link: LinkId, now_ms: u64) {
        let ids: Vec<_> = self.shelf.history(now_ms, MAX_HISTORY);
        for chunk in ids.chunks(MAX_SYNC_IDS) {
            self.effects.push(Effect::Send { link, frame: Frame::Sync(Sync::Have(chunk.to_vec())) });
        }
    }

    pub(super) fn sync(&mut self, link: LinkId, sync: Sync) {
        match sync {
            Sync::Have(ids) => {
                let lacking: Vec<_> = ids.into_iter().filter(|id| self.lacks(id)).collect();
                if !lacking.is_empty() {
                    self.effects.push(Effect::Send { link, frame: Frame::Sync(Sync::Want(lacking)) });
                }
            }
            Sync::Want(ids) => {
                for id in ids {
                    if let Some(seq) = self.shelf.broadcast_seq(&id) {
                        self.queue_cast(link, seq, id, None);
                    }
                }
            }
        }
    }

    fn lacks(&self, id: &MessageId) -> bool {
        self.shelf.seen(id).is_none() && !self.pending.contains_key(id)
    }

    pub(super) fn subscribe(&mut self, topic: TopicId) {
        if self.subscribed.insert(topic) {
            self.shelf.subscribe(topic);
            self.tell_subscriptions();
        }
    }

    pub(super) fn unsubscribe(&mut self, topic: TopicId) {
        if self.subscribed.remove(&topic) {
            self.shelf.unsubscribe(topic);
            self.tell_subscriptions();
        }
    }

    fn tell_subscriptions(&mut self) {
        let topics: Vec<TopicId> = self.subscribed.iter().copied().collect();
        for link in self.links.keys() {
            self.effects.push(Effect::Send { link: *link, frame: Frame::Subscriptions(topics.clone()) });
        }
    }
}
