use std::fmt;

use bytes::Bytes;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hkdf::Hkdf;
use rand::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{HEAD_LEN, PacketError, SEALED, SealedPacket, TAG_LEN};
use crate::link::{Hello, Role};

/// The salt of the derivation.
const SALT: &[u8] = b"qpq-packet-v1";

/// A key pair for one link. Its public half stands in HELLO's random bytes, and so is signed by AUTH. Wiped when dropped.
pub struct Ephemeral {
    secret: Zeroizing<[u8; 32]>,
}

impl Ephemeral {
    /// A fresh pair.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut());
        Self { secret }
    }

    fn secret(&self) -> x25519_dalek::StaticSecret {
        x25519_dalek::StaticSecret::from(*self.secret)
    }

    /// The public half.
    pub fn public(&self) -> [u8; 32] {
        x25519_dalek::PublicKey::from(&self.secret()).to_bytes()
    }

    /// The keys of a link on which this pair stands in the HELLO of the side with that role.
    ///
    /// # Errors
    /// [`PacketError::BadKey`] when the other HELLO holds a point of small order.
    pub fn keys(&self, role: Role, initiator: &Hello, responder: &Hello) -> Result<PacketKeys, PacketError> {
        let theirs = match role {
            Role::Initiator => responder.random,
            Role::Responder => initiator.random,
        };
        let shared = self.secret().diffie_hellman(&x25519_dalek::PublicKey::from(theirs));
        if !shared.was_contributory() {
            return Err(PacketError::BadKey);
        }
        let mut info = Vec::new();
        for body in [initiator.body(), responder.body()] {
            info.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
            info.extend_from_slice(&body);
        }
        let key = |label: u8| PacketKey::derive(shared.as_bytes(), &[&info, &[label]]);
        let (initiators, responders) = (key(Role::Initiator as u8), key(Role::Responder as u8));
        Ok(match role {
            Role::Initiator => PacketKeys { ours: initiators, theirs: responders },
            Role::Responder => PacketKeys { ours: responders, theirs: initiators },
        })
    }
}

impl fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ephemeral").finish_non_exhaustive()
    }
}

/// The keys of one link.
#[derive(Debug)]
pub struct PacketKeys {
    /// Seals what we send.
    pub ours: PacketKey,
    /// Opens what the neighbour sends.
    pub theirs: PacketKey,
}

/// Seals or opens the packets of one direction. Wiped when dropped, and never shown.
pub struct PacketKey(ChaCha20Poly1305);

impl PacketKey {
    fn derive(shared: &[u8; 32], info: &[&[u8]]) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        // 32 bytes are never too many for HKDF-SHA256.
        _ = Hkdf::<Sha256>::new(Some(SALT), shared).expand_multi_info(info, key.as_mut());
        Self(ChaCha20Poly1305::new((&*key).into()))
    }

    /// The packet with that number and body. A number is used once with a key: nothing else keeps the seal safe.
    pub fn seal(&self, number: u64, body: &[u8]) -> Bytes {
        let mut packet = Vec::with_capacity(HEAD_LEN + body.len() + TAG_LEN);
        packet.push(SEALED);
        packet.extend_from_slice(&number.to_be_bytes());
        packet.extend_from_slice(body);
        let (head, text) = packet.split_at_mut(HEAD_LEN);
        // The cipher refuses only what is longer than 256 GiB; then the packet opens nowhere.
        let tag = self.0.encrypt_inout_detached(&nonce(number).into(), head, text.into()).unwrap_or_default();
        packet.extend_from_slice(&tag);
        packet.into()
    }

    /// The body of a packet, once its seal was found good.
    ///
    /// # Errors
    /// [`PacketError::NotSealed`]; anybody may have sent it.
    pub fn open(&self, number: u64, packet: SealedPacket<'_>) -> Result<Bytes, PacketError> {
        let (head, sealed) = packet.0.split_at_checked(HEAD_LEN).ok_or(PacketError::Truncated)?;
        let (text, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(PacketError::Truncated)?;
        let mut body = text.to_vec();
        self.0
            .decrypt_inout_detached(&nonce(number).into(), head, body.as_mut_slice().into(), &(*tag).into())
            .map_err(|_| PacketError::NotSealed)?;
        Ok(body.into())
    }
}

impl fmt::Debug for PacketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketKey").finish_non_exhaustive()
    }
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    nonce
}
