//! TLS for both ends of a client's connection.

use std::sync::{Arc, OnceLock};

use qpq_schemas::PeerId;
use qpq_schemas::signature::Domain;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureAlgorithm,
    SignatureScheme,
};

use super::ALPN;
use crate::identity::Identity;

/// The start of the SubjectPublicKeyInfo of every Ed25519 key (RFC 8410, 4).
const SPKI_START: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// For the node: any well-formed key is let through to the end of the handshake.
pub(super) fn server(identity: &Arc<Identity>) -> Result<rustls::ServerConfig, Error> {
    let provider = Arc::new(provider());
    let verifier = KeyVerifier::new(&provider, None);
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(own_key(identity))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// For the client, who wants the node of that key, or, with `None`, whoever answers. The verifier tells who did.
pub(super) fn client(
    identity: &Arc<Identity>,
    expected: Option<PeerId>,
) -> Result<(rustls::ClientConfig, Arc<KeyVerifier>), Error> {
    let provider = Arc::new(provider());
    let verifier = Arc::new(KeyVerifier::new(&provider, expected));
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(own_key(identity))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok((config, verifier))
}

/// The key of the other end of a connection, which its handshake has proven.
pub(super) fn key_behind(connection: &quinn::Connection) -> Option<PeerId> {
    let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    key_in(shown.first()?)
}

/// X25519 and the two ciphers that every TLS 1.3 library has.
fn provider() -> CryptoProvider {
    use ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256};
    let cipher_suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256];
    CryptoProvider { cipher_suites, kx_groups: vec![ring::kx_group::X25519], ..ring::default_provider() }
}

fn spki(key: PeerId) -> Vec<u8> {
    [SPKI_START.as_slice(), key.as_bytes()].concat()
}

fn key_in(spki: &[u8]) -> Option<PeerId> {
    let key: [u8; 32] = spki.strip_prefix(SPKI_START.as_slice())?.try_into().ok()?;
    Some(PeerId(key))
}

fn own_key(identity: &Arc<Identity>) -> Arc<CertifiedKey> {
    let spki = spki(identity.peer_id());
    let shown = vec![CertificateDer::from(spki.clone())];
    Arc::new(CertifiedKey::new(shown, Arc::new(OwnKey { identity: Arc::clone(identity), spki })))
}

/// The identity key, as rustls sees it.
#[derive(Debug)]
struct OwnKey {
    identity: Arc<Identity>,
    spki: Vec<u8>,
}

#[derive(Debug)]
struct OwnSigner(Arc<Identity>);

impl SigningKey for OwnKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = || Box::new(OwnSigner(Arc::clone(&self.identity))) as Box<dyn Signer>;
        offered.contains(&SignatureScheme::ED25519).then(signer)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for OwnSigner {
    /// What TLS signs begins with 64 spaces (RFC 8446, 4.4.3), so it is no other thing that this key signs.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.signing_key().sign(Domain::TLS13, &[message]).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Checks that the other end holds the key that it shows, and that it is the expected one.
#[derive(Debug)]
pub(super) struct KeyVerifier {
    algorithms: WebPkiSupportedAlgorithms,
    expected: Option<PeerId>,
    found: OnceLock<PeerId>,
}

impl KeyVerifier {
    fn new(provider: &CryptoProvider, expected: Option<PeerId>) -> Self {
        Self { algorithms: provider.signature_verification_algorithms, expected, found: OnceLock::new() }
    }

    /// The key that the other end showed, if it is not the expected one.
    pub(super) fn other_key(&self) -> Option<PeerId> {
        self.found.get().copied().filter(|found| self.expected.is_some_and(|expected| expected != *found))
    }

    fn check(&self, shown: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        let found = key_in(shown).filter(|_| more.is_empty()).ok_or(CertificateError::BadEncoding)?;
        let first = *self.found.get_or_init(|| found);
        match self.expected {
            Some(expected) if expected != first || first != found => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(()),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(shown.as_ref()),
            signed,
            &self.algorithms,
        )
    }
}

/// Never asked: TLS 1.2 is not offered.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerIncompatible::Tls13RequiredForQuic.into())
}

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for KeyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// One verifier serves all clients, so it expects nobody in particular.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
