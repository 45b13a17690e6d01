//! The bytes on disk. The tables stand in `host/docs/store.md`; every integer is big-endian.

use qpq_schemas::envelope::{EnvelopeRef, LARGEST_PAYLOAD, Priority};
use qpq_schemas::{MessageId, PeerId};
use xxhash_rust::xxh3::Xxh3;

use super::fate::{End, Fate, Origin};
use super::{Head, NewRecord, Places, SeenEntry, SeenState};

/// Length of a checksum: XXH3-64 over the key and all of the value that follows the checksum.
pub(super) const CHECKSUM: usize = 8;
/// Layout of records that this program writes.
pub(super) const LAYOUT: u8 = 1;
/// Layout of seen chunks that this program writes. It reads layout 1, too, whose entries don't say why a message went.
pub(super) const SEEN_LAYOUT: u8 = 2;
/// In the byte of the places: enough admins had signed the emergency when it arrived.
const URGENT: u8 = 1 << 7;
/// Bytes before the envelope in a record's value.
pub(super) const RECORD_META: usize = CHECKSUM + 1 + 1 + 8 + 32 + 32;
/// Bytes of one entry in a seen chunk of layout 1.
pub(super) const SEEN_ENTRY_1: usize = 32 + 8 + 1 + 1 + 8 + 8;
/// Bytes of one entry in a seen chunk of layout 2.
pub(super) const SEEN_ENTRY: usize = SEEN_ENTRY_1 + 1 + 1 + 8;
/// Width of a bucket of seen ids, in milliseconds: one hour.
pub(super) const SEEN_BUCKET_MS: u64 = 3_600_000;

/// Puts the checksum over `key` and `value[8..]` into `value[..8]`.
pub(super) fn close(key: &[u8], value: &mut [u8]) {
    let sum = checksum(key, value.get(CHECKSUM..).unwrap_or_default());
    if let Some(place) = value.first_chunk_mut::<CHECKSUM>() {
        *place = sum;
    }
}

fn checksum(key: &[u8], rest: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = Xxh3::new();
    hasher.update(key);
    hasher.update(rest);
    hasher.digest().to_be_bytes()
}

/// The value behind its checksum, if that fits.
pub(super) fn open<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], String> {
    let (sum, rest) = value.split_first_chunk::<CHECKSUM>().ok_or("shorter than its checksum")?;
    if *sum != checksum(key, rest) {
        return Err("the checksum does not fit".into());
    }
    Ok(rest)
}

/// The value behind checksum and layout byte.
fn open_layout<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], String> {
    match open(key, value)?.split_first() {
        Some((&LAYOUT, rest)) => Ok(rest),
        Some((other, _)) => Err(format!("layout {other} is unknown")),
        None => Err("empty".into()),
    }
}

/// The next bytes.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], String> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or("too short")?;
    *bytes = rest;
    Ok(*head)
}

/// The key of a record.
pub(super) fn record_key(seq: u64) -> [u8; 8] {
    seq.to_be_bytes()
}

/// The sequence number in a record's key.
pub(super) fn record_seq(key: &[u8]) -> Result<u64, String> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| "the key is no sequence number".into())
}

/// The value of a record, for tests.
#[cfg(test)]
pub(super) fn encode_record(record: &NewRecord) -> Vec<u8> {
    let mut value = Vec::new();
    put_record(record, &mut value);
    value
}

/// Makes `value` the value of a record. Whoever writes many uses one buffer for all.
pub(super) fn put_record(record: &NewRecord, value: &mut Vec<u8>) {
    let NewRecord { head, wire } = record;
    value.clear();
    value.reserve(RECORD_META + wire.len());
    value.extend_from_slice(&[0; CHECKSUM]);
    value.push(LAYOUT);
    value.push(head.places.0 | if head.priority == Priority::Emergency { URGENT } else { 0 });
    value.extend_from_slice(&head.received_ms.to_be_bytes());
    value.extend_from_slice(&head.id.0);
    value.extend_from_slice(&head.source.map_or([0; 32], |peer| peer.0));
    value.extend_from_slice(wire);
    close(&record_key(head.seq), value);
}

/// Reads a record's value, verifying its checksum. The envelope is `value[RECORD_META..]`.
pub(super) fn decode_record(key: &[u8], value: &[u8]) -> Result<Head, String> {
    let seq = record_seq(key)?;
    let mut rest = open_layout(key, value)?;
    let [places] = take(&mut rest)?;
    let received_ms = u64::from_be_bytes(take(&mut rest)?);
    let id = MessageId(take(&mut rest)?);
    let source = take::<32>(&mut rest)?;
    let source = (source != [0; 32]).then_some(PeerId(source));
    let head = head_of(seq, id, Places(places & Places::ALL.0), received_ms, source, rest)?;
    Ok(if places & URGENT == 0 { head } else { urgent(head, rest) })
}

/// The head of an envelope: what it tells itself, and what was noted when it arrived.
/// The signature was checked before it was stored.
pub(super) fn head_of(
    seq: u64,
    id: MessageId,
    places: Places,
    received_ms: u64,
    source: Option<PeerId>,
    wire: &[u8],
) -> Result<Head, String> {
    let view = EnvelopeRef::parse(wire, LARGEST_PAYLOAD).map_err(|refusal| refusal.to_string())?;
    Ok(Head::with_id(view, id, seq, places, received_ms, source))
}

