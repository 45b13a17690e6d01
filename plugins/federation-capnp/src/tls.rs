//! TLS 1.3 with certificates on both sides. Each connection has a verifier of its own, which keeps what it has seen.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{NoServerSessionStorage, ResolvesServerCertUsingSni};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::version::TLS13;

use crate::certs::Material;
use crate::error::Error;
use crate::limits::ALPN;
use crate::verify::{Examiner, Judge, Policy, Seen};

/// The cryptography: all that ring offers for TLS 1.3.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A key of that cryptography. It is borrowed, for the caller to wipe it; only what ring makes of it stays.
pub(crate) fn signing_key(key: &PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
    any_supported_type(key)
}

/// For a connection that another domain opens.
pub(crate) fn server(
    provider: &Arc<CryptoProvider>,
    material: Arc<Material>,
    policy: Policy,
) -> Result<(QuicServerConfig, Arc<Seen>), Error> {
    let setup = |e: &dyn std::fmt::Display| Error::Setup(e.to_string());
    let own = material.own.clone();
    let (verifier, seen) = Examiner::new(provider, material, Judge::Policy(policy)).map_err(|e| setup(&e))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| setup(&e))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(Own(own)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // No resumption, so that each connection proves the certificate anew, and no early data.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok((QuicServerConfig::try_from(config).map_err(|e| setup(&e))?, seen))
}

/// What an endpoint needs before it knows for whom: it is used for no connection, only for what comes before one.
pub(crate) fn placeholder(provider: &Arc<CryptoProvider>) -> Result<QuicServerConfig, Error> {
    let setup = |e: rustls::Error| Error::Setup(e.to_string());
    let config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(setup)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    QuicServerConfig::try_from(config).map_err(|e| Error::Setup(e.to_string()))
}

/// For a connection that this node opens to that domain.
pub(crate) fn client(
    provider: &Arc<CryptoProvider>,
    material: Arc<Material>,
    domain: &str,
) -> Result<(QuicClientConfig, Arc<Seen>), Error> {
    let setup = |e: &dyn std::fmt::Display| Error::Setup(e.to_string());
    let own = material.own.clone();
    let (verifier, seen) =
        Examiner::new(provider, material, Judge::Domain(domain.to_owned())).map_err(|e| setup(&e))?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| setup(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(Own(own)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok((QuicClientConfig::try_from(config).map_err(|e| setup(&e))?, seen))
}

/// Shows the one certificate, whatever is asked for.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl rustls::server::ResolvesServerCert for Own {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

impl rustls::client::ResolvesClientCert for Own {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
