//! Envelopes in a file, carried by hand from one node to another. See `schemas/spec/parcel.md`.
//!
//! No I/O: the writer makes bytes, the reader takes them as they come. What is damaged is named and passed over, as far as the
//! file still says where the next envelope begins.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{Item, ParcelReader};
pub use writer::ParcelWriter;

use std::fmt;

use sha2::{Digest, Sha256};

use crate::envelope::{LARGEST_PAYLOAD, OVERHEAD};

/// The first bytes of such a file.
pub const MAGIC: [u8; 8] = *b"qpqmail\n";
/// The version that this program writes, and the only one that it reads.
pub const VERSION: u8 = 1;
/// Length of a file's header in bytes.
pub const HEADER_LEN: usize = 64;
/// Length of what stands before each envelope.
pub const HEAD_LEN: usize = 16;
/// Length of a checksum over an envelope, and over the header.
pub const SUM_LEN: usize = 8;
/// Longest envelope on the wire, in bytes.
pub const MAX_ENVELOPE: usize = OVERHEAD + LARGEST_PAYLOAD;

/// The checksum: the first bytes of SHA-256. It guards against disks and cables; against people each envelope has its signature.
fn sum<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().first_chunk().copied().unwrap_or([0; N])
}

/// Why a file can't be read on. What came before is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParcelError {
    /// It begins otherwise.
    NotAParcel,
    /// Another version wrote it.
    Version(u8),
    /// Its header is damaged.
    Header,
    /// At this place (bytes from the beginning) it doesn't say any more where the next envelope begins.
    Lost {
        /// Where.
        offset: u64,
    },
    /// It ends at this place, before its end mark.
    Truncated {
        /// Where.
        offset: u64,
    },
    /// Something stands behind its end mark.
    Trailing {
        /// Where.
        offset: u64,
    },
}

impl ParcelError {
    /// A stable word for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotAParcel => "parcel-not-one",
            Self::Version(_) => "parcel-version",
            Self::Header => "parcel-header",
            Self::Lost { .. } => "parcel-damaged",
            Self::Truncated { .. } => "parcel-truncated",
            Self::Trailing { .. } => "parcel-trailing",
        }
    }
}

impl fmt::Display for ParcelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAParcel => write!(f, "this is no file of envelopes; `qpq mesh export` makes one"),
            Self::Version(version) => {
                write!(f, "the file has version {version}, this program reads version {VERSION}; take a newer program")
            }
            Self::Header => write!(f, "the file's header is damaged; export it again"),
            Self::Lost { offset } => write!(f, "the file is damaged from byte {offset} on; export the rest again"),
            Self::Truncated { offset } => {
                write!(f, "the file ends at byte {offset}, before its end mark; export the rest again")
            }
            Self::Trailing { offset } => write!(f, "something stands behind the file's end mark, at byte {offset}"),
        }
    }
}

impl std::error::Error for ParcelError {}
