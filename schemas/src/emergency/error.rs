use std::fmt;

use super::{MAX_NOTICE_TEXT, MAX_SIGNATURES};

/// Why bytes or a text are no notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeError {
    /// A version that this node doesn't know.
    Version(u8),
    /// Cut off, too long, or a text that is empty or too long.
    Length,
    /// The text is no UTF-8, or holds a character that hides or steers a terminal.
    Text,
    /// Too many signatures, or not in the order of their keys.
    Signatures,
    /// The text form doesn't begin as a notice does.
    NoNotice,
    /// A character that no text form holds.
    Character(char),
    /// The checksum doesn't fit: a character is wrong, missing or swapped.
    Checksum,
}

impl NoticeError {
    /// A stable word for counters and programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Version(_) => "notice-version",
            Self::Length => "notice-length",
            Self::Text => "notice-text",
            Self::Signatures => "notice-signatures",
            Self::NoNotice => "notice-prefix",
            Self::Character(_) => "notice-character",
            Self::Checksum => "notice-checksum",
        }
    }
}

impl fmt::Display for NoticeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "the notice has version {version}: update this node"),
            Self::Length => {
                write!(f, "the notice is cut off or too long; its text has 1 to {MAX_NOTICE_TEXT} bytes")
            }
            Self::Text => write!(f, "the notice's text holds a character that hides or steers a terminal"),
            Self::Signatures => write!(f, "the notice holds more than {MAX_SIGNATURES} signatures, or not in order"),
            Self::NoNotice => write!(f, "a notice begins with \"qpqnotice\""),
            Self::Character(c) => write!(f, "the notice holds {c:?}, which no notice does: copy it again"),
            Self::Checksum => write!(f, "the notice's checksum does not fit: a character is wrong or missing"),
        }
    }
}

impl std::error::Error for NoticeError {}
