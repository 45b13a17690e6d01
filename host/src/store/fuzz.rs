//! A door for fuzzing: an entry of any table as it is read from the disk, its checksum made good, so that what stands behind
//! the checksum is read too.

use bytes::Bytes;
use qpq_schemas::MessageId;

use super::format::{self, RECORD_META, SEEN_ENTRY_1};
use super::{Fate, Head, NewRecord, Places, SeenEntry, SeenState, engine::Cursor};

/// Reads an entry: a byte for the table, one for the length of the key, the key, the value.
///
/// # Panics
/// When something is read that the bytes don't say.
pub fn read_entry(bytes: &[u8]) {
    let Some(([table, len], rest)) = bytes.split_first_chunk::<2>() else { return };
    let Some((key, value)) = rest.split_at_checked(usize::from(*len)) else { return };
    let mut value = value.to_vec();
    format::close(key, &mut value);
    match table % 3 {
        0 => {
            if let Ok(head) = format::decode_record(key, &value) {
                assert_eq!(head.wire_len as usize + RECORD_META, value.len());
                let wire = Bytes::copy_from_slice(value.get(RECORD_META..).unwrap_or_default());
                let again = written(&NewRecord { head, wire });
                assert_eq!(format::decode_record(key, &again), Ok(head), "what was read can't be written again");
            }
        }
        1 => {
            let _ = format::seen_key_parts(key);
            if let Ok(entries) = format::decode_seen(key, &value) {
                assert!(
                    entries.len() * SEEN_ENTRY_1 < value.len(),
                    "{} entries in {} bytes",
                    entries.len(),
                    value.len()
                );
            }
        }
        _ => {
            let Ok(value) = format::decode_kv(key, &value) else { return };
            if let Some(cursor) = Cursor::decode(value) {
                assert!(value.starts_with(&cursor.encode()));
            }
        }
    }
}

/// An entry of each table, as [`read_entry`] takes it. The record holds that envelope.
pub fn well_formed_entries(wire: &[u8]) -> Vec<Vec<u8>> {
    let entry = |table: u8, key: &[u8], value: Vec<u8>| [&[table, key.len() as u8], key, &value].concat();
    let key = format::record_key(7);
    let head = format::head_of(7, MessageId([1; 32]), Places::WAITING, 5, None, wire);
    let record = |head: Head| written(&NewRecord { head, wire: Bytes::copy_from_slice(wire) });
    let state = SeenState::PassedOn { source: [1; 8], hops: 2, at_ms: 3_000 };
    let states = [SeenState::Held, SeenState::Delivered, state];
    let seen =
        states.map(|state| SeenEntry { id: MessageId([2; 32]), expires_ms: 9_000, state, fate: Fate::default() });
    let chunk = format::seen_key(0, 1);
    let cursor = Cursor { next_seq: 8, next_chunk: 2, commits: 3, seen_floor: 0 };
    let mut entries = vec![
        entry(1, &chunk, format::encode_seen(&chunk, &seen)),
        entry(2, b"cursor", format::encode_kv(b"cursor", &cursor.encode())),
    ];
    entries.extend(head.map(|head| entry(0, &key, record(head))));
    entries
}

fn written(record: &NewRecord) -> Vec<u8> {
    let mut value = Vec::new();
    format::put_record(record, &mut value);
    value
}
