//! The client's end.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use qpq_schemas::PeerId;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, IdleTimeout, RecvStream, SendStream, TransportConfig, VarInt,
};
use tokio::time::timeout;

use super::{HANDSHAKE, IDLE, Target, tls};
use crate::api::ApiError;
use crate::control::fault::{from_exception, split};
use crate::identity::Identity;

/// How often a quiet connection is kept alive: three times before it counts as dead.
const KEEP_ALIVE: Duration = Duration::from_secs(6);

/// Addresses of one name that are tried, at most.
const MAX_ADDRESSES: usize = 4;

/// Characters of a node's reason that are shown.
const MAX_REASON: usize = 400;

/// Why there is no connection.
#[derive(Debug)]
pub enum DialError {
    /// The name has no address.
    Resolve(io::Error),
    /// Nobody answered in time.
    Silent,
    /// Another key than the expected one answered.
    OtherKey {
        /// Whom we wanted.
        expected: PeerId,
        /// Who answered.
        found: PeerId,
    },
    /// The node has closed the connection, and said why.
    Refused(ApiError),
    /// The connection failed.
    Failed(String),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "the name can't be looked up: {error}"),
            Self::Silent => write!(
                f,
                "nobody answered within {} s. Is it the address of `clients.listen` there, and may UDP pass?",
                HANDSHAKE.as_secs()
            ),
            Self::OtherKey { expected, found } => write!(f, "it has the key {found}, and not {expected}"),
            Self::Refused(why) => f.write_str(&why.message),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for DialError {}

/// A connection and its one stream.
pub(in crate::control) struct Dialled {
    pub(in crate::control) endpoint: Endpoint,
    pub(in crate::control) connection: Connection,
    pub(in crate::control) send: SendStream,
    pub(in crate::control) receive: RecvStream,
    /// The key that the node has proven.
    pub(in crate::control) key: PeerId,
}

/// Connects to a node, which must have the key `expected` if one is given. Looks the name up, so it blocks for that time.
pub(in crate::control) async fn dial(
    target: &Target,
    identity: &Arc<Identity>,
    expected: Option<PeerId>,
) -> Result<Dialled, DialError> {
    let place = target.host_and_port().ok_or_else(|| DialError::Failed("the address is not HOST:PORT".to_owned()))?;
    let addresses: Vec<SocketAddr> = place.to_socket_addrs().map_err(DialError::Resolve)?.take(MAX_ADDRESSES).collect();
    let mut last = DialError::Resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    for address in addresses {
        match attempt(address, identity, expected).await {
            Ok(dialled) => return Ok(dialled),
            Err(error @ (DialError::OtherKey { .. } | DialError::Refused(_))) => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn attempt(
    address: SocketAddr,
    identity: &Arc<Identity>,
    expected: Option<PeerId>,
) -> Result<Dialled, DialError> {
    let failed = |error: &dyn fmt::Display| DialError::Failed(error.to_string());
    let (tls, verifier) = tls::client(identity, expected).map_err(|error| failed(&error))?;
    let tls = QuicClientConfig::try_from(tls).map_err(|error| failed(&error))?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport()));
    let any: SocketAddr =
        if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let endpoint = Endpoint::client(any).map_err(|error| failed(&error))?;
    // The name is the bare IP address: then TLS sends no server name, which means nothing here.
    let connecting = endpoint.connect_with(config, address, &address.ip().to_string());
    let connecting = connecting.map_err(|error| failed(&error))?;
    let connected = timeout(HANDSHAKE, connecting).await.unwrap_or(Err(ConnectionError::TimedOut));
    let connection = connected.map_err(|error| match (expected, verifier.other_key()) {
        (Some(expected), Some(found)) => DialError::OtherKey { expected, found },
        _ if error == ConnectionError::TimedOut => DialError::Silent,
        _ => lost(&error),
    })?;
    let key = tls::key_behind(&connection).ok_or_else(|| DialError::Failed("it showed no key".to_owned()))?;
    let (send, receive) = connection.open_bi().await.map_err(|error| lost(&error))?;
    Ok(Dialled { endpoint, connection, send, receive, key })
}

/// Why a connection that was just made is gone. A node that refuses a client may say so before its first call.
fn lost(error: &ConnectionError) -> DialError {
    match said(error) {
        Some(why) => DialError::Refused(why),
        None => DialError::Failed(format!("the connection failed: {error}")),
    }
}

/// What the node said as it closed a connection.
fn said(error: &ConnectionError) -> Option<ApiError> {
    let ConnectionError::ApplicationClosed(close) = error else { return None };
    let text: String = String::from_utf8_lossy(&close.reason).chars().take(MAX_REASON).collect();
    let other = || ApiError::new("disconnected", format!("The node closed the connection: {text}"));
    Some(split(&text).unwrap_or_else(other))
}

/// What a failed call means to a person. When the node has closed the connection, its own word says why.
pub(in crate::control) fn explain(connection: &Connection, error: &capnp::Error) -> ApiError {
    let failed = from_exception(error);
    if !matches!(failed.code.as_str(), "disconnected" | "protocol") {
        return failed;
    }
    match connection.close_reason() {
        Some(closed) if said(&closed).is_some() => said(&closed).unwrap_or(failed),
        Some(ConnectionError::TimedOut) => ApiError::new("disconnected", "The node does not answer any more."),
        Some(lost) => ApiError::new("disconnected", format!("The connection to the node is lost: {lost}.")),
        None => failed,
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .keep_alive_interval(Some(KEEP_ALIVE));
    transport
}
