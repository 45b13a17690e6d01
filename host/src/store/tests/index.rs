//! The index on disk keeps step with the records.

use std::collections::BTreeMap;
use std::time::Duration;

use super::crash::{run_and_kill, say};
use super::*;

/// Set for the process that is killed: the store's folder.
const CHILD: &str = "QPQ_TEST_INDEX_CHILD";
/// Times that it is killed.
const RUNS: u64 = 25;

fn on_disk() -> StoreConfig {
    StoreConfig { index: IndexPlace::Disk, ..StoreConfig::default() }
}

fn open_on_disk(dir: &Path) -> (Store, Recovery) {
    Store::open(dir, on_disk(), 0).unwrap()
}

fn rank(seq: u64) -> u64 {
    (2 << 56) + seq % 7
}

fn filed(seq: u64) -> Filed {
    Filed { head: record(seq).head, rank: rank(seq) }
}

/// What a node writes when it takes these in.
fn taken(seqs: impl Iterator<Item = u64> + Clone) -> Batch {
    Batch { append: seqs.clone().map(record).collect(), file: seqs.map(filed).collect(), ..Batch::default() }
}

/// What it writes when they go.
fn gone(seqs: impl Iterator<Item = u64> + Clone) -> Batch {
    Batch { remove: seqs.clone().collect(), unfile: seqs.map(filed).collect(), ..Batch::default() }
}

/// An empty index has all that it should have, when nothing waits.
fn begin(dir: &Path) -> Store {
    let (store, recovery) = open_on_disk(dir);
    if !recovery.indexed {
        put(&store, Batch { index_built: true, ..Batch::default() }).unwrap();
    }
    store
}

/// All that the tables say is what the records say.
fn assert_in_step(store: &Store, heads: &[Head], what: &str) {
    let mut queues: BTreeMap<[u8; 32], Vec<Filed>> = BTreeMap::new();
    let mut lanes: BTreeMap<([u8; 32], PeerId), Vec<InLane>> = BTreeMap::new();
    for head in heads {
        let one = Filed { head: *head, rank: rank(head.seq) };
        assert_eq!(store.filed(&head.id).unwrap(), Some(one), "{what}");
        queues.entry(head.destination).or_default().push(one);
        let lane = InLane { rank: one.rank, seq: head.seq, wire_len: head.wire_len };
        lanes.entry((head.destination, head.sender)).or_default().push(lane);
    }
    for (recipient, mut queue) in queues {
        queue.sort_by_key(|one| (one.rank, one.head.seq));
        assert_eq!(store.filed_for(&recipient, (0, 0), usize::MAX).unwrap(), queue, "{what}");
        let (before, after) = queue.split_at(queue.len() / 2);
        let place = before.last().map_or((0, 0), |one| (one.rank, one.head.seq));
        assert_eq!(store.filed_for(&recipient, place, 3).unwrap(), after[..after.len().min(3)], "{what}");
    }
    for ((recipient, sender), mut lane) in lanes {
        lane.sort_by_key(|one| (one.rank, one.seq));
        assert_eq!(store.lane(&recipient, &sender).unwrap(), lane, "{what}");
    }
    let mut ends: Vec<Filed> = heads.iter().map(|head| Filed { head: *head, rank: rank(head.seq) }).collect();
    ends.sort_by_key(|one| (one.ends_secs(), one.head.seq));
    assert_eq!(store.ended(u32::MAX, (0, 0), usize::MAX).unwrap(), ends, "{what}");
    assert_eq!(store.ended(0, (0, 0), 9).unwrap(), [], "{what}");
}

#[test]
fn the_index_is_written_and_removed_with_the_records() {
    let dir = tempfile::tempdir().unwrap();
    let store = begin(dir.path());
    put(&store, taken(1..=300)).unwrap();
    put(&store, gone(50..=120)).unwrap();
    let left = || (1..50).chain(121..=300).map(|seq| record(seq).head).collect::<Vec<_>>();
    assert_in_step(&store, &left(), "at once");
    assert_eq!(store.filed(&id(60)).unwrap(), None);
    let (heads, next) = store.heads(0, 100).unwrap();
    assert_eq!((heads.len(), next), (100, Some(172)));
    assert_eq!(store.heads(301, 100).unwrap(), (Vec::new(), None));
    store.close();
    let (store, recovery) = open_on_disk(dir.path());
    assert!(recovery.indexed);
    assert_in_step(&store, &left(), "after a restart");
}

#[test]
fn what_comes_and_goes_in_one_commit_leaves_nothing_and_what_comes_back_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = begin(dir.path());
    put(&store, taken(1..=3)).unwrap();
    let mut batch = taken(10..=12);
    batch.merge(gone(11..=12));
    put(&store, batch).unwrap();
    // The same message under a new number, in the batch that removes the old one.
    let mut again = record(20);
    again.head.id = id(2);
    let file = vec![Filed { head: again.head, rank: rank(20) }];
    put(&store, Batch { append: vec![again.clone()], file, ..gone(2..=2) }).unwrap();
    let heads = [record(1).head, record(3).head, record(10).head, again.head];
    assert_in_step(&store, &heads, "at once");
}

