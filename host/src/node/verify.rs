//! Signature checks, off the core's task and in batches.
//!
//! What arrived while the workers were busy is checked as one batch, and under load they wait a moment for more, so that the cost of
//! an envelope falls as the load grows. A lone envelope is checked at once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use qpq_schemas::envelope::{Envelope, EnvelopeRef, Refusal};
use qpq_schemas::signature::{DEFAULT_KEY_CACHE, Verifier};

use crate::core::{Event, Ticket};

/// Envelopes checked as one batch at most: past it a batch gains little and delays the first.
const MAX_BATCH: usize = 256;
/// Envelopes in the last batch from which on a worker waits for more: at 16 an envelope costs a third more than at 256.
const BUSY_BATCH: usize = 16;
/// How long it waits at most.
const GATHER: Duration = Duration::from_millis(1);

struct Job {
    ticket: Ticket,
    envelopes: Vec<Envelope>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Envelopes in them.
    envelopes: usize,
    /// Envelopes in the last batch.
    last: usize,
    /// A worker waits for more.
    gathering: bool,
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
        let mut queue = self.shared.lock();
        queue.envelopes += envelopes.len();
        queue.jobs.push_back(Job { ticket, envelopes });
        if !queue.gathering {
            self.shared.filled.notify_one();
        } else if queue.envelopes >= MAX_BATCH {
            self.shared.filled.notify_all();
        }
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
        while queue.jobs.is_empty() || queue.gathering {
            if queue.closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.last >= BUSY_BATCH && queue.envelopes < MAX_BATCH {
            queue.gathering = true;
            let too_few = |queue: &mut Queue| queue.envelopes < MAX_BATCH && !queue.closed;
            queue = self.filled.wait_timeout_while(queue, GATHER, too_few).unwrap_or_else(PoisonError::into_inner).0;
            queue.gathering = false;
        }
        let mut jobs = Vec::new();
        let mut envelopes = 0;
        while let Some(more) = queue.jobs.front().map(|job| job.envelopes.len()) {
            if envelopes + more > MAX_BATCH && !jobs.is_empty() {
                break;
            }
            envelopes += more;
            jobs.extend(queue.jobs.pop_front());
        }
        queue.envelopes -= envelopes;
        queue.last = envelopes;
        if !queue.jobs.is_empty() {
            self.filled.notify_one();
        }
        Some(jobs)
    }
}
