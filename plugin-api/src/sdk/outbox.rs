use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;

use crate::sdk::frames::FrameBatch;
use crate::sdk::queue::{FrameQueue, QueueLimits};

/// The outgoing queue of one link, for plugins with tasks: filled by the host's `send`, emptied by the one task that writes.
/// A [`FrameQueue`], and what wakes that task, on whatever runtime it is.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: FrameQueue,
    sealed: AtomicBool,
    /// The writer, while it waits.
    writer: Mutex<Option<Waker>>,
}

/// What the writer finds in an [`Outbox`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Frames were taken out.
    Batch {
        /// The host waits for room and there is some now: it must be told (`writable`).
        writable: bool,
    },
    /// All was taken and nothing more will come.
    Finished,
}

impl Outbox {
    /// An empty queue.
    pub fn new(limits: QueueLimits) -> Self {
        Self { queue: FrameQueue::new(limits), ..Self::default() }
    }

    /// Takes the frames that there is room for. A sealed queue takes none, a closed one takes all and drops them.
    pub fn accept(&self, batch: &mut FrameBatch<'_>) {
        if !self.is_sealed() && self.queue.accept(batch) > 0 {
            self.wake();
        }
    }

    /// Waits for frames and moves some to the end of `into`: up to `max_frames` frames and about `max_bytes` bytes, and at
    /// least one frame. Only one task may wait here. It may be dropped while it waits: nothing is taken then.
    pub async fn next(&self, into: &mut impl Extend<Bytes>, max_frames: usize, max_bytes: usize) -> Next {
        poll_fn(|context| {
            if let Some(next) = self.look(into, max_frames, max_bytes) {
                return Poll::Ready(next);
            }
            *self.writer() = Some(context.waker().clone());
            // Once more: what came in before the waker stood there has woken nobody.
            self.look(into, max_frames, max_bytes).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn look(&self, into: &mut impl Extend<Bytes>, max_frames: usize, max_bytes: usize) -> Option<Next> {
        // Asked before the queue is looked at, so that what was accepted before the seal is found.
        let sealed = self.is_sealed();
        let taken = self.queue.take(into, max_frames, max_bytes);
        if taken.frames > 0 {
            return Some(Next::Batch { writable: taken.tell_other_side });
        }
        sealed.then_some(Next::Finished)
    }

    /// Takes nothing more; what is in the queue will be sent.
    pub fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether [`Self::seal`] was called, and not [`Self::close`] since.
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// The link is gone: returns what was not sent, oldest first; whatever is offered from now on is dropped.
    pub fn close(&self) -> Vec<Bytes> {
        let rest = self.queue.close();
        // Reopened for `accept`, which now drops: a host that sends to a dead link must not wait for room.
        self.sealed.store(false, Ordering::Release);
        rest
    }

    /// Frames and bytes that wait.
    pub fn depth(&self) -> (usize, usize) {
        (self.queue.len(), self.queue.bytes())
    }

    fn wake(&self) {
        let writer = self.writer().take();
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    fn writer(&self) -> MutexGuard<'_, Option<Waker>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
