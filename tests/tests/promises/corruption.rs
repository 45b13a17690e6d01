//! A damaged disk: what is damaged is found and reported, never delivered as good, and never brings the node down.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use bytes::Bytes;
use qpq_host::store::{self, Batch, Head, NewRecord, Places, Store, StoreConfig, StoreError};
use qpq_schemas::envelope::{Draft, Envelope, Flags, Kind};
use qpq_schemas::signature::SigningKey;
use qpq_tests::{Failure, Outcome, Random, ensure, skip};

/// Records in the store that is damaged.
const RECORDS: u64 = 200;

/// Any time before the envelopes die.
const NOW_MS: u64 = 1_800_000_000_000;

/// A page of the disk, in bytes.
const PAGE: usize = 4096;

#[test]
fn a_damaged_store_never_delivers_damaged_messages_and_never_loses_them_silently() -> Outcome {
    let mut random = Random::announced("a_damaged_store");
    let folder = tempfile::tempdir()?;
    let (whole, older) = (folder.path().join("whole"), folder.path().join("older"));
    let envelopes = write_store(&whole, &older, &mut random)?;
    let mut refused = Vec::new();
    let rounds = skip::rounds(100, 4_000);
    for round in 0..rounds {
        let copy = folder.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_folder(&whole, &copy)?;
        let what = damage(&copy, &older, &mut random)?;
        let tried = catch_unwind(AssertUnwindSafe(|| try_store(&copy, &envelopes)));
        let tried = tried.unwrap_or_else(|_| Err(Failure::new("the store panicked")));
        if !tried.map_err(|failure| failure.during(&format!("round {round}, {what}")))? {
            refused.push(what);
        }
    }
    // A store that nothing could open would pass all of the above. More than half of its files are the database's lists of
    // tables and its names, which stop a node until they are repaired.
    ensure!(refused.len() * 4 < rounds * 3, "{} of {rounds} damaged stores did not open: {refused:#?}", refused.len());
    Ok(())
}

/// Checks a damaged store, reads it, and repairs it. Whether it could be opened without a repair.
fn try_store(folder: &Path, envelopes: &[Bytes]) -> Outcome<bool> {
    let checked = store::check(folder, NOW_MS, &mut |_, _| ());
    let in_order = checked.as_ref().is_ok_and(|report| report.ok);
    let opened = match read_back(folder, envelopes)? {
        Read::Refused => false,
        Read::Whole => true,
        Read::Reported => {
            ensure!(!in_order, "a check found a store in order that reported damage when it was read");
            true
        }
    };
    match store::repair(folder, NOW_MS, &mut |_, _| ()) {
        Ok(report) => ensure!(report.ok, "the repair left damage: {report:?}"),
        // The digit in the file FORMAT became that of a newer version.
        Err(StoreError::Format { .. }) if !opened => return Ok(false),
        Err(error) => return Err(Failure::new(format!("the repair failed: {error}"))),
    }
    ensure!(!matches!(read_back(folder, envelopes), Ok(Read::Refused)), "a repaired store did not open");
    let again = store::check(folder, NOW_MS, &mut |_, _| ()).map_err(|error| Failure::new(error.to_string()))?;
    ensure!(again.ok, "a repaired store is damaged: {again:?}");
    Ok(opened)
}

fn envelope(random: &mut Random) -> Outcome<Envelope> {
    let draft = Draft {
        kind: Kind::Direct,
        flags: Flags::default(),
        max_hops: 8,
        ttl_secs: 86_400,
        created_ms: NOW_MS,
        nonce: random.next_u64().to_be_bytes(),
        destination: [4; 32],
        payload: random.bytes(256),
    };
    Ok(draft.sign(&SigningKey::from_seed(&[1; 32]))?)
}

