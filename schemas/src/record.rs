//! The signed node record: what a node says of itself. The newest one wins, and it expires.
//!
//! The byte table stands in `schemas/spec/record.md`.

mod read;

use std::fmt;

use crate::PeerId;
use crate::sealing::SealingPublic;
use crate::signature::{Domain, SignatureError, SigningKey};

/// The version in the first byte.
pub const RECORD_VERSION: u8 = 1;
/// Longest record, in bytes, signature included.
pub const MAX_RECORD_LEN: usize = 1_024;
/// Longest nickname, in bytes of UTF-8.
pub const MAX_NICKNAME_LEN: usize = 32;
/// Longest domain, in bytes: what DNS allows.
pub const MAX_DOMAIN_LEN: usize = 253;
/// Most addresses in a record.
pub const MAX_ADDRESSES: usize = 8;
/// Longest address, in bytes of printable ASCII.
pub const MAX_ADDRESS_LEN: usize = 128;
/// Longest time from `seq_ms` to `expires_ms`, in milliseconds: 30 days.
pub const MAX_RECORD_LIFE_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// Who says it.
    pub peer: PeerId,
    /// When it was made, Unix time in milliseconds. Of two records the one with the larger number counts.
    pub seq_ms: u64,
    /// Until when it counts, Unix time in milliseconds.
    pub expires_ms: u64,
    /// The key to seal direct messages to.
    pub sealing: SealingPublic,
    /// The name that the node gives itself; empty when it has none. Not unique, and no proof of anything.
    pub nickname: String,
    /// The node's home domain; empty when it has none.
    pub domain: String,
    /// Where it can be reached, as transport URIs.
    pub addresses: Vec<String>,
}

impl NodeRecord {
    /// The signed bytes.
    ///
    /// # Errors
    /// When a field breaks its limit, or the key isn't the peer's.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, RecordError> {
        if key.public() != self.peer {
            return Err(RecordError::Signature(SignatureError::Invalid));
        }
        self.check_fields()?;
        let mut out = self.encode_unsigned();
        let signature = key.sign(Domain::RECORD, &[&out]);
        out.extend_from_slice(&signature);
        if out.len() > MAX_RECORD_LEN { Err(RecordError::TooLong(out.len())) } else { Ok(out) }
    }

    /// Reads a record and checks its signature. Whether it has expired, [`NodeRecord::check_times`] says.
    ///
    /// # Errors
    /// When it is malformed, breaks a limit, or the signature doesn't fit.
    pub fn verify(bytes: &[u8]) -> Result<Self, RecordError> {
        let (record, signed, signature) = read::read(bytes)?;
        crate::signature::verify(record.peer, Domain::RECORD, &[signed], signature).map_err(RecordError::Signature)?;
        Ok(record)
    }

    /// Whose record it says it is, and its `seq_ms`, without checking anything: enough to skip what is known already.
    pub fn peek(bytes: &[u8]) -> Option<(PeerId, u64)> {
        read::peek(bytes)
    }

    /// Checks its times against our clock (Unix time in milliseconds).
    ///
    /// # Errors
    /// When it comes from the future (by more than an envelope may) or has expired.
    pub fn check_times(&self, now_ms: u64) -> Result<(), RecordError> {
        if self.seq_ms.saturating_sub(now_ms) > crate::envelope::MAX_CLOCK_SKEW_MS {
            return Err(RecordError::FromTheFuture);
        }
        if self.expires_ms <= now_ms { Err(RecordError::Expired) } else { Ok(()) }
    }

    fn encode_unsigned(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_RECORD_LEN);
        out.push(RECORD_VERSION);
        out.extend_from_slice(&self.peer.0);
        out.extend_from_slice(&self.seq_ms.to_be_bytes());
        out.extend_from_slice(&self.expires_ms.to_be_bytes());
        out.extend_from_slice(&self.sealing.0);
        put_text(&mut out, &self.nickname);
        put_text(&mut out, &self.domain);
        out.push(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        for address in &self.addresses {
            put_text(&mut out, address);
        }
        out
    }

    fn check_fields(&self) -> Result<(), RecordError> {
        let life = self.expires_ms.checked_sub(self.seq_ms).ok_or(RecordError::Life)?;
        if life > MAX_RECORD_LIFE_MS {
            return Err(RecordError::Life);
        }
        if self.nickname.len() > MAX_NICKNAME_LEN || self.nickname.chars().any(crate::wire::is_control) {
            return Err(RecordError::Nickname);
        }
        if self.domain.len() > MAX_DOMAIN_LEN || !self.domain.bytes().all(is_domain_byte) {
            return Err(RecordError::Domain);
        }
        let bad = |address: &String| {
            address.is_empty() || address.len() > MAX_ADDRESS_LEN || !address.bytes().all(|b| b.is_ascii_graphic())
        };
        if self.addresses.len() > MAX_ADDRESSES || self.addresses.iter().any(bad) {
            return Err(RecordError::Address);
        }
        Ok(())
    }
}

/// A length byte, then the text. The lengths were checked before.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}

fn is_domain_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_')
}

/// Why a record is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordError {
    /// Over [`MAX_RECORD_LEN`].
    TooLong(usize),
    /// Cut off, longer than its fields say, or text that is no UTF-8.
    Malformed,
    /// A version that this node doesn't know.
    Version(u8),
    /// Expires before it was made, or lives too long.
    Life,
    /// The nickname is too long or holds control characters.
    Nickname,
    /// The domain is too long or no domain.
    Domain,
    /// Too many addresses, or one that is empty, too long or not printable.
    Address,
    /// The signature doesn't fit.
    Signature(SignatureError),
    /// Made too far ahead of our clock.
    FromTheFuture,
    /// No longer counts.
    Expired,
}

impl RecordError {
    /// A stable word for counters and programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "record-too-long",
            Self::Malformed => "record-malformed",
            Self::Version(_) => "record-version",
            Self::Life => "record-life",
            Self::Nickname => "record-nickname",
            Self::Domain => "record-domain",
            Self::Address => "record-address",
            Self::Signature(_) => "record-signature",
            Self::FromTheFuture => "record-from-the-future",
            Self::Expired => "record-expired",
        }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(len) => write!(f, "the node record has {len} bytes, at most {MAX_RECORD_LEN} are allowed"),
            Self::Malformed => write!(f, "the node record is malformed"),
            Self::Version(version) => write!(f, "the node record has the unknown version {version}"),
            Self::Life => write!(f, "the node record must expire after it was made, and within 30 days"),
            Self::Nickname => {
                write!(f, "the nickname must have at most {MAX_NICKNAME_LEN} bytes and no control characters")
            }
            Self::Domain => write!(f, "the domain must be a host name in lower case of at most {MAX_DOMAIN_LEN} bytes"),
            Self::Address => write!(
                f,
                "a node record holds at most {MAX_ADDRESSES} addresses of at most {MAX_ADDRESS_LEN} printable characters"
            ),
            Self::Signature(error) => error.fmt(f),
            Self::FromTheFuture => write!(f, "the node record comes from the future: set both clocks"),
            Self::Expired => write!(f, "the node record has expired"),
        }
    }
}

impl std::error::Error for RecordError {}

#[cfg(test)]
mod tests;
