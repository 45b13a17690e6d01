//! The outgoing queue of one link: bounded by frames and bytes, filled by the host, emptied by the link's writer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::limits::{QUEUE_BYTES, QUEUE_FRAMES};

/// A bounded queue with one consumer.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
    /// Wakes the writer.
    ready: Notify,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// The host was refused and is owed a word when there is room.
    wants: bool,
    gate: Gate,
}

/// What the queue takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Gate {
    /// Frames, as long as there is room.
    #[default]
    Open,
    /// Nothing more: what is in it is sent, then the link ends.
    Sealed,
    /// Nothing more; what is still offered is dropped, as the link is gone.
    Gone,
}

/// What the writer finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Frames were taken out. With `writable`, the host must be told that there is room again.
    Batch {
        /// Whether the host waits for that word.
        writable: bool,
    },
    /// All was sent and nothing more will come.
    Finished,
}

impl Outbox {
    /// Takes frames as long as there is room, and returns how many. Short of all, a call of the host's `on_writable` is
    /// owed. Both happen under one lock, so no wakeup is lost. Frames for a link that is gone are taken and dropped.
    pub fn push(&self, frames: impl IntoIterator<Item = Bytes>) -> usize {
        let mut state = self.lock();
        let was_empty = state.frames.is_empty();
        let mut taken = 0;
        for frame in frames {
            match state.gate {
                Gate::Open if state.has_room(frame.len()) => state.put(frame),
                Gate::Gone => {}
                Gate::Open | Gate::Sealed => {
                    state.wants = true;
                    break;
                }
            }
            taken += 1;
        }
        let wake = was_empty && !state.frames.is_empty();
        drop(state);
        if wake {
            self.ready.notify_one();
        }
        taken
    }

    /// Whether a frame of that length would be taken.
    pub fn has_room(&self, len: usize) -> bool {
        let state = self.lock();
        state.gate == Gate::Open && state.has_room(len)
    }

    /// Waits for frames and moves some to `batch`: up to `max_bytes`, and at least one.
    pub async fn next(&self, batch: &mut VecDeque<Bytes>, max_bytes: usize) -> Next {
        loop {
            let woken = self.ready.notified();
            if let Some(next) = self.try_next(batch, max_bytes) {
                return next;
            }
            woken.await;
        }
    }

    /// Takes nothing more; what is in the queue will be sent.
    pub fn seal(&self) {
        let mut state = self.lock();
        if state.gate == Gate::Open {
            state.gate = Gate::Sealed;
        }
        drop(state);
        self.ready.notify_one();
    }

    /// The link is gone: returns what was not sent, oldest first.
    pub fn close(&self) -> Vec<Bytes> {
        let mut state = self.lock();
        state.gate = Gate::Gone;
        state.bytes = 0;
        let rest = std::mem::take(&mut state.frames).into();
        drop(state);
        self.ready.notify_one();
        rest
    }

    /// Frames and bytes that wait.
    pub fn depth(&self) -> (usize, usize) {
        let state = self.lock();
        (state.frames.len(), state.bytes)
    }

    fn try_next(&self, batch: &mut VecDeque<Bytes>, max_bytes: usize) -> Option<Next> {
        let mut state = self.lock();
        if state.frames.is_empty() {
            return (state.gate != Gate::Open).then_some(Next::Finished);
        }
        let mut taken = 0;
        while let Some(frame) = state.frames.pop_front_if(|frame| taken == 0 || taken + frame.len() <= max_bytes) {
            // A frame of no bytes counts as one, so that the loop is bounded by bytes too.
            taken += frame.len().max(1);
            state.bytes -= frame.len();
            batch.push_back(frame);
        }
        let writable = state.wants && state.gate == Gate::Open && state.is_half_empty();
        state.wants &= !writable;
        Some(Next::Batch { writable })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A frame larger than the whole byte bound would still go into an empty queue; the frame limit is far below it.
    fn has_room(&self, len: usize) -> bool {
        self.frames.len() < QUEUE_FRAMES && (self.bytes + len <= QUEUE_BYTES || self.frames.is_empty())
    }

    fn put(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Half, so that the host isn't called for each frame that leaves a full queue.
    fn is_half_empty(&self) -> bool {
        self.frames.len() <= QUEUE_FRAMES / 2 && self.bytes <= QUEUE_BYTES / 2
    }
}

#[cfg(test)]
mod tests;
