//! A store with very many envelopes, written by a process of its own that is then killed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use bytes::Bytes;
use qpq_host::core::shelf::{Shelf, StoreLimits};
use qpq_host::store::{Batch, Found, Head, NewRecord, Places, Store, StoreConfig};
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
/// When the envelopes are made, Unix time in milliseconds.
pub(super) const NOW_MS: u64 = 1_800_000_000_000;

/// What is written.
#[derive(Debug, Clone)]
pub(super) struct Fill {
    pub(super) folder: PathBuf,
    pub(super) messages: u64,
    pub(super) recipients: u64,
    /// Bytes of the shortest and the longest envelope.
    pub(super) sizes: (usize, usize),
}

impl Fill {
    /// Writes it in another process, which kills itself when all is acknowledged. What it printed is returned.
    pub(super) fn run_apart(&self) -> Outcome<String> {
        let text = format!(
            "{}\n{}\n{}\n{}\n{}",
            self.folder.display(),
            self.messages,
            self.recipients,
            self.sizes.0,
            self.sizes.1
        );
        let output = Command::new(std::env::current_exe()?).env(CHILD, text).output()?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(printed.contains("filled"), "the writing process failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(printed)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let folder = PathBuf::from(lines.next()?);
        let mut number = || lines.next()?.parse::<u64>().ok();
        let (messages, recipients) = (number()?, number()?);
        Some(Self { folder, messages, recipients, sizes: (number()? as usize, number()? as usize) })
    }
}

/// The writing process: fills the store with its index in memory, as a node does, prints its memory, and kills itself.
pub(crate) fn child(text: &str) -> Outcome {
    let fill = Fill::parse(text).ok_or_else(|| Failure::new("what is to be filled can't be read"))?;
    let (store, mut shelf) = open(&fill.folder)?;
    let mut random = Random::seeded(11);
    let (durable, done) = mpsc::channel();
    let mut under_way = 0;
    let mut seq = 1;
    while seq <= fill.messages {
        let append: Vec<NewRecord> = (seq..(seq + AT_ONCE).min(fill.messages + 1))
            .map(|seq| record(seq, &fill, &mut random))
            .collect::<Outcome<_>>()?;
        seq += append.len() as u64;
        let heads: Vec<Head> = append.iter().map(|record| record.head).collect();
        let seen = heads.iter().map(|head| head.seen(qpq_host::store::SeenState::Held)).collect();
        heads.iter().for_each(|head| shelf.restore(head));
        let durable = durable.clone();
        let queued = store.submit(Batch { append, seen, ..Batch::default() }, move |outcome| {
            let _ = durable.send(outcome.is_ok());
        });
        ensure!(queued.is_ok(), "the store's queue is full");
        under_way += 1;
        while under_way >= UNDER_WAY {
            ensure!(done.recv()?, "the store refused a batch");
            under_way -= 1;
        }
    }
    while under_way > 0 {
        ensure!(done.recv()?, "the store refused a batch");
        under_way -= 1;
    }
    let resident = procfs::resident(std::process::id()).unwrap_or_default();
    println!("filled {} {resident}", shelf.stats().waiting);
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
    wire[8..16].copy_from_slice(&(NOW_MS + seq).to_be_bytes());
    wire[16..24].copy_from_slice(&random.next_u64().to_be_bytes());
    wire[24..32].copy_from_slice(&(random.next_u64() % SENDERS).to_be_bytes());
    wire[56..64].copy_from_slice(&(seq % fill.recipients).to_be_bytes());
    wire[88..92].copy_from_slice(&((len - OVERHEAD) as u32).to_be_bytes());
    let wire = Bytes::from(wire);
    let view = EnvelopeRef::parse(&wire, LARGEST_PAYLOAD).map_err(|refusal| Failure::new(refusal.to_string()))?;
    Ok(NewRecord { head: Head::of(view, seq, Places::WAITING, NOW_MS, None), wire })
}

/// Opens a store and puts what is in it on a shelf, as a node does at its start.
pub(super) fn open(folder: &Path) -> Outcome<(Store, Shelf)> {
    let mut shelf = Shelf::new(unlimited());
    let mut restoring = shelf.restoring();
    let (store, _) = Store::open_each(folder, StoreConfig::default(), NOW_MS, &mut |found| match found {
        Found::Head(head) => restoring.message(&head),
        Found::Seen(entry) => restoring.seen(&entry),
    })?;
    drop(restoring);
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
