//! Direct payloads closed to all but their recipient: HPKE (RFC 9180) in base mode, one suite and no other.
//!
//! DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305; the first 88 header bytes are associated data. The byte table
//! stands in `schemas/spec/sealing.md`.

use std::fmt;

use hpke::aead::{AeadTag, ChaCha20Poly1305};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::PeerId;
use crate::envelope::Aad;
use crate::signature::SigningKey;
use crate::wire::Reader;

/// What HPKE calls `info`.
const INFO: &[u8] = b"qpq-seal-v1";
/// Goes in front of a public key to make its id.
const KEY_ID_DOMAIN: &[u8] = b"qpq-sealing-key-v1\0";
/// Bytes of a key's id.
pub const KEY_ID_LEN: usize = 8;
const ENCAPSULATED_LEN: usize = 32;
const TAG_LEN: usize = 16;
/// Bytes that sealing adds: key source, key id, encapsulated key, tag.
pub const SEALED_OVERHEAD: usize = 1 + KEY_ID_LEN + ENCAPSULATED_LEN + TAG_LEN;

/// The first 8 bytes of SHA-256 over `"qpq-sealing-key-v1\0"` and the X25519 public key.
pub type KeyId = [u8; KEY_ID_LEN];

/// Which of the recipient's keys a payload is sealed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeySource {
    /// The sealing key in its signed node record, rotated daily.
    Record = 1,
    /// The X25519 key converted from its Ed25519 identity, used until a record is known.
    Identity = 2,
}

/// A public X25519 key that payloads are sealed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealingPublic(pub [u8; 32]);

impl SealingPublic {
    /// The key's id.
    pub fn id(&self) -> KeyId {
        let mut hash = Sha256::new();
        hash.update(KEY_ID_DOMAIN);
        hash.update(self.0);
        let hash: [u8; 32] = hash.finalize().into();
        std::array::from_fn(|i| hash[i])
    }
}

/// A recipient, by the best key that the sender knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecipientKey {
    /// The sealing key of the recipient's node record.
    Record(SealingPublic),
    /// The recipient's identity, converted.
    Identity(PeerId),
}

impl RecipientKey {
    fn resolve(&self) -> Result<(KeySource, SealingPublic), SealError> {
        match self {
            Self::Record(public) => Ok((KeySource::Record, *public)),
            Self::Identity(peer) => convert(*peer).map(|public| (KeySource::Identity, public)),
        }
    }
}

/// A secret X25519 key with its public half. Wiped when dropped, and never shown.
#[derive(Clone)]
pub struct SealingKeyPair {
    source: KeySource,
    public: SealingPublic,
    secret: Zeroizing<[u8; 32]>,
}

impl SealingKeyPair {
    /// A fresh random pair for a node record.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut());
        Self::new(KeySource::Record, secret)
    }

    /// The pair of a record key that was kept.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self::new(KeySource::Record, Zeroizing::new(*secret))
    }

    /// The pair converted from an identity.
    pub fn of_identity(key: &SigningKey) -> Self {
        Self::new(KeySource::Identity, key.scalar_bytes())
    }

    fn new(source: KeySource, secret: Zeroizing<[u8; 32]>) -> Self {
        let public = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(*secret));
        Self { source, public: SealingPublic(public.to_bytes()), secret }
    }

    /// Which of a node's keys it is.
    pub fn source(&self) -> KeySource {
        self.source
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.public.id()
    }

    /// The public half.
    pub fn public(&self) -> SealingPublic {
        self.public
    }

    /// The secret, to be kept in a file of mode 0600.
    pub fn secret(&self) -> &Zeroizing<[u8; 32]> {
        &self.secret
    }
}

impl fmt::Debug for SealingKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKeyPair").field("source", &self.source).field("id", &self.id()).finish_non_exhaustive()
    }
}

/// Why a payload can't be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// The recipient's key is no usable key.
    BadKey,
    /// The payload is too short, or begins with a key source that this node doesn't know.
    Malformed,
    /// It is sealed to a key that this node doesn't hold, or no longer.
    UnknownKey(KeyId),
    /// It was altered, or sealed for another envelope.
    Corrupt,
}

