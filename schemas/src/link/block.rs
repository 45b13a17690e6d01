use bytes::Bytes;

use super::body::ENVELOPE_PREFIX;
use super::frame::Frame;
use super::{FRAME_HEADER_LEN, FrameError};
use crate::wire::{Reader, split_bytes};

impl Frame {
    /// Appends the frame to a block: length, type, body. Nothing is appended on an error.
    ///
    /// # Errors
    /// When the frame breaks a limit of its type, so that no neighbour would take it.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), FrameError> {
        let start = out.len();
        if let Self::Envelopes(envelopes) = self {
            out.reserve(
                FRAME_HEADER_LEN + envelopes.iter().map(|envelope| ENVELOPE_PREFIX + envelope.len()).sum::<usize>(),
            );
        }
        out.extend_from_slice(&[0, 0, 0, 0, self.kind()]);
        self.put_body(out);
        let len = out.len() - start - FRAME_HEADER_LEN;
        if let Err(error) = self.check_limits(len) {
            out.truncate(start);
            return Err(error);
        }
        let prefix = u32::try_from(len + 1).unwrap_or(u32::MAX).to_be_bytes();
        for (to, from) in out.iter_mut().skip(start).zip(prefix) {
            *to = from;
        }
        Ok(())
    }
}

/// The frames of a block, one after another. After the first error there are no more.
pub fn unpack(block: Bytes) -> Unpack {
    Unpack { rest: block }
}

/// See [`unpack`].
#[derive(Debug)]
pub struct Unpack {
    rest: Bytes,
}

impl Iterator for Unpack {
    type Item = Result<Frame, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut rest = std::mem::take(&mut self.rest);
        let frame = take_frame(&mut rest);
        if frame.is_ok() {
            self.rest = rest;
        }
        Some(frame)
    }
}

fn take_frame(rest: &mut Bytes) -> Result<Frame, FrameError> {
    let header = split_bytes(rest, FRAME_HEADER_LEN).ok_or(FrameError::Truncated)?;
    let mut reader = Reader::new(&header);
    let len = reader.u32().ok_or(FrameError::Truncated)?.checked_sub(1).ok_or(FrameError::Empty)?;
    let kind = reader.u8().ok_or(FrameError::Truncated)?;
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let max = Frame::max_body(kind)?;
    if len > max {
        return Err(FrameError::TooLarge { kind, len, max });
    }
    Frame::read_body(kind, split_bytes(rest, len).ok_or(FrameError::Truncated)?)
}
