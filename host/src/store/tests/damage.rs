//! What a damaged disk does to a store: nothing altered is ever returned, nothing panics, and no loss goes unreported.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::*;

/// Damaged copies that are opened.
const CASES: u64 = 100;

/// A small generator, so that a failing case can be named by its number.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }
}

pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

/// Copies a store, without the room that its journals set aside.
pub(super) fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let place = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let mut bytes = fs::read(&file).unwrap();
        if file.extension().is_some_and(|ext| ext == "jnl") {
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        }
        fs::write(place, bytes).unwrap();
    }
}

fn big(seq: u64) -> NewRecord {
    let mut record = record(seq);
    record.wire = wire(seq as u8, 1_000);
    record.head.wire_len = record.wire.len() as u32;
    record.head.hop_count = seq as u8;
    record
}

/// A store with records in tables as well as in journals.
fn sample(dir: &Path) -> BTreeMap<u64, NewRecord> {
    let config = StoreConfig { memtable_bytes: 0, ..StoreConfig::default() };
    let (store, _) = Store::open(dir, config, 0).unwrap();
    for from in (1..400).step_by(20) {
        let append: Vec<_> = (from..from + 20).map(big).collect();
        let kv = vec![(from.to_be_bytes().to_vec(), Some(vec![1; 50]))];
        put(&store, Batch { append, kv, ..Batch::default() }).unwrap();
    }
    let write_tables = |engine: &Engine| {
        engine.records.rotate_memtable_and_wait().unwrap();
        engine.kv.rotate_memtable_and_wait().unwrap();
        Ok(())
    };
    store.0.shared.with_engine(write_tables).unwrap();
    for seq in 401..500 {
        put(&store, Batch { append: vec![record(seq)], ..Batch::default() }).unwrap();
    }
    store.close();
    (1..401).map(big).chain((401..500).map(record)).map(|record| (record.head.seq, record)).collect()
}

/// How one damaged store fared.
#[derive(Debug, Default)]
struct Tally {
    refused: u64,
    whole: u64,
    mended: u64,
    lost_records: usize,
}

fn examine(dir: &Path, originals: &BTreeMap<u64, NewRecord>, what: &str, tally: &mut Tally) {
    let (store, recovery) = match Store::open(dir, StoreConfig::default(), 0) {
        Ok(opened) => opened,
        Err(StoreError::Damaged { .. } | StoreError::Format { .. }) => return tally.refused += 1,
        Err(other) => panic!("{what}: {other}"),
    };
    let mut intact = 0;
    for head in &recovery.heads {
        let original = originals.get(&head.seq).unwrap_or_else(|| panic!("{what}: {head:?} was never written"));
        assert_eq!(*head, original.head, "{what}");
        match store.read(head.seq) {
            Ok(found) => {
                assert_eq!((found.head, &found.wire), (original.head, &original.wire), "{what}");
                intact += 1;
            }
            Err(StoreError::DamagedRecord { .. }) => {}
            Err(other) => panic!("{what}: {other}"),
        }
    }
    let lost = originals.len() - intact;
    let reported = recovery.damaged + recovery.losses.len() as u64 + store.stats().damaged;
    assert!(lost == 0 || reported > 0, "{what}: {lost} records are gone without a word");
    assert!(recovery.next_seq >= 500, "{what}: numbers would be used twice ({})", recovery.next_seq);
    let goes_on = record(recovery.next_seq);
    put(&store, Batch { append: vec![goes_on], ..Batch::default() }).unwrap_or_else(|e| panic!("{what}: {e}"));
    tally.lost_records += lost;
    if reported > 0 {
        tally.mended += 1;
    } else {
        tally.whole += 1;
    }
    store.close();
    let (_, again) = Store::open(dir, StoreConfig::default(), 0).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(again.heads.len(), intact + 1, "{what}: mended for good ({:?})", again.repairs);
}

#[test]
fn flipped_bits_and_zeroed_pages_never_alter_a_record_nor_lose_one_silently() {
    let origin = tempfile::tempdir().unwrap();
    let originals = sample(origin.path());
    let mut tally = Tally::default();
    for case in 0..CASES {
        let dir = tempfile::tempdir().unwrap();
        copy(origin.path(), dir.path());
        let mut dice = Dice(case + 1);
        let mut targets: Vec<_> =
            files(&dir.path().join("db")).into_iter().filter(|f| fs::metadata(f).unwrap().len() > 0).collect();
        // Half of the cases hit the large files, where nearly all bytes are.
        if case % 2 == 0 {
            targets.retain(|file| fs::metadata(file).unwrap().len() > 10_000);
        }
        let file = &targets[dice.roll(targets.len() as u64) as usize];
        let mut bytes = fs::read(file).unwrap();
        let at = dice.roll(bytes.len() as u64) as usize;
        if case % 10 == 9 {
            let end = bytes.len().min(at + 4_096);
            bytes[at..end].fill(0);
        } else {
            bytes[at] ^= 1 << dice.roll(8);
        }
        fs::write(file, bytes).unwrap();
        let name = file.strip_prefix(dir.path()).unwrap().display().to_string();
        examine(dir.path(), &originals, &format!("case {case}: {name} at {at}"), &mut tally);
    }
    eprintln_report(&format!("{CASES} damaged stores: {tally:?}"));
}

#[test]
fn a_journal_cut_anywhere_opens_with_all_batches_before_the_cut() {
    let origin = tempfile::tempdir().unwrap();
    let (store, _) = open(origin.path());
    for seq in 1..=100 {
        let noted = vec![seen(seq + 1_000, SeenState::Delivered)];
        put(&store, Batch { append: vec![record(seq)], seen: noted, ..Batch::default() }).unwrap();
    }
    store.close();
    fs::remove_file(origin.path().join("closed")).unwrap(); // as after a crash
    let bare = tempfile::tempdir().unwrap();
    copy(origin.path(), bare.path());
    let journal = Path::new("db/0.jnl");
    let whole = fs::read(bare.path().join(journal)).unwrap();
    let mut last = 100;
    for case in 0..50 {
        let dir = tempfile::tempdir().unwrap();
        copy(bare.path(), dir.path());
        let keep = whole.len() - case * 97;
        fs::write(dir.path().join(journal), &whole[..keep]).unwrap();
        let (store, recovery) = open(dir.path());
        let found: Vec<u64> = recovery.heads.iter().map(|head| head.seq).collect();
        assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>(), "cut at {keep}");
        assert_eq!(recovery.seen.len(), found.len(), "record and id come together or not at all");
        assert!(found.len() <= last && found.len() + 2 > last - 1, "cut at {keep}: {} of {last}", found.len());
        last = found.len();
        put(&store, Batch { append: vec![record(recovery.next_seq)], ..Batch::default() }).unwrap();
        store.close();
        assert_eq!(open(dir.path()).1.heads.len(), found.len() + 1, "cut at {keep}");
    }
}

#[test]
fn a_clean_close_makes_a_lost_end_show() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for seq in 1..=10 {
        put(&store, Batch { append: vec![record(seq)], ..Batch::default() }).unwrap();
    }
    store.close();
    let journal = dir.path().join("db/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 60] ^= 4;
    fs::write(&journal, bytes).unwrap();
    let (_, recovery) = open(dir.path());
    assert_eq!((recovery.heads.len(), recovery.losses.len()), (9, 1), "{:?}", recovery.repairs);
    assert!(recovery.repairs.iter().any(|note| note.contains("last 1 commits")), "{:?}", recovery.repairs);
}

fn eprintln_report(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}
