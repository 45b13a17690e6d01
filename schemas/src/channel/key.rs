use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hkdf::Hkdf;
use rand::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::name::{NameError, normalise};
use crate::TopicId;
use crate::envelope::{Aad, EnvelopeRef};
use crate::wire::Reader;

/// The salt of every derivation.
const SALT: &[u8] = b"qpq-channel-v1";
/// The version in the first byte of an encrypted payload.
const PAYLOAD_VERSION: u8 = 1;
const TAG_LEN: usize = 16;
/// Bytes that encryption adds: version, epoch, tag.
pub const CHANNEL_OVERHEAD: usize = 1 + 4 + TAG_LEN;

/// A channel's name and secret key. Wiped when dropped, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelKey {
    name: String,
    secret: Zeroizing<[u8; 32]>,
    epoch: u32,
}

impl ChannelKey {
    /// The open channel of that name, whose key anyone can derive who knows the name.
    ///
    /// # Errors
    /// When the name breaks the rules of [`normalise`].
    pub fn open(name: &str) -> Result<Self, NameError> {
        let name = normalise(name)?;
        let secret = derive(name.as_bytes(), &[b"open"]);
        Ok(Self { name, secret, epoch: 0 })
    }

    /// A private channel with a fresh random key.
    ///
    /// # Errors
    /// When the name breaks the rules of [`normalise`].
    pub fn private(name: &str, rng: &mut impl CryptoRng) -> Result<Self, NameError> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut());
        Self::from_parts(name, &secret, 0)
    }

    /// A channel that was kept, or came by an invite.
    ///
    /// # Errors
    /// When the name breaks the rules of [`normalise`].
    pub fn from_parts(name: &str, secret: &[u8; 32], epoch: u32) -> Result<Self, NameError> {
        Ok(Self { name: normalise(name)?, secret: Zeroizing::new(*secret), epoch })
    }

    /// The same channel with a fresh random key and the next epoch. Its topic id changes too,
    /// so those who don't get the new invite can neither read it nor follow it.
    #[must_use]
    pub fn rotated(&self, rng: &mut impl CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut());
        Self { name: self.name.clone(), secret, epoch: self.epoch.saturating_add(1) }
    }

    /// The normalised name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The secret, to be kept in a file of mode 0600.
    pub fn secret(&self) -> &Zeroizing<[u8; 32]> {
        &self.secret
    }

    /// How often the key was rotated.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether the key is random, not derived from the name.
    pub fn is_private(&self) -> bool {
        self.epoch != 0 || derive(self.name.as_bytes(), &[b"open"]) != self.secret
    }

    /// The channel's name on the wire. It can't be guessed without the key.
    pub fn topic_id(&self) -> TopicId {
        TopicId(*derive(self.secret.as_ref(), &[b"topic"]))
    }

    /// The payload of a broadcast: `plaintext` encrypted under a key of its own, bound to the envelope's header.
    pub fn seal(&self, aad: &Aad, plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(CHANNEL_OVERHEAD + plaintext.len());
        out.push(PAYLOAD_VERSION);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        let payload = Payload { msg: plaintext, aad };
        // The cipher refuses only what is longer than 256 GiB, which no payload is: then nothing follows, and nothing opens.
        out.extend(self.cipher(aad).encrypt(&Default::default(), payload).unwrap_or_default());
        out
    }

    /// Decrypts the payload of a broadcast on this channel.
    ///
    /// # Errors
    /// When it is malformed, of another epoch, or doesn't open.
    pub fn open_payload(&self, envelope: EnvelopeRef<'_>) -> Result<Vec<u8>, ChannelError> {
        self.open_bytes(&envelope.aad(), envelope.payload())
    }

    /// Decrypts a payload that stood under that header.
    ///
    /// # Errors
    /// As [`ChannelKey::open_payload`].
    pub fn open_bytes(&self, aad: &Aad, payload: &[u8]) -> Result<Vec<u8>, ChannelError> {
        let mut reader = Reader::new(payload);
        let version = reader.u8().ok_or(ChannelError::Malformed)?;
        let epoch = reader.u32().ok_or(ChannelError::Malformed)?;
        if version != PAYLOAD_VERSION {
            return Err(ChannelError::Version(version));
        }
        if epoch != self.epoch {
            return Err(ChannelError::Epoch { theirs: epoch, ours: self.epoch });
        }
        let payload = Payload { msg: reader.rest(), aad };
        self.cipher(aad).decrypt(&Default::default(), payload).map_err(|_| ChannelError::Corrupt)
    }

    /// A cipher for one message: its key comes from sender, time and nonce in the header, so the cipher's own nonce is zero.
    fn cipher(&self, aad: &Aad) -> ChaCha20Poly1305 {
        let mut reader = Reader::new(aad);
        let _version_to_ttl = reader.take(8);
        let created_nonce_sender = reader.take(48).unwrap_or_default();
        let key = derive(self.secret.as_ref(), &[b"message", &self.epoch.to_be_bytes(), created_nonce_sender]);
        ChaCha20Poly1305::new(&(*key).into())
    }
}

impl fmt::Debug for ChannelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelKey").field("name", &self.name).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

fn derive(key: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    let done = Hkdf::<Sha256>::new(Some(SALT), key).expand_multi_info(info, out.as_mut());
    debug_assert!(done.is_ok(), "HKDF-SHA256 gives up to 8,160 bytes");
    out
}

/// Why a broadcast can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelError {
    /// Too short.
    Malformed,
    /// A payload version that this node doesn't know.
    Version(u8),
    /// Encrypted under the key of another epoch.
    Epoch {
        /// The epoch in the payload.
        theirs: u32,
        /// The epoch of the key.
        ours: u32,
    },
    /// It was altered, or belongs to another envelope.
    Corrupt,
}

impl ChannelError {
    /// A stable word for counters and programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "channel-malformed",
            Self::Version(_) => "channel-version",
            Self::Epoch { .. } => "channel-epoch",
            Self::Corrupt => "channel-corrupt",
        }
    }
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(f, "the channel message is too short"),
            Self::Version(version) => {
                write!(f, "the channel message has version {version}, this node knows version {PAYLOAD_VERSION}")
            }
            Self::Epoch { theirs, ours } => {
                write!(f, "the message is of key epoch {theirs}, this node has {ours}: ask for a new invite")
            }
            Self::Corrupt => write!(f, "the channel message was altered, or belongs to another envelope"),
        }
    }
}

impl std::error::Error for ChannelError {}
