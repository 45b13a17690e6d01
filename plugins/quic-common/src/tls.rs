//! The half of rustls' verifiers that is the same for all: TLS 1.3 alone, and one check for both directions.

use std::fmt::Debug;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};

/// In which part a peer is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It opened the connection.
    Client,
    /// This side opened it.
    Server,
}

/// What a plugin checks of a peer.
pub trait PeerCheck: Debug + Send + Sync {
    /// Peers show raw public keys (RFC 7250), no certificates.
    const RAW_KEYS: bool;

    /// Whether a peer may be what it shows: its certificate, or its key, and the certificates between it and a CA.
    ///
    /// # Errors
    /// Why not; the peer hears the TLS alert for it.
    fn check(
        &self,
        role: Role,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error>;

    /// Whether the peer has signed the handshake with the key that belongs to what it showed.
    ///
    /// # Errors
    /// Why not.
    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error>;

    /// The signatures that it can check.
    fn schemes(&self) -> Vec<SignatureScheme>;
}

/// A check as rustls wants it, for clients and for servers.
#[derive(Debug)]
pub struct Verifier<C>(pub Arc<C>);

/// TLS 1.2 is never offered, so this is never asked.
fn no_tls12() -> Error {
    PeerIncompatible::Tls13RequiredForQuic.into()
}

impl<C: PeerCheck> ServerCertVerifier for Verifier<C> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.check(Role::Server, end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.check_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        C::RAW_KEYS
    }
}

impl<C: PeerCheck> ClientCertVerifier for Verifier<C> {
    /// None: a peer with a certificate of another CA than ours shows it all the same, and hears what is wrong with it.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.check(Role::Client, end_entity, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.check_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        C::RAW_KEYS
    }
}
