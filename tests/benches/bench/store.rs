//! The store's group commits against the bare database, which is the limit of what can be kept durably.
//!
//! The bare database has the store's own bounds of memory and journal: they keep a node small and its start short, and whoever used the
//! database without a store around it would need them too. A row tells what it does with its defaults, which write no table in so short a
//! time.

pub(crate) mod bulk;
pub(crate) mod capacity;
pub(crate) mod restart;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fjall::{Database, KeyspaceCreateOptions, PersistMode};
use qpq_host::store::{Batch, Head, NewRecord, Places, Store, StoreConfig};
use qpq_schemas::MessageId;
use qpq_schemas::envelope::Envelope;
use qpq_schemas::signature::SigningKey;
use qpq_tests::{Failure, Outcome, Random};

use crate::rate::median;
use crate::report::{Goal, Report};
use crate::signatures;

/// What the store must reach of what the bare database does with the same group commits.
const ACCEPT_GOAL: f64 = 0.7;

/// How often the store and the bare database are measured in turn.
const TURNS: usize = 5;

/// Envelopes in each measurement.
const RECORDS: usize = 160_000;

/// Envelopes in a submission: what a busy node's core takes in in one step.
const STEP: usize = 64;

/// Envelopes in the measurement with a sync for each.
const SINGLES: usize = 400;

/// Different envelopes; each is stored again and again under a new number.
const DIFFERENT: usize = 512;

/// Bytes of journals that the store lets stand (`host/docs/store.md`).
const JOURNALS: u64 = 64 << 20;

/// An envelope and its id, which is known of each that was checked.
type Sample = (Envelope, MessageId);

/// How the bare database is set up.
#[derive(Clone, Copy)]
enum Setup {
    /// As it comes.
    Default,
    /// As in the store.
    Store,
}

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let samples = samples()?;
    let folder = tempfile::tempdir()?;
    let bare = |name: &str, count, batch, setup| bare(&folder.path().join(name), &samples, count, batch, setup);
    let single = bare("single", SINGLES, 1, Setup::Store)?;
    report.add("bare fjall, a synced commit for each envelope", single, "/s");
    report.add("bare fjall, synced commits of 128", bare("128", RECORDS, 128, Setup::Store)?, "/s");
    // In turns, since the disk has other users: the medians count.
    let (mut rates, mut limits, mut defaults, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let (rate, batch) = ours(&folder.path().join(format!("ours-{turn}")), &samples)?;
        rates.push(rate);
        sizes.push(batch as f64);
        limits.push(bare(&format!("limit-{turn}"), RECORDS, batch.max(1), Setup::Store)?);
        defaults.push(bare(&format!("default-{turn}"), RECORDS, batch.max(1), Setup::Default)?);
    }
    let (rate, limit, batch) = (median(rates), median(limits), median(sizes));
    report.add(format!("bare fjall, synced commits of {batch:.0}, its defaults"), median(defaults), "/s");
    report.add(format!("bare fjall, synced commits of {batch:.0}"), limit, "/s");
    report
        .add(format!("store: handed in by {STEP}, as a busy node does it, durable in group commits"), rate, "/s")
        .ratio_to(limit, "of the bare database")
        .goal(Goal::RatioAtLeast(ACCEPT_GOAL));
    restart::measure(report)
}

fn samples() -> Outcome<Vec<Sample>> {
    let mut random = Random::seeded(3);
    let key = SigningKey::from_seed(&random.bytes32());
    let sample = |_| {
        let envelope = signatures::draft(&mut random).sign(&key)?;
        let id = envelope.view().id();
        Ok((envelope, id))
    };
    (0..DIFFERENT).map(sample).collect()
}

/// Envelopes a second into a database without checksums, dedup ids or queue.
fn bare(folder: &Path, samples: &[Sample], count: usize, batch: usize, setup: Setup) -> Outcome<f64> {
    let (mut builder, mut options) = (Database::builder(folder), KeyspaceCreateOptions::default());
    if matches!(setup, Setup::Store) {
        builder = builder.max_journaling_size(JOURNALS).worker_threads_unchecked(1);
        options = options.max_memtable_size(StoreConfig::default().memtable_bytes);
    }
    let database = builder.manual_journal_persist(true).open()?;
    let table = database.keyspace("records", || options.manual_journal_persist(true))?;
    let mut envelopes = samples.iter().cycle();
    let mut stored = 0_u64;
    let began = Instant::now();
    while (stored as usize) < count {
        let mut writes = database.batch().durability(Some(PersistMode::SyncData));
        for (envelope, _) in envelopes.by_ref().take(batch) {
            writes.insert(&table, stored.to_be_bytes(), &envelope.wire()[..]);
            stored += 1;
        }
        writes.commit()?;
    }
    Ok(stored as f64 / began.elapsed().as_secs_f64())
}

/// Envelopes a second into the store, handed in as a busy node does it, and how many shared a commit.
fn ours(folder: &Path, samples: &[Sample]) -> Outcome<(f64, usize)> {
    let (store, _) = Store::open(folder, StoreConfig::default(), 0)?;
    let durable = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut envelopes = samples.iter().cycle().zip(1..).take(RECORDS).peekable();
    while envelopes.peek().is_some() {
        let mut step = Batch::default();
        envelopes.by_ref().take(STEP).for_each(|(sample, seq)| step.merge(record(seq, sample)));
        submit(&store, step, &durable);
    }
    while durable.load(Ordering::Acquire) < RECORDS {
        if began.elapsed() > Duration::from_secs(60) {
            return Err(Failure::new("the store did not finish"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let rate = RECORDS as f64 / began.elapsed().as_secs_f64();
    let commits = store.stats().commits.max(1) as usize;
    Ok((rate, RECORDS / commits))
}

fn record(seq: u64, (envelope, id): &Sample) -> Batch {
    let head = Head::with_id(envelope.view(), *id, seq, Places::WAITING, seq, None);
    let append = NewRecord { head, wire: envelope.wire().clone() };
    Batch { append: vec![append], ..Batch::default() }
}

/// Hands a batch in, waiting while the queue is full as a link would.
fn submit(store: &Store, mut batch: Batch, durable: &Arc<AtomicUsize>) {
    loop {
        let (durable, count) = (Arc::clone(durable), batch.append.len());
        let done = move |outcome: Result<(), _>| {
            assert!(outcome.is_ok(), "the store refused an envelope");
            durable.fetch_add(count, Ordering::Release);
        };
        match store.submit(batch, done) {
            Ok(()) => return,
            Err(full) => batch = *full.batch,
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}
