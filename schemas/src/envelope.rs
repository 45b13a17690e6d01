//! MeshEnvelope, version 1: the message as it travels, as it lies in memory, and as it lies on disk.
//!
//! The byte table stands in `schemas/spec/envelope.md`. [`EnvelopeRef`] reads it in place; [`Envelope`] owns the bytes.

mod draft;
mod owned;
mod refusal;
mod view;

pub use draft::Draft;
pub use owned::Envelope;
pub use refusal::Refusal;
pub use view::EnvelopeRef;

/// The version in the first byte.
pub const VERSION: u8 = 1;
/// Bytes before the payload.
pub const HEADER_LEN: usize = 92;
/// Bytes of the header that a sealed payload is bound to: all but the payload's length.
pub const AAD_LEN: usize = 88;
/// Length of an Ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;
/// Bytes around the payload: header, signature, hop count.
pub const OVERHEAD: usize = HEADER_LEN + SIGNATURE_LEN + 1;
/// Largest payload that a node takes unless configured otherwise, in bytes.
pub const DEFAULT_MAX_PAYLOAD: usize = 65_536;
/// Largest payload that a node can be configured to take, in bytes: one envelope must always fit into one ENVELOPES frame.
pub const LARGEST_PAYLOAD: usize = 1 << 20;
/// How far ahead of our clock an envelope may have been created, in milliseconds.
pub const MAX_CLOCK_SKEW_MS: u64 = 300_000;
/// Longest time to live, in seconds: 30 days. Relays keep ids and copies no longer than this.
pub const MAX_TTL_SECS: u32 = 30 * 24 * 60 * 60;

/// The part of the header that a sealed or encrypted payload is bound to.
pub type Aad = [u8; AAD_LEN];

/// What an envelope is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// To one recipient.
    Direct = 0,
    /// To a channel.
    Broadcast = 1,
    /// "Your message arrived", signed by its recipient.
    Receipt = 2,
}

impl Kind {
    /// The kind of that byte.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Direct),
            1 => Some(Self::Broadcast),
            2 => Some(Self::Receipt),
            _ => None,
        }
    }
}

/// How urgent an envelope is. When a relay's store is full, the lowest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Priority {
    /// Can wait.
    Low = 0,
    /// The default.
    #[default]
    Normal = 1,
    /// Before others.
    High = 2,
    /// For lives at stake.
    Emergency = 3,
}

impl Priority {
    /// The priority of that number, 0 low to 3 emergency.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Low),
            1 => Some(Self::Normal),
            2 => Some(Self::High),
            3 => Some(Self::Emergency),
            _ => None,
        }
    }
}

/// The flags byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags {
    /// The payload is sealed to the recipient, or encrypted under the channel's key.
    pub sealed: bool,
    /// The sender asks the recipient for a delivery receipt.
    pub receipt_wanted: bool,
    /// How urgent it is.
    pub priority: Priority,
}

impl Flags {
    const SEALED: u8 = 0b1;
    const RECEIPT_WANTED: u8 = 0b10;
    const PRIORITY_SHIFT: u32 = 2;

    /// The byte on the wire.
    pub const fn to_byte(self) -> u8 {
        self.sealed as u8 | (self.receipt_wanted as u8) << 1 | (self.priority as u8) << Self::PRIORITY_SHIFT
    }

    /// The flags of that byte; `None` when one of the four reserved bits is set.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match Priority::from_byte(byte >> Self::PRIORITY_SHIFT) {
            Some(priority) => Some(Self {
                sealed: byte & Self::SEALED != 0,
                receipt_wanted: byte & Self::RECEIPT_WANTED != 0,
                priority,
            }),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests;
