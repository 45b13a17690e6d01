//! Reads what a freshly loaded library points to, without trusting the pointer.
#![allow(unsafe_code, reason = "copies memory that a plugin describes")]

use std::fs::File;
use std::os::unix::fs::FileExt;

use qpq_plugin_api::abi;

/// The process's own memory. Through `/proc/self/mem` a wild pointer or a length that lies is an error, not a crash; where
/// there is none, only NULL is noticed.
pub(super) struct Memory(Option<File>);

/// Nothing readable is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

impl Memory {
    pub(super) fn open() -> Self {
        Self(File::open("/proc/self/mem").ok())
    }

    /// Copies `out.len()` bytes from `at`.
    pub(super) fn copy(&self, at: *const u8, out: &mut [u8]) -> Result<(), Unreadable> {
        if at.is_null() {
            return Err(Unreadable);
        }
        match &self.0 {
            Some(memory) => memory.read_exact_at(out, at.addr() as u64).map_err(|_| Unreadable),
            None => {
                // SAFETY: without a way to ask the system, the plugin's word counts: it is trusted code.
                unsafe { std::ptr::copy_nonoverlapping(at, out.as_mut_ptr(), out.len()) };
                Ok(())
            }
        }
    }

    /// The little number at `at`.
    pub(super) fn u32(&self, at: *const u8) -> Result<u32, Unreadable> {
        let mut bytes = [0; 4];
        self.copy(at, &mut bytes).map(|()| u32::from_ne_bytes(bytes))
    }

    /// The number at `at`.
    pub(super) fn u64(&self, at: *const u8) -> Result<u64, Unreadable> {
        let mut bytes = [0; 8];
        self.copy(at, &mut bytes).map(|()| u64::from_ne_bytes(bytes))
    }

    /// A struct of which the other side has the first `size` bytes. Fields that it lacks are zero: NULL, or no text.
    pub(super) fn read<T: Foreign>(&self, at: *const u8, size: usize) -> Result<T, Unreadable> {
        let mut value = std::mem::MaybeUninit::<T>::zeroed();
        let room = size.min(size_of::<T>());
        // SAFETY: `value` has at least `room` bytes, all of them initialised to zero.
        let bytes = unsafe { std::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), room) };
        self.copy(at, bytes)?;
        // SAFETY: `Foreign` says that any bytes make a valid value.
        Ok(unsafe { value.assume_init() })
    }

    /// A text of up to `limit` bytes.
    pub(super) fn text(&self, text: abi::Str, limit: usize) -> Result<String, String> {
        if text.len == 0 {
            return Ok(String::new());
        }
        if text.len > limit {
            return Err(format!("its length is {} bytes, and {limit} are allowed", text.len));
        }
        let mut bytes = vec![0; text.len];
        self.copy(text.ptr, &mut bytes).map_err(|Unreadable| "nothing readable is where it points".to_owned())?;
        String::from_utf8(bytes).map_err(|e| format!("it is not UTF-8 from byte {} on", e.utf8_error().valid_up_to()))
    }
}

/// Structs of the ABI for which any bytes are a valid value: numbers, raw pointers, functions that may be NULL.
///
/// # Safety
/// No field may be a reference, an enum, a `bool` or a function that can't be NULL.
pub(super) unsafe trait Foreign: Copy {}

// SAFETY: numbers, raw pointers and `Option<fn>` only.
unsafe impl Foreign for abi::Plugin {}
// SAFETY: as above.
unsafe impl Foreign for abi::Transport {}
// SAFETY: as above.
unsafe impl Foreign for abi::Discovery {}
// SAFETY: as above.
unsafe impl Foreign for abi::Routing {}
// SAFETY: as above.
unsafe impl Foreign for abi::Store {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wild_pointers_and_lying_lengths_are_errors() {
        let memory = Memory::open();
        if memory.0.is_none() {
            return;
        }
        assert_eq!(memory.u64(std::ptr::without_provenance(16)), Err(Unreadable));
        assert_eq!(memory.u64(std::ptr::null()), Err(Unreadable));
        assert_eq!(memory.u64(std::ptr::without_provenance(usize::MAX - 3)), Err(Unreadable));
        let lie = abi::Str { ptr: std::ptr::without_provenance(8), len: 10 };
        assert!(memory.text(lie, 64).is_err());
        assert!(memory.text(abi::Str { ptr: b"x".as_ptr(), len: usize::MAX }, 64).is_err());
        assert_eq!(memory.text(abi::Str::new("good"), 64), Ok("good".to_owned()));
    }
}
