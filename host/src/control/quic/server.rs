//! The server: a thread of its own, since Cap'n Proto RPC stays on one thread. What strangers do to it holds up nobody else.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use qpq_schemas::PeerId;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, IdleTimeout, Incoming, RecvStream, SendStream, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::places::{HalfOpen, Origin, Places, Verdict};
use super::{HANDSHAKE, IDLE, code, tls};
use crate::api::NodeApi;
use crate::api::mailbox::MailboxApi;
use crate::config::ClientsConfig;
use crate::control::Limits;
use crate::control::access::{Caller, Role};
use crate::control::server::speak;
use crate::identity::{Identity, PeerSet};

/// How long clients may take to hear of the end.
const GOODBYE: Duration = Duration::from_millis(300);

/// Bytes of one client that are received and not read, at most.
const RECEIVE_WINDOW: u32 = 256 * 1024;

/// Bytes for one client that are sent and not acknowledged, at most. Beyond it the client's own calls wait.
const SEND_WINDOW: u64 = 512 * 1024;

/// Packets of connections that are not accepted yet are kept up to so many bytes, for one and for all together.
const INCOMING_BUFFER: (u64, u64) = (16 * 1024, 1 << 20);

/// Why clients can't be served over the network.
#[derive(Debug)]
pub enum ClientsError {
    /// An address can't be listened at.
    Listen {
        /// As it is configured.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// TLS can't be set up.
    Tls(String),
    /// The system gave no thread.
    Thread(io::Error),
}

impl fmt::Display for ClientsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, source } => write!(
                f,
                "clients can't be served at {address}: {source}. Choose another address in `clients.listen`, or none"
            ),
            Self::Tls(why) => write!(f, "clients can't be served: TLS can't be set up: {why}"),
            Self::Thread(error) => write!(f, "clients can't be served: the system gave no thread: {error}"),
        }
    }
}

impl std::error::Error for ClientsError {}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct ClientServer {
    addresses: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ClientServer {
    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Tells the clients, and ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for ClientServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// What is served over the network.
#[derive(Clone)]
pub struct Network {
    /// The node, for admins.
    pub node: Arc<dyn NodeApi>,
    /// The mailboxes that it keeps.
    pub mailboxes: Arc<dyn MailboxApi>,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// Keys that are not let in, whatever the configuration says.
    pub blocked: PeerSet,
}

/// Serves a node over QUIC, where the configuration says. Looks names up, so it may block.
///
/// # Errors
/// When an address can't be listened at.
pub fn serve_clients(network: Network, config: &ClientsConfig, limits: Limits) -> Result<ClientServer, ClientsError> {
    let tls = tls::server(&network.identity).map_err(|error| ClientsError::Tls(error.to_string()))?;
    let tls = QuicServerConfig::try_from(tls).map_err(|error| ClientsError::Tls(error.to_string()))?;
    let mut quic = ServerConfig::with_crypto(Arc::new(tls));
    quic.transport_config(Arc::new(transport()))
        .max_incoming(config.max_half_open)
        .incoming_buffer_size(INCOMING_BUFFER.0)
        .incoming_buffer_size_total(INCOMING_BUFFER.1);
    let sockets = config.listen.iter().map(|address| bind(address)).collect::<Result<Vec<_>, _>>()?;
    let addresses = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientsError::Thread)?;
    let (stop, stopped) = oneshot::channel();
    let config = config.clone();
    let run = move || {
        let places = Places::new(&config);
        let server = Rc::new(Server { network, config, limits, places });
        LocalSet::new().block_on(&runtime, server.run(sockets, quic, stopped));
    };
    let thread = std::thread::Builder::new().name("qpq-clients".into()).spawn(run).map_err(ClientsError::Thread)?;
    Ok(ClientServer { addresses, stop: Some(stop), thread: Some(thread) })
}

fn bind(address: &str) -> Result<UdpSocket, ClientsError> {
    let failed = |source| ClientsError::Listen { address: address.to_owned(), source };
    let found = address.to_socket_addrs().map_err(failed)?.next();
    let found = found.ok_or_else(|| failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")))?;
    UdpSocket::bind(found).map_err(failed)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW);
    transport
}

struct Server {
    network: Network,
    config: ClientsConfig,
    limits: Limits,
    places: Places,
}

impl Server {
    async fn run(self: Rc<Self>, sockets: Vec<UdpSocket>, quic: ServerConfig, stopped: oneshot::Receiver<()>) {
        let mut endpoints = Vec::new();
        for socket in sockets {
            match Endpoint::new(EndpointConfig::default(), Some(quic.clone()), socket, Arc::new(TokioRuntime)) {
                Ok(endpoint) => {
                    spawn_local(Rc::clone(&self).accept(endpoint.clone()));
                    endpoints.push(endpoint);
                }
                Err(error) => tracing::error!(%error, "clients can't be served"),
            }
        }
        let _ = stopped.await; // or the handle is gone, which means the same
        endpoints.iter().for_each(|endpoint| endpoint.close(code::STOPPING, b"stopping: the node is stopping"));
        let told = futures::future::join_all(endpoints.iter().map(Endpoint::wait_idle));
        let _ = timeout(GOODBYE, told).await; // who isn't told finds out by itself
    }