/// The head of an envelope that counts as an emergency, if it says itself that it is one.
pub(super) fn urgent(head: Head, wire: &[u8]) -> Head {
    let view = EnvelopeRef::parse(wire, LARGEST_PAYLOAD);
    let priority = view.map_or(head.priority, |view| view.flags().priority);
    Head { priority: priority.max(head.priority), ..head }
}

/// The bucket that ids with this end belong to: hours since 1970.
pub(super) fn seen_bucket(expires_ms: u64) -> u32 {
    u32::try_from(expires_ms / SEEN_BUCKET_MS).unwrap_or(u32::MAX)
}

/// The key of a chunk of seen ids: bucket, then a number that grows with each chunk written.
pub(super) fn seen_key(bucket: u32, number: u64) -> [u8; 12] {
    let mut key = [0; 12];
    let (front, back) = key.split_at_mut(4);
    front.copy_from_slice(&bucket.to_be_bytes());
    back.copy_from_slice(&number.to_be_bytes());
    key
}

/// Bucket and number in a chunk's key.
pub(super) fn seen_key_parts(key: &[u8]) -> Result<(u32, u64), String> {
    let mut rest = key;
    Ok((u32::from_be_bytes(take(&mut rest)?), u64::from_be_bytes(take(&mut rest)?)))
}

/// The value of a chunk of seen ids.
pub(super) fn encode_seen(key: &[u8], entries: &[SeenEntry]) -> Vec<u8> {
    let mut value = Vec::with_capacity(CHECKSUM + 1 + entries.len() * SEEN_ENTRY);
    value.extend_from_slice(&[0; CHECKSUM]);
    value.push(SEEN_LAYOUT);
    for entry in entries {
        value.extend_from_slice(&entry.id.0);
        value.extend_from_slice(&entry.expires_ms.to_be_bytes());
        let Fate { end, by, at_ms: ended_ms, origin } = entry.fate;
        let (state, source, hops, at_ms) = match entry.state {
            SeenState::Held => (0, [0; 8], 0, ended_ms),
            SeenState::Delivered => (1, [0; 8], 0, ended_ms),
            SeenState::PassedOn { source, hops, at_ms } => (2, source, hops, at_ms),
        };
        let (origin, peer) = match origin {
            Origin::Unknown => (0, source),
            Origin::Neighbour(peer) => (1, peer),
            Origin::Here(peer) => (2, peer),
        };
        value.push(state);
        value.push(hops);
        value.extend_from_slice(&peer);
        value.extend_from_slice(&at_ms.to_be_bytes());
        value.push(end.number());
        value.push(origin);
        value.extend_from_slice(&by);
    }
    close(key, &mut value);
    value
}

/// Reads a chunk of seen ids, verifying its checksum.
pub(super) fn decode_seen(key: &[u8], value: &[u8]) -> Result<Vec<SeenEntry>, String> {
    let (layout, rest) = open(key, value)?.split_first().ok_or("empty")?;
    let entry = match *layout {
        1 => SEEN_ENTRY_1,
        SEEN_LAYOUT => SEEN_ENTRY,
        other => return Err(format!("layout {other} is unknown")),
    };
    if !rest.len().is_multiple_of(entry) {
        return Err("not a whole number of entries".into());
    }
    rest.chunks_exact(entry).map(|bytes| decode_seen_entry(*layout, bytes)).collect()
}

fn decode_seen_entry(layout: u8, mut bytes: &[u8]) -> Result<SeenEntry, String> {
    let id = MessageId(take(&mut bytes)?);
    let expires_ms = u64::from_be_bytes(take(&mut bytes)?);
    let [state] = take(&mut bytes)?;
    let [hops] = take(&mut bytes)?;
    let peer = take(&mut bytes)?;
    let at_ms = u64::from_be_bytes(take(&mut bytes)?);
    let fate = if layout == 1 { Fate { at_ms, ..Fate::default() } } else { decode_fate(peer, at_ms, &mut bytes)? };
    let source = if matches!(fate.origin, Origin::Here(_)) { [0; 8] } else { peer };
    let state = match state {
        0 => SeenState::Held,
        1 => SeenState::Delivered,
        2 => SeenState::PassedOn { source, hops, at_ms },
        other => return Err(format!("state {other} is unknown")),
    };
    Ok(SeenEntry { id, expires_ms, state, fate })
}

fn decode_fate(peer: [u8; 8], at_ms: u64, bytes: &mut &[u8]) -> Result<Fate, String> {
    let [end] = take(bytes)?;
    let [origin] = take(bytes)?;
    let origin = match origin {
        1 => Origin::Neighbour(peer),
        2 => Origin::Here(peer),
        _ => Origin::Unknown,
    };
    Ok(Fate { end: End::from_number(end), by: take(bytes)?, at_ms, origin })
}

/// A value of the key-value space (and of the engine's own `meta` space).
pub(super) fn encode_kv(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CHECKSUM + value.len());
    out.extend_from_slice(&[0; CHECKSUM]);
    out.extend_from_slice(value);
    close(key, &mut out);
    out
}

/// The value behind its verified checksum.
pub(super) fn decode_kv<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], String> {
    open(key, value)
}

/// What is set aside of a damaged entry: the reason, then the bytes as they were found.
pub(super) fn encode_quarantine(reason: &str, found: &[u8]) -> Vec<u8> {
    let reason = reason.as_bytes();
    let len = u16::try_from(reason.len()).unwrap_or(u16::MAX);
    let mut out = Vec::with_capacity(2 + reason.len() + found.len());
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(reason.get(..usize::from(len)).unwrap_or_default());
    out.extend_from_slice(found);
    out
}

#[cfg(test)]
mod tests;
