//! A store with very many envelopes, written by a process of its own that is then killed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;

use bytes::Bytes;
use qpq_host::core::shelf::{Shelf, StoreLimits};
use qpq_host::node::index::{self, StoredIndex};
use qpq_host::store::{Batch, Found, Head, IndexPlace, NewRecord, Places, Store, StoreConfig};
use qpq_schemas::MessageId;
use qpq_schemas::envelope::{EnvelopeRef, LARGEST_PAYLOAD, OVERHEAD};
use qpq_tests::{Failure, Outcome, Random, ensure, procfs};

/// Set for the process that writes: folder, messages, recipients, shortest and longest envelope.
pub(crate) const CHILD: &str = "QPQ_BENCH_FILL";
/// Envelopes in a commit.
const AT_ONCE: u64 = 1_024;
/// Different senders.
const SENDERS: u64 = 1_000;
/// Commits that may be under way.
const UNDER_WAY: usize = 8;
/// When envelopes are made that no daemon sees, Unix time in milliseconds.
pub(super) const NOW_MS: u64 = 1_800_000_000_000;

/// What is written.
#[derive(Debug, Clone)]
pub(super) struct Fill {
    pub(super) folder: PathBuf,
    pub(super) messages: u64,
    pub(super) recipients: u64,
    /// Bytes of the shortest and the longest envelope.
    pub(super) sizes: (usize, usize),
    /// Where the index of what waits is kept.
    pub(super) index: IndexPlace,
    /// When the envelopes are made, Unix time in milliseconds.
    pub(super) made_ms: u64,
}

/// What the writing process says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filled {
    /// Bytes of memory that it has at the end, and had at most.
    pub(super) resident: f64,
    pub(super) peak: f64,
    /// Envelopes taken in, and durable, in a second.
    pub(super) rate: f64,
}

impl Fill {
    /// Writes it in another process, which kills itself when all is acknowledged. What it printed is returned.
    pub(super) fn run_apart(&self) -> Outcome<Filled> {
        let text = format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{}",
            self.folder.display(),
            self.messages,
            self.recipients,
            self.sizes.0,
            self.sizes.1,
            u8::from(self.index == IndexPlace::Disk),
            self.made_ms
        );
        let output = Command::new(std::env::current_exe()?).env(CHILD, text).output()?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(printed.contains("filled"), "the writing process failed: {}", String::from_utf8_lossy(&output.stderr));
        let mut figures = printed.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).skip(1);
        let mut figure = || figures.next().ok_or_else(|| Failure::new("the writing process told too little"));
        Ok(Filled { resident: figure()?, peak: figure()?, rate: figure()? })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let folder = PathBuf::from(lines.next()?);
        let mut number = || lines.next()?.parse::<u64>().ok();
        let (messages, recipients) = (number()?, number()?);
        let sizes = (number()? as usize, number()? as usize);
        let index = if number()? == 1 { IndexPlace::Disk } else { IndexPlace::Memory };
        Some(Self { folder, messages, recipients, sizes, index, made_ms: number()? })
    }
}

/// The writing process: fills the store as a node does, prints its memory and its rate, and kills itself.
pub(crate) fn child(text: &str) -> Outcome {
    let fill = Fill::parse(text).ok_or_else(|| Failure::new("what is to be filled can't be read"))?;
    let (store, mut shelf) = open(&fill.folder, fill.index, fill.made_ms)?;
    let mut random = Random::seeded(11);
    let (durable, done) = mpsc::channel();
    let mut under_way: VecDeque<Vec<MessageId>> = VecDeque::new();
    let began = Instant::now();
    let mut seq = 1;
    while seq <= fill.messages || !under_way.is_empty() {
        if seq <= fill.messages {
            let mut batch = Batch::default();
            for seq in seq..(seq + AT_ONCE).min(fill.messages + 1) {
                let record = record(seq, &fill, &mut random)?;
                let admitted = shelf.admit(&record.head, fill.made_ms);
                ensure!(admitted.is_ok(), "{admitted:?}");
                shelf.file(&record.head.id, &mut batch);
                batch.append.push(record);
            }
            seq += batch.append.len() as u64;
            under_way.push_back(batch.append.iter().map(|record| record.head.id).collect());
            let durable = durable.clone();
            let queued = store.submit(batch, move |outcome| {
                let _ = durable.send(outcome.is_ok());
            });
            ensure!(queued.is_ok(), "the store's queue is full");
        }
        while under_way.len() >= UNDER_WAY || (seq > fill.messages && !under_way.is_empty()) {
            ensure!(done.recv()?, "the store refused a batch");
            under_way.pop_front().into_iter().flatten().for_each(|id| shelf.confirm(&id));
        }
    }
    let rate = fill.messages as f64 / began.elapsed().as_secs_f64();
    let process = std::process::id();
    let (resident, peak) = (procfs::resident(process).unwrap_or_default(), procfs::peak(process).unwrap_or_default());
    println!("filled {} {resident} {peak} {rate}", shelf.held());
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    Ok(())
}

fn record(seq: u64, fill: &Fill, random: &mut Random) -> Outcome<NewRecord> {
    let span = fill.sizes.1.saturating_sub(fill.sizes.0) + 1;
    let len = (fill.sizes.0 + random.below(span)).max(OVERHEAD);
    let mut wire = vec![0; len];
    wire[0] = 1;
    wire[2] = 1 << 2;
    wire[4..8].copy_from_slice(&604_800_u32.to_be_bytes());
    wire[8..16].copy_from_slice(&(fill.made_ms + seq).to_be_bytes());
    wire[16..24].copy_from_slice(&random.next_u64().to_be_bytes());
    wire[24..32].copy_from_slice(&(random.next_u64() % SENDERS).to_be_bytes());
    wire[56..64].copy_from_slice(&(seq % fill.recipients).to_be_bytes());
    wire[88..92].copy_from_slice(&((len - OVERHEAD) as u32).to_be_bytes());
    let wire = Bytes::from(wire);
    let view = EnvelopeRef::parse(&wire, LARGEST_PAYLOAD).map_err(|refusal| Failure::new(refusal.to_string()))?;
    Ok(NewRecord { head: Head::of(view, seq, Places::WAITING, fill.made_ms, None), wire })
}

/// Opens a store and puts what is in it on a shelf, as a node does at its start.
pub(super) fn open(folder: &Path, place: IndexPlace, now_ms: u64) -> Outcome<(Store, Shelf)> {
    let index = StoredIndex::default();
    let mut shelf = match place {
        IndexPlace::Memory => Shelf::new(unlimited()),
        IndexPlace::Disk => Shelf::with_files(unlimited(), Box::new(index.clone())),
    };
    let mut restoring = shelf.restoring();
    let config = StoreConfig { index: place, ..StoreConfig::default() };
    let (store, recovery) = Store::open_each(folder, config, now_ms, &mut |found| match found {
        Found::Head(head) => restoring.message(&head),
        Found::Seen(entry) => restoring.seen(&entry),
    })?;
    drop(restoring);
    index.attach(store.clone());
    if place == IndexPlace::Disk && !recovery.indexed {
        index::build(&store, &mut shelf)?;
    }
    Ok((store, shelf))
}

fn unlimited() -> StoreLimits {
    StoreLimits {
        recipient_messages: u32::MAX,
        recipient_bytes: u64::MAX,
        sender_messages: u32::MAX,
        sender_bytes: u64::MAX,
        total_messages: u32::MAX,
        total_bytes: u64::MAX,
        ..StoreLimits::default()
    }
}