/// A store with records in its tables and in its journal; and a copy of it as it was half-way.
fn write_store(folder: &Path, older: &Path, random: &mut Random) -> Outcome<Vec<Bytes>> {
    let envelopes: Vec<Envelope> = (0..RECORDS).map(|_| envelope(random)).collect::<Outcome<_>>()?;
    // Small tables, so that they are written and not just kept in the journal.
    let config = StoreConfig { memtable_bytes: 0, ..StoreConfig::default() };
    for half in envelopes.chunks(envelopes.len() / 2) {
        let (store, recovery) = Store::open(folder, config.clone(), NOW_MS)?;
        let (durable, done) = mpsc::channel();
        for (seq, envelope) in (recovery.next_seq..).zip(half) {
            let head = Head::of(envelope.view(), seq, Places::WAITING, NOW_MS, None);
            let record = NewRecord { head, wire: envelope.wire().clone() };
            let kv = vec![(seq.to_be_bytes().to_vec(), Some(random.bytes(40)))];
            let batch = Batch { append: vec![record], kv, ..Batch::default() };
            let durable = durable.clone();
            let queued = store.submit(batch, move |outcome| {
                let _ = durable.send(outcome.is_ok());
            });
            ensure!(queued.is_ok() && done.recv()?, "the store refused a record");
        }
        store.close();
        if !older.exists() {
            copy_folder(folder, older)?;
        }
    }
    Ok(envelopes.iter().map(|envelope| envelope.wire().clone()).collect())
}

/// How a damaged store was read.
enum Read {
    /// It refused to open, which reports its damage.
    Refused,
    /// Everything was there, and nothing was reported.
    Whole,
    /// What was there was as it had been written, and damage was reported.
    Reported,
}

/// Every record is as it was, or its damage is reported.
fn read_back(folder: &Path, envelopes: &[Bytes]) -> Outcome<Read> {
    let Ok((store, recovery)) = Store::open(folder, StoreConfig::default(), NOW_MS) else { return Ok(Read::Refused) };
    let mut damaged = recovery.damaged;
    let mut intact = 0;
    for head in &recovery.heads {
        match store.read(head.seq) {
            Ok(record) => {
                ensure!(envelopes.contains(&record.wire), "record {} was delivered altered", head.seq);
                intact += 1;
            }
            Err(_) => damaged += 1,
        }
    }
    // After a close in order, that the journal's end was cut off is no excuse for a loss.
    let reported = damaged > 0 || recovery.repairs.iter().any(|note| !note.contains("unfinished write"));
    ensure!(
        reported || intact == envelopes.len(),
        "{intact} of {} records are left, and nothing was reported",
        envelopes.len()
    );
    store.close();
    Ok(if reported { Read::Reported } else { Read::Whole })
}

/// Damages one file in one way. Says which and how.
fn damage(folder: &Path, older: &Path, random: &mut Random) -> Outcome<String> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    // Most bytes of a journal are room set aside; what is damaged there harms nobody.
    files.retain(|file| fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0));
    files.sort();
    let file = files.get(random.below(files.len())).ok_or_else(|| Failure::new("the store has no files"))?;
    let mut bytes = fs::read(file)?;
    let at = random.below(bytes.len());
    let how = match random.below(6) {
        5 => {
            let name = file.strip_prefix(folder).unwrap_or(file);
            let Ok(old) = fs::read(older.join(name)) else { return damage(folder, older, random) };
            bytes = old;
            "an older copy"
        }
        0 | 1 => {
            bytes[at] ^= 1 << random.below(8);
            "one bit flipped"
        }
        2 => {
            let end = (at + PAGE).min(bytes.len());
            bytes[at..end].fill(0);
            "a page zeroed"
        }
        3 => {
            bytes.truncate(at);
            "cut short"
        }
        _ => {
            let pages = bytes.len() / PAGE;
            let (one, two) = (random.below(pages), random.below(pages));
            if one != two && pages > 1 {
                let (low, high) = (one.min(two) * PAGE, one.max(two) * PAGE);
                let (left, right) = bytes.split_at_mut(high);
                left[low..low + PAGE].swap_with_slice(&mut right[..PAGE]);
            }
            "two pages swapped"
        }
    };
    fs::write(file, bytes)?;
    Ok(format!("{} at {at}: {how}", file.strip_prefix(folder).unwrap_or(file).display()))
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Outcome {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Outcome {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, target) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            fs::copy(path, target)?;
        }
    }
    Ok(())
}
