//! A server of the older kind: it knows `FederationService` alone. And one that shows any certificate.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use capnp::Error;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use qpq_schemas::federation_capnp::federation_service as service;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::pki::{Ca, Leaf};
use super::stranger::Shown;

/// One `relayEnqueue` that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    pub key: Vec<u8>,
    pub payload: Vec<u8>,
    pub channel: Vec<u8>,
    pub version: u16,
    pub origin: String,
}

/// What it was told, and what it answers.
#[derive(Default)]
pub struct Memory {
    pub relayed: Vec<Relayed>,
    /// Fails each relay with this.
    pub fault: Option<Error>,
}

/// The server, until it is dropped.
pub struct OldServer {
    pub uri: String,
    pub memory: Arc<Mutex<Memory>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl OldServer {
    /// A server for that domain that trusts that CA.
    pub fn start(domain: &str, leaf: &Leaf, ca: &Ca) -> Self {
        Self::start_with(domain, tls(leaf, ca, qpq_federation_capnp::ALPN))
    }

    /// One with these settings of TLS.
    pub fn start_with(domain: &str, tls: rustls::ServerConfig) -> Self {
        let memory = Arc::new(Mutex::new(Memory::default()));
        let config = quic(tls);
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (at, name) = (memory.clone(), domain.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async move {
                let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
                tell.send(endpoint.local_addr().unwrap()).unwrap();
                spawn_local(accept(endpoint, at, name));
                let _ = stopped.await;
            });
        });
        let addr: SocketAddr = told.recv().unwrap();
        Self { uri: format!("federation://{domain}@{addr}"), memory, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for OldServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(JoinHandle::join);
    }
}

/// QUIC of a server with that certificate.
pub fn config(leaf: &Leaf, ca: &Ca, alpn: &[u8]) -> ServerConfig {
    quic(tls(leaf, ca, alpn))
}

fn quic(tls: rustls::ServerConfig) -> ServerConfig {
    ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()))
}

/// TLS of a server with that certificate.
pub fn tls(leaf: &Leaf, ca: &Ca, alpn: &[u8]) -> rustls::ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.der()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let key = provider.key_provider.load_private_key(leaf.key.clone_key()).unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(Shown(Arc::new(CertifiedKey::new(leaf.chain.clone(), key)))));
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls
}

async fn accept(endpoint: Endpoint, memory: Arc<Mutex<Memory>>, domain: String) {
    while let Some(incoming) = endpoint.accept().await {
        let (memory, domain) = (memory.clone(), domain.clone());
        spawn_local(async move {
            let Ok(connection) = incoming.await else { return };
            let Ok((send, recv)) = connection.accept_bi().await else { return };
            let client: service::Client = capnp_rpc::new_client(Old { memory, domain });
            let options = capnp::message::ReaderOptions::new();
            let network = twoparty::VatNetwork::new(recv.compat(), send.compat_write(), Side::Server, options);
            let _ = RpcSystem::new(Box::new(network), Some(client.client)).await;
        });
    }
}

struct Old {
    memory: Arc<Mutex<Memory>>,
    domain: String,
}

impl service::Server for Old {
    async fn relay_enqueue(
        self: Rc<Self>,
        params: service::RelayEnqueueParams,
        mut results: service::RelayEnqueueResults,
    ) -> Result<(), Error> {
        let asked = params.get()?;
        let mut memory = self.memory.lock().unwrap();
        memory.relayed.push(Relayed {
            key: asked.get_recipient_key()?.to_vec(),
            payload: asked.get_payload()?.to_vec(),
            channel: asked.get_channel_id()?.to_vec(),
            version: asked.get_version(),
            origin: asked.get_auth()?.get_origin()?.to_string().unwrap(),
        });
        results.get().set_seq(memory.relayed.len() as u64);
        memory.fault.clone().map_or(Ok(()), Err)
    }

    async fn federation_health(
        self: Rc<Self>,
        _: service::FederationHealthParams,
        mut results: service::FederationHealthResults,
    ) -> Result<(), Error> {
        results.get().set_status("ok");
        results.get().set_server_domain(&self.domain);
        Ok(())
    }
}
