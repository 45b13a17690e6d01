//! The one thread that writes: it gathers submissions, commits them together, then tells their submitters.
//!
//! After a failed commit nothing is acknowledged until the store has been reopened and checked; after a failed
//! sync that was no lack of room, nothing is acknowledged for the rest of the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::StoreError;
use super::engine::{Cursor, Damage, Fault};
use super::prepared::Prepared;
use super::queue::{Done, Job};
use super::shared::{Health, Shared};

/// Bytes that one commit takes at most (a single larger batch is a commit of its own).
const MAX_COMMIT_BYTES: usize = 8 << 20;
/// Entries in the last commit from which on the store counts as busy, and gathers before it commits.
const BUSY_ENTRIES: usize = 8;
/// Entries that are enough to stop gathering.
const ENOUGH_ENTRIES: usize = 512;
/// How long the thread sleeps when there is nothing to do; also the pause between attempts to reopen.
const IDLE: Duration = Duration::from_secs(1);
/// How long it waits for the database's own threads at a time.
const CONGESTED: Duration = Duration::from_millis(2);

/// How long a commit waits at most for what is gathered in memory to become less.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// State of the committing thread.
pub(super) struct Committer {
    shared: Arc<Shared>,
    cursor: Cursor,
    last_entries: usize,
    next_attempt: Instant,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, cursor: Cursor) -> Self {
        Self { shared, cursor, last_entries: 0, next_attempt: Instant::now() }
    }

    /// Runs until the queue is closed and empty, then closes the database.
    pub(super) fn run(mut self) {
        let gather = self.shared.config.gather();
        while self.shared.queue.wait(IDLE) {
            if self.last_entries >= BUSY_ENTRIES {
                self.shared.queue.gather(Instant::now() + gather, ENOUGH_ENTRIES);
            }
            let (jobs, entries) = self.shared.queue.take(MAX_COMMIT_BYTES);
            self.recover_if_due();
            self.last_entries = entries;
            if !jobs.is_empty() {
                self.work(jobs);
            }
        }
        self.shared.close_engine(self.cursor.commits);
    }

    fn work(&mut self, jobs: Vec<Job>) {
        let mut batches = Vec::new();
        let mut damage = Vec::new();
        for job in jobs {
            match job {
                Job::Batch(Ok(batch), done) => batches.push((batch, done)),
                Job::Batch(Err(what), done) => tell(done, Err(StoreError::Invalid { what })),
                Job::SetAside(found) => damage.push(found),
            }
        }
        if !damage.is_empty() {
            self.set_aside(&damage);
        }
        let batches = self.refuse_unfit(batches);
        if !batches.is_empty() {
            self.commit(batches);
        }
    }

    /// Answers those that can't be served as things stand, and returns the rest.
    fn refuse_unfit(&self, batches: Vec<(Prepared, Done)>) -> Vec<(Prepared, Done)> {
        let refusal = self.shared.refusal();
        let room = self.shared.room();
        if refusal.is_none() && room.refuses(true).is_none() {
            return batches;
        }
        let mut fit = Vec::new();
        for (batch, done) in batches {
            let error = refusal.clone().or_else(|| room.refuses(batch.grows));
            match error {
                Some(error) => tell(done, Err(error)),
                None => fit.push((batch, done)),
            }
        }
        fit
    }

    fn commit(&mut self, batches: Vec<(Prepared, Done)>) {
        let began = Instant::now();
        let (group, dones): (Vec<Prepared>, Vec<Done>) = batches.into_iter().unzip();
        let records = group.iter().map(|batch| batch.append.len() as u64).sum();
        let shared = Arc::clone(&self.shared);
        let result = shared.with_engine(|engine| {
            while engine.is_congested() {
                if engine.is_poisoned() {
                    return Err(Fault::Poisoned);
                }
                std::thread::sleep(CONGESTED);
            }
            let patience = Instant::now() + LONGEST_PAUSE;
            while engine.gathers_much() && Instant::now() < patience {
                std::thread::sleep(CONGESTED);
            }
            engine.commit(group, &mut self.cursor)
        });
        let result = result.map_err(|fault| self.shared.fail(&fault));
        if result.is_ok() {
            self.shared.count_commit(dones.len() as u64, records, began.elapsed());
        }
        for done in dones {
            tell(done, result.clone());
        }
    }

    fn set_aside(&self, damage: &[Damage]) {
        if self.shared.refusal().is_some() {
            return;
        }
        match self.shared.with_engine(|engine| engine.set_aside(damage)) {
            Ok(moved) => self.shared.count_damaged(moved),
            Err(fault) => drop(self.shared.fail(&fault)),
        }
    }

    /// Reopens the database after a failure that may have passed.
    fn recover_if_due(&mut self) {
        if !matches!(self.shared.health(), Health::Waiting(_)) || Instant::now() < self.next_attempt {
            return;
        }
        if let Ok(cursor) = self.shared.reopen() {
            self.cursor.next_seq = self.cursor.next_seq.max(cursor.next_seq);
            self.cursor.next_chunk = self.cursor.next_chunk.max(cursor.next_chunk);
            self.cursor.commits = cursor.commits;
            self.cursor.seen_floor = 0;
        }
        self.next_attempt = Instant::now() + IDLE;
    }
}

/// Calls a completion. One that panics harms nobody else.
fn tell(done: Done, result: Result<(), StoreError>) {
    if catch_unwind(AssertUnwindSafe(|| done(result))).is_err() {
        tracing::error!("a completion of the store panicked");
    }
}
