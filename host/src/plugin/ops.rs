//! Operations that wait for a plugin's answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qpq_plugin_api::Status;
use tokio::sync::oneshot;

/// The most operations of one instance that may wait at once.
const MAX_PENDING: usize = 4096;

/// A plugin's answer to an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) status: Status,
    pub(super) detail: String,
    /// The link that came up for it, of a dial.
    pub(super) link: Option<u64>,
}

/// The operations of one instance.
#[derive(Default)]
pub(super) struct Ops {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u64,
    pending: HashMap<u64, Pending>,
}

struct Pending {
    answer: oneshot::Sender<Done>,
    link: Option<u64>,
}

/// A place in the table, given up when it is dropped.
pub(super) struct Ticket {
    ops: Arc<Ops>,
    pub(super) id: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.ops.lock().pending.remove(&self.id);
    }
}

impl Ops {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new operation; `None` when too many wait.
    pub(super) fn begin(self: &Arc<Self>) -> Option<(Ticket, oneshot::Receiver<Done>)> {
        let mut state = self.lock();
        if state.pending.len() >= MAX_PENDING {
            return None;
        }
        state.last += 1;
        let id = state.last;
        let (answer, receiver) = oneshot::channel();
        state.pending.insert(id, Pending { answer, link: None });
        Some((Ticket { ops: Arc::clone(self), id }, receiver))
    }

    /// Notes the link that came up for a dial.
    pub(super) fn linked(&self, id: u64, link: u64) {
        if let Some(pending) = self.lock().pending.get_mut(&id) {
            pending.link = Some(link);
        }
    }

    /// Passes an answer on. `false` for an operation that nobody waits for: answered already, given up, never begun.
    pub(super) fn done(&self, id: u64, status: Status, detail: String) -> bool {
        let Some(pending) = self.lock().pending.remove(&id) else { return false };
        pending.answer.send(Done { status, detail, link: pending.link }).is_ok()
    }

    /// Answers all with CLOSED, when the instance ends.
    pub(super) fn close(&self) {
        let pending = std::mem::take(&mut self.lock().pending);
        for (_, waiting) in pending {
            let _ = waiting.answer.send(Done { status: Status::CLOSED, detail: String::new(), link: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_answered_once() {
        let ops = Arc::new(Ops::default());
        let (ticket, mut answer) = ops.begin().expect("room");
        ops.linked(ticket.id, 7);
        assert!(ops.done(ticket.id, Status::OK, "fine".into()));
        assert!(!ops.done(ticket.id, Status::OK, "again".into()));
        assert_eq!(answer.try_recv().expect("answered").link, Some(7));
    }

    #[test]
    fn who_stops_waiting_leaves_nothing_behind() {
        let ops = Arc::new(Ops::default());
        drop(ops.begin().expect("room"));
        assert!(ops.lock().pending.is_empty());
    }

    #[test]
    fn the_table_is_bounded() {
        let ops = Arc::new(Ops::default());
        let all: Vec<_> = (0..MAX_PENDING).map(|_| ops.begin().expect("room")).collect();
        assert!(ops.begin().is_none());
        drop(all);
        assert!(ops.begin().is_some());
    }
}
