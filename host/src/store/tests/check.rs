//! The offline tools: a check finds what is damaged and changes nothing, a repair brings back what can be read.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::damage::{Dice, copy, files};
use super::*;

/// Records in the sample, three quarters of them in tables.
pub(super) const RECORDS: u64 = 200;
/// The record that was removed again.
const GONE: u64 = 7;

/// A record that is what it says it is.
pub(super) fn genuine(seq: u64) -> NewRecord {
    let wire = wire(seq as u8, 20 + (seq % 50) as usize);
    let view = EnvelopeRef::parse(&wire, 1 << 20).unwrap();
    NewRecord { head: Head::of(view, seq, Places::WAITING, 1_000_500, Some(PeerId([9; 32]))), wire }
}

fn noted(record: &NewRecord, state: SeenState) -> SeenEntry {
    SeenEntry { id: record.head.id, expires_ms: 5_000_000, state, fate: Fate::default() }
}

/// A closed store with records in tables and in a journal.
pub(super) fn sample(dir: &Path) {
    let (store, _) = open(dir);
    for from in (1..=RECORDS).step_by(50) {
        let append: Vec<_> = (from..from + 50).map(genuine).collect();
        let seen = vec![SeenEntry { id: MessageId([from as u8; 32]), ..noted(&genuine(1), SeenState::Delivered) }];
        let kv = vec![(from.to_be_bytes().to_vec(), Some(vec![1; 50]))];
        put(&store, Batch { append, seen, kv, ..Batch::default() }).unwrap();
        if from < 150 {
            flush(&store);
        }
    }
    let seen = vec![noted(&genuine(GONE), SeenState::Delivered)];
    put(&store, Batch { remove: vec![GONE], seen, ..Batch::default() }).unwrap();
    store.close();
}

pub(super) fn flush(store: &Store) {
    let write = |engine: &Engine| {
        for table in [&engine.records, &engine.seen, &engine.kv, &engine.meta] {
            table.rotate_memtable_and_wait().unwrap();
        }
        Ok(())
    };
    store.0.shared.with_engine(write).unwrap();
}

/// Every file with its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(dir).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

pub(super) fn checked(dir: &Path) -> CheckReport {
    check(dir, 2_000_000, &mut |_, _| ()).unwrap()
}

pub(super) fn mended(dir: &Path) -> RepairReport {
    repair(dir, 2_000_000, &mut |_, _| ()).unwrap()
}

/// The numbers of the records that come back, each verified against what was written.
pub(super) fn numbers(dir: &Path) -> Vec<u64> {
    let (store, recovery) = open(dir);
    for head in &recovery.heads {
        assert_eq!(store.read(head.seq).unwrap().wire, genuine(head.seq).wire);
    }
    store.close();
    recovery.heads.iter().map(|head| head.seq).collect()
}

pub(super) fn all_but_gone() -> Vec<u64> {
    (1..=RECORDS).filter(|seq| *seq != GONE).collect()
}

/// The folder of the table space that holds the records.
pub(super) fn records_space(dir: &Path) -> PathBuf {
    let (store, _) = open(dir);
    let path = store.0.shared.with_engine(|engine| Ok(engine.records.path().to_owned())).unwrap();
    store.close();
    path
}

fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 4;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_store_in_order_is_found_in_order_and_no_byte_of_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let before = contents(dir.path());
    let report = checked(dir.path());
    assert!(report.ok, "{report:?}");
    assert_eq!((report.format, report.envelopes.all.messages, report.seen_ids), (Some(FORMAT_VERSION), 199, 5));
    assert_eq!((report.envelopes.waiting, report.envelopes.recipients), (report.envelopes.all, 199));
    assert!(report.tables.iter().any(|table| table.name == "kv" && table.entries == 4));
    let figures = figures(dir.path(), 2_000_000, &mut |_, _| ()).unwrap();
    assert_eq!((figures.envelopes, figures.next_seq, figures.closed), (report.envelopes, Some(RECORDS + 1), true));
    assert!(contents(dir.path()) == before, "a look changed the store");
}

#[test]
fn a_repair_of_a_store_in_order_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let report = mended(dir.path());
    assert!(report.ok && report.set_aside.is_empty() && report.kept.is_empty(), "{report:?}");
    assert!(!report.mended, "{report:?}");
    assert_eq!(numbers(dir.path()), all_but_gone());
}

