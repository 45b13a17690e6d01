//! What a store is made to do while disks fail under it: batches of which each follows from its number and a seed. So what a
//! store must hold after any number of them can be told without asking the one that wrote them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use qpq_host::store::{
    Batch, Fate, Head, NewRecord, Places, Recovery, SeenEntry, SeenState, Store, StoreConfig, StoreError,
};
use qpq_schemas::envelope::{EnvelopeRef, LARGEST_PAYLOAD};
use qpq_schemas::{MessageId, PeerId};
use qpq_tests::power::Disk;
use qpq_tests::recorder::{Event, Fault, Recording};
use qpq_tests::{Failure, Outcome, Random, ensure};
use tempfile::TempDir;

/// Under this key the store keeps the number of the last batch.
const LAST: &[u8] = b"last";

/// The hour in which all ids end; nothing expires here.
const EXPIRES_MS: u64 = 3_600_000_000;

/// The time at which stores are opened.
const NOW_MS: u64 = 1_000_000;

/// Small, so that tables are written, merged and dropped all the time.
pub(crate) fn config() -> StoreConfig {
    StoreConfig { memtable_bytes: 1 << 20, gather_us: 0, reserve_bytes: 0, ..StoreConfig::default() }
}

/// Records that the store holds at least, once it has had as many.
const HELD: usize = 40;

/// The longest payload, in bytes. One record in three is about as long, so that the disk gets something to do.
const LARGE: usize = 60_000;

/// One batch without the payloads: records added with their lengths, and all else.
#[derive(Debug, Default)]
struct Step {
    append: Vec<(u64, usize)>,
    remove: Vec<u64>,
    seen: Vec<SeenEntry>,
    values: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Everything that a store must hold after so many batches.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    seed: u64,
    /// Batches so far.
    pub(crate) batches: u64,
    next_seq: u64,
    /// Records by number, with the length of their payload.
    records: BTreeMap<u64, usize>,
    seen: BTreeMap<MessageId, SeenState>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Contents {
    /// An empty store's.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, batches: 0, next_seq: 1, records: BTreeMap::new(), seen: BTreeMap::new(), values: BTreeMap::new() }
    }

    /// After so many batches.
    pub(crate) fn after(seed: u64, batches: u64) -> Self {
        let mut contents = Self::new(seed);
        while contents.batches < batches {
            contents.step();
        }
        contents
    }

    /// The next batch, which is then counted in.
    pub(crate) fn next(&mut self) -> Outcome<Batch> {
        let step = self.step();
        let append = step.append.iter().map(|(seq, len)| record(self.seed, *seq, *len)).collect::<Outcome<_>>()?;
        Ok(Batch { append, remove: step.remove, seen: step.seen, kv: step.values, ..Batch::default() })
    }

    fn step(&mut self) -> Step {
        self.batches += 1;
        let mut random = Random::seeded(self.seed ^ self.batches.wrapping_mul(0x9e37_79b9));
        let mut step = Step::default();
        // As many go as come, in the long run.
        for _ in 0..random.below(6).min(self.records.len().saturating_sub(HELD)) {
            let Some(seq) = self.records.keys().nth(random.below(self.records.len())).copied() else { continue };
            self.records.remove(&seq);
            step.remove.push(seq);
            step.seen.push(seen(seq, SeenState::Delivered));
        }
        for _ in 0..random.below(6) {
            let seq = self.next_seq;
            self.next_seq += 1;
            let len = if random.below(3) == 0 { LARGE / 2 + random.below(LARGE / 2) } else { random.below(900) };
            self.records.insert(seq, len);
            step.append.push((seq, len));
        }
        let (key, len) = (vec![b'k', random.below(20) as u8], random.below(2_000));
        let value = (random.below(4) != 0).then(|| random.bytes(len));
        step.values = vec![(key, value), (LAST.to_vec(), Some(self.batches.to_be_bytes().to_vec()))];
        self.seen.extend(step.seen.iter().map(|entry| (entry.id, entry.state)));
        for (key, value) in &step.values {
            match value {
                Some(value) => _ = self.values.insert(key.clone(), value.clone()),
                None => _ = self.values.remove(key),
            }
        }
        step
    }

