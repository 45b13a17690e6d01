//! Frames on a byte stream, for transports over reliable streams: a length of four bytes, big-endian, then the frame.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Length in bytes of the number before each frame.
pub const HEADER_LEN: usize = 4;

/// Frames up to this length in bytes are gathered into one buffer before they are written, and cut out of what was read.
const COPY_LEN: usize = 1_024;

/// A frame was announced that is above the limit; this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oversize(pub u32);

/// Cuts a stream of chunks into frames.
///
/// Room is made for what has arrived, not for what was announced: at most twice that, and never more than the frame is long.
/// A frame larger than 1 KiB gets memory of its own, so that a frame that is kept doesn't keep the chunks around it; a smaller
/// one is a slice of its chunk.
#[derive(Debug)]
pub struct Decoder {
    max_frame: usize,
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// The frame under way, once its header is complete.
    body: Option<Body>,
}

#[derive(Debug)]
struct Body {
    len: usize,
    so_far: Vec<u8>,
}

impl Decoder {
    /// At the start of a stream whose frames have at most that many bytes.
    pub fn new(max_frame: usize) -> Self {
        Self { max_frame, header: [0; HEADER_LEN], header_len: 0, body: None }
    }

    /// Takes a chunk in and appends the frames that it completes. After an error the stream is useless.
    pub fn feed(&mut self, chunk: Bytes, frames: &mut VecDeque<Bytes>) -> Result<(), Oversize> {
        self.feed_all(&mut [chunk], frames)
    }

    /// As [`Decoder::feed`], with chunks that were read together, which it empties. It costs less than one by one: a frame
    /// gets its room at once, as far as it has arrived.
    pub fn feed_all(&mut self, chunks: &mut [Bytes], frames: &mut VecDeque<Bytes>) -> Result<(), Oversize> {
        let mut later = chunks.iter().map(Bytes::len).sum();
        for chunk in chunks {
            later -= chunk.len();
            self.cut(std::mem::take(chunk), later, frames)?;
        }
        Ok(())
    }

    /// Cuts one chunk; so many bytes more have arrived after it.
    fn cut(&mut self, mut chunk: Bytes, later: usize, frames: &mut VecDeque<Bytes>) -> Result<(), Oversize> {
        loop {
            let body = match &mut self.body {
                Some(body) => body,
                None => match self.read_header(&mut chunk)? {
                    Some(len) => self.body.insert(Body { len, so_far: Vec::new() }),
                    None => return Ok(()),
                },
            };
            let Some(frame) = body.read(&mut chunk, later) else { return Ok(()) };
            frames.push_back(frame);
            self.body = None;
        }
    }

    /// Whether the stream may end here: no frame is under way.
    pub fn is_between_frames(&self) -> bool {
        self.header_len == 0 && self.body.is_none()
    }

    /// The length of the next frame, if its header is complete.
    fn read_header(&mut self, chunk: &mut Bytes) -> Result<Option<usize>, Oversize> {
        let part = chunk.split_to(chunk.len().min(HEADER_LEN - self.header_len));
        for (slot, byte) in self.header.iter_mut().skip(self.header_len).zip(&part) {
            *slot = *byte;
        }
        self.header_len += part.len();
        if self.header_len < HEADER_LEN {
            return Ok(None);
        }
        self.header_len = 0;
        let len = u32::from_be_bytes(self.header);
        if len as usize > self.max_frame {
            return Err(Oversize(len));
        }
        Ok(Some(len as usize))
    }
}

impl Body {
    /// The frame, if the chunk completes it. `later`: bytes that have arrived after the chunk.
    fn read(&mut self, chunk: &mut Bytes, later: usize) -> Option<Bytes> {
        let missing = self.len - self.so_far.len();
        if self.so_far.is_empty() && missing <= chunk.len() {
            let frame = chunk.split_to(missing);
            return Some(if frame.len() > COPY_LEN { Bytes::copy_from_slice(&frame) } else { frame });
        }
        let part = chunk.get(..missing).unwrap_or(chunk);
        if self.so_far.capacity() - self.so_far.len() < part.len() {
            let arrived = (chunk.len() + later).max(self.so_far.len());
            self.so_far.reserve_exact(missing.min(arrived));
        }
        self.so_far.extend_from_slice(part);
        chunk.advance(missing.min(chunk.len()));
        (self.so_far.len() == self.len).then(|| std::mem::take(&mut self.so_far).into())
    }
}

/// Puts frames in wire form, as chunks to write: small frames are gathered, large ones stay where they are.
pub fn encode(frames: impl IntoIterator<Item = Bytes>, chunks: &mut Vec<Bytes>) {
    let mut gathered = BytesMut::new();
    for frame in frames {
        gathered.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        if frame.len() <= COPY_LEN {
            gathered.extend_from_slice(&frame);
        } else {
            chunks.push(gathered.split().freeze());
            chunks.push(frame);
        }
    }
    if !gathered.is_empty() {
        chunks.push(gathered.freeze());
    }
}

#[cfg(test)]
mod tests;
