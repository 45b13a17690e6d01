//! A bot's way through the inbox: pull a page, hand it on, note how far all is handled.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::api::{ApiError, InboxPage, InboxQuery, NodeApi};

use super::super::dispatch;
use super::super::shared::Shared;
use super::super::store::{BotStore, HOST_PREFIX, StoreOp, StoredEntry};
use super::super::vm::Vm;
use super::{Phase, Worker};

/// Messages pulled at a time.
pub(crate) const PAGE: usize = 32;
/// How long after an event the cursor is written at the latest.
const ACK_AFTER: Duration = Duration::from_secs(1);
/// The host's note that a bot has begun, in the bot's store; with the place where, as eight bytes.
pub(crate) const BEGUN: &[u8] = &[HOST_PREFIX, b'b'];
/// How long to wait after the node refused to read its inbox.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The name under which a bot's place in the inbox is kept.
pub(crate) fn reader(bot: &str) -> String {
    format!("bot:{bot}")
}

impl Worker {
    /// Whether a page could be pulled, were it not too early.
    pub(super) fn wants_page(&self) -> bool {
        let idle = self.ready.is_empty() && self.fetch.is_none() && self.paused_until.is_none();
        self.behind && idle && self.phase == Phase::Active
    }

    pub(super) fn pull(&mut self) {
        if self.wants_page() && self.fetch_not_before.is_none_or(|at| at <= self.now()) {
            self.behind = false;
            self.fetch_not_before = None;
            self.fetch = Some(match self.after {
                Some(after) => {
                    self.vm.ctx.node.inbox(InboxQuery { after: Some(after), limit: PAGE, ..InboxQuery::default() })
                }
                None => {
                    let reader = Some(reader(&self.shared.name));
                    self.vm.ctx.node.inbox(InboxQuery { reader, limit: PAGE, ..InboxQuery::default() })
                }
            });
        }
    }

    pub(super) fn page(&mut self, page: Result<InboxPage, ApiError>) {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(target: "qpq::script", bot = %self.shared.name, "inbox not read: {error}");
                self.behind = true;
                self.fetch_not_before = Some(self.now() + RETRY_AFTER);
                return;
            }
        };
        self.behind |= !page.items.is_empty();
        if self.after.is_none() {
            self.acked = begins_after(&page);
        }
        if !std::mem::replace(&mut self.read_boards, true) {
            self.ready.extend(dispatch::first_reading(&self.vm).into_iter().map(|job| (job, None)));
        }
        self.messages(&page.items);
        let at = page.items.last().map_or(page.next_after, |item| item.seq).max(page.next_after);
        self.after = Some(at);
        self.shared.figures.pulled.store(at, Ordering::Relaxed);
        self.shared.inbox_seq.fetch_max(at, Ordering::Relaxed);
        self.plan_ack();
    }

    /// One job of a message is done.
    pub(super) fn close(&mut self, seq: Option<u64>) {
        let Some(seq) = seq else { return };
        if let Some(message) = self.open.get_mut(&seq) {
            message.left -= 1;
            if message.left == 0 {
                self.open.remove(&seq);
            }
        }
        self.plan_ack();
    }

    /// Everything up to here is handled.
    pub(super) fn handled(&self) -> u64 {
        let pulled = self.after.unwrap_or(0);
        self.open.keys().next().map_or(pulled, |first| first.saturating_sub(1))
    }

    pub(super) fn plan_ack(&mut self) {
        if self.may_ack() && self.ack.is_none() && self.ack_at.is_none() {
            self.ack_at = Some(self.now() + ACK_AFTER);
        }
    }

    /// Whether there is something to acknowledge, and it is this version's to do.
    fn may_ack(&self) -> bool {
        self.handled() > self.acked && self.settled && !self.vm.ctx.retired.get()
    }

    pub(super) fn send_ack(&mut self) {
        if self.may_ack() && self.ack.is_none() {
            self.ack = Some(Box::pin(acknowledge(Rc::clone(&self.vm), self.handled())));
        }
    }

    /// What is not written is tried again.
    pub(super) fn acked(&mut self, result: Result<u64, ApiError>) {
        match result {
            Ok(seq) => self.acked = self.acked.max(seq),
            Err(error) => {
                tracing::warn!(target: "qpq::script", bot = %self.shared.name, "place in the inbox not written: {error}");
            }
        }
    }

    /// The last word of a version that nobody follows.
    pub(super) async fn write_cursor(&mut self) {
        if let Some(ack) = self.ack.take() {
            let result = ack.await;
            self.acked(result);
        }
        if self.may_ack() {
            let result = acknowledge(Rc::clone(&self.vm), self.handled()).await;
            self.acked(result);
        }
    }
}

/// Notes the place in the inbox, once all that was stored on the way there is durable.
async fn acknowledge(vm: Rc<Vm>, seq: u64) -> Result<u64, ApiError> {
    vm.ctx.flush().await?;
    vm.ctx.node.inbox_ack(reader(&vm.ctx.shared.name), seq).await?;
    Ok(seq)
}

/// The place behind which a page begins.
fn begins_after(page: &InboxPage) -> u64 {
    page.items.first().map_or(page.next_after, |item| item.seq.saturating_sub(1))
}

/// Finds or notes where a bot began: at the end of the inbox as it was then, not with history. That is done before its first
/// version runs, so that whatever becomes of this one, the next goes on from there. Returns the note, if there was none.
pub(crate) async fn begin(
    shared: &Shared,
    node: &dyn NodeApi,
    kv: &dyn BotStore,
    note: Option<&[u8]>,
) -> Result<Option<StoredEntry>, ApiError> {
    let reader = reader(&shared.name);
    let Some(note) = note else {
        let end = match shared.begins_after.get() {
            Some(end) => *end,
            None => {
                let newest = node.inbox(InboxQuery { newest: true, limit: 1, ..InboxQuery::default() }).await?;
                let end = newest.items.last().map_or(newest.next_after, |item| item.seq).max(newest.next_after);
                *shared.begins_after.get_or_init(|| end)
            }
        };
        let (key, value) = (BEGUN.to_vec(), end.to_be_bytes().to_vec());
        kv.commit(&shared.name, vec![StoreOp::Put { key: key.clone(), value: value.clone(), expires_ms: None }])
            .await?;
        node.inbox_ack(reader, end).await?;
        return Ok(Some((key, value, None)));
    };
    // The place that was noted may not have become the reader's.
    if let Ok(place) = note.try_into().map(u64::from_be_bytes) {
        let page = node.inbox(InboxQuery { reader: Some(reader.clone()), limit: 1, ..InboxQuery::default() }).await?;
        if begins_after(&page) < place {
            node.inbox_ack(reader, place).await?;
        }
    }
    Ok(None)
}