    /// Compares with what a store holds.
    fn check(&self, store: &Store, recovery: &Recovery) -> Outcome {
        ensure!(recovery.next_seq >= self.next_seq, "number {} would be used twice", recovery.next_seq);
        let found: BTreeSet<u64> = recovery.heads.iter().map(|head| head.seq).collect();
        let expected: BTreeSet<u64> = self.records.keys().copied().collect();
        ensure!(
            found == expected,
            "records missing: {:?}, records too many: {:?}",
            expected.difference(&found).collect::<Vec<_>>(),
            found.difference(&expected).collect::<Vec<_>>()
        );
        for (seq, len) in &self.records {
            let (stored, written) = (store.read(*seq)?, record(self.seed, *seq, *len)?);
            ensure!(stored.head == written.head && stored.wire == written.wire, "record {seq} was altered");
        }
        let seen: BTreeMap<_, _> = recovery.seen.iter().map(|entry| (entry.id, entry.state)).collect();
        ensure!(seen == self.seen, "{} ids instead of {}, or in other states", seen.len(), self.seen.len());
        let values: BTreeMap<_, _> = store.kv_scan(b"", None, 1_000)?.into_iter().collect();
        ensure!(values == self.values, "other values: {:?}", values.keys().collect::<Vec<_>>());
        Ok(())
    }
}

fn id(seq: u64) -> MessageId {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&seq.to_be_bytes());
    MessageId(id)
}

fn seen(seq: u64, state: SeenState) -> SeenEntry {
    SeenEntry { id: id(seq), expires_ms: EXPIRES_MS, state, fate: Fate::default() }
}

/// A record with a payload of random bytes. (Signatures are not the store's business.)
fn record(seed: u64, seq: u64, len: usize) -> Outcome<NewRecord> {
    let mut wire = vec![0; 92];
    wire[0] = 1;
    wire[2] = 1 << 2;
    wire[4..8].copy_from_slice(&3_600u32.to_be_bytes());
    wire[8..16].copy_from_slice(&NOW_MS.to_be_bytes());
    wire[24..88].fill(seq as u8);
    wire[88..92].copy_from_slice(&(len as u32).to_be_bytes());
    wire.extend(Random::seeded(seed ^ seq).bytes(len + 65));
    let wire = Bytes::from(wire);
    let view = EnvelopeRef::parse(&wire, LARGEST_PAYLOAD)?;
    let head = Head::with_id(view, id(seq), seq, Places::WAITING, NOW_MS, Some(PeerId([9; 32])));
    Ok(NewRecord { head, wire })
}

/// A store that was opened, what it holds, and what was found at the opening.
pub(crate) type Opened = (Store, Contents, Recovery);

/// Opens a store and checks that it holds all of a number of batches, at least the first `acknowledged` of them, and
/// nothing else.
pub(crate) fn open(dir: &Path, seed: u64, acknowledged: u64) -> Outcome<Opened> {
    Ok(try_open(dir, seed, acknowledged)??)
}

/// As [`open`], where the store may have reasons not to open.
fn try_open(dir: &Path, seed: u64, acknowledged: u64) -> Outcome<Result<Opened, StoreError>> {
    let (store, recovery) = match Store::open(dir, config(), NOW_MS) {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(error)),
    };
    let last = store.kv_get(LAST)?.unwrap_or_default();
    let batches = last.try_into().map_or(0, u64::from_be_bytes);
    ensure!(
        batches >= acknowledged,
        "{acknowledged} batches were acknowledged, {batches} are there ({:?})",
        recovery.repairs
    );
    let contents = Contents::after(seed, batches);
    contents.check(&store, &recovery).map_err(|failure| {
        failure.during(&format!("after {batches} batches ({acknowledged} acknowledged; {:?})", recovery.repairs))
    })?;
    Ok(Ok((store, contents, recovery)))
}

/// Writes one batch and waits for the answer.
pub(crate) fn put(store: &Store, batch: Batch) -> Outcome<Result<(), StoreError>> {
    let (tx, rx) = mpsc::channel();
    let done = move |result| _ = tx.send(result);
    store.submit(batch, done).map_err(|full| Failure::new(full.to_string()))?;
    Ok(rx.recv()?)
}

// The process that works under the recorder: this test program, started again for one of its tests.

const DIR_ENV: &str = "QPQ_TEST_WORK_DIR";
const SAID_ENV: &str = "QPQ_TEST_WORK_SAID";
const PLAN_ENV: &str = "QPQ_TEST_WORK_PLAN";

/// What the process shall do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// From which the batches follow.
    pub(crate) seed: u64,
    /// So many batches.
    pub(crate) batches: u64,
    /// Closes the store and opens it again after each so many.
    pub(crate) reopen_every: u64,
}

impl Work {
    /// The command that does it in a store at `dir`, and tells `said`.
    pub(crate) fn command(&self, dir: &Path, said: &Path) -> Outcome<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "workload::a_process_that_works_in_a_store", "--nocapture"]);
        let plan = format!("{} {} {}", self.seed, self.batches, self.reopen_every);
        command.env(DIR_ENV, dir).env(SAID_ENV, said).env(PLAN_ENV, plan);
        Ok(command)
    }

    fn given() -> Option<Self> {
        let plan = std::env::var(PLAN_ENV).ok()?;
        let mut numbers = plan.split(' ').map_while(|text| text.parse().ok());
        let mut next = || numbers.next();
        Some(Self { seed: next()?, batches: next()?, reopen_every: next()? })
    }
}

