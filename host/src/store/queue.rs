//! The bounded queue between those who submit and the thread that commits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::engine::Damage;
use super::prepared::Prepared;
use super::{Batch, Full, StoreError};

/// What is called when a batch is durable, or has failed.
pub(super) type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send + 'static>;

/// Work for the committing thread.
pub(super) enum Job {
    /// A batch, or what is wrong with it, and whom to tell.
    Batch(Result<Prepared, String>, Done),
    /// A damaged entry to move to the quarantine.
    SetAside(Damage),
}

/// What a job takes, in memory and on the disk.
#[derive(Clone, Copy, Default)]
struct Load {
    bytes: usize,
    entries: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<(Job, Load)>,
    /// Batches that were let in and are being made ready.
    preparing: usize,
    /// Of all these.
    load: Load,
    refused: u64,
    closed: bool,
}

impl State {
    /// Nothing is there any more, and nothing will come.
    fn is_over(&self) -> bool {
        self.closed && self.jobs.is_empty() && self.preparing == 0
    }
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
        let taken = state.jobs.len() + state.preparing;
        let crowded = taken >= self.max_jobs || state.load.bytes + bytes > self.max_bytes;
        if state.closed || (crowded && taken > 0) {
            state.refused += 1;
            return Err(Full { batch: Box::new(batch), closed: state.closed });
        }
        state.preparing += 1;
        state.load.bytes += bytes;
        drop(state);
        let prepared = Prepared::new(batch);
        let entries = prepared.as_ref().map_or(1, Prepared::entries);
        let mut state = self.lock();
        state.preparing -= 1;
        state.load.bytes -= bytes;
        self.put(state, Job::Batch(prepared, done), Load { bytes, entries });
        Ok(())
    }

    /// Asks for a damaged entry to be set aside. Given up when the queue is full: the next read finds it again.
    pub(super) fn set_aside(&self, damage: Damage) {
        let state = self.lock();
        if !state.closed && state.jobs.len() < self.max_jobs {
            let load = Load { bytes: damage.key.len() + damage.what.len(), entries: 1 };
            self.put(state, Job::SetAside(damage), load);
        }
    }

    fn put(&self, mut state: MutexGuard<'_, State>, job: Job, load: Load) {
        state.load.bytes += load.bytes;
        state.load.entries += load.entries;
        state.jobs.push_back((job, load));
        drop(state);
        self.arrived.notify_one();
    }

    /// Waits until there is something to do, for at most `patience`. Returns false once closed and empty.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        let state = self.lock();
        let (state, _) = self
            .arrived
            .wait_timeout_while(state, patience, |state| state.jobs.is_empty() && !state.is_over())
            .unwrap_or_else(PoisonError::into_inner);
        !state.is_over()
    }

    /// Waits until `deadline`, or until jobs with `enough` entries are there.
    pub(super) fn gather(&self, deadline: Instant, enough: usize) {
        let mut state = self.lock();
        while !state.closed && state.load.entries < enough && state.load.bytes < self.max_bytes / 2 {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return;
            };
            state = self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes the oldest jobs, up to that many bytes (at least one job). Returns how many entries they have, too.
    pub(super) fn take(&self, max_bytes: usize) -> (Vec<Job>, usize) {
        let mut state = self.lock();
        let mut taken = Vec::new();
        let mut sum = Load::default();
        while let Some((_, load)) =
            state.jobs.front().filter(|(_, load)| taken.is_empty() || sum.bytes + load.bytes <= max_bytes)
        {
            sum = Load { bytes: sum.bytes + load.bytes, entries: sum.entries + load.entries };
            taken.extend(state.jobs.pop_front().map(|(job, _)| job));
        }
        state.load.bytes = state.load.bytes.saturating_sub(sum.bytes);
        state.load.entries = state.load.entries.saturating_sub(sum.entries);
        (taken, sum.entries)
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
