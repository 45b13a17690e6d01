//! kill -9 of a writing process at random moments.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

/// Set for the process that is killed: the store's folder.
const CHILD: &str = "QPQ_TEST_STORE_CHILD";
/// With each record, an id of another message is noted, this much further.
const ANOTHER: u64 = 1 << 40;
/// Times that it is killed.
const RUNS: u64 = 50;

/// The writing process. Prints the number of each record once it is acknowledged.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let (store, recovery) = Store::open(Path::new(&dir), StoreConfig::default(), 0).unwrap();
    let (tx, rx) = mpsc::channel();
    for seq in recovery.next_seq.. {
        let tx = tx.clone();
        let kv = vec![(b"last".to_vec(), Some(seq.to_be_bytes().to_vec()))];
        let noted = vec![seen(seq + ANOTHER, SeenState::Delivered)];
        let batch = Batch { append: vec![record(seq)], seen: noted, kv, ..Batch::default() };
        let done = move |result: Result<(), StoreError>| {
            result.unwrap();
            tx.send(seq).unwrap();
        };
        while store.submit(batch.clone(), done.clone()).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // A window of a few at a time, as links have it.
        if seq % 8 == 0 {
            rx.iter().take(8).for_each(say);
        }
    }
}

/// For the test that kills this process: that record is acknowledged.
pub(super) fn say(seq: u64) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "acknowledged {seq}").and_then(|()| out.flush());
}

/// Runs a test of this program in a process of its own, with that variable naming the store, and kills it. Returns the last number
/// that it said, 0 for none.
pub(super) fn run_and_kill(test: &str, variable: &str, store: &Path, life: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(variable, store)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(out).lines().map_while(Result::ok);
        lines.filter_map(|line| line.split("acknowledged ").nth(1)?.parse::<u64>().ok()).max()
    });
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap().unwrap_or(0)
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for run in 0..RUNS {
        let life = Duration::from_millis(30 + (run * 37) % 90);
        let child = "store::tests::crash::child_that_writes_until_it_is_killed";
        acknowledged = acknowledged.max(run_and_kill(child, CHILD, dir.path(), life));
        let (store, recovery) = open(dir.path());
        let found: Vec<u64> = recovery.heads.iter().map(|head| head.seq).collect();
        assert!(found.len() as u64 >= acknowledged, "run {run}: {} of {acknowledged}", found.len());
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>(), "run {run}: no gap");
        assert_eq!((recovery.seen.len(), recovery.damaged), (found.len(), 0), "run {run}: {:?}", recovery.repairs);
        let last = found.last().map(|seq| seq.to_be_bytes().to_vec());
        assert_eq!(store.kv_get(b"last").unwrap(), last, "run {run}: all of a batch or nothing");
        for seq in found.iter().rev().take(200) {
            assert_eq!(store.read(*seq).unwrap().wire, record(*seq).wire, "run {run}");
        }
        store.close();
    }
    assert!(acknowledged > RUNS, "the child got to write: {acknowledged}");
}
