use std::fmt;

use ed25519_dalek::Signer;
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::Domain;
use crate::PeerId;

/// The secret half of an identity. Wiped from memory when dropped, and never shown.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of that 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// A fresh random key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(&seed)
    }

    /// The public half.
    pub fn public(&self) -> PeerId {
        PeerId(self.0.verifying_key().to_bytes())
    }

    /// The seed, to be kept in a file of mode 0600. A secret.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Signs `domain` and the parts, one after another.
    pub fn sign(&self, domain: Domain, parts: &[&[u8]]) -> [u8; 64] {
        let message = [&[domain.as_bytes()], parts].concat().concat();
        self.0.sign(&message).to_bytes()
    }

    /// The secret scalar, which is also the X25519 secret of the converted public key (before clamping).
    pub(crate) fn scalar_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_scalar_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {}, secret)", self.public().short())
    }
}
