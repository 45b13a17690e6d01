use super::*;
use qpq_schemas::envelope::{EnvelopeRef, Priority};
use qpq_schemas::{MessageId, PeerId};
use std::sync::mpsc;

mod check;
mod crash;
mod damage;
mod full;
mod index;
mod lost;

fn wire(n: u8, len: usize) -> Bytes {
    let mut bytes = vec![n; 157 + len];
    bytes[0] = 1;
    bytes[1] = 0;
    bytes[2] = 1 << 2;
    bytes[4..8].copy_from_slice(&3_600u32.to_be_bytes());
    bytes[8..16].copy_from_slice(&1_000_000u64.to_be_bytes());
    bytes[88..92].copy_from_slice(&(len as u32).to_be_bytes());
    bytes.into()
}

fn id(seq: u64) -> MessageId {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&seq.to_be_bytes());
    MessageId(id)
}

fn record(seq: u64) -> NewRecord {
    let wire = wire(seq as u8, 20 + (seq % 50) as usize);
    let view = EnvelopeRef::parse(&wire, 1 << 20).unwrap();
    let mut head = Head::of(view, seq, Places::WAITING, 1_000_500, Some(PeerId([9; 32])));
    head.id = id(seq);
    NewRecord { head, wire }
}

fn seen(seq: u64, state: SeenState) -> SeenEntry {
    let at_ms = if let SeenState::PassedOn { at_ms, .. } = state { at_ms } else { 0 };
    SeenEntry { id: id(seq), expires_ms: 5_000_000, state, fate: Fate::new(End::Unknown, at_ms) }
}

fn put(store: &Store, batch: Batch) -> Result<(), StoreError> {
    let (tx, rx) = mpsc::channel();
    store.submit(batch, move |result| tx.send(result).unwrap()).unwrap();
    rx.recv().unwrap()
}

fn open(dir: &Path) -> (Store, Recovery) {
    Store::open(dir, StoreConfig::default(), 2_000_000).unwrap()
}

#[test]
fn what_was_acknowledged_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (store, recovery) = open(dir.path());
    assert_eq!((recovery.next_seq, recovery.damaged), (1, 0));
    let batch = Batch {
        append: (1..=100).map(record).collect(),
        kv: vec![(b"a/1".to_vec(), Some(b"x".to_vec())), (b"a/2".to_vec(), Some(Vec::new()))],
        ..Batch::default()
    };
    put(&store, batch).unwrap();
    let remove = Batch { remove: vec![100], seen: vec![seen(100, SeenState::Delivered)], ..Batch::default() };
    put(&store, remove).unwrap();
    store.close();

    let (store, recovery) = open(dir.path());
    assert_eq!(recovery.heads.len(), 99);
    assert_eq!(recovery.next_seq, 101, "the number of a removed record is not used again");
    assert_eq!(
        recovery.seen.iter().filter(|s| s.state == SeenState::Delivered).map(|s| s.id).collect::<Vec<_>>(),
        [id(100)]
    );
    assert_eq!(recovery.seen.len(), 1, "that an id is held is said by its record");
    for head in &recovery.heads {
        let found = store.read(head.seq).unwrap();
        assert_eq!(found.head, *head);
        assert_eq!(found.wire, record(head.seq).wire);
        assert_eq!((head.id, head.source, head.priority), (id(head.seq), Some(PeerId([9; 32])), Priority::Normal));
        assert_eq!(head.expires_ms, 1_000_000 + 3_600_000);
    }
    assert_eq!(store.read(100).unwrap_err(), StoreError::Missing { seq: 100 });
    assert_eq!(store.kv_get(b"a/1").unwrap(), Some(b"x".to_vec()));
    assert_eq!(store.kv_scan(b"a/", None, 10).unwrap().len(), 2);
    assert_eq!(store.kv_scan(b"a/", Some(b"a/1"), 10).unwrap(), [(b"a/2".to_vec(), Vec::new())]);
}

#[test]
fn a_second_handle_on_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let second = Store::open(dir.path(), StoreConfig::default(), 0).map(drop);
    assert_eq!(second, Err(StoreError::Locked { dir: dir.path().to_owned() }));
    store.close();
    assert!(Store::open(dir.path(), StoreConfig::default(), 0).is_ok(), "a closed store can be opened again");
}

#[test]
fn another_format_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).0.close();
    std::fs::write(dir.path().join("FORMAT"), "qpq-store 7\n").unwrap();
    let error = Store::open(dir.path(), StoreConfig::default(), 0).map(drop).unwrap_err();
    assert_eq!(error, StoreError::Format { dir: dir.path().to_owned(), found: 7, ours: FORMAT_VERSION });
    assert!(error.to_string().contains("version 7") && error.to_string().contains("versions 1 to 2"));
    for text in ["", "qpq-stor 1", "qpq-store one"] {
        std::fs::write(dir.path().join("FORMAT"), text).unwrap();
        let error = Store::open(dir.path(), StoreConfig::default(), 0).map(drop).unwrap_err();
        assert_eq!(error.code(), "store-damaged");
    }
}

