//! What travels: each frame with its length before it, as a little-endian number of four bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The largest frame, in bytes.
pub(crate) const MAX_FRAME: usize = 64 * 1024;
/// Bytes of the length.
const HEADER: usize = 4;

/// Appends a frame.
pub(crate) fn encode(frame: &Bytes, wire: &mut BytesMut) {
    wire.put_u32_le(frame.len() as u32);
    wire.extend_from_slice(frame);
}

/// Bytes that a frame takes on the wire.
pub(crate) fn encoded_len(frame: &Bytes) -> usize {
    HEADER + frame.len()
}

/// Takes the next whole frame from what was read. The length comes from outside: it is checked before anything else.
pub(crate) fn decode(read: &mut BytesMut) -> Result<Option<Bytes>, String> {
    let Some(header) = read.first_chunk::<HEADER>() else { return Ok(None) };
    let len = u32::from_le_bytes(*header) as usize;
    if len > MAX_FRAME {
        return Err(format!("the other end announced a frame of {len} bytes; {MAX_FRAME} are allowed"));
    }
    if read.len() < HEADER + len {
        return Ok(None);
    }
    read.advance(HEADER);
    Ok(Some(read.split_to(len).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let frames = [Bytes::new(), Bytes::from_static(b"one"), Bytes::from(vec![7; MAX_FRAME])];
        let mut wire = BytesMut::new();
        frames.iter().for_each(|frame| encode(frame, &mut wire));
        let (mut read, mut out) = (BytesMut::new(), Vec::new());
        for chunk in wire.chunks(1000) {
            read.extend_from_slice(chunk);
            while let Some(frame) = decode(&mut read).unwrap() {
                out.push(frame);
            }
        }
        assert_eq!(out, frames);
    }

    #[test]
    fn a_length_that_is_too_large_is_refused() {
        assert!(decode(&mut BytesMut::from(&[255, 255, 255, 255][..])).is_err());
    }
}