#[test]
fn an_open_store_is_neither_checked_nor_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    assert_eq!(check(dir.path(), 0, &mut |_, _| ()).unwrap_err().code(), "store-locked");
    assert_eq!(repair(dir.path(), 0, &mut |_, _| ()).unwrap_err().code(), "store-locked");
    store.close();
    let nothing = tempfile::tempdir().unwrap();
    assert!(check(nothing.path(), 0, &mut |_, _| ()).unwrap_err().to_string().contains("there is none"));
    assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0, "nothing was made there");
}

#[test]
fn entries_that_are_not_what_they_should_be_are_named_and_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let (store, _) = open(dir.path());
    let spoil = |engine: &Engine| {
        let entry = |record: &NewRecord| (format::record_key(record.head.seq), format::encode_record(record));
        let mut false_id = genuine(3);
        false_id.head.id = MessageId([3; 32]);
        let mut double = genuine(5);
        double.head.seq = 400;
        for (key, value) in [entry(&false_id), entry(&double)] {
            engine.records.insert(key, value).unwrap();
        }
        engine.records.insert(format::record_key(4), b"nonsense of some length").unwrap();
        engine.kv.insert(b"key", b"nonsense").unwrap();
        let key = format::seen_key(9, 1_000);
        engine.seen.insert(key, format::encode_seen(&key, &[noted(&genuine(1), SeenState::Held)])).unwrap();
        engine.db.persist(fjall::PersistMode::SyncAll).unwrap();
        Ok(())
    };
    store.0.shared.with_engine(spoil).unwrap();
    store.close();
    let report = checked(dir.path());
    let named: Vec<_> = report.damage.iter().map(|d| (d.table, d.key.as_str(), d.reason.as_str())).collect();
    let found = |table: &str, key: &str, reason: &str| {
        assert!(named.iter().any(|(t, k, r)| *t == table && *k == key && r.contains(reason)), "{key}: {named:?}");
    };
    found("records", "3", "its id is not");
    found("records", "4", "checksum");
    found("records", "400", "the same message as record 5");
    found("kv", "key", "checksum");
    found("seen", "hour 9, chunk 1000", "another hour");
    found("meta", "cursor", "is in use");
    assert!(!report.ok && report.damaged_entries == 6, "{named:?}");
    let repaired = mended(dir.path());
    assert!(repaired.ok && repaired.mended, "{repaired:?}");
    assert!(checked(dir.path()).ok);
    let kept: Vec<u64> = all_but_gone().into_iter().filter(|seq| ![3, 4].contains(seq)).collect();
    assert_eq!(numbers(dir.path()), kept);
    let (_, recovery) = open(dir.path());
    assert!(recovery.next_seq > 400, "no number is used twice: {}", recovery.next_seq);
}

#[test]
fn a_damaged_list_of_tables_is_rebuilt_from_the_tables() {
    for (case, file) in ["current", "v"].into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        sample(dir.path());
        let space = records_space(dir.path());
        let list = fs::read_dir(&space).unwrap().flatten().map(|entry| entry.path());
        let list = list.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(file)).max().unwrap();
        flip(&list, 9);
        let refused = Store::open(dir.path(), StoreConfig::default(), 0).map(drop).unwrap_err();
        assert_eq!(refused.code(), "store-damaged");
        assert!(refused.to_string().contains("qpq store repair"), "{refused}");
        let before = contents(dir.path());
        let report = checked(dir.path());
        assert!(!report.ok && report.files.len() == 1, "{report:?}");
        assert_eq!(report.envelopes.all.messages, RECORDS - 1, "the tables themselves can be read");
        assert!(contents(dir.path()) == before, "a look changed the store");
        let repaired = mended(dir.path());
        assert!(repaired.ok && repaired.mended && repaired.kept.iter().all(|kept| kept.exists()), "{repaired:?}");
        assert_eq!(numbers(dir.path()), all_but_gone(), "case {case}");
        assert!(checked(dir.path()).ok);
    }
}

#[test]
fn the_databases_own_list_of_names_can_be_lost_too() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    fs::write(dir.path().join("db/keyspaces/0/current"), b"").unwrap();
    fs::remove_file(dir.path().join("FORMAT")).unwrap();
    let report = checked(dir.path());
    assert_eq!((report.ok, report.format, report.envelopes.all.messages), (false, None, RECORDS - 1));
    assert!(mended(dir.path()).ok);
    assert_eq!(numbers(dir.path()), all_but_gone());
}

