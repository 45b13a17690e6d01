//! What stands on the disk: entries of the store behind their checksums, and each of its files as a whole.

use std::sync::{OnceLock, mpsc};

use bytes::Bytes;
use qpq_host::fuzz;
use qpq_host::store::{Batch, Fate, Head, NewRecord, Places, SeenEntry, SeenState, Store, StoreConfig};
use qpq_schemas::envelope::{DEFAULT_MAX_PAYLOAD, EnvelopeRef};

use super::snapshot::Snapshot;
use super::{Seeds, Target, wire};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "store-entry", feed: fuzz::read_entry, seeds: entries },
    Target { name: "mailbox", feed: fuzz::mailbox, seeds: fuzz::mailbox_seeds },
    Target { name: "store-files", feed: feed_files, seeds: files },
];

fn entries() -> Seeds {
    wire::envelopes().first().map(|wire| fuzz::well_formed_entries(wire)).unwrap_or_default()
}

/// The records of the store whose files are damaged.
fn records() -> Vec<NewRecord> {
    let wires = wire::envelopes().into_iter().map(Bytes::from);
    let numbered = (1..).zip(wires);
    let record = |(seq, wire): (u64, Bytes)| {
        let view = EnvelopeRef::parse(&wire, DEFAULT_MAX_PAYLOAD).ok()?;
        let head = Head::of(view, seq, Places::WAITING, 5, None);
        Some(NewRecord { head, wire })
    };
    numbered.filter_map(record).collect()
}

/// The files of a small store, closed in good order.
fn snapshot() -> &'static Snapshot {
    static SNAPSHOT: OnceLock<Snapshot> = OnceLock::new();
    SNAPSHOT.get_or_init(|| {
        Snapshot::of(|folder| {
            let Ok((store, _)) = Store::open(folder, StoreConfig::default(), 0) else { return };
            for record in records() {
                let seen = SeenEntry {
                    id: record.head.id,
                    expires_ms: u64::MAX / 2,
                    state: SeenState::Held,
                    fate: Fate::default(),
                };
                let kv = vec![(b"key".to_vec(), Some(vec![record.head.seq as u8; 40]))];
                let (tx, rx) = mpsc::channel();
                let batch = Batch { append: vec![record], seen: vec![seen], kv, ..Batch::default() };
                let _ = store.submit(batch, move |result| _ = tx.send(result));
                let _ = rx.recv();
            }
            store.close();
        })
    })
}

/// Each file, behind a byte that says which it is.
fn files() -> Seeds {
    let files = &snapshot().files;
    (0..).zip(files).map(|(number, (_, bytes))| [&[number], bytes.as_slice()].concat()).collect()
}

/// A store with a damaged file opens or says why not; what it gives out is what was put in.
fn feed_files(bytes: &[u8]) {
    let Some((number, bytes)) = bytes.split_first() else { return };
    let number = usize::from(*number) % snapshot().files.len().max(1);
    let Some(folder) = snapshot().copy_with(number, bytes) else { return };
    let (store, recovery) = match Store::open(folder.path(), StoreConfig::default(), 0) {
        Ok(opened) => opened,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for head in &recovery.heads {
        let Ok(found) = store.read(head.seq) else { continue };
        let written = records().into_iter().find(|record| record.head.seq == head.seq);
        let same = written.is_some_and(|record| record.head == found.head && record.wire == found.wire);
        assert!(same, "record {} is not what was put in", head.seq);
    }
    store.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_of_a_sound_store_is_sound() {
        let Some(folder) = snapshot().copy_with(usize::MAX, &[]) else { return };
        let (_, recovery) = Store::open(folder.path(), StoreConfig::default(), 0).unwrap();
        assert_eq!((recovery.heads.len(), recovery.damaged), (records().len(), 0), "{:?}", recovery.repairs);
        assert!(files().len() > 10, "{:?}", snapshot().files);
    }
}
