//! A handshake of TLS 1.3 between two servers, each showing its certificate, with the files as they lie there.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::Files;
use super::files::{read_certificates, read_secret};

/// More than the few flights that a handshake has.
const MAX_FLIGHTS: usize = 20;

/// Dials the server under that name. Says why one of them refuses the other.
pub(super) fn handshake(client: &Files, server: &Files, name: &str) -> Result<(), String> {
    let mut client = client_side(client, name);
    let mut server = server_side(server);
    for _ in 0..MAX_FLIGHTS {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().map_err(|error| format!("{error:?}"))?;
        }
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).unwrap();
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(|error| format!("{error:?}"))?;
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            assert!(server.peer_certificates().is_some());
            return Ok(());
        }
    }
    panic!("the handshake doesn't end");
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(files: &Files) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(&files.authority).unwrap() {
        roots.add(certificate).unwrap();
    }
    Arc::new(roots)
}

fn own(files: &Files) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let bytes = read_secret(&files.key).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&bytes).or_else(|_| PrivateKeyDer::try_from(bytes.to_vec())).unwrap();
    (read_certificates(&files.certificate).unwrap(), key)
}

fn client_side(files: &Files, name: &str) -> ClientConnection {
    let (chain, key) = own(files);
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots(files))
        .with_client_auth_cert(chain, key)
        .unwrap();
    ClientConnection::new(Arc::new(config), ServerName::try_from(name.to_owned()).unwrap()).unwrap()
}

fn server_side(files: &Files) -> ServerConnection {
    let (chain, key) = own(files);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(files), provider()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    ServerConnection::new(Arc::new(config)).unwrap()
}
