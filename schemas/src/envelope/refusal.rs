use std::fmt;

use super::{MAX_CLOCK_SKEW_MS, MAX_TTL_SECS, OVERHEAD, VERSION};

/// Why an envelope is not taken. The one who made or passed it is at fault, not this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// A version that this node doesn't know.
    Version(u8),
    /// A kind that this version doesn't have.
    Kind(u8),
    /// Flags that must be zero are set.
    ReservedBits(u8),
    /// Shorter or longer than its payload length says.
    Length {
        /// Bytes given.
        have: usize,
        /// Bytes that the header asks for, or that the smallest envelope has.
        need: usize,
    },
    /// The payload is over the limit.
    PayloadTooLarge {
        /// Bytes in the payload.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The signature doesn't fit the sender and the content, or the sender's key is no key.
    Signature,
    /// The sender's key is one of the few for which anybody can make signatures.
    SmallOrderKey,
    /// Created too far ahead of our clock.
    FromTheFuture {
        /// How far, in milliseconds.
        ahead_ms: u64,
    },
    /// Its time to live is over.
    Expired {
        /// When it ended, Unix time in milliseconds.
        expires_ms: u64,
    },
    /// A time to live over [`MAX_TTL_SECS`].
    TtlTooLong {
        /// What it asks for, in seconds.
        ttl_secs: u32,
    },
    /// It has crossed as many links as its sender allowed.
    Hops {
        /// Links crossed, as the relays say.
        hop_count: u8,
        /// What the sender allowed.
        max_hops: u8,
    },
    /// This node's admin blocked the sender.
    BlockedSender,
}

impl Refusal {
    /// Every code that [`Refusal::code`] can give, so that each counter exists from the start.
    pub const CODES: [&'static str; 12] = [
        "version",
        "kind",
        "reserved-bits",
        "length",
        "payload-too-large",
        "signature",
        "small-order-key",
        "from-the-future",
        "expired",
        "ttl-too-long",
        "hops",
        "blocked-sender",
    ];

    /// A stable word for counters and programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Version(_) => "version",
            Self::Kind(_) => "kind",
            Self::ReservedBits(_) => "reserved-bits",
            Self::Length { .. } => "length",
            Self::PayloadTooLarge { .. } => "payload-too-large",
            Self::Signature => "signature",
            Self::SmallOrderKey => "small-order-key",
            Self::FromTheFuture { .. } => "from-the-future",
            Self::Expired { .. } => "expired",
            Self::TtlTooLong { .. } => "ttl-too-long",
            Self::Hops { .. } => "hops",
            Self::BlockedSender => "blocked-sender",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(v) => write!(f, "the envelope has version {v}, this node knows version {VERSION}"),
            Self::Kind(kind) => write!(f, "the envelope has the unknown kind {kind}"),
            Self::ReservedBits(flags) => write!(f, "the envelope has reserved flags set ({flags:#010b})"),
            Self::Length { have, need } if *need == OVERHEAD => {
                write!(f, "the envelope has {have} bytes, the smallest one has {need}")
            }
            Self::Length { have, need } => write!(f, "the envelope has {have} bytes, its header says {need}"),
            Self::PayloadTooLarge { len, max } => {
                write!(f, "the payload has {len} bytes, at most {max} are taken: send less, or in parts")
            }
            Self::Signature => write!(f, "the signature does not fit the sender and the content"),
            Self::SmallOrderKey => write!(f, "the sender's key is of small order, so anybody could sign with it"),
            Self::FromTheFuture { ahead_ms } => write!(
                f,
                "the envelope was created {} s ahead of this node's clock, at most {} s are taken: set both clocks",
                ahead_ms / 1000,
                MAX_CLOCK_SKEW_MS / 1000
            ),
            Self::Expired { .. } => write!(f, "the envelope's time to live is over"),
            Self::TtlTooLong { ttl_secs } => {
                write!(f, "the envelope asks to live {ttl_secs} s, at most {MAX_TTL_SECS} s are taken")
            }
            Self::Hops { hop_count, max_hops } => {
                write!(f, "the envelope has crossed {hop_count} links, its sender allowed {max_hops}")
            }
            Self::BlockedSender => write!(f, "the sender is blocked by this node's admin"),
        }
    }
}

impl std::error::Error for Refusal {}
