//! Disks that are full, and writes that fail.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;

/// Set for the process whose writes fail: the store's folder.
const CHILD: &str = "QPQ_TEST_STORE_LIMITED";
/// How long the store may take to go on after there is room again.
const PATIENCE: Duration = Duration::from_secs(15);

/// A small file system in memory, or `None` where this process may not mount one.
struct SmallDisk(PathBuf, #[allow(dead_code, reason = "removes the folder")] tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().ok()?;
        let place = dir.path().to_owned();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&place).output().ok()?;
        mounted.status.success().then_some(Self(place, dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn skip(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

fn large(seq: u64) -> Batch {
    let mut record = record(seq);
    record.wire = wire(seq as u8, 40_000);
    record.head.wire_len = record.wire.len() as u32;
    record.head.hop_count = seq as u8;
    Batch { append: vec![record], ..Batch::default() }
}

/// Writes until the store refuses; returns the numbers acknowledged and the refusal.
fn fill(store: &Store, from: u64) -> (Vec<u64>, StoreError) {
    let mut acknowledged = Vec::new();
    for seq in from.. {
        match put(store, large(seq)) {
            Ok(()) => acknowledged.push(seq),
            Err(error) => return (acknowledged, error),
        }
    }
    unreachable!("the disk is small")
}

/// Tries until the store takes something again.
fn wait_until_taken(store: &Store, seq: u64) {
    let began = Instant::now();
    while let Err(error) = put(store, Batch { append: vec![record(seq)], ..Batch::default() }) {
        assert!(began.elapsed() < PATIENCE, "still {error}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn check_all(store: &Store, acknowledged: &[u64]) {
    for seq in acknowledged {
        assert_eq!(store.read(*seq).unwrap().wire, large(*seq).append[0].wire);
    }
}

/// `reserve`: with one the store stops in good time; without, it runs into the wall.
fn full_disk(reserve: u64) {
    let Some(disk) = SmallDisk::mount("8m") else { return skip("a full disk: no file system can be mounted here") };
    let config = StoreConfig { reserve_bytes: reserve, ..StoreConfig::default() };
    let dir = disk.0.join("store");
    let (store, _) = Store::open(&dir, config.clone(), 0).unwrap();
    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![0; 4 << 20]).unwrap();
    let (acknowledged, error) = fill(&store, 1);
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    assert!(matches!(error.code(), "disk-full" | "store-read-only"), "{error}");
    assert!(put(&store, large(9_000)).is_err(), "nothing more is acknowledged");
    assert!(store.stats().read_only.is_some());
    check_all(&store, &acknowledged);

    std::fs::remove_file(&filler).unwrap();
    wait_until_taken(&store, 10_000);
    assert_eq!(store.stats().read_only, None);
    check_all(&store, &acknowledged);
    store.close();
    let (store, recovery) = Store::open(&dir, config, 0).unwrap();
    assert_eq!(recovery.damaged, 0, "{:?}", recovery.repairs);
    check_all(&store, &acknowledged);
    assert!(store.read(10_000).is_ok());
}

#[test]
fn a_full_disk_refuses_with_a_reason_and_goes_on_by_itself() {
    full_disk(16 << 20);
}

#[test]
fn a_disk_that_fills_up_under_a_write_loses_nothing_and_goes_on_by_itself() {
    full_disk(0);
}

/// The process whose files may not grow. Exits with 0 when everything was as it must be.
#[test]
fn child_whose_writes_fail() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let (store, recovery) = Store::open(Path::new(&dir), StoreConfig::default(), 0).unwrap();
    let (acknowledged, error) = fill(&store, recovery.next_seq);
    assert_eq!(error.code(), "store-read-only", "{error}");
    assert!(!acknowledged.is_empty());
    std::thread::sleep(Duration::from_millis(2_500)); // longer than it takes to try to reopen
    assert_eq!(
        put(&store, Batch { append: vec![record(9_000)], ..Batch::default() }).unwrap_err().code(),
        "store-read-only"
    );
    assert!(store.read_only().is_some());
    check_all(&store, &acknowledged);
    std::fs::write(Path::new(&dir).join("acknowledged"), acknowledged.len().to_string()).unwrap();
}

#[test]
fn after_a_failed_write_the_store_only_reads_until_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).0.close();
    open(dir.path()).0.close(); // the second opening gives back the room that the journal set aside
    let test = "store::tests::full::child_whose_writes_fail";
    let script = format!("trap '' XFSZ; ulimit -f 2000; exec \"$0\" --exact {test} --nocapture");
    let exe = std::env::current_exe().unwrap();
    let output = Command::new("sh").arg("-c").arg(script).arg(exe).env(CHILD, dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let acknowledged: u64 = std::fs::read_to_string(dir.path().join("acknowledged")).unwrap().parse().unwrap();
    let (store, recovery) = open(dir.path());
    check_all(&store, &(1..=acknowledged).collect::<Vec<_>>());
    assert!(recovery.heads.iter().all(|head| head.seq < 9_000), "what was refused for good is not there");
}
