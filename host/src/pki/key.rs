//! Secret keys.

use std::path::Path;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::files;
use super::problem::Problem;

/// A new key. P-256, because every TLS library takes it.
pub(super) fn generate() -> Result<KeyPair, Problem> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

/// Reads a key in DER or PEM form. A file that others can read is refused.
pub(super) fn read(path: &Path) -> Result<KeyPair, Problem> {
    let bytes = files::read_secret(path)?;
    parse(&bytes).ok_or_else(|| {
        Problem::unusable(
            path,
            "no secret key in PKCS#8 form is in it. Put back your copy, or make a new key elsewhere.",
        )
    })
}

fn parse(bytes: &[u8]) -> Option<KeyPair> {
    let key = match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(key) => key,
        Err(_) => PrivateKeyDer::try_from(bytes).ok()?,
    };
    KeyPair::try_from(&key).ok()
}

/// The key's text in PEM form.
pub(super) fn pem(key: &KeyPair) -> Zeroizing<String> {
    Zeroizing::new(key.serialize_pem())
}
