//! Broadcasts: to every neighbour but the one it came from, and history for those who were away.

use qpq_schemas::link::{Frame, MAX_SYNC_IDS, SubscriptionChange, Sync};
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::{Core, Effect, LinkId, RouteQuery};
use crate::store::{Head, Places};
use qpq_schemas::envelope::Kind;

/// Broadcasts waiting for one link at most. Past it the oldest are left to the history exchange.
const MAX_CASTS: usize = 16_384;

/// How much history is announced to a neighbour, newest first.
const MAX_HISTORY: usize = 16_384;

impl Core {
    /// Queues a broadcast for the neighbours who haven't had it.
    pub(super) fn spread(&mut self, head: &Head, now_ms: u64) {
        let query = RouteQuery {
            destination: head.destination,
            kind: Kind::Broadcast,
            from: head.source.and_then(|source| self.preferred(&source)),
        };
        let mut links = Vec::new();
        self.router.route(now_ms, &query, &mut links);
        self.use_preferred(&mut links);
        links.extend(self.bridges(&TopicId(head.destination)));
        for link in links {
            self.queue_cast(link, head.seq, head.id, head.source);
        }
    }

    pub(super) fn queue_cast(&mut self, link: LinkId, seq: u64, id: MessageId, source: Option<PeerId>) {
        if !self.may_leave(link, &id) {
            return;
        }
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

    /// Tells a neighbour which broadcasts are held here, the newest first.
    pub(super) fn announce_history(&mut self, link: LinkId, now_ms: u64) {
        let newest = match self.domain_behind(link) {
            Some(_) => self.bridged_history(link, now_ms, MAX_HISTORY),
            None => self.shelf.newest_broadcasts(now_ms, MAX_HISTORY),
        };
        for chunk in newest.chunks(MAX_SYNC_IDS) {
            self.effects.push(Effect::Send { link, frame: Frame::Sync(Sync::Have(chunk.to_vec())) });
        }
    }

    /// Whether a broadcast is kept here for those who lack it.
    pub(super) fn is_history(&self, id: &MessageId) -> bool {
        self.shelf.get(id).is_some_and(|head| head.places.has(Places::HISTORY))
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
                    if let Some(head) = self.shelf.get(&id).filter(|head| head.places.has(Places::HISTORY)) {
                        self.queue_cast(link, head.seq, id, None);
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
}
