//! What a payload holds once it is opened: a small header, then the body.
//!
//! The same form stands inside a sealed payload, inside a channel message, and as such in a plain payload,
//! so that "made by a program" and the type of the body travel with the text and are as secret as it is.

use std::fmt;

use crate::MessageId;
use crate::wire::Reader;

/// The version of the content header.
pub const CONTENT_VERSION: u8 = 1;
/// Bytes before the reference and the body: version, flags, kind.
pub const CONTENT_HEADER_LEN: usize = 3;
/// Kind of a body that is UTF-8 text.
pub const KIND_TEXT: u8 = 0;
/// Kind of a body that is bytes for a program.
pub const KIND_BYTES: u8 = 1;
/// Kind of a body that is a reaction to the message referred to: a few characters of UTF-8, such as an emoji.
pub const KIND_REACTION: u8 = 2;
/// Kind of a body that is an [emergency notice](crate::emergency).
pub const KIND_NOTICE: u8 = 3;

const FLAG_AUTOMATIC: u8 = 0b1;
const FLAG_REPLY: u8 = 0b10;
const KNOWN_FLAGS: u8 = FLAG_AUTOMATIC | FLAG_REPLY;

/// An opened payload. Kinds that this version doesn't know are passed on as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// Made by a program, not by a person: bots don't answer it.
    pub automatic: bool,
    /// What the body is.
    pub kind: u8,
    /// The message that this one answers. Not proven: the sender says so.
    pub reply_to: Option<MessageId>,
    /// The text or the data.
    pub body: Vec<u8>,
}

impl Content {
    /// A text written by a person.
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self { automatic: false, kind: KIND_TEXT, reply_to: None, body: text.into() }
    }

    /// The bytes to seal or to send.
    pub fn encode(&self) -> Vec<u8> {
        let automatic = if self.automatic { FLAG_AUTOMATIC } else { 0 };
        let reply = if self.reply_to.is_some() { FLAG_REPLY } else { 0 };
        let reference = self.reply_to.as_ref().map_or(&[][..], |id| &id.0);
        let mut out = Vec::with_capacity(CONTENT_HEADER_LEN + reference.len() + self.body.len());
        out.extend_from_slice(&[CONTENT_VERSION, automatic | reply, self.kind]);
        out.extend_from_slice(reference);
        out.extend_from_slice(&self.body);
        out
    }

    /// Reads an opened payload.
    ///
    /// # Errors
    /// When it is shorter than what stands before the body, of another version, or has flags that this version doesn't know.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        let mut reader = Reader::new(bytes);
        let [version, flags, kind] = reader.array().ok_or(ContentError::Short)?;
        if version != CONTENT_VERSION {
            return Err(ContentError::Version(version));
        }
        if flags & !KNOWN_FLAGS != 0 {
            return Err(ContentError::Flags(flags));
        }
        let reply_to = match flags & FLAG_REPLY {
            0 => None,
            _ => Some(MessageId(reader.array().ok_or(ContentError::Short)?)),
        };
        Ok(Self { automatic: flags & FLAG_AUTOMATIC != 0, kind, reply_to, body: reader.rest().to_vec() })
    }
}

/// Why an opened payload is no content. The sender's software is at fault, or newer than this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentError {
    /// Shorter than what stands before the body.
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
            Self::Short => write!(f, "the content is cut off before its body: it is shorter than its header"),
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
