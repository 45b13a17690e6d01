//! QUIC endpoints: their settings and sockets.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig,
    VarInt,
};
use tokio::time::{Instant, sleep, timeout};

use crate::config::Config;
use crate::error::{Error, code};
use crate::limits::{BIND_PATIENCE, GOODBYE, INCOMING_BUFFER, INITIAL_RTT};
use crate::socket;

/// How long one attempt to bind is apart from the next.
const BIND_RETRY: Duration = Duration::from_millis(2);
/// How often is looked whether the peers were told of the end.
const LOOK: Duration = Duration::from_millis(1);

/// Makes endpoints, and keeps them until the end.
#[derive(Debug)]
pub(crate) struct Endpoints {
    max_handshakes: usize,
    inbound: Arc<TransportConfig>,
    outbound: Arc<TransportConfig>,
    open: Mutex<Open>,
    /// Connections of links that have ended for a successor, kept so that all are closed at once: a peer that hears of
    /// the end dials again, and must find the successor.
    parting: Mutex<Vec<Connection>>,
}

#[derive(Debug, Default)]
struct Open {
    listening: Vec<Endpoint>,
    /// Second handles of their sockets.
    sockets: Vec<UdpSocket>,
    /// For dialling, by address family: made when first needed.
    v4: Option<Endpoint>,
    v6: Option<Endpoint>,
}

impl Endpoints {
    /// No sockets yet.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            max_handshakes: config.max_handshakes,
            inbound: Arc::new(transport_config(config, 1)),
            outbound: Arc::new(transport_config(config, 0)),
            open: Mutex::default(),
            parting: Mutex::default(),
        }
    }

    /// An endpoint that listens at `addr`. A port that is in use is tried again for a while: in a live swap the instance
    /// before this one is just giving it up.
    pub(crate) async fn listen(&self, addr: SocketAddr, tls: QuicServerConfig) -> Result<Endpoint, Error> {
        let mut config = self.server_config(tls);
        config
            .max_incoming(self.max_handshakes)
            .incoming_buffer_size(INCOMING_BUFFER.0)
            .incoming_buffer_size_total(INCOMING_BUFFER.1);
        let deadline = Instant::now() + BIND_PATIENCE;
        loop {
            match self.bind(config.clone(), addr) {
                Ok(endpoint) => return Ok(endpoint),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    sleep(BIND_RETRY).await;
                }
                Err(source) => return Err(Error::Bind { addr, source }),
            }
        }
    }

    /// Settings for one inbound connection.
    pub(crate) fn server_config(&self, tls: QuicServerConfig) -> ServerConfig {
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(self.inbound.clone());
        config
    }

    /// Settings for one outbound connection.
    pub(crate) fn client_config(&self, tls: QuicClientConfig) -> ClientConfig {
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(self.outbound.clone());
        config
    }

    fn bind(&self, config: ServerConfig, addr: SocketAddr) -> io::Result<Endpoint> {
        let socket = socket::bind(addr)?;
        let second = socket.try_clone()?;
        let endpoint = over(socket, Some(config))?;
        let mut open = self.lock();
        open.sockets.push(second);
        open.listening.push(endpoint.clone());
        Ok(endpoint)
    }

    /// Lets another instance bind the ports, and receives nothing more at them. What is still to be said can be sent.
    pub(crate) fn make_way(&self) -> io::Result<()> {
        self.lock().sockets.iter().try_for_each(socket::make_way)
    }

    /// Where is listened.
    pub(crate) fn listening(&self) -> Vec<SocketAddr> {
        self.lock().listening.iter().filter_map(|endpoint| endpoint.local_addr().ok()).collect()
    }

    /// The endpoint for dialling addresses of that family.
    pub(crate) fn dialler(&self, target: SocketAddr) -> Result<Endpoint, Error> {
        let mut open = self.lock();
        let (slot, addr) = if target.is_ipv4() {
            (&mut open.v4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
        } else {
            (&mut open.v6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
        };
        if let Some(endpoint) = slot {
            return Ok(endpoint.clone());
        }
        let bound = socket::bind(addr).and_then(|socket| over(socket, None));
        let endpoint = bound.map_err(|source| Error::Bind { addr, source })?;
        Ok(slot.insert(endpoint).clone())
    }

    /// Keeps the connection of a drained link until [`close`](Self::close).
    pub(crate) fn park(&self, connection: Connection) {
        self.parting.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// Closes all endpoints and what runs over them, and waits until the peers were told, which is not until they have
    /// answered: the sockets go with the runtime.
    pub(crate) async fn close(&self) {
        let parting = std::mem::take(&mut *self.parting.lock().unwrap_or_else(PoisonError::into_inner));
        let open = std::mem::take(&mut *self.lock());
        let all: Vec<Endpoint> = open.listening.into_iter().chain(open.v4).chain(open.v6).collect();
        all.iter().for_each(|endpoint| endpoint.close(code::GOING, b"quiesced"));
        let gone = |connection: &Connection| connection.stats().frame_tx.connection_close > 0;
        let told = async {
            while !parting.iter().all(gone) {
                sleep(LOOK).await;
            }
        };
        let _ = timeout(GOODBYE, told).await; // a peer that isn't told finds out by itself
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `streams`: how many the peer may open.
fn transport_config(config: &Config, streams: u32) -> TransportConfig {
    let idle = VarInt::from_u32(config.idle_timeout_ms);
    let window = VarInt::from_u32(config.receive_window);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::from(idle)))
        .keep_alive_interval(Some(Duration::from_millis(config.keep_alive_ms.into())))
        .initial_rtt(INITIAL_RTT)
        .stream_receive_window(window)
        .receive_window(window)
        .send_window(config.send_window.into());
    transport
}

fn over(socket: UdpSocket, server: Option<ServerConfig>) -> io::Result<Endpoint> {
    Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime))
}
