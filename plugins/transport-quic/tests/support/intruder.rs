//! A peer that speaks QUIC and TLS as it should, and then does what the test wants.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

/// What the intruder shows in the handshake.
pub struct Intruder {
    pub alpn: &'static [u8],
    /// The key that it shows; it always signs with its own.
    pub shown: Option<Vec<u8>>,
}

impl Default for Intruder {
    fn default() -> Self {
        Self { alpn: qpq_transport_quic::ALPN, shown: Some(spki(&public())) }
    }
}

const SEED: [u8; 32] = [66; 32];

/// The intruder's own public key.
pub fn public() -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(&SEED).verifying_key().to_bytes()
}

/// An Ed25519 key as a SubjectPublicKeyInfo.
pub fn spki(key: &[u8; 32]) -> Vec<u8> {
    [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], key.as_slice()].concat()
}

impl Intruder {
    /// Connects; the runtime must be entered. The endpoint must be kept.
    pub async fn connect(self, uri: &str) -> (Endpoint, Result<Connection, ConnectionError>) {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = uri.strip_prefix("quic://").unwrap().parse().unwrap();
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(self.tls()).unwrap()));
        let connected = endpoint.connect_with(config, addr, "127.0.0.1").unwrap().await;
        (endpoint, connected)
    }

    fn tls(self) -> rustls::ClientConfig {
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone));
        let mut config = match self.shown {
            Some(shown) => {
                // PKCS#8 version 1 (RFC 8410, 7) around the seed.
                let prefix = [0x30, 0x2e, 0x02, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
                let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from([prefix.as_slice(), &SEED].concat()));
                let key = ring::default_provider().key_provider.load_private_key(der).unwrap();
                let shown = rustls::sign::CertifiedKey::new(vec![CertificateDer::from(shown)], key);
                builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(shown))))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![self.alpn.to_vec()];
        config
    }
}

/// Runs a test's asynchronous half.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(15), work).await.expect("it takes too long") })
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
