#![allow(unsafe_code, reason = "frames cross the boundary as C structs")]

use std::ffi::c_void;
use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};

use crate::abi::{Buf, Frame, Slice, frame_flags};

/// Frames up to this many bytes are copied over the boundary, larger ones are handed over: a copy of 1 KiB costs less than
/// the allocation and the call that a release takes.
pub const COPY_LIMIT: usize = 1024;

/// Frames offered in one call of the ABI.
const CHUNK: usize = 32;
/// The most that is set aside at once for frames that are copied.
const SLAB: usize = 32 * 1024;

/// Frames of one link that the other side offers. What is popped belongs to the caller; what stays belongs to the other side.
pub struct FrameBatch<'a> {
    frames: &'a [Frame],
    taken: usize,
    slab: BytesMut,
}

impl<'a> FrameBatch<'a> {
    /// The batch that the other side described. It must not be dropped after popping without returning [`Self::taken`].
    ///
    /// # Safety
    /// `frames` is NULL or points to `n` frames whose bytes are readable, all for as long as `'a`.
    pub unsafe fn from_raw(frames: *const Frame, n: usize) -> Self {
        let frames = if frames.is_null() || n == 0 || n > isize::MAX as usize / size_of::<Frame>() {
            &[]
        } else {
            // SAFETY: the caller vouches for the array; NULL and impossible lengths are excluded.
            unsafe { std::slice::from_raw_parts(frames, n) }
        };
        // By the rules all are of one link. Of a mixed batch only the first link's frames are seen, so the rest stays unaccepted.
        let link = frames.first().map(|frame| frame.link);
        let same = frames.iter().take_while(|frame| Some(frame.link) == link).count();
        Self { frames: frames.get(..same).unwrap_or_default(), taken: 0, slab: BytesMut::new() }
    }

    /// The link of the next frame.
    pub fn link(&self) -> Option<u64> {
        self.frames.get(self.taken).map(|frame| frame.link)
    }

    /// The length of the next frame in bytes.
    pub fn next_len(&self) -> Option<usize> {
        self.frames.get(self.taken).map(|frame| frame.buf.len)
    }

    /// How many frames are left.
    pub fn remaining(&self) -> usize {
        self.frames.len() - self.taken
    }

    /// How many frames were popped: what the call of the ABI returns.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Takes the next frame.
    pub fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.get(self.taken)?;
        let bytes = if frame.flags & frame_flags::BORROWED != 0 {
            self.copy(frame)
        } else {
            // SAFETY: the frame is counted as taken below, so its buffer belongs to us from here on.
            unsafe { owned(&frame.buf) }
        };
        self.taken += 1;
        Some(bytes)
    }

    /// Copies into one allocation that the small frames of a batch share.
    fn copy(&mut self, frame: &Frame) -> Bytes {
        let Ok(bytes) = view(&frame.buf) else { return Bytes::new() };
        if self.slab.capacity() < bytes.len() {
            let rest: usize = self.frames.iter().skip(self.taken).map(|frame| frame.buf.len.min(COPY_LIMIT)).sum();
            self.slab = BytesMut::with_capacity(rest.min(SLAB).max(bytes.len()));
        }
        self.slab.extend_from_slice(bytes);
        self.slab.split().freeze()
    }
}

/// Reads a buffer that the other side describes, for as long as the borrow of its struct.
fn view(buf: &Buf) -> Result<&[u8], crate::abi::StrError> {
    // SAFETY: whoever made the `FrameBatch` or `OwnedBuf` vouched for the bytes.
    unsafe { Slice { ptr: buf.data, len: buf.len }.get() }
}

/// Wraps a buffer that the other side gave away; the last clone releases it.
///
/// # Safety
/// Called once for a buffer that now belongs to the caller.
pub(crate) unsafe fn owned(buf: &Buf) -> Bytes {
    // SAFETY: handed on to the caller.
    Bytes::from_owner(unsafe { OwnedBuf::new(buf) })
}

