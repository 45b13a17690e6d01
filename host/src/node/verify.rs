//! Signature checks, off the core's task and in batches.
//!
//! What arrived while the workers were busy is checked as one batch, so that the cost of an envelope falls as
//! the load grows. A lone envelope is checked at once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use qpq_schemas::envelope::{Envelope, EnvelopeRef, Refusal};
use qpq_schemas::signature::{DEFAULT_KEY_CACHE, Verifier};

use crate::core::{Event, Ticket};

/// Envelopes checked as one batch at most: past it a batch gains little and delays the first.
const MAX_BATCH: usize = 256;

struct Job {
    ticket: Ticket,
    envelopes: Vec<Envelope>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    verifier: Verifier,
}

/// The threads that check signatures. What the core has under way bounds their queue.
pub(super) struct VerifyPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl VerifyPool {
    /// Starts so many threads. Each outcome goes to `done` as an [`Event::Verified`].
    pub(super) fn start(threads: usize, done: impl Fn(Event) + Send + Clone + 'static) -> std::io::Result<Self> {
        let verifier = Verifier::new(DEFAULT_KEY_CACHE);
        let shared = Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), verifier });
        let spawn = |index: usize| {
            let (shared, done) = (shared.clone(), done.clone());
            std::thread::Builder::new()
                .name(format!("qpq-verify-{index}"))
                .stack_size(512 << 10)
                .spawn(move || while shared.work(&done) {})
        };
        let threads = (0..threads).map(spawn).collect::<Result<_, _>>()?;
        Ok(Self { shared, threads })
    }

    /// Hands in envelopes to be checked.
    pub(super) fn submit(&self, ticket: Ticket, envelopes: Vec<Envelope>) {
        self.shared.lock().jobs.push_back(Job { ticket, envelopes });
        self.shared.filled.notify_one();
    }
}

impl Drop for VerifyPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_all();
        for thread in self.threads.drain(..) {
            _ = thread.join(); // a worker's panic has been reported by its own hook
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks one batch; false when the pool is closed.
    fn work(&self, done: &impl Fn(Event)) -> bool {
        let Some(jobs) = self.next_jobs() else { return false };
        let views: Vec<EnvelopeRef<'_>> = jobs.iter().flat_map(|job| &job.envelopes).map(Envelope::view).collect();
        let check = || self.verifier.check_batch(&views, &mut rand::rng());
        // Nobody may wait for ever because of one envelope; the hook has reported the panic.
        let checked =
            catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| vec![Err(Refusal::Signature); views.len()]);
        let mut verdicts = checked.into_iter();
        for job in &jobs {
            let verdicts = verdicts.by_ref().take(job.envelopes.len()).collect();
            done(Event::Verified { ticket: job.ticket, verdicts });
        }
        true
    }

    fn next_jobs(&self) -> Option<Vec<Job>> {
        let mut queue = self.lock();
        while queue.jobs.is_empty() {
            if queue.closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let mut jobs = Vec::new();
        let mut envelopes = 0;
        while let Some(job) = queue.jobs.front() {
            envelopes += job.envelopes.len();
            if envelopes > MAX_BATCH && !jobs.is_empty() {
                break;
            }
            jobs.extend(queue.jobs.pop_front());
        }
        Some(jobs)
    }
}
