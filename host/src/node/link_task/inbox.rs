//! What a transport's threads, and a swap, leave for a link's task.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

use qpq_plugin_api::FrameQueue;
use tokio::sync::{Notify, oneshot};

/// What a transport's threads leave for a link's task.
#[derive(Default)]
pub(in crate::node) struct Inbox {
    pub(in crate::node) frames: FrameQueue,
    /// Frames arrived, or the link went down.
    pub(in crate::node) arrived: Notify,
    /// The transport takes frames again.
    pub(in crate::node) writable: Notify,
    down: Mutex<Option<String>>,
    is_down: AtomicBool,
    /// The link shall say its last word; the sender is dropped when the transport has taken it.
    leave: Mutex<Option<oneshot::Sender<()>>>,
    /// The port at which the neighbour shall dial the transport that replaces this one; 0 for none.
    move_to: AtomicU16,
    /// `leave` or `move_to` was set.
    pub(in crate::node) parting: Notify,
}

impl Inbox {
    /// The transport says that the link is gone.
    pub(in crate::node) fn set_down(&self, reason: &str) {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason.to_owned());
        self.is_down.store(true, Ordering::Release);
        self.arrived.notify_one();
        self.writable.notify_one();
    }

    /// Has the link say its last word, since its transport is to be replaced. The answer (an error, too) comes when the
    /// transport has taken that.
    pub(in crate::node) fn ask_leave(&self) -> oneshot::Receiver<()> {
        let (said, heard) = oneshot::channel();
        *self.leave.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
        self.arrived.notify_one();
        self.parting.notify_one();
        heard
    }

    /// Has the link ask its neighbour to come over to the transport that replaces this one, which listens at that port.
    pub(in crate::node) fn ask_move(&self, port: u16) {
        self.move_to.store(port, Ordering::Release);
        self.arrived.notify_one();
        self.parting.notify_one();
    }

    pub(in crate::node) fn asked_to_move(&self) -> Option<u16> {
        let port = self.move_to.swap(0, Ordering::AcqRel);
        (port != 0).then_some(port)
    }

    pub(in crate::node) fn asked_to_leave(&self) -> Option<oneshot::Sender<()>> {
        self.leave.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(in crate::node) fn down(&self) -> Option<String> {
        if !self.is_down.load(Ordering::Acquire) {
            return None;
        }
        self.down.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
