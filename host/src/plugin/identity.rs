//! What plugins may do with the node's identity: know its public key, sign for limited purposes, get a key of their own. Those
//! that the admin trusts with it get its secret.

use hkdf::Hkdf;
use qpq_plugin_api::abi::sign_purpose;
use qpq_schemas::signature::Domain;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::identity::Identity;

/// The longest message that a plugin may have signed, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;
/// The contexts of RFC 8446, 4.4.3, each ended by its zero byte.
const TLS13_CONTEXTS: [&[u8]; 2] = [b"TLS 1.3, server CertificateVerify\0", b"TLS 1.3, client CertificateVerify\0"];
/// What such a message begins with.
const TLS13_PAD: [u8; 64] = [0x20; 64];
/// The lengths of a transcript hash: SHA-256, SHA-384.
const TLS13_HASHES: [usize; 2] = [32, 48];
/// Salt of the keys that are derived for plugins.
const SUBKEY_SALT: &[u8] = b"qpq-plugin-subkey-v1";

/// The identity, as far as plugins are concerned.
pub trait PluginIdentity: Send + Sync {
    /// The public key.
    fn public_key(&self) -> [u8; 32];
    /// Signs the domain's prefix and the parts, one after another.
    fn sign(&self, domain: Domain, parts: &[&[u8]]) -> [u8; 64];
    /// A secret derived from the identity's secret, for the plugin of that id alone.
    fn subkey(&self, plugin_id: &str) -> Zeroizing<[u8; 32]>;
    /// The secret itself. Whoever gets it is this node.
    fn secret(&self) -> Zeroizing<[u8; 32]>;
}

impl PluginIdentity for Identity {
    fn public_key(&self) -> [u8; 32] {
        self.peer_id().0
    }

    fn sign(&self, domain: Domain, parts: &[&[u8]]) -> [u8; 64] {
        self.signing_key().sign(domain, parts)
    }

    fn subkey(&self, plugin_id: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let seed = self.seed();
        // 32 bytes are far below the most that HKDF gives; were it otherwise, the key would be all zeros and unusable.
        let _ =
            Hkdf::<Sha256>::new(Some(SUBKEY_SALT), seed.as_slice()).expand(plugin_id.as_bytes(), key.as_mut_slice());
        key
    }

    fn secret(&self) -> Zeroizing<[u8; 32]> {
        self.seed()
    }
}

/// Signs for the plugin `id`, if `message` is what `purpose` allows.
pub(super) fn sign(identity: &dyn PluginIdentity, id: &str, purpose: u32, message: &[u8]) -> Option<[u8; 64]> {
    match purpose {
        sign_purpose::PLUGIN if message.len() <= MAX_MESSAGE => {
            let length = u8::try_from(id.len()).ok()?;
            Some(identity.sign(Domain::PLUGIN, &[&[length], id.as_bytes(), message]))
        }
        sign_purpose::TLS13 if is_certificate_verify(message) => Some(identity.sign(Domain::TLS13, &[message])),
        _ => None,
    }
}

/// Whether the bytes are what a TLS 1.3 endpoint signs. They begin with spaces, so they can't be mistaken for anything that
/// begins with `qpq-`.
fn is_certificate_verify(message: &[u8]) -> bool {
    let Some(rest) = message.strip_prefix(&TLS13_PAD) else { return false };
    let hash = TLS13_CONTEXTS.iter().find_map(|context| rest.strip_prefix(*context));
    hash.is_some_and(|hash| TLS13_HASHES.contains(&hash.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::from_seed(&[7; 32])
    }

    fn certificate_verify(context: &[u8], hash: usize) -> Vec<u8> {
        [&TLS13_PAD, context, &vec![9; hash]].concat()
    }

    #[test]
    fn tls_signs_certificate_verify_and_nothing_else() {
        let sign = |message: &[u8]| sign(&identity(), "t", sign_purpose::TLS13, message);
        assert!(sign(&certificate_verify(TLS13_CONTEXTS[0], 32)).is_some());
        assert!(sign(&certificate_verify(TLS13_CONTEXTS[1], 48)).is_some());
        assert!(sign(&certificate_verify(TLS13_CONTEXTS[1], 33)).is_none());
        assert!(sign(&certificate_verify(b"TLS 1.3, nobody CertificateVerify\0", 32)).is_none());
        assert!(sign(b"qpq-envelope-v1\0 and so on").is_none());
        assert!(sign(&TLS13_PAD).is_none());
        assert!(sign(b"").is_none());
    }

    #[test]
    fn a_plugins_signature_names_the_plugin() {
        let one = sign(&identity(), "one", sign_purpose::PLUGIN, b"m").expect("allowed");
        let two = sign(&identity(), "two", sign_purpose::PLUGIN, b"m").expect("allowed");
        assert_ne!(one, two);
        assert!(sign(&identity(), "one", 3, b"m").is_none());
        assert!(sign(&identity(), "one", sign_purpose::PLUGIN, &vec![0; MAX_MESSAGE + 1]).is_none());
    }

    #[test]
    fn each_plugin_has_a_key_of_its_own() {
        assert_eq!(identity().subkey("one"), identity().subkey("one"));
        assert_ne!(identity().subkey("one"), identity().subkey("two"));
        assert_ne!(identity().subkey("one"), identity().seed());
    }
}
