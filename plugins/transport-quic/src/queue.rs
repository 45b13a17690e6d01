//! The outgoing queue of one link: filled by the host, emptied by the link's writer.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use qpq_plugin_api::{FrameBatch, FrameQueue};
use tokio::sync::Notify;

use crate::limits::QUEUE;

/// A bounded queue with one consumer: the boundary's [`FrameQueue`], and what wakes the writer.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: FrameQueue,
    sealed: AtomicBool,
    /// Wakes the writer. One permit is kept, so a wakeup before the wait is not lost.
    ready: Notify,
}

/// What the writer finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Frames were taken out.
    Batch {
        /// The host waits for room and there is some now: it must be told.
        writable: bool,
    },
    /// All was taken and nothing more will come.
    Finished,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { queue: FrameQueue::new(QUEUE), sealed: AtomicBool::new(false), ready: Notify::new() }
    }
}

impl Outbox {
    /// Takes the frames that there is room for. A sealed queue takes none, a closed one takes all and drops them.
    pub(crate) fn accept(&self, batch: &mut FrameBatch<'_>) {
        if !self.sealed.load(Ordering::Acquire) && self.queue.accept(batch) > 0 {
            self.ready.notify_one();
        }
    }

    /// Waits for frames and moves some to `batch`: up to `max_bytes`, and at least one.
    pub(crate) async fn next(&self, batch: &mut VecDeque<Bytes>, max_bytes: usize) -> Next {
        loop {
            let sealed = self.sealed.load(Ordering::Acquire);
            let taken = self.queue.take(batch, usize::MAX, max_bytes);
            if taken.frames > 0 {
                return Next::Batch { writable: taken.tell_other_side };
            }
            if sealed {
                return Next::Finished;
            }
            self.ready.notified().await;
        }
    }

    /// Takes nothing more; what is in the queue will be sent.
    pub(crate) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
        self.ready.notify_one();
    }

    /// Whether [`Self::seal`] or [`Self::close`] was called.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// The link is gone: returns what was not sent, oldest first; whatever is offered from now on is dropped.
    pub(crate) fn close(&self) -> Vec<Bytes> {
        let rest = self.queue.close();
        // Reopened for `accept`, which now drops: a host that sends to a dead link must not wait for room.
        self.sealed.store(false, Ordering::Release);
        rest
    }

    /// Frames and bytes that wait.
    pub(crate) fn depth(&self) -> (usize, usize) {
        (self.queue.len(), self.queue.bytes())
    }
}
