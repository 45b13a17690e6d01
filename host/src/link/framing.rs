//! Frames into blocks and back: several to a block where they fit, one over several where it doesn't.
//!
//! This is all that knows how blocks and transport frames relate. A layer that numbers, repeats and re-orders for
//! transports that lose frames belongs between here and the transport.

use bytes::Bytes;
use qpq_schemas::link::{FRAME_HEADER_LEN, Fragment, Frame, FrameError, MAX_BLOCK, MAX_ENVELOPES, fragments};

use super::close::{CloseReason, Violation};

/// Bytes in front of each envelope in a frame: its length.
const ENVELOPE_PREFIX: usize = 4;

/// Packs frames to be sent.
pub(super) struct Packer {
    max_frame: usize,
    /// The block that is being filled, at most `max_frame` bytes.
    open: Vec<u8>,
    full: Vec<Bytes>,
    next_message: u32,
}

impl Packer {
    pub(super) fn new(max_frame: usize) -> Self {
        Self { max_frame: max_frame.min(MAX_BLOCK), open: Vec::new(), full: Vec::new(), next_message: 0 }
    }

    /// Puts a frame into the open block, or into the next where it has no room. Nothing happens on an error.
    pub(super) fn push(&mut self, frame: &Frame) -> Result<(), FrameError> {
        let before = self.open.len();
        frame.encode(&mut self.open)?;
        if self.open.len() <= self.max_frame {
            return Ok(());
        }
        let last = self.open.split_off(before);
        self.finish();
        if last.len() <= self.max_frame {
            self.open = last;
            return Ok(());
        }
        self.cut(&last.into())
    }

    /// Cuts a block that is too large for the transport; each piece fills a transport frame.
    fn cut(&mut self, block: &Bytes) -> Result<(), FrameError> {
        for piece in fragments(self.next_message, block, self.max_frame)? {
            piece.encode(&mut self.open)?;
            self.finish();
        }
        self.next_message = self.next_message.wrapping_add(1);
        Ok(())
    }

    fn finish(&mut self) {
        if !self.open.is_empty() {
            self.full.push(std::mem::take(&mut self.open).into());
        }
    }

    /// All blocks to be sent, each for one transport frame.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        self.finish();
        std::mem::take(&mut self.full)
    }

    /// Divides envelopes into batches that fit one block each, as far as the single envelopes do.
    pub(super) fn batches(&self, envelopes: Vec<Bytes>) -> Vec<Vec<Bytes>> {
        let room = self.max_frame.saturating_sub(FRAME_HEADER_LEN);
        let all: usize = envelopes.iter().map(|envelope| ENVELOPE_PREFIX + envelope.len()).sum();
        if all <= room && (1..=MAX_ENVELOPES).contains(&envelopes.len()) {
            return vec![envelopes];
        }
        let mut batches: Vec<Vec<Bytes>> = Vec::new();
        let mut used = 0;
        for envelope in envelopes {
            let size = ENVELOPE_PREFIX + envelope.len();
            match batches.last_mut() {
                Some(batch) if used + size <= room && batch.len() < MAX_ENVELOPES => batch.push(envelope),
                _ => {
                    batches.push(vec![envelope]);
                    used = 0;
                }
            }
            used += size;
        }
        batches
    }
}

/// Puts the pieces of one block together. They come in order and without gaps, so there is one at a time.
#[derive(Default)]
pub(super) struct Reassembly {
    open: Option<Open>,
}

struct Open {
    message: u32,
    count: u16,
    next: u16,
    bytes: Vec<u8>,
    since: u64,
}

impl Reassembly {
    /// When the first piece of an unfinished block came.
    pub(super) fn since(&self) -> Option<u64> {
        self.open.as_ref().map(|open| open.since)
    }

    /// Bytes of memory taken for an unfinished block.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.bytes.capacity())
    }

    /// Takes a piece, and returns the block that it completes.
    pub(super) fn take(&mut self, piece: &Fragment, now: u64) -> Result<Option<Bytes>, CloseReason> {
        let bad = |what| Err(Violation::Fragments(what).into());
        let open = self.open.get_or_insert_with(|| Open {
            message: piece.message,
            count: piece.count,
            next: 0,
            bytes: Vec::new(),
            since: now,
        });
        if piece.message != open.message || piece.count != open.count {
            return bad("a piece of another block before the first was whole");
        }
        if piece.index != open.next {
            return bad("a piece that is not the next");
        }
        // Room is made for what came, never for what was announced.
        if open.bytes.len() + piece.bytes.len() > MAX_BLOCK {
            return Err(Violation::TooManyPieces.into());
        }
        open.bytes.extend_from_slice(&piece.bytes);
        open.next += 1;
        if open.next < open.count {
            return Ok(None);
        }
        Ok(self.open.take().map(|open| open.bytes.into()))
    }
}