#[test]
fn an_index_that_is_not_known_to_be_whole_is_emptied_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = begin(dir.path());
    put(&store, taken(1..=20)).unwrap();
    store.close();
    // A program that keeps its index in memory empties it; one that knows nothing of it leaves it behind.
    let (store, recovery) = open(dir.path());
    assert!(!recovery.indexed);
    put(&store, Batch { append: vec![record(21)], ..Batch::default() }).unwrap();
    store.close();
    let (store, recovery) = open_on_disk(dir.path());
    assert!(!recovery.indexed && recovery.heads.len() == 21);
    assert_eq!(store.filed(&id(3)).unwrap(), None);
    assert!(store.ended(u32::MAX, (0, 0), 9).unwrap().is_empty());
    put(&store, Batch { file: (1..=21).map(filed).collect(), ..Batch::default() }).unwrap();
    store.close();
    let (store, recovery) = open_on_disk(dir.path());
    assert!(!recovery.indexed, "its building was not finished");
    let batch = Batch { file: (1..=21).map(filed).collect(), index_built: true, ..Batch::default() };
    put(&store, batch).unwrap();
    store.close();
    let (store, recovery) = open_on_disk(dir.path());
    assert!(recovery.indexed);
    assert_in_step(&store, &recovery.heads, "built");
    store
        .0
        .shared
        .with_engine(|engine| {
            // As an older program commits.
            engine.indexed.store(false, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
    put(&store, Batch { append: vec![record(22)], ..Batch::default() }).unwrap();
    store.close();
    assert!(!open_on_disk(dir.path()).1.indexed, "the mark names an older commit");
}

/// A message whose id is that of its envelope.
fn genuine(seqs: impl Iterator<Item = u64>) -> Batch {
    let append: Vec<NewRecord> = seqs.map(check::genuine).collect();
    let file = append.iter().map(|record| Filed { head: record.head, rank: rank(record.head.seq) }).collect();
    Batch { append, file, ..Batch::default() }
}

#[test]
fn a_check_tells_an_index_that_is_out_of_step_and_a_repair_has_it_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = begin(dir.path());
    put(&store, genuine(1..=200)).unwrap();
    store.close();
    let report = check(dir.path(), 0, &mut |_, _| ()).unwrap();
    assert!(report.ok, "{report:?}");
    let (store, recovery) = open_on_disk(dir.path());
    assert!(recovery.indexed, "a check changes nothing");
    let unfile = genuine(9..=9).file;
    put(&store, Batch { unfile, ..Batch::default() }).unwrap();
    put(&store, Batch { remove: vec![30], ..Batch::default() }).unwrap();
    store.close();
    let report = check(dir.path(), 0, &mut |_, _| ()).unwrap();
    assert!(!report.ok && report.problems.iter().any(|what| what.contains("of 1 messages")), "{:?}", report.problems);
    let report = repair(dir.path(), 0, &mut |_, _| ()).unwrap();
    assert!(report.ok && report.mended, "{report:?}");
    assert!(check(dir.path(), 0, &mut |_, _| ()).unwrap().ok);
    assert!(!open_on_disk(dir.path()).1.indexed);
}

#[test]
fn a_damaged_record_has_the_index_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = begin(dir.path());
    put(&store, taken(1..=20)).unwrap();
    store
        .0
        .shared
        .with_engine(|engine| {
            engine.records.insert(format::record_key(7), b"nonsense".as_slice()).map_err(|error| Fault::writing(&error))
        })
        .unwrap();
    assert!(matches!(store.read(7), Err(StoreError::DamagedRecord { .. })));
    put(&store, taken(30..=30)).unwrap();
    store.close();
    let (_, recovery) = open_on_disk(dir.path());
    assert!(!recovery.indexed);
    assert_eq!(recovery.heads.len(), 20);
}

/// The writing process. Takes in, and gives up what it took in before.
#[test]
fn child_that_files_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let (store, recovery) = open_on_disk(Path::new(&dir));
    put(&store, Batch { index_built: !recovery.indexed, ..Batch::default() }).unwrap();
    let (tx, rx) = mpsc::channel();
    let mut oldest = recovery.heads.first().map_or(recovery.next_seq, |head| head.seq);
    for seq in (recovery.next_seq..).step_by(5) {
        let mut batch = taken(seq..seq + 5);
        if seq > oldest + 200 {
            batch.merge(gone(oldest..oldest + 5));
            oldest += 5;
        }
        let tx = tx.clone();
        store.submit(batch, move |result| tx.send(result.map(|()| seq)).unwrap()).unwrap();
        if seq % 4 == 0 {
            rx.iter().take(4).for_each(|seq| say(seq.unwrap()));
        }
    }
}

#[test]
fn after_kill_9_the_index_says_what_the_records_say() {
    let dir = tempfile::tempdir().unwrap();
    begin(dir.path()).close();
    let mut acknowledged = 0;
    for run in 0..RUNS {
        let life = Duration::from_millis(40 + (run * 37) % 120);
        let child = "store::tests::index::child_that_files_until_it_is_killed";
        acknowledged = acknowledged.max(run_and_kill(child, CHILD, dir.path(), life));
        let (store, recovery) = open_on_disk(dir.path());
        assert!(recovery.indexed, "run {run}");
        assert!(recovery.next_seq > acknowledged, "run {run}");
        assert_in_step(&store, &recovery.heads, &format!("run {run}"));
        store.close();
    }
    assert!(acknowledged > RUNS, "the child got to write: {acknowledged}");
}
