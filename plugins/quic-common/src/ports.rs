//! The UDP ports of an instance, with quinn on them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{
    Connection, Endpoint, EndpointConfig, IdleTimeout, RecvStream, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::socket;

/// How long binding waits for a port that is just being given up. In a live swap the host asks the new instance to listen at
/// the moment when the one before is to leave. That may take 100 ms for the last words of its links, and then 500 ms for
/// flushing, as slow as the slowest peer takes it. An instance that gives up earlier is asked once more, but only after the
/// drain; until then the node goes back to the instance that is leaving, and new links fail. A port that another program
/// has costs the operator's `listen` this time, before it says so.
pub const BIND_PATIENCE: Duration = Duration::from_millis(600);

/// How long the packets that tell the peers of the end may take to leave this machine.
const GOODBYE: Duration = Duration::from_millis(50);

/// How often is looked whether the peers were told of the end.
const LOOK: Duration = Duration::from_millis(1);

/// Packets of connections that are not accepted yet are kept up to so many bytes, for one and for all together.
const INCOMING_BUFFER: (u64, u64) = (32 * 1024, 1 << 20);

/// Round-trip time that is assumed before it was measured. Lower than the 333 ms of RFC 9002 (6.2.2), so that a lost first
/// packet is sent again twice within the default idle timeout.
const INITIAL_RTT: Duration = Duration::from_millis(150);

/// What can be set of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// A peer that is silent for so long is dead, in milliseconds. The smaller value of both ends counts.
    pub idle_timeout_ms: u32,
    /// A quiet connection is probed this often, in milliseconds.
    pub keep_alive_ms: u32,
    /// Bytes that a peer may have under way to us.
    pub receive_window: u32,
    /// Bytes that are sent and not yet acknowledged, kept for retransmission.
    pub send_window: u32,
}

impl Settings {
    /// The same for quinn. `streams`: how many bidirectional ones the peer may open; of others none.
    pub fn transport(self, streams: u32) -> Arc<TransportConfig> {
        let window = VarInt::from_u32(self.receive_window);
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(streams))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .datagram_receive_buffer_size(None)
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(self.idle_timeout_ms))))
            .keep_alive_interval(Some(Duration::from_millis(self.keep_alive_ms.into())))
            .initial_rtt(INITIAL_RTT)
            .stream_receive_window(window)
            .receive_window(window)
            .send_window(self.send_window.into());
        Arc::new(transport)
    }
}

/// A socket could not be had.
#[derive(Debug)]
pub struct BindError {
    /// The wanted address.
    pub addr: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// Makes endpoints, and keeps them until the end.
#[derive(Debug)]
pub struct Ports {
    max_handshakes: usize,
    open: Mutex<Open>,
    /// Connections of links that have ended for a successor, kept so that all are closed at once: a peer that hears of
    /// the end dials again, and must find the successor. With each the stream that is no longer read: dropped, it would
    /// tell the peer before the others.
    parting: Mutex<Vec<(Connection, Option<RecvStream>)>>,
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

impl Ports {
    /// No sockets yet. An endpoint holds at most so many connections that wait for being accepted.
    pub fn new(max_handshakes: usize) -> Self {
        Self { max_handshakes, open: Mutex::default(), parting: Mutex::default() }
    }

    /// An endpoint that listens at `addr`. A port that is in use is tried again for [`BIND_PATIENCE`]: in a live swap the
    /// instance before this one is just giving it up.
    ///
    /// # Errors
    /// When the port is not to be had.
    pub async fn listen(&self, addr: SocketAddr, mut config: ServerConfig) -> Result<Endpoint, BindError> {
        config
            .max_incoming(self.max_handshakes)
            .incoming_buffer_size(INCOMING_BUFFER.0)
            .incoming_buffer_size_total(INCOMING_BUFFER.1);
        let bound = match socket::bind(addr) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                // On a thread of its own, since the timers of the runtime are too coarse for it.
                let waiting = spawn_blocking(move || socket::bind_within(addr, BIND_PATIENCE));
                waiting.await.unwrap_or_else(|error| Err(error.into()))
            }
            bound => bound,
        };
        bound.and_then(|socket| self.open(config, socket)).map_err(|source| BindError { addr, source })
    }

    fn open(&self, config: ServerConfig, socket: UdpSocket) -> io::Result<Endpoint> {
        let second = socket.try_clone()?;
        let endpoint = over(socket, Some(config))?;
        let mut open = self.lock();
        open.sockets.push(second);
        open.listening.push(endpoint.clone());
        Ok(endpoint)
    }

    /// Where is listened.
    pub fn listening(&self) -> Vec<SocketAddr> {
        self.lock().listening.iter().filter_map(|endpoint| endpoint.local_addr().ok()).collect()
    }

    /// Lets another instance bind the ports, and receives nothing more at them. What is still to be said can be sent.
    ///
    /// # Errors
    /// When the system doesn't permit it: then the ports are free once the runtime has ended.
    pub fn make_way(&self) -> io::Result<()> {
        self.lock().sockets.iter().try_for_each(socket::make_way)
    }

    /// The endpoint for dialling addresses of that family.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn dialler(&self, target: SocketAddr) -> Result<Endpoint, BindError> {
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
        let endpoint = bound.map_err(|source| BindError { addr, source })?;
        Ok(slot.insert(endpoint).clone())
    }

    /// Keeps the connection of a drained link until [`close`](Self::close), with the stream that is no longer read.
    pub fn park(&self, connection: Connection, unread: Option<RecvStream>) {
        self.parting.lock().unwrap_or_else(PoisonError::into_inner).push((connection, unread));
    }

    /// Closes all endpoints and what runs over them, with that code and text, and waits until the peers were told, which is
    /// not until they have answered: the sockets go with the runtime.
    pub async fn close(&self, code: VarInt, text: &[u8]) {
        let parting = std::mem::take(&mut *self.parting.lock().unwrap_or_else(PoisonError::into_inner));
        let open = std::mem::take(&mut *self.lock());
        let all: Vec<Endpoint> = open.listening.into_iter().chain(open.v4).chain(open.v6).collect();
        all.iter().for_each(|endpoint| endpoint.close(code, text));
        let gone = |(connection, _): &(Connection, _)| connection.stats().frame_tx.connection_close > 0;
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

fn over(socket: UdpSocket, server: Option<ServerConfig>) -> io::Result<Endpoint> {
    Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime))
}