impl SealError {
    /// A stable word for counters and programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadKey => "sealing-bad-key",
            Self::Malformed => "sealing-malformed",
            Self::UnknownKey(_) => "sealing-unknown-key",
            Self::Corrupt => "sealing-corrupt",
        }
    }
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadKey => "the recipient's key is not a usable key",
            Self::Malformed => "the sealed payload is malformed",
            Self::UnknownKey(_) => "the payload is sealed to a key that this node does not hold (any more)",
            Self::Corrupt => "the sealed payload was altered, or belongs to another envelope",
        })
    }
}

impl std::error::Error for SealError {}

/// Seals a plaintext to a recipient, bound to the envelope's header.
///
/// # Errors
/// [`SealError::BadKey`] when the recipient's key is no usable key.
pub fn seal(
    recipient: &RecipientKey,
    aad: &Aad,
    plaintext: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let (source, public) = recipient.resolve()?;
    let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&public.0).map_err(|_| SealError::BadKey)?;
    let mut body = plaintext.to_vec();
    let (encapsulated, tag) = hpke::single_shot_seal_inout_detached_with_rng::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
    >(&OpModeS::Base, &key, INFO, InOutBuf::from(body.as_mut_slice()), aad, rng)
    .map_err(|_| SealError::BadKey)?;
    Ok([&[source as u8][..], &public.id(), &encapsulated.to_bytes(), &body, &tag.to_bytes()].concat())
}

/// A sealed payload, taken apart.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    /// Which of the recipient's keys it is sealed to.
    pub source: KeySource,
    /// That key's id.
    pub key_id: KeyId,
    encapsulated: [u8; ENCAPSULATED_LEN],
    body: &'a [u8],
    tag: &'a [u8; TAG_LEN],
}

impl<'a> Sealed<'a> {
    /// Takes a sealed payload apart.
    ///
    /// # Errors
    /// [`SealError::Malformed`].
    pub fn parse(payload: &'a [u8]) -> Result<Self, SealError> {
        Self::read(payload).ok_or(SealError::Malformed)
    }

    fn read(payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(payload);
        let source = match reader.u8()? {
            1 => KeySource::Record,
            2 => KeySource::Identity,
            _ => return None,
        };
        let (key_id, encapsulated) = (reader.array()?, reader.array()?);
        let (body, tag) = reader.rest().split_last_chunk()?;
        Some(Self { source, key_id, encapsulated, body, tag })
    }

    /// Opens it with the pair it is sealed to.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`] for another pair, [`SealError::Corrupt`] when it doesn't open.
    pub fn open(&self, pair: &SealingKeyPair, aad: &Aad) -> Result<Vec<u8>, SealError> {
        if pair.source != self.source || pair.id() != self.key_id {
            return Err(SealError::UnknownKey(self.key_id));
        }
        self.decrypt(pair, aad).map_err(|_| SealError::Corrupt)
    }

    fn decrypt(&self, pair: &SealingKeyPair, aad: &Aad) -> Result<Vec<u8>, hpke::HpkeError> {
        let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(pair.secret.as_ref())?;
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&self.encapsulated)?;
        let mut body = self.body.to_vec();
        hpke::single_shot_open_inout_detached::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &secret,
            &encapsulated,
            INFO,
            InOutBuf::from(body.as_mut_slice()),
            aad,
            &AeadTag::from_bytes(self.tag)?,
        )?;
        Ok(body)
    }
}

/// Opens a sealed payload with whichever of the pairs it is sealed to.
///
/// # Errors
/// When it is malformed, altered, or sealed to none of them.
pub fn open<'k>(
    pairs: impl IntoIterator<Item = &'k SealingKeyPair>,
    aad: &Aad,
    payload: &[u8],
) -> Result<Vec<u8>, SealError> {
    let sealed = Sealed::parse(payload)?;
    let pair = pairs
        .into_iter()
        .find(|pair| pair.source == sealed.source && pair.id() == sealed.key_id)
        .ok_or(SealError::UnknownKey(sealed.key_id))?;
    sealed.open(pair, aad)
}

/// The X25519 key of an Ed25519 identity.
fn convert(peer: PeerId) -> Result<SealingPublic, SealError> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(&peer.0).map_err(|_| SealError::BadKey)?;
    if key.is_weak() {
        return Err(SealError::BadKey);
    }
    Ok(SealingPublic(key.to_montgomery().to_bytes()))
}

#[cfg(test)]
mod tests;
