//! Ed25519 signatures under one rule at every node: the cofactored equation of ZIP 215, keys of small order refused.
//!
//! RFC 8032 leaves open what a node shall do with keys and signatures that carry a component of small order; libraries differ,
//! and the single and the batch check of one library can differ. Under ZIP 215 both always agree, so no two nodes
//! ever disagree about a crafted signature, and what arrived together can be checked in one batch.
//!
//! Every signature is made over a [`Domain`] and the message, so one made for a link is never good for an envelope.

mod equation;
mod key;
mod key_cache;
mod verifier;

use std::fmt;

pub use key::SigningKey;
pub use verifier::{DEFAULT_KEY_CACHE, Verifier};

/// What a signature is for. The text goes in front of the signed bytes, ended by a zero byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Domain(&'static str);

impl Domain {
    /// Envelopes.
    pub const ENVELOPE: Self = Self("qpq-envelope-v1\0");
    /// The AUTH frame of a link.
    pub const LINK: Self = Self("qpq-link-v1\0");
    /// Node records.
    pub const RECORD: Self = Self("qpq-record-v1\0");
    /// Emergency notices.
    pub const EMERGENCY: Self = Self("qpq-emergency-v1\0");
    /// What a plugin asks the node to sign.
    pub const PLUGIN: Self = Self("qpq-plugin-sign-v1\0");
    /// The content of a TLS 1.3 `CertificateVerify` (RFC 8446, 4.4.3), which begins with 64 spaces and a context of its own.
    /// Whoever signs with it must check that.
    pub const TLS13: Self = Self("");

    /// The bytes in front of the message.
    pub const fn as_bytes(self) -> &'static [u8] {
        self.0.as_bytes()
    }
}

/// Why a signature is not accepted. Whoever sent it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureError {
    /// The signature doesn't fit key and message, or the key is no point of the curve.
    Invalid,
    /// The key is one of the few for which anybody can make signatures.
    SmallOrderKey,
}

impl fmt::Display for SignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "the signature does not fit the key and the message",
            Self::SmallOrderKey => "the key is of small order, so anybody could sign with it",
        })
    }
}

impl std::error::Error for SignatureError {}

/// Checks one signature over `domain` and the message parts, without a key cache.
///
/// # Errors
/// When the key is unusable or the signature doesn't fit.
pub fn verify(key: crate::PeerId, domain: Domain, parts: &[&[u8]], signature: &[u8; 64]) -> Result<(), SignatureError> {
    equation::PublicKey::decompress(key)?.verify(domain, parts, signature)
}

#[cfg(test)]
mod tests;
