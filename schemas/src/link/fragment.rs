use bytes::Bytes;

use super::frame::{Frame, kind};
use super::{FRAME_HEADER_LEN, FrameError, MAX_BLOCK, MAX_FRAGMENTS};
use crate::wire::Reader;

/// Bytes of a fragment's body before its piece.
pub(super) const FRAGMENT_HEADER_LEN: usize = 8;

/// A piece of a block that is larger than the transport's largest frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Number of the block on this link, growing by one and wrapping around.
    pub message: u32,
    /// Place of this piece, from 0.
    pub index: u16,
    /// Number of pieces, 1 to [`MAX_FRAGMENTS`].
    pub count: u16,
    /// The piece, never empty.
    pub bytes: Bytes,
}

impl Fragment {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.message.to_be_bytes());
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.bytes);
    }

    pub(super) fn read(body: &Bytes) -> Result<Self, FrameError> {
        let mut reader = Reader::new(body);
        let mut fields = || Some((reader.u32()?, reader.u16()?, reader.u16()?));
        let (message, index, count) = fields().ok_or(FrameError::Truncated)?;
        let fragment = Self { message, index, count, bytes: body.slice_ref(reader.rest()) };
        fragment.check()?;
        Ok(fragment)
    }

    pub(super) fn check(&self) -> Result<(), FrameError> {
        let bad = |what| Err(FrameError::Malformed { kind: kind::FRAGMENT, what });
        match self {
            Self { count, .. } if *count == 0 || *count > MAX_FRAGMENTS => bad("count"),
            Self { index, count, .. } if index >= count => bad("index"),
            Self { bytes, .. } if bytes.is_empty() => bad("piece"),
            _ => Ok(()),
        }
    }
}

/// Cuts a block into fragments, each of which fills a transport frame of at most `max_frame` bytes.
///
/// # Errors
/// When the block is empty or over [`MAX_BLOCK`], or would need more than [`MAX_FRAGMENTS`] pieces.
pub fn fragments(message: u32, block: &Bytes, max_frame: usize) -> Result<Vec<Frame>, FrameError> {
    let too_large = |max| FrameError::TooLarge { kind: kind::FRAGMENT, len: block.len(), max };
    let room = max_frame.saturating_sub(FRAME_HEADER_LEN + FRAGMENT_HEADER_LEN);
    let largest = MAX_BLOCK.min(room.saturating_mul(usize::from(MAX_FRAGMENTS)));
    if block.is_empty() || block.len() > largest {
        return Err(too_large(largest));
    }
    let pieces = block.chunks(room);
    let count = u16::try_from(pieces.len()).map_err(|_| too_large(largest))?;
    let piece = |(index, bytes)| Frame::Fragment(Fragment { message, index, count, bytes: block.slice_ref(bytes) });
    Ok((0..count).zip(pieces).map(piece).collect())
}
