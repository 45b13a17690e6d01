#![allow(unsafe_code, reason = "reads memory that the other side of the C boundary describes")]

use std::ffi::c_void;

/// `qpq_str`: UTF-8 text, borrowed for the duration of the call. With length 0 the pointer may be NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Str {
    /// The first byte.
    pub ptr: *const u8,
    /// The length in bytes.
    pub len: usize,
}

/// `qpq_slice`: bytes, borrowed for the duration of the call. With length 0 the pointer may be NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slice {
    /// The first byte.
    pub ptr: *const u8,
    /// The length in bytes.
    pub len: usize,
}

/// `qpq_buf`: immutable bytes with an owner. Whoever owns it last calls `release` once, on any thread;
/// `release` NULL means that there is nothing to release.
#[repr(C)]
pub struct Buf {
    /// The first byte.
    pub data: *const u8,
    /// The length in bytes.
    pub len: usize,
    /// Handed to `release`.
    pub owner: *mut c_void,
    /// Gives the bytes back.
    pub release: Option<unsafe extern "C" fn(owner: *mut c_void)>,
}

/// `qpq_frame`: one frame of a link. Frozen: it travels in arrays, so it never grows (64 bytes where pointers have 8).
#[repr(C)]
pub struct Frame {
    /// The link, as its transport numbered it.
    pub link: u64,
    /// See [`frame_flags`].
    pub flags: u32,
    /// 0.
    pub rsvd: u32,
    /// The bytes.
    pub buf: Buf,
    /// 0; for later use.
    pub meta: [u64; 2],
}

/// Bits of [`Frame::flags`].
pub mod frame_flags {
    /// The bytes are borrowed for the call: who accepts the frame copies them, and `release` is not called.
    pub const BORROWED: u32 = 1;
}

/// `qpq_out`: where a callee writes text that it returns. Valid during the call only; may be called several times.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Out {
    /// Handed to `write`.
    pub ctx: *mut c_void,
    /// Appends text.
    pub write: Option<unsafe extern "C" fn(ctx: *mut c_void, text: Str)>,
}

/// What is wrong with a [`Str`] or [`Slice`] of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrError {
    /// NULL with a length, or a length that no object can have.
    Length,
    /// Not UTF-8; the first wrong byte is at this place.
    Utf8(usize),
}

impl std::fmt::Display for StrError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Length => f.write_str("its pointer and length do not fit together"),
            Self::Utf8(at) => write!(f, "it is not UTF-8 from byte {at} on"),
        }
    }
}

impl std::error::Error for StrError {}

impl Str {
    /// No text.
    pub const EMPTY: Self = Self { ptr: std::ptr::null(), len: 0 };

    /// Lends `text` to the other side.
    pub const fn new(text: &str) -> Self {
        Self { ptr: text.as_ptr(), len: text.len() }
    }

    /// The text.
    ///
    /// # Safety
    /// `ptr` must be readable for `len` bytes, unchanged, for as long as `'a`.
    pub unsafe fn get<'a>(self) -> Result<&'a str, StrError> {
        // SAFETY: handed on to the caller.
        let bytes = unsafe { Slice { ptr: self.ptr, len: self.len }.get() }?;
        std::str::from_utf8(bytes).map_err(|e| StrError::Utf8(e.valid_up_to()))
    }
}

impl Slice {
    /// No bytes.
    pub const EMPTY: Self = Self { ptr: std::ptr::null(), len: 0 };

    /// Lends `bytes` to the other side.
    pub const fn new(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// `ptr` must be readable for `len` bytes, unchanged, for as long as `'a`.
    pub unsafe fn get<'a>(self) -> Result<&'a [u8], StrError> {
        if self.len == 0 {
            return Ok(&[]);
        }
        if self.ptr.is_null() || self.len > isize::MAX as usize {
            return Err(StrError::Length);
        }
        // SAFETY: the caller vouches for the memory; NULL and impossible lengths are excluded above.
        Ok(unsafe { std::slice::from_raw_parts(self.ptr, self.len) })
    }
}
