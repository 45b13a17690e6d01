//! TLS 1.3 with raw public keys (RFC 7250): the key in the handshake is the node's Ed25519 identity key. The signature is
//! made by the host; the secret never comes here.

use std::sync::{Arc, OnceLock};

use qpq_plugin_api::Identity;
use qpq_quic_common::{PeerCheck, Role, Verifier};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{CertificateError, DigitallySignedStruct, SignatureAlgorithm, SignatureScheme};

use crate::error::Error;
use crate::limits::ALPN;

/// An Ed25519 public key.
pub(crate) type Key = [u8; 32];

/// What stands before the key in the SubjectPublicKeyInfo of an Ed25519 key (RFC 8410, 4 and 10.1): the only form there is.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The TLS half of an endpoint: makes configurations for both directions.
#[derive(Debug)]
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    own: Arc<CertifiedKey>,
}

impl Tls {
    /// TLS for that identity.
    pub(crate) fn new(identity: Identity) -> Result<Self, Error> {
        let key = identity.public_key().map_err(|e| Error::Setup(e.to_string()))?;
        let spki = spki_of(&key);
        let own = CertifiedKey::new(vec![CertificateDer::from(spki.clone())], Arc::new(HostKey { identity, spki }));
        Ok(Self { provider: Arc::new(provider()), own: Arc::new(own) })
    }

    /// For links that others open. Any well-formed key is accepted: who may stay is the host's decision.
    pub(crate) fn server(&self) -> Result<rustls::ServerConfig, Error> {
        let mut config = rustls::ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| Error::Setup(e.to_string()))?
            .with_client_cert_verifier(Arc::new(Verifier(self.verifier(None))))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.own.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // No resumption, so that each link proves the key anew, and no early data.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// For a link that this node opens, to `expected` or, with `None`, to whoever answers. The verifier tells afterwards
    /// who did.
    pub(crate) fn client(&self, expected: Option<Key>) -> Result<(rustls::ClientConfig, Arc<PeerVerifier>), Error> {
        let verifier = self.verifier(expected);
        let mut config = rustls::ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| Error::Setup(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier(verifier.clone())))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.own.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Ok((config, verifier))
    }

    fn verifier(&self, expected: Option<Key>) -> Arc<PeerVerifier> {
        let algorithms = self.provider.signature_verification_algorithms;
        Arc::new(PeerVerifier { algorithms, expected, found: OnceLock::new() })
    }
}

/// The SubjectPublicKeyInfo of a key.
pub(crate) fn spki_of(key: &Key) -> Vec<u8> {
    [SPKI_PREFIX.as_slice(), key].concat()
}

/// The key in a SubjectPublicKeyInfo, if it is one of Ed25519.
pub(crate) fn key_of(spki: &[u8]) -> Option<Key> {
    spki.strip_prefix(SPKI_PREFIX.as_slice())?.try_into().ok()
}

/// X25519 only, and first the cipher that the processor has instructions for.
fn provider() -> CryptoProvider {
    use ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256};
    let aes_first = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
    let mut cipher_suites = vec![TLS13_CHACHA20_POLY1305_SHA256, TLS13_AES_128_GCM_SHA256];
    if aes_first {
        cipher_suites.reverse();
    }
    CryptoProvider { cipher_suites, kx_groups: vec![ring::kx_group::X25519], ..ring::default_provider() }
}

/// The identity key as rustls sees it.
#[derive(Debug)]
struct HostKey {
    identity: Identity,
    spki: Vec<u8>,
}

/// One signature to be made with it.
#[derive(Debug)]
struct HostSigner(Identity);

impl SigningKey for HostKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let offered = offered.contains(&SignatureScheme::ED25519);
        offered.then(|| Box::new(HostSigner(self.identity)) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for HostSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign_tls13(message).map(Vec::from).map_err(|e| rustls::Error::General(e.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Checks that the peer holds the key that it shows, and that it is the expected one.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    algorithms: WebPkiSupportedAlgorithms,
    expected: Option<Key>,
    found: OnceLock<Key>,
}

impl PeerVerifier {
    /// If the peer showed another key than the expected one: both.
    pub(crate) fn mismatch(&self) -> Option<Error> {
        let (expected, found) = (self.expected?, *self.found.get()?);
        (expected != found).then_some(Error::WrongPeer { expected, found })
    }
}

impl PeerCheck for PeerVerifier {
    const RAW_KEYS: bool = true;

    fn check(
        &self,
        _: Role,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<(), rustls::Error> {
        let found = key_of(shown).filter(|_| others.is_empty()).ok_or(CertificateError::BadEncoding)?;
        // One verifier may serve attempts at several addresses; the first answer is as good as any.
        let _ = self.found.set(found);
        match self.expected {
            Some(expected) if expected != found => Err(CertificateError::ApplicationVerificationFailure.into()),
            _ => Ok(()),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let spki = SubjectPublicKeyInfoDer::from(shown.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signed, &self.algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