/// One life of a store in its folder.
pub(crate) struct Life {
    _place: TempDir,
    root: PathBuf,
    /// From which its batches follow.
    pub(crate) seed: u64,
}

impl Life {
    /// A place for a store that has not begun yet.
    pub(crate) fn new(seed: u64) -> Outcome<Self> {
        let place = fast_place()?;
        let root = place.path().canonicalize()?;
        Ok(Self { _place: place, root, seed })
    }

    /// What counts as the disk.
    pub(crate) fn folder(&self) -> PathBuf {
        self.root.join("disk")
    }

    /// The store on it.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder().join("store")
    }

    /// Has a process work, while something goes wrong, and returns its exit code and all that happened in this life.
    pub(crate) fn work(&self, fault: (Fault, u64), batches: u64, reopen_every: u64) -> Outcome<(i32, Vec<Event>)> {
        let (folder, said, log) = (self.folder(), self.root.join("said"), self.root.join("log"));
        let recording = Recording { folder: &folder, said: &said, log: &log, fault };
        let work = Work { seed: self.seed, batches, reopen_every };
        let code = recording.run(&mut work.command(&self.store(), &said)?)?;
        Ok((code, recording.events()?))
    }

    /// The disk as it stands, made if there is none yet.
    pub(crate) fn disk(&self) -> Outcome<Disk> {
        if !self.folder().exists() {
            fs::create_dir(self.folder())?;
        }
        Disk::holding(&self.folder())
    }

    /// Works undisturbed. Returns the disk as it was before, and all that happened.
    pub(crate) fn worked(&self, batches: u64, reopen_every: u64) -> Outcome<(Disk, Vec<Event>)> {
        let disk = self.disk()?;
        let (code, events) = self.work((Fault::None, 0), batches, reopen_every)?;
        ensure!(code == 0, "the work ended with {code} after {:?}", events.last());
        Ok((disk, events))
    }
}

/// A temporary folder in memory where there is one: the disks are made by the thousand, and none needs to last.
fn fast_place() -> Outcome<TempDir> {
    let builder = || tempfile::Builder::new().prefix("qpq-").to_owned();
    Ok(builder().tempdir_in("/dev/shm").or_else(|_| builder().tempdir())?)
}

/// The batches that had been acknowledged after an event, if it said so.
pub(crate) fn acknowledged(event: &Event) -> Option<u64> {
    let Event::Said(text) = event else { return None };
    text.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).max()
}

/// How long the process waits for a store that takes nothing for now.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pause before a refused batch is offered again.
const PAUSE: Duration = Duration::from_millis(20);

/// Says `opened N` (it holds N batches), `unopened CODE`, `acknowledged N`, `refused CODE`, `closed`.
#[test]
fn a_process_that_works_in_a_store() -> Outcome {
    let (Some(work), Some(dir), Some(said)) = (Work::given(), std::env::var_os(DIR_ENV), std::env::var_os(SAID_ENV))
    else {
        return Ok(());
    };
    let mut said = File::options().create(true).append(true).open(said)?;
    let mut say = |text: String| said.write_all(format!("{text}\n").as_bytes());
    let (mut held, mut left) = (0, work.batches);
    while left > 0 {
        let (store, mut contents, _) = match try_open(Path::new(&dir), work.seed, held)? {
            Ok(opened) => opened,
            Err(error) => return Ok(say(format!("unopened {}", error.code()))?),
        };
        say(format!("opened {}", contents.batches))?;
        for _ in 0..left.min(work.reopen_every) {
            if !offer(&store, &contents.next()?, &mut say)? {
                // It was said why. Reading must go on.
                let _ = store.read(1);
                return Ok(());
            }
            left -= 1;
            held = contents.batches;
            say(format!("acknowledged {held}"))?;
        }
        if left > 0 {
            store.close();
            say("closed".to_owned())?;
        } else {
            // As if it were killed: nothing is tidied up.
            std::process::exit(0);
        }
    }
    Ok(())
}

/// Offers a batch until it is taken. Gives up when the store takes nothing any more, after some more tries.
fn offer(store: &Store, batch: &Batch, say: &mut impl FnMut(String) -> std::io::Result<()>) -> Outcome<bool> {
    let (began, mut final_refusals) = (Instant::now(), 0);
    while let Err(error) = put(store, batch.clone())? {
        say(format!("refused {}", error.code()))?;
        final_refusals += usize::from(matches!(error, StoreError::ReadOnly { .. }));
        if final_refusals > 3 || began.elapsed() > PATIENCE {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(true)
}
