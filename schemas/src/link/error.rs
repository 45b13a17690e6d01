use std::fmt;

/// Why bytes from a neighbour are no frame. The neighbour is at fault; the link is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The bytes end inside a frame, or inside a field.
    Truncated,
    /// A length of zero, which has no room for the type.
    Empty,
    /// A frame type that must be understood and isn't.
    UnknownType(u8),
    /// A body over the limit of its type.
    TooLarge {
        /// The frame's type.
        kind: u8,
        /// Bytes in the body.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// More items than the type allows.
    TooMany {
        /// The frame's type.
        kind: u8,
        /// The limit.
        max: usize,
    },
    /// A body that is longer than its fields, or a field out of its range.
    Malformed {
        /// The frame's type.
        kind: u8,
        /// Which field.
        what: &'static str,
    },
}

impl FrameError {
    /// A stable word for counters and programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "frame-truncated",
            Self::Empty => "frame-empty",
            Self::UnknownType(_) => "frame-unknown-type",
            Self::TooLarge { .. } => "frame-too-large",
            Self::TooMany { .. } => "frame-too-many",
            Self::Malformed { .. } => "frame-malformed",
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the frame is cut off"),
            Self::Empty => write!(f, "the frame has no type"),
            Self::UnknownType(kind) => write!(f, "the frame type {kind} is unknown: the peer speaks a newer protocol"),
            Self::TooLarge { kind, len, max } => {
                write!(f, "a frame of type {kind} has {len} bytes, at most {max} are allowed")
            }
            Self::TooMany { kind, max } => write!(f, "a frame of type {kind} holds more than {max} items"),
            Self::Malformed { kind, what } => write!(f, "a frame of type {kind} has a bad {what}"),
        }
    }
}

impl std::error::Error for FrameError {}
