//! The bounded queue between those who submit and the thread that commits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::engine::Damage;
use super::{Batch, Full, StoreError};

/// What is called when a batch is durable, or has failed.
pub(super) type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send + 'static>;

/// Work for the committing thread.
pub(super) enum Job {
    /// A batch, and whom to tell.
    Batch(Batch, Done),
    /// A damaged entry to move to the quarantine.
    SetAside(Damage),
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Batch(batch, _) => batch.bytes(),
            Self::SetAside(damage) => damage.key.len() + damage.what.len(),
        }
    }
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    refused: u64,
    closed: bool,
}

/// A queue bounded by count and bytes.
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    max_jobs: usize,
    max_bytes: usize,
}

impl Queue {
    pub(super) fn new(max_jobs: usize, max_bytes: usize) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), max_jobs: max_jobs.max(1), max_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a batch, or hands it back. A batch larger than the whole queue is taken when nothing else waits.
    pub(super) fn push(&self, batch: Batch, done: Done) -> Result<(), Full> {
        let bytes = batch.bytes();
        let mut state = self.lock();
        let crowded = state.jobs.len() >= self.max_jobs || state.bytes + bytes > self.max_bytes;
        if state.closed || (crowded && !state.jobs.is_empty()) {
            state.refused += 1;
            return Err(Full { batch: Box::new(batch), closed: state.closed });
        }
        self.put(state, Job::Batch(batch, done), bytes);
        Ok(())
    }

    /// Asks for a damaged entry to be set aside. Given up when the queue is full: the next read finds it again.
    pub(super) fn set_aside(&self, damage: Damage) {
        let state = self.lock();
        if !state.closed && state.jobs.len() < self.max_jobs {
            let job = Job::SetAside(damage);
            let bytes = job.bytes();
            self.put(state, job, bytes);
        }
    }

    fn put(&self, mut state: MutexGuard<'_, State>, job: Job, bytes: usize) {
        state.bytes += bytes;
        state.jobs.push_back(job);
        drop(state);
        self.arrived.notify_one();
    }

    /// Waits until there is something to do, for at most `patience`. Returns false once closed and empty.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        let state = self.lock();
        let (state, _) = self
            .arrived
            .wait_timeout_while(state, patience, |state| state.jobs.is_empty() && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        !(state.closed && state.jobs.is_empty())
    }

    /// Waits until `deadline`, or until `enough` jobs are there.
    pub(super) fn gather(&self, deadline: Instant, enough: usize) {
        let mut state = self.lock();
        while !state.closed && state.jobs.len() < enough && state.bytes < self.max_bytes / 2 {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return;
            };
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes the oldest jobs, up to that many bytes (at least one job).
    pub(super) fn take(&self, max_bytes: usize) -> Vec<Job> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(size) = state.jobs.front().map(Job::bytes) {
            if !taken.is_empty() && bytes + size > max_bytes {
                break;
            }
            bytes += size;
            taken.extend(state.jobs.pop_front());
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        taken
    }

    /// Takes nothing new from now on; what waits is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Waiting now, refused so far.
    pub(super) fn figures(&self) -> (usize, u64) {
        let state = self.lock();
        (state.jobs.len(), state.refused)
    }
}
