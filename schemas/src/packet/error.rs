use std::fmt;

/// Why bytes are no packet, or no body of one.
///
/// Before the seal was opened anybody may be the cause, and the packet is dropped; after it the neighbour is, and the link
/// is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketError {
    /// The bytes end inside a field.
    Truncated,
    /// More than [`MAX_PACKET`](super::MAX_PACKET) bytes.
    TooLarge,
    /// The first byte is of no kind that this version knows.
    UnknownKind(u8),
    /// The seal doesn't fit: altered on the way, of another link, or made by somebody else.
    NotSealed,
    /// The neighbour's HELLO holds no usable X25519 key.
    BadKey,
    /// A field is out of its range.
    Malformed(&'static str),
}

impl PacketError {
    /// A stable word for counters and programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "packet-truncated",
            Self::TooLarge => "packet-too-large",
            Self::UnknownKind(_) => "packet-unknown-kind",
            Self::NotSealed => "packet-not-sealed",
            Self::BadKey => "packet-bad-key",
            Self::Malformed(_) => "packet-malformed",
        }
    }
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the packet is cut off"),
            Self::TooLarge => write!(f, "the packet has more than {} bytes", super::MAX_PACKET),
            Self::UnknownKind(kind) => write!(f, "the packet is of the unknown kind {kind}"),
            Self::NotSealed => f.write_str("the packet is not sealed with this link's keys"),
            Self::BadKey => f.write_str("the HELLO holds no usable X25519 key"),
            Self::Malformed(what) => write!(f, "the packet has a bad {what}"),
        }
    }
}

impl std::error::Error for PacketError {}