    async fn accept(self: Rc<Self>, endpoint: Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            let origin = Origin::of(incoming.remote_address().ip());
            match self.places.judge(origin, incoming.remote_address_validated()) {
                Verdict::Begin => {
                    let place = self.places.begin(origin);
                    spawn_local(Rc::clone(&self).open(incoming, origin, place));
                }
                // Costs whoever forges addresses everything, and an honest client one round trip.
                Verdict::Validate if incoming.may_retry() => _ = incoming.retry(),
                Verdict::Validate | Verdict::Refuse => incoming.refuse(),
            }
        }
    }

    /// A client from its first packet to its end.
    async fn open(self: Rc<Self>, incoming: Incoming, origin: Origin, half_open: HalfOpen) {
        let remote = incoming.remote_address();
        let Ok(connecting) = incoming.accept() else { return };
        let connection = match timeout(HANDSHAKE, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::debug!(%remote, %error, "a client's handshake failed"),
            Err(_) => return tracing::debug!(%remote, "a client's handshake took too long"),
        };
        drop(half_open);
        let Some((key, role)) = self.role(&connection) else { return };
        let lost = connection.clone();
        let close = move || lost.close(code::BUSY, b"busy: a newer connection of this key took the place");
        let place = match self.places.enter(origin, role, key, close) {
            Ok(place) => place,
            Err(why) => return connection.close(code::BUSY, why.as_bytes()),
        };
        let streams = match timeout(HANDSHAKE, connection.accept_bi()).await {
            Ok(Ok(streams)) => streams,
            Ok(Err(_)) => return,
            Err(_) => return connection.close(code::PROTOCOL, b"protocol: no stream was opened in time"),
        };
        tracing::debug!(%remote, key = %key.short(), role = role.word(), "a client is connected");
        self.serve(&connection, streams, Caller { role, proven: Some((key, Arc::clone(&self.network.mailboxes))) })
            .await;
        drop(place);
    }

    /// Who it is, and what it may do. A key that isn't let in hears so.
    fn role(&self, connection: &Connection) -> Option<(PeerId, Role)> {
        let Some(key) = tls::key_behind(connection) else {
            connection.close(code::PROTOCOL, b"protocol: no Ed25519 key was shown");
            return None;
        };
        let blocked = self.network.blocked.contains(&key);
        if !blocked && self.config.is_admin(&key) {
            return Some((key, Role::Admin));
        }
        if !blocked && self.config.admits(&key) {
            return Some((key, Role::User));
        }
        let why = match blocked {
            true => format!("not-permitted: The admin of this node has blocked the key {key}."),
            false => format!(
                "not-permitted: This node does not know the key {key}. Its admin lets it in by putting it into \
                 `clients.users`, or into `clients.admins`."
            ),
        };
        connection.close(code::NOT_PERMITTED, why.as_bytes());
        tracing::debug!(remote = %connection.remote_address(), key = %key.short(), "a client is not let in");
        None
    }

    async fn serve(&self, connection: &Connection, (send, receive): (SendStream, RecvStream), caller: Caller) {
        let (reader, writer) = (receive.compat(), send.compat_write());
        let ended = speak(reader, writer, Arc::clone(&self.network.node), caller, self.limits).await;
        match ended {
            Ok(()) => connection.close(code::DONE, b"done: nothing is left to say"),
            Err(error) => {
                tracing::debug!(%error, remote = %connection.remote_address(), "a client was cut off");
                connection.close(code::PROTOCOL, format!("protocol: {}", error.extra).as_bytes());
            }
        }
    }
}
