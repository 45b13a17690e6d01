//! What a payload holds once it is opened: a small header, then the body.
//!
//! The same form stands inside a sealed payload, inside a channel message, and as such in a plain payload,
//! so that "made by a program" and the type of the body travel with the text and are as secret as it is.

use std::fmt;

use crate::wire::Reader;

/// The version of the content header.
pub const CONTENT_VERSION: u8 = 1;
/// Bytes before the body: version, flags, kind.
pub const CONTENT_HEADER_LEN: usize = 3;
/// Kind of a body that is UTF-8 text.
pub const KIND_TEXT: u8 = 0;
/// Kind of a body that is bytes for a program.
pub const KIND_BYTES: u8 = 1;

const FLAG_AUTOMATIC: u8 = 0b1;

/// An opened payload. Kinds other than [`KIND_TEXT`] and [`KIND_BYTES`] are passed on as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// Made by a program, not by a person: bots don't answer it.
    pub automatic: bool,
    /// What the body is.
    pub kind: u8,
    /// The text or the data.
    pub body: Vec<u8>,
}

impl Content {
    /// A text written by a person.
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self { automatic: false, kind: KIND_TEXT, body: text.into() }
    }

    /// The bytes to seal or to send.
    pub fn encode(&self) -> Vec<u8> {
        let flags = if self.automatic { FLAG_AUTOMATIC } else { 0 };
        let mut out = Vec::with_capacity(CONTENT_HEADER_LEN + self.body.len());
        out.extend_from_slice(&[CONTENT_VERSION, flags, self.kind]);
        out.extend_from_slice(&self.body);
        out
    }

    /// Reads an opened payload.
    ///
    /// # Errors
    /// When it is shorter than the header, of another version, or has flags that this version doesn't know.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        let mut reader = Reader::new(bytes);
        let [version, flags, kind] = reader.array().ok_or(ContentError::Short)?;
        if version != CONTENT_VERSION {
            return Err(ContentError::Version(version));
        }
        if flags & !FLAG_AUTOMATIC != 0 {
            return Err(ContentError::Flags(flags));
        }
        Ok(Self { automatic: flags & FLAG_AUTOMATIC != 0, kind, body: reader.rest().to_vec() })
    }
}

/// Why an opened payload is no content. The sender's software is at fault, or newer than this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentError {
    /// Shorter than its header.
    Short,
    /// A version that this software doesn't know.
    Version(u8),
    /// Flags that this version doesn't know.
    Flags(u8),
}

impl ContentError {
    /// A stable word for counters and programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Short => "content-length",
            Self::Version(_) => "content-version",
            Self::Flags(_) => "content-flags",
        }
    }
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => write!(f, "the content is shorter than its header of {CONTENT_HEADER_LEN} bytes"),
            Self::Version(v) => {
                write!(f, "the content has version {v}, this node knows version {CONTENT_VERSION}: update it")
            }
            Self::Flags(flags) => write!(f, "the content has unknown flags {flags:#04x}: the sender's node is newer"),
        }
    }
}

impl std::error::Error for ContentError {}

#[cfg(test)]
mod tests;
