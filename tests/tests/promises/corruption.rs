//! A damaged disk: what is damaged is found and reported, never delivered as good, and never brings the node down.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use bytes::Bytes;
use qpq_host::store::{Batch, Head, NewRecord, Places, Store, StoreConfig};
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
    let whole = folder.path().join("whole");
    let envelopes = write_store(&whole, &mut random)?;
    for round in 0..skip::rounds(100, 4_000) {
        let copy = folder.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        copy_folder(&whole, &copy)?;
        let what = damage(&copy, &mut random)?;
        let read = catch_unwind(AssertUnwindSafe(|| read_back(&copy, &envelopes)));
        let read = read.unwrap_or_else(|_| Err(Failure::new("the store panicked")));
        read.map_err(|failure| failure.during(&format!("round {round}, {what}")))?;
    }
    Ok(())
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

/// A store with records in its tables and in its journal.
fn write_store(folder: &Path, random: &mut Random) -> Outcome<Vec<Bytes>> {
    let envelopes: Vec<Envelope> = (0..RECORDS).map(|_| envelope(random)).collect::<Outcome<_>>()?;
    for half in envelopes.chunks(envelopes.len() / 2) {
        let (store, recovery) = Store::open(folder, StoreConfig::default(), NOW_MS)?;
        let (durable, done) = mpsc::channel();
        for (seq, envelope) in (recovery.next_seq..).zip(half) {
            let head = Head::of(envelope.view(), seq, Places::WAITING, NOW_MS, None);
            let record = NewRecord { head, wire: envelope.wire().clone() };
            let durable = durable.clone();
            let batch = Batch { append: vec![record], ..Batch::default() };
            let queued = store.submit(batch, move |outcome| {
                let _ = durable.send(outcome.is_ok());
            });
            ensure!(queued.is_ok() && done.recv()?, "the store refused a record");
        }
        store.close();
    }
    Ok(envelopes.iter().map(|envelope| envelope.wire().clone()).collect())
}

/// Every record is as it was, or its damage is reported.
fn read_back(folder: &Path, envelopes: &[Bytes]) -> Outcome {
    // A store that refuses to open has reported its damage.
    let Ok((store, recovery)) = Store::open(folder, StoreConfig::default(), NOW_MS) else { return Ok(()) };
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
    let reported = damaged > 0 || !recovery.repairs.is_empty();
    ensure!(
        reported || intact == envelopes.len(),
        "{intact} of {} records are left, and nothing was reported",
        envelopes.len()
    );
    store.close();
    Ok(())
}

/// Damages one file in one way. Says which and how.
fn damage(folder: &Path, random: &mut Random) -> Outcome<String> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.retain(|file| fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0));
    files.sort();
    let file = files.get(random.below(files.len())).ok_or_else(|| Failure::new("the store has no files"))?;
    let mut bytes = fs::read(file)?;
    let at = random.below(bytes.len());
    let how = match random.below(5) {
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