#[test]
fn the_last_state_of_an_id_counts_and_the_forgotten_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let passed = SeenState::PassedOn { source: [4; 8], hops: 3, at_ms: 77 };
    let late = |seq, state| SeenEntry { expires_ms: 9_000_000_000, ..seen(seq, state) };
    put(&store, Batch { seen: vec![late(1, SeenState::Held), seen(2, SeenState::Held)], ..Batch::default() }).unwrap();
    put(&store, Batch { seen: vec![late(1, SeenState::Delivered)], ..Batch::default() }).unwrap();
    put(&store, Batch { seen: vec![late(1, passed)], ..Batch::default() }).unwrap();
    put(&store, Batch { forget_before_ms: 10 * 3_600_000, ..Batch::default() }).unwrap();
    store.close();
    let (store, recovery) = Store::open(dir.path(), StoreConfig::default(), 0).unwrap();
    assert_eq!(recovery.seen, [late(1, passed)]);
    store.close();
    let (_, recovery) = Store::open(dir.path(), StoreConfig::default(), 9_000_000_001).unwrap();
    assert_eq!(recovery.seen, [], "past their time they are not loaded");
}

#[test]
fn the_queue_is_bounded_and_hands_the_batch_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { queue_batches: 3, ..StoreConfig::default() };
    let (store, _) = Store::open(dir.path(), config, 0).unwrap();
    let (hold, held) = mpsc::channel::<()>();
    let (began, has_begun) = mpsc::channel();
    let blocker = move |_| {
        began.send(()).unwrap();
        held.recv().unwrap();
    };
    store.submit(Batch { append: vec![record(1)], ..Batch::default() }, blocker).unwrap();
    has_begun.recv().unwrap();
    for seq in 2..=4 {
        store.submit(Batch { append: vec![record(seq)], ..Batch::default() }, |result| result.unwrap()).unwrap();
    }
    let full = store.submit(Batch { append: vec![record(5)], ..Batch::default() }, |_| panic!("must not be called"));
    assert_eq!(full.unwrap_err().batch.append[0].head.seq, 5);
    assert_eq!((store.stats().queued, store.stats().refused), (3, 1));
    hold.send(()).unwrap();
    store.close();
    assert!(store.submit(Batch::default(), |_| ()).unwrap_err().closed);
    assert_eq!(store.read(1).unwrap_err(), StoreError::Closed);
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery.heads.len(), 4, "what was queued at the close was still written");
    assert_eq!(store.stats().read_only, None);
}

#[test]
fn a_batch_that_breaks_a_limit_harms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let long_key = Batch { kv: vec![(vec![1; MAX_KEY + 1], Some(Vec::new()))], ..Batch::default() };
    assert_eq!(put(&store, long_key).unwrap_err().code(), "store-invalid");
    let large = Batch { kv: vec![(vec![1], Some(vec![0; MAX_VALUE + 1]))], ..Batch::default() };
    assert_eq!(put(&store, large).unwrap_err().code(), "store-invalid");
    let mut lying = record(1);
    lying.head.expires_ms += 1;
    assert_eq!(put(&store, Batch { append: vec![lying], ..Batch::default() }).unwrap_err().code(), "store-invalid");
    put(&store, Batch { append: vec![record(1)], ..Batch::default() }).unwrap();
}

#[test]
fn a_record_that_is_added_and_removed_before_the_commit_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let batch = Batch { append: vec![record(1), record(2)], remove: vec![1], ..Batch::default() };
    put(&store, batch).unwrap();
    let kv = vec![(b"k".to_vec(), Some(b"1".to_vec())), (b"k".to_vec(), None), (b"k".to_vec(), Some(b"2".to_vec()))];
    put(&store, Batch { kv, ..Batch::default() }).unwrap();
    assert_eq!(store.kv_get(b"k").unwrap(), Some(b"2".to_vec()));
    store.close();
    let (_, recovery) = open(dir.path());
    assert_eq!(recovery.heads.iter().map(|head| head.seq).collect::<Vec<_>>(), [2]);
}

#[test]
fn completions_come_in_the_order_of_submission_and_a_panic_in_one_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let (tx, rx) = mpsc::channel();
    for seq in 1..=500u64 {
        let tx = tx.clone();
        let done = move |result: Result<(), StoreError>| {
            result.unwrap();
            tx.send(seq).unwrap();
            assert!(seq != 7, "this panic is part of the test");
        };
        store.submit(Batch { append: vec![record(seq)], ..Batch::default() }, done).unwrap();
    }
    assert_eq!(rx.iter().take(500).collect::<Vec<_>>(), (1..=500).collect::<Vec<_>>());
    let stats = store.stats();
    assert_eq!((stats.batches, stats.records), (500, 500));
    assert!(stats.commits < 100, "{} commits: they were not gathered", stats.commits);
}

#[test]
fn a_damaged_value_is_set_aside_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let kv = (0..10u8).map(|n| (vec![b'a', n], Some(vec![n; 4]))).collect();
    put(&store, Batch { append: (1..=10).map(record).collect(), kv, ..Batch::default() }).unwrap();
    let spoil = |engine: &Engine| {
        engine.kv.insert([b'a', 3], b"not what was written").unwrap();
        engine.records.insert(format::record_key(4), b"neither").unwrap();
        Ok(())
    };
    store.0.shared.with_engine(spoil).unwrap();
    assert_eq!(store.kv_get(&[b'a', 3]).unwrap_err().code(), "value-damaged");
    assert_eq!(store.read(4).unwrap_err().code(), "record-damaged");
    put(&store, Batch { append: vec![record(11)], ..Batch::default() }).unwrap();
    assert_eq!(store.kv_get(&[b'a', 3]).unwrap(), None);
    assert_eq!(store.read(4).unwrap_err(), StoreError::Missing { seq: 4 });
    assert_eq!(store.kv_scan(b"a", None, 100).unwrap().len(), 9);
    assert_eq!(store.stats().damaged, 2);
    store.close();
    let (_, recovery) = open(dir.path());
    assert_eq!((recovery.heads.len(), recovery.damaged, recovery.next_seq), (10, 0, 12));
}
