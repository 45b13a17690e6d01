//! Receipts for the user's messages: who has signed that one arrived.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qpq_schemas::{MessageId, PeerId};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::{Delivery, DeliveryPage, DeliveryQuery};

/// Messages that wait for their receipt, and receipts that are kept: about 100 KB of each. The oldest is forgotten first.
const MAX_KEPT: usize = 1_024;
/// Longest wait for a receipt.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What the user waits for, and what came. Kept in memory: after a restart nobody waits any more.
pub(crate) struct Deliveries {
    state: Mutex<State>,
    last: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    awaited: HashMap<MessageId, PeerId>,
    order: VecDeque<MessageId>,
    came: VecDeque<Delivery>,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self { state: Mutex::default(), last: watch::Sender::new(0) }
    }
}

impl Deliveries {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The user is about to send that message, and asks its recipient for a receipt.
    pub(crate) fn expect(&self, id: MessageId, recipient: PeerId) {
        let mut state = self.state();
        if state.awaited.insert(id, recipient).is_none() {
            state.order.push_back(id);
        }
        if state.order.len() > MAX_KEPT
            && let Some(oldest) = state.order.pop_front()
        {
            state.awaited.remove(&oldest);
        }
    }

    /// A receipt came. It counts when the user waits for it, and the message's recipient signed it: others who know the
    /// message's id could sign one too.
    pub(crate) fn came(&self, id: MessageId, by: PeerId, peer_name: Option<String>, at_ms: u64) {
        let mut state = self.state();
        if state.awaited.get(&id) != Some(&by) {
            return;
        }
        state.awaited.remove(&id);
        state.order.retain(|other| *other != id);
        if state.came.len() >= MAX_KEPT {
            state.came.pop_front();
        }
        let seq = *self.last.borrow() + 1;
        state.came.push_back(Delivery { seq, id, peer: by, peer_name, at_ms });
        self.last.send_replace(seq);
    }

    /// The receipts after a place that are there already.
    pub(crate) fn look(&self, query: DeliveryQuery) -> DeliveryPage {
        let Some(after) = query.after else {
            return DeliveryPage { items: Vec::new(), next_after: *self.last.borrow() };
        };
        let items: Vec<Delivery> = self.state().came.iter().filter(|item| item.seq > after).cloned().collect();
        DeliveryPage { next_after: items.last().map_or(after, |item| item.seq), items }
    }

    /// The receipts after a place, or those that come within the time.
    pub(crate) async fn page(&self, query: DeliveryQuery) -> DeliveryPage {
        let mut last = self.last.subscribe();
        let deadline = Instant::now() + Duration::from_millis(query.wait_ms).min(MAX_WAIT);
        loop {
            last.mark_unchanged();
            let page = self.look(query);
            if !page.items.is_empty() || query.after.is_none() || Instant::now() >= deadline {
                return page;
            }
            // Whether the time is up or a receipt came, the next look decides.
            _ = tokio::time::timeout_at(deadline, last.changed()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: PeerId = PeerId([1; 32]);
    const EVE: PeerId = PeerId([2; 32]);

    fn id(n: usize) -> MessageId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        MessageId(bytes)
    }

    async fn after(deliveries: &Deliveries, after: u64) -> Vec<MessageId> {
        let page = deliveries.page(DeliveryQuery { after: Some(after), wait_ms: 0 }).await;
        page.items.iter().map(|item| item.id).collect()
    }

    #[tokio::test]
    async fn only_the_recipients_receipt_counts_and_only_once() {
        let deliveries = Deliveries::default();
        deliveries.expect(id(1), ANNA);
        deliveries.came(id(1), EVE, None, 5);
        deliveries.came(id(2), ANNA, None, 5);
        assert!(after(&deliveries, 0).await.is_empty());
        deliveries.came(id(1), ANNA, Some("anna".to_owned()), 6);
        deliveries.came(id(1), ANNA, None, 7);
        let page = deliveries.page(DeliveryQuery { after: Some(0), wait_ms: 0 }).await;
        let expected = Delivery { seq: 1, id: id(1), peer: ANNA, peer_name: Some("anna".to_owned()), at_ms: 6 };
        assert_eq!((page.items, page.next_after), (vec![expected], 1));
        let place = deliveries.page(DeliveryQuery::default()).await;
        assert!(place.items.is_empty() && place.next_after == 1);
    }

    #[tokio::test]
    async fn who_waits_hears_of_a_receipt_that_comes_meanwhile() {
        let deliveries = Deliveries::default();
        deliveries.expect(id(1), ANNA);
        let waiting = deliveries.page(DeliveryQuery { after: Some(0), wait_ms: 60_000 });
        let (page, ()) = tokio::join!(waiting, async { deliveries.came(id(1), ANNA, None, 5) });
        assert_eq!(page.items.len(), 1);
    }

    #[tokio::test]
    async fn both_memories_have_a_bound() {
        let deliveries = Deliveries::default();
        for n in 0..=MAX_KEPT {
            deliveries.expect(id(n), ANNA);
        }
        assert_eq!(deliveries.state().awaited.len(), MAX_KEPT);
        for n in 0..=MAX_KEPT {
            deliveries.expect(id(n), ANNA);
            deliveries.came(id(n), ANNA, None, 5);
        }
        let came = after(&deliveries, 0).await;
        assert_eq!((came.len(), came.first()), (MAX_KEPT, Some(&id(1))));
        assert!(deliveries.state().order.is_empty());
    }
}