/// A buffer of the other side that is ours to release.
struct OwnedBuf(Buf);

impl OwnedBuf {
    /// # Safety
    /// Called once for a buffer that now belongs to the caller.
    unsafe fn new(buf: &Buf) -> Self {
        Self(Buf { data: buf.data, len: buf.len, owner: buf.owner, release: buf.release })
    }
}

// SAFETY: the bytes are immutable, and the ABI lets any thread read and release them.
unsafe impl Send for OwnedBuf {}
// SAFETY: as above.
unsafe impl Sync for OwnedBuf {}

impl AsRef<[u8]> for OwnedBuf {
    fn as_ref(&self) -> &[u8] {
        view(&self.0).unwrap_or_default()
    }
}

impl Drop for OwnedBuf {
    fn drop(&mut self) {
        if let Some(release) = self.0.release {
            // SAFETY: the buffer is ours, and this is its only release.
            unsafe { release(self.0.owner) };
        }
    }
}

/// Offers frames of one link to the other side in arrays, through `take` (pointer, count → how many were taken), until it
/// takes fewer than offered. Returns how many it took: the first ones.
pub fn offer<'a>(
    link: u64,
    frames: impl IntoIterator<Item = &'a Bytes>,
    mut take: impl FnMut(*const Frame, usize) -> usize,
) -> usize {
    let mut frames = frames.into_iter();
    let mut total = 0;
    loop {
        let mut chunk = Chunk::fill(link, &mut frames);
        if chunk.len == 0 {
            return total;
        }
        let taken = take(chunk.frames.as_ptr(), chunk.len).min(chunk.len);
        chunk.given = taken;
        total += taken;
        if taken < chunk.len {
            return total;
        }
    }
}

/// Frames in the form of the ABI. What was not given away by the end is taken back.
struct Chunk<'a> {
    frames: [Frame; CHUNK],
    len: usize,
    given: usize,
    bytes: PhantomData<&'a Bytes>,
}

impl<'a> Chunk<'a> {
    fn fill(link: u64, bytes: &mut impl Iterator<Item = &'a Bytes>) -> Self {
        let mut chunk = Self { frames: [const { EMPTY }; CHUNK], len: 0, given: 0, bytes: PhantomData };
        for (slot, bytes) in chunk.frames.iter_mut().zip(bytes) {
            *slot = frame(link, bytes);
            chunk.len += 1;
        }
        chunk
    }
}

impl Drop for Chunk<'_> {
    fn drop(&mut self) {
        for frame in self.frames.iter().take(self.len).skip(self.given) {
            // SAFETY: the other side didn't take it, so it is still ours.
            drop(unsafe { OwnedBuf::new(&frame.buf) });
        }
    }
}

const EMPTY: Frame = Frame {
    link: 0,
    flags: 0,
    rsvd: 0,
    buf: Buf { data: std::ptr::null(), len: 0, owner: std::ptr::null_mut(), release: None },
    meta: [0; 2],
};

fn frame(link: u64, bytes: &Bytes) -> Frame {
    let (data, len) = (bytes.as_ptr(), bytes.len());
    if len <= COPY_LIMIT {
        let buf = Buf { data, len, ..EMPTY.buf };
        return Frame { link, flags: frame_flags::BORROWED, buf, ..EMPTY };
    }
    let owner = Box::into_raw(Box::new(bytes.clone())).cast();
    Frame { link, buf: Buf { data, len, owner, release: Some(release_bytes) }, ..EMPTY }
}

/// Gives back the `Bytes` behind a frame made by [`frame`].
unsafe extern "C" fn release_bytes(owner: *mut c_void) {
    // SAFETY: `frame` made the owner of a boxed `Bytes`, and each frame is released once.
    drop(unsafe { Box::from_raw(owner.cast::<Bytes>()) });
}