#[test]
fn a_damaged_or_foreign_version_of_the_database_is_named_and_mended() {
    let cases: [(Option<&[u8]>, &str); 4] = [
        (None, "missing"),
        (Some(b""), "can't be read"),
        (Some(b"FJX\x03"), "can't be read"),
        (Some(b"FJL\x04"), "version 4"),
    ];
    for (bytes, word) in cases {
        let dir = tempfile::tempdir().unwrap();
        sample(dir.path());
        let file = dir.path().join("db/version");
        match bytes {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        // As after many journals: nothing keeps the database from beginning anew.
        fs::rename(dir.path().join("db/0.jnl"), dir.path().join("db/5.jnl")).unwrap();
        let refused = Store::open(dir.path(), StoreConfig::default(), 0).map(drop).unwrap_err().to_string();
        assert!(refused.contains("version file") && refused.contains(word), "{refused}");
        assert!(refused.contains("qpq store repair"), "{refused}");
        let before = contents(dir.path());
        let report = checked(dir.path());
        assert!(!report.ok && report.files.len() == 1, "{report:?}");
        assert_eq!(report.files[0].file, Path::new("db/version"));
        assert!(report.files[0].what.contains(word) && report.files[0].what.contains("qpq store repair"), "{report:?}");
        assert_eq!(report.envelopes.all.messages, RECORDS - 1);
        assert!(contents(dir.path()) == before, "a look changed the store");
        let repaired = mended(dir.path());
        assert!(repaired.ok && repaired.mended, "{repaired:?}");
        assert_eq!(numbers(dir.path()), all_but_gone(), "{word}");
        assert!(checked(dir.path()).ok);
    }
}

#[test]
fn a_table_that_was_merged_away_brings_no_removed_message_back() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let space = records_space(dir.path());
    let old: Vec<_> =
        files(&space.join("tables")).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    let (store, _) = open(dir.path());
    flush(&store);
    let compacted = store.0.shared.with_engine(|engine| Ok(engine.records.major_compact()));
    compacted.unwrap().unwrap();
    store.close();
    for file in files(&space.join("tables")) {
        fs::remove_file(file).unwrap(); // the table that knows of the removal is lost
    }
    for (file, bytes) in old {
        fs::write(file, bytes).unwrap(); // and those that it was made of had not been removed yet
    }
    for journal in journal::journals(&dir.path().join("db")).unwrap() {
        fs::remove_file(journal).unwrap(); // which would know of it too, for a while
    }
    fs::write(space.join("current"), b"").unwrap();
    let repaired = mended(dir.path());
    assert!(repaired.set_aside.iter().any(|entry| entry.key == GONE.to_string()), "{repaired:?}");
    let left = numbers(dir.path());
    assert!(left.len() >= 149 && !left.contains(&GONE), "{left:?}");
}

#[test]
fn a_table_that_cannot_be_opened_is_left_out_and_named() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let space = records_space(dir.path());
    let table = files(&space.join("tables")).into_iter().next().unwrap();
    let len = fs::metadata(&table).unwrap().len() as usize;
    fs::write(&table, &fs::read(&table).unwrap()[..len / 2]).unwrap();
    let report = checked(dir.path());
    assert!(!report.ok && report.files.iter().any(|file| file.lost), "{report:?}");
    let repaired = mended(dir.path());
    assert!(repaired.ok && repaired.files.iter().any(|file| file.lost), "{repaired:?}");
    let left = numbers(dir.path());
    assert!(left.len() >= 99 && left.len() < 199, "the other tables and the journal are left: {}", left.len());
}

#[test]
fn whatever_is_damaged_a_repair_ends_with_a_store_that_opens_or_says_why_not() {
    let origin = tempfile::tempdir().unwrap();
    sample(origin.path());
    let mut unreadable = 0;
    for case in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        copy(origin.path(), dir.path());
        let mut dice = Dice(case + 77);
        let mut targets = files(dir.path());
        targets.retain(|file| fs::metadata(file).unwrap().len() > 0);
        let file = targets[dice.roll(targets.len() as u64) as usize].clone();
        flip(&file, dice.roll(fs::metadata(&file).unwrap().len()) as usize);
        let what = format!("case {case}: {}", file.strip_prefix(dir.path()).unwrap().display());
        match repair(dir.path(), 2_000_000, &mut |_, _| ()) {
            Ok(report) => assert!(report.ok, "{what}: {report:?}"),
            Err(StoreError::Format { .. }) => unreadable += 1, // the digit of the version became another
            Err(other) => panic!("{what}: {other}"),
        }
        if unreadable == 0 {
            let left = numbers(dir.path());
            assert!(left.iter().all(|seq| *seq != GONE), "{what}");
        }
        unreadable = 0;
    }
}
