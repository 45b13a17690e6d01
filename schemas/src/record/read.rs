use super::{MAX_ADDRESSES, MAX_RECORD_LEN, NodeRecord, RECORD_VERSION, RecordError};
use crate::PeerId;
use crate::sealing::SealingPublic;
use crate::wire::Reader;

/// The record, the bytes that are signed, and the signature.
pub(super) fn read(bytes: &[u8]) -> Result<(NodeRecord, &[u8], &[u8; 64]), RecordError> {
    if bytes.len() > MAX_RECORD_LEN {
        return Err(RecordError::TooLong(bytes.len()));
    }
    match bytes.first() {
        Some(&RECORD_VERSION) => {}
        Some(&version) => return Err(RecordError::Version(version)),
        None => return Err(RecordError::Malformed),
    }
    let (signed, signature) = bytes.split_last_chunk().ok_or(RecordError::Malformed)?;
    let record = fields(signed).ok_or(RecordError::Malformed)?;
    record.check_fields()?;
    Ok((record, signed, signature))
}

pub(super) fn peek(bytes: &[u8]) -> Option<(PeerId, u64)> {
    let mut reader = Reader::new(bytes);
    let _version = reader.u8()?;
    Some((PeerId(reader.array()?), reader.u64()?))
}

fn fields(signed: &[u8]) -> Option<NodeRecord> {
    let mut reader = Reader::new(signed);
    let _version = reader.u8()?;
    let record = NodeRecord {
        peer: PeerId(reader.array()?),
        seq_ms: reader.u64()?,
        expires_ms: reader.u64()?,
        sealing: SealingPublic(reader.array()?),
        nickname: text(&mut reader)?,
        domain: text(&mut reader)?,
        addresses: addresses(&mut reader)?,
    };
    reader.is_empty().then_some(record)
}

fn text(reader: &mut Reader<'_>) -> Option<String> {
    let len = reader.u8()?;
    let bytes = reader.take(usize::from(len))?;
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// Stops at one too many, so that the limit's own error can be given.
fn addresses(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let count = usize::from(reader.u8()?);
    (0..count.min(MAX_ADDRESSES + 1)).map(|_| text(reader)).collect()
}
