use super::*;
use qpq_schemas::{MessageId, PeerId};
use std::sync::mpsc;

fn wire(n: u8, len: usize) -> Bytes {
    let mut bytes = vec![n; 157 + len];
    bytes[0] = 1;
    bytes[1] = 0;
    bytes[2] = 1 << 2;
    bytes[4..8].copy_from_slice(&3_600u32.to_be_bytes());
    bytes[8..16].copy_from_slice(&1_000_000u64.to_be_bytes());
    bytes.into()
}

fn id(seq: u64) -> MessageId {
    let mut id = [7; 32];
    id[..8].copy_from_slice(&seq.to_be_bytes());
    MessageId(id)
}

fn record(seq: u64) -> NewRecord {
    NewRecord {
        seq,
        id: id(seq),
        places: Places::WAITING,
        received_ms: 1_000_500,
        source: Some(PeerId([9; 32])),
        wire: wire(seq as u8, 20 + (seq % 50) as usize),
    }
}

fn seen(seq: u64, state: SeenState) -> SeenEntry {
    SeenEntry { id: id(seq), expires_ms: 5_000_000, state, source: [9; 8], hops: 2 }
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
        seen: (1..=100).map(|n| seen(n, SeenState::Held)).collect(),
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
    assert_eq!(recovery.seen.len(), 100);
    for head in &recovery.heads {
        let found = store.read(head.seq).unwrap();
        assert_eq!(found.head, *head);
        assert_eq!(found.wire, record(head.seq).wire);
        assert_eq!((head.id, head.source, head.priority), (id(head.seq), Some(PeerId([9; 32])), 1));
        assert_eq!(head.expires_ms, 1_000_000 + 3_600_000);
    }
    assert_eq!(store.read(100).unwrap_err(), StoreError::Missing { seq: 100 });
    assert_eq!(store.kv_get(b"a/1").unwrap(), Some(b"x".to_vec()));
    assert_eq!(store.kv_scan(b"a/", None, 10).unwrap().len(), 2);
    assert_eq!(store.kv_scan(b"a/", Some(b"a/1"), 10).unwrap(), [(b"a/2".to_vec(), Vec::new())]);
}
