use super::super::fate::Quota;
use super::*;
use bytes::Bytes;

fn record() -> NewRecord {
    let mut wire = vec![0; 157 + 3];
    wire[0] = 1;
    wire[91] = 3;
    let wire = Bytes::from(wire);
    let view = EnvelopeRef::parse(&wire, LARGEST_PAYLOAD).unwrap();
    NewRecord { head: Head::of(view, 258, Places::HISTORY, 7, Some(PeerId([5; 32]))), wire }
}

#[test]
fn a_record_stands_on_disk_as_the_table_says() {
    let record = record();
    let value = encode_record(&record);
    assert_eq!(record_key(258), [0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(value[8..10], [1, 2], "layout, places");
    assert_eq!(value[10..18], 7u64.to_be_bytes());
    assert_eq!(value[18..50], record.head.id.0);
    assert_eq!(value[50..82], [5; 32]);
    assert_eq!(value[RECORD_META..], record.wire);
    assert_eq!(decode_record(&record_key(258), &value), Ok(record.head));
}

#[test]
fn an_emergency_that_was_proven_is_one_after_a_restart_and_another_is_not() {
    let NewRecord { mut head, wire } = record();
    let mut wire = wire.to_vec();
    wire[2] = (Priority::Emergency as u8) << 2;
    let wire = Bytes::from(wire);
    let unproven = Head::of(EnvelopeRef::parse(&wire, LARGEST_PAYLOAD).unwrap(), 258, Places::HISTORY, 7, None);
    assert_eq!(unproven.priority, Priority::High);
    for priority in [Priority::High, Priority::Emergency] {
        head = Head { priority, ..unproven };
        let value = encode_record(&NewRecord { head, wire: wire.clone() });
        assert_eq!(decode_record(&record_key(258), &value), Ok(head));
    }
    let value = encode_record(&NewRecord { head, wire: record().wire });
    assert_eq!(
        decode_record(&record_key(258), &value).unwrap().priority,
        Priority::Low,
        "its envelope says nothing of it"
    );
}

#[test]
fn no_flipped_bit_of_a_record_its_key_or_its_checksum_goes_unseen() {
    let record = record();
    let (key, value) = (record_key(258), encode_record(&record));
    for bit in 0..value.len() * 8 {
        let mut flipped = value.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_record(&key, &flipped).is_err(), "bit {bit}");
    }
    for bit in 0..64 {
        let mut flipped = key;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_record(&flipped, &value).is_err(), "bit {bit} of the key");
    }
    for len in 0..value.len() {
        assert!(decode_record(&key, &value[..len]).is_err(), "{len} bytes");
    }
}

/// A fate that goes with a state: both say when.
fn fate(state: SeenState) -> Fate {
    let at_ms = if let SeenState::PassedOn { at_ms, .. } = state { at_ms } else { 7 };
    Fate { end: End::Custody, by: [6; 8], at_ms, origin: Origin::Neighbour([3; 8]) }
}

#[test]
fn what_became_of_a_message_comes_back_with_its_id() {
    let key = seen_key(0, 1);
    let origins = [Origin::Unknown, Origin::Neighbour([8; 8]), Origin::Here([9; 8])];
    let ends = [End::Unknown, End::Taken, End::Expired, End::Evicted(Quota::Total)];
    let entries: Vec<SeenEntry> = origins
        .into_iter()
        .flat_map(|origin| ends.map(|end| Fate { end, by: [7; 8], at_ms: 77, origin }))
        .map(|fate| SeenEntry { id: MessageId([1; 32]), expires_ms: 9, state: SeenState::Delivered, fate })
        .collect();
    assert_eq!(decode_seen(&key, &encode_seen(&key, &entries)), Ok(entries));
}

#[test]
fn a_chunk_of_layout_1_is_still_read() {
    let key = seen_key(0, 1);
    let mut value = vec![0; CHECKSUM];
    value.push(1);
    value.extend_from_slice(&[1; 32]);
    value.extend_from_slice(&9u64.to_be_bytes());
    value.extend_from_slice(&[2, 4]);
    value.extend_from_slice(&[3; 8]);
    value.extend_from_slice(&5u64.to_be_bytes());
    close(&key, &mut value);
    let state = SeenState::PassedOn { source: [3; 8], hops: 4, at_ms: 5 };
    let fate = Fate { at_ms: 5, ..Fate::default() };
    assert_eq!(decode_seen(&key, &value), Ok(vec![SeenEntry { id: MessageId([1; 32]), expires_ms: 9, state, fate }]));
}

#[test]
fn ids_seen_come_back_in_every_state() {
    let entries = [SeenState::Held, SeenState::Delivered, SeenState::PassedOn { source: [3; 8], hops: 4, at_ms: 5 }]
        .map(|state| SeenEntry { id: MessageId([1; 32]), expires_ms: 2 * SEEN_BUCKET_MS, state, fate: fate(state) });
    let key = seen_key(seen_bucket(entries[0].expires_ms), 9);
    assert_eq!(seen_key_parts(&key), Ok((2, 9)));
    let value = encode_seen(&key, &entries);
    assert_eq!(decode_seen(&key, &value), Ok(entries.to_vec()));
    assert!(decode_seen(&seen_key(2, 10), &value).is_err(), "a chunk under another key");
    assert!(decode_seen(&key, &value[..value.len() - 1]).is_err());
}

#[test]
fn a_value_belongs_to_its_key() {
    let value = encode_kv(b"a", b"text");
    assert_eq!(decode_kv(b"a", &value), Ok(&b"text"[..]));
    assert!(decode_kv(b"b", &value).is_err());
    assert!(decode_kv(b"a", &value[..7]).is_err());
    assert_eq!(decode_kv(b"e", &encode_kv(b"e", b"")), Ok(&b""[..]));
}
