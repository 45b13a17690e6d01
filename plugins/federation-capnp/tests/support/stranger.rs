//! A client that speaks QUIC and TLS as it should, and then does what the test wants.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use capnp::capability::FromClientHook;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use qpq_schemas::federation_capnp::{federation_service, mesh_federation};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::crypto::{self, ExportKeyingMaterialError, KeyPair, Keys};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side as QuicSide, TransportError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::task::{LocalSet, spawn_local};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::pki::Leaf;

/// What the stranger shows in the handshake.
pub struct Stranger {
    pub alpn: &'static [u8],
    pub leaf: Option<Leaf>,
    /// Offers TLS 1.2 alone.
    pub old: bool,
}

impl Stranger {
    /// One with that certificate.
    pub fn with(leaf: Leaf) -> Self {
        Self { alpn: qpq_federation_capnp::ALPN, leaf: Some(leaf), old: false }
    }

    /// Connects; the runtime must be entered. The endpoint must be kept.
    pub async fn connect(&self, uri: &str) -> (Endpoint, Result<Connection, ConnectionError>) {
        self.connect_with(self.tls(), uri).await
    }

    /// The same with settings of TLS that are kept for more than one connection.
    pub async fn connect_with(
        &self,
        tls: rustls::ClientConfig,
        uri: &str,
    ) -> (Endpoint, Result<Connection, ConnectionError>) {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = uri.rsplit_once('@').unwrap().1.parse().unwrap();
        let tls = QuicClientConfig::try_from(tls).unwrap();
        let config =
            if self.old { ClientConfig::new(Arc::new(Old(Arc::new(tls)))) } else { ClientConfig::new(Arc::new(tls)) };
        let connected = endpoint.connect_with(config, addr, "any.example").unwrap().await;
        (endpoint, connected)
    }

    /// Connects twice with everything that resumption and early data need, and says whether the second time had early data.
    pub async fn early_data_is_taken(&self, uri: &str) -> bool {
        let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = uri.rsplit_once('@').unwrap().1.parse().unwrap();
        let mut tls = self.tls();
        tls.enable_early_data = true;
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let first = endpoint.connect_with(config.clone(), addr, "any.example").unwrap().await.unwrap();
        // Time for a ticket, if there were one.
        tokio::time::sleep(Duration::from_millis(100)).await;
        first.close(0u32.into(), b"");
        endpoint.connect_with(config, addr, "any.example").unwrap().into_0rtt().is_ok()
    }

    /// Its settings of TLS.
    pub fn tls(&self) -> rustls::ClientConfig {
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone));
        let mut config = match &self.leaf {
            Some(leaf) => {
                let key = ring::default_provider().key_provider.load_private_key(leaf.key.clone_key()).unwrap();
                builder.with_client_cert_resolver(Arc::new(Shown(Arc::new(CertifiedKey::new(leaf.chain.clone(), key)))))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![self.alpn.to_vec()];
        config
    }
}

/// Calls over a connection, as a server of the older kind makes them.
pub struct Caller {
    pub service: federation_service::Client,
    pub mesh: mesh_federation::Client,
    _endpoint: Endpoint,
    pub connection: Connection,
}

impl Caller {
    /// Connects; must run inside of [`run`].
    pub async fn connect(stranger: &Stranger, uri: &str) -> Self {
        Self::over(stranger.connect(uri).await).await
    }

    /// The same over a connection.
    pub async fn over((endpoint, connected): (Endpoint, Result<Connection, ConnectionError>)) -> Self {
        let connection = connected.expect("connected");
        let (send, recv) = connection.open_bi().await.unwrap();
        let network = twoparty::VatNetwork::new(
            recv.compat(),
            send.compat_write(),
            Side::Client,
            capnp::message::ReaderOptions::new(),
        );
        let mut rpc = RpcSystem::new(Box::new(network), None);
        let mesh: mesh_federation::Client = rpc.bootstrap(Side::Server);
        spawn_local(rpc);
        let service = federation_service::Client::new(mesh.client.hook.add_ref());
        Self { service, mesh, _endpoint: endpoint, connection }
    }

    /// `relayEnqueue`.
    pub async fn relay(&self, key: &[u8], payload: &[u8], version: u16, origin: &str) -> Result<u64, capnp::Error> {
        let mut request = self.service.relay_enqueue_request();
        let mut asked = request.get();
        asked.set_recipient_key(key);
        asked.set_payload(payload);
        asked.set_channel_id(&[1, 2]);
        asked.set_version(version);
        asked.init_auth().set_origin(origin);
        request.send().promise.await.and_then(|answer| Ok(answer.get()?.get_seq()))
    }

    /// `relayBatchEnqueue`.
    pub async fn relay_batch(&self, keys: &[[u8; 32]], payload: &[u8], origin: &str) -> Result<Vec<u64>, capnp::Error> {
        let mut request = self.service.relay_batch_enqueue_request();
        let mut asked = request.get();
        let mut list = asked.reborrow().init_recipient_keys(keys.len() as u32);
        for (place, key) in keys.iter().enumerate() {
            list.set(place as u32, key);
        }
        asked.set_payload(payload);
        asked.set_version(1);
        asked.init_auth().set_origin(origin);
        request.send().promise.await.and_then(|answer| Ok(answer.get()?.get_seqs()?.iter().collect()))
    }
}

/// Runs a test's asynchronous half.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(30), work).await.expect("it takes too long")
    })
}

/// Shows its certificate, whatever is asked for.
#[derive(Debug)]
pub struct Shown(pub Arc<CertifiedKey>);

impl rustls::client::ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl rustls::server::ResolvesServerCert for Shown {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// TLS that says, in its first message, that it speaks 1.2 alone.
struct Old(Arc<QuicClientConfig>);

impl crypto::ClientConfig for Old {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn crypto::Session>, ConnectError> {
        let inner: Arc<dyn crypto::ClientConfig> = self.0.clone();
        Ok(Box::new(OldSession(inner.start_session(version, server_name, params)?)))
    }
}

struct OldSession(Box<dyn crypto::Session>);

impl crypto::Session for OldSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: QuicSide) -> Keys {
        self.0.initial_keys(dst_cid, side)
    }
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.0.handshake_data()
    }
    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.0.peer_identity()
    }
    fn early_crypto(&self) -> Option<(Box<dyn crypto::HeaderKey>, Box<dyn crypto::PacketKey>)> {
        self.0.early_crypto()
    }
    fn early_data_accepted(&self) -> Option<bool> {
        self.0.early_data_accepted()
    }
    fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }
    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.0.read_handshake(buf)
    }
    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.0.transport_parameters()
    }
    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        let keys = self.0.write_handshake(buf);
        // The extension supported_versions with one version, 1.3.
        if let Some(at) = buf.windows(7).position(|window| window == [0, 43, 0, 3, 2, 3, 4]) {
            buf[at + 6] = 3;
        }
        keys
    }
    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn crypto::PacketKey>>> {
        self.0.next_1rtt_keys()
    }
    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.0.is_valid_retry(orig_dst_cid, header, payload)
    }
    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.0.export_keying_material(output, label, context)
    }
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
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
