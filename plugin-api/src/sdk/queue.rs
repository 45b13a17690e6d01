use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::sdk::frames::FrameBatch;

/// The most frames that wait in a queue at the boundary.
pub const MAX_QUEUED_FRAMES: usize = 1024;
/// The most bytes that wait in a queue at the boundary: 8 MiB.
pub const MAX_QUEUED_BYTES: usize = 8 * 1024 * 1024;

/// The bounds of a [`FrameQueue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// At most this many frames.
    pub frames: usize,
    /// At most this many bytes; a single larger frame still passes through an empty queue.
    pub bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { frames: MAX_QUEUED_FRAMES, bytes: MAX_QUEUED_BYTES }
    }
}

/// A bounded queue between the boundary and whoever works it off: make one for each link.
///
/// It keeps the rule of wants: who could not hand over everything is noted as waiting *in the same critical section* that
/// found the queue full, so no wakeup is lost; [`FrameQueue::take`] says when to call `writable` (or `resume`).
/// It knows no runtime: after an accept, wake the worker by what your runtime has.
#[derive(Debug, Default)]
pub struct FrameQueue {
    limits: QueueLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Bytes>,
    bytes: usize,
    waiting: bool,
    closed: bool,
}

/// What [`FrameQueue::take`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Frames that were taken.
    pub frames: usize,
    /// The other side waits for room and there is enough now: tell it, once, now.
    pub tell_other_side: bool,
}

impl FrameQueue {
    /// An empty queue.
    pub fn new(limits: QueueLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes from the batch what there is room for; returns how many. A closed queue takes and drops all.
    pub fn accept(&self, batch: &mut FrameBatch<'_>) -> usize {
        let before = batch.taken();
        let mut state = self.lock();
        while let Some(len) = batch.next_len() {
            if !state.closed && !state.has_room(len, self.limits) {
                state.waiting = true;
                break;
            }
            if let (Some(bytes), false) = (batch.pop(), state.closed) {
                state.push(bytes);
            }
        }
        batch.taken() - before
    }

    /// Appends one frame, or gives it back when there is no room (and notes that somebody waits).
    pub fn push(&self, bytes: Bytes) -> Result<(), Bytes> {
        let mut state = self.lock();
        if state.closed {
            return Ok(());
        }
        if !state.has_room(bytes.len(), self.limits) {
            state.waiting = true;
            return Err(bytes);
        }
        state.push(bytes);
        Ok(())
    }

    /// Moves up to `max_frames` frames and about `max_bytes` bytes (at least one frame) to the end of `into`.
    pub fn take(&self, into: &mut impl Extend<Bytes>, max_frames: usize, max_bytes: usize) -> Taken {
        let mut state = self.lock();
        let (mut n, mut bytes) = (0, 0);
        for frame in state.frames.iter().take(max_frames) {
            if n > 0 && bytes + frame.len() > max_bytes {
                break;
            }
            n += 1;
            bytes += frame.len();
        }
        into.extend(state.frames.drain(..n));
        state.bytes -= bytes;
        let low = state.frames.len() <= self.limits.frames / 2 && state.bytes <= self.limits.bytes / 2;
        let tell_other_side = low && std::mem::take(&mut state.waiting);
        Taken { frames: n, tell_other_side }
    }

    /// How many frames wait.
    pub fn len(&self) -> usize {
        self.lock().frames.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Takes nothing more, and returns what was not sent.
    pub fn close(&self) -> Vec<Bytes> {
        let mut state = self.lock();
        state.closed = true;
        state.waiting = false;
        state.bytes = 0;
        std::mem::take(&mut state.frames).into()
    }
}

impl State {
    fn has_room(&self, len: usize, limits: QueueLimits) -> bool {
        self.frames.is_empty() || (self.frames.len() < limits.frames && self.bytes + len <= limits.bytes)
    }

    fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.frames.push_back(bytes);
    }
}
