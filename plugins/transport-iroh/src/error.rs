//! What can go wrong, whose fault it is, and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use iroh::endpoint::{
    ConnectError, ConnectWithOptsError, ConnectingError, ConnectionError, TransportErrorCode, VarInt,
};

use qpq_quic_common::LinkEnd;

use crate::address::{hex, printable};
use crate::limits::{MAX_FRAME, MAX_LISTEN};

/// Why a `listen` or `dial` failed.
#[derive(Debug)]
pub(crate) enum Error {
    /// The caller's address is no address.
    Uri {
        /// What was given.
        uri: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The address names another peer than the caller expects there.
    OtherPeer,
    /// The address is this node's own.
    Myself,
    /// Nobody knows where the peer is.
    NoAddress([u8; 32]),
    /// The only way to the peer is a relay that isn't configured; its URL.
    ForeignRelay(String),
    /// The socket could not be had.
    Bind {
        /// The wanted address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Links go through relays only.
    RelayOnly,
    /// As many addresses are listened at as may be.
    TooManySockets,
    /// Another node answered than the one with that key.
    WrongPeer([u8; 32]),
    /// The link did not come up in time.
    Timeout,
    /// All links that the configuration allows are in use.
    TooManyLinks(usize),
    /// The connection ended before the link was up.
    Ended(End),
    /// This instance takes on nothing new.
    Stopping,
    /// The set-up is broken.
    Setup(String),
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The host asked for it.
    Closed(String),
    /// The peer took its leave; everything it had to say has arrived.
    PeerDone,
    /// The peer's transport is being stopped or replaced.
    PeerGoing,
    /// This instance was quiesced.
    Quiesced,
    /// The sockets are bound anew, for another address to listen at.
    Rebound,
    /// The peer closed with that code and text.
    PeerClosed(u64, String),
    /// The peer fell silent.
    Silent,
    /// The peer announced a frame above the limit.
    Oversize(u32),
    /// The peer broke the protocol.
    Protocol(&'static str),
    /// The peer refused us: it has no room.
    Busy,
    /// The peer only looked whether it reaches us directly.
    Probe,
    /// The connection broke.
    Lost(String),
}

/// Codes of the QUIC close (RFC 9000, 19.19) that both ends understand.
pub(crate) mod code {
    use iroh::endpoint::VarInt;

    /// All was said.
    pub(crate) const DONE: VarInt = VarInt::from_u32(0);
    /// The host of the closing side asked for it; the text says why.
    pub(crate) const CLOSED: VarInt = VarInt::from_u32(1);
    /// A frame was announced that is above the limit.
    pub(crate) const OVERSIZE: VarInt = VarInt::from_u32(2);
    /// No room for another link.
    pub(crate) const BUSY: VarInt = VarInt::from_u32(3);
    /// The link did not come up in time.
    pub(crate) const TIMEOUT: VarInt = VarInt::from_u32(4);
    /// The protocol was broken.
    pub(crate) const PROTOCOL: VarInt = VarInt::from_u32(5);
    /// The closing side goes away.
    pub(crate) const GOING: VarInt = VarInt::from_u32(6);
    /// The connection was only to find a direct path for a link that is up.
    pub(crate) const PROBE: VarInt = VarInt::from_u32(7);
}

impl LinkEnd for End {
    const PEER_DONE: Self = Self::PeerDone;
    const QUIESCED: Self = Self::Quiesced;
}

impl End {
    /// What a connection error means for the link.
    pub(crate) fn of(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => match close.error_code {
                code::BUSY => Self::Busy,
                code::DONE => Self::PeerDone,
                code::GOING => Self::PeerGoing,
                code::PROBE => Self::Probe,
                other => Self::PeerClosed(other.into_inner(), printable(&String::from_utf8_lossy(&close.reason))),
            },
            ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
                Self::Busy
            }
            ConnectionError::TimedOut => Self::Silent,
            other => Self::Lost(printable(&other.to_string())),
        }
    }

    /// The code and text to close the connection with.
    pub(crate) fn to_close(&self) -> (VarInt, String) {
        let code = match self {
            Self::Closed(_) => code::CLOSED,
            Self::Quiesced | Self::Rebound => code::GOING,
            Self::Oversize(_) => code::OVERSIZE,
            Self::Protocol(_) => code::PROTOCOL,
            _ => code::DONE,
        };
        let text = match self {
            Self::Closed(why) => why.clone(),
            other => other.word().to_owned(),
        };
        (code, text)
    }

    /// A stable word in kebab case.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Closed(_) => "closed",
            Self::PeerDone => "peer-done",
            Self::PeerGoing => "peer-going",
            Self::Quiesced => "quiesced",
            Self::Rebound => "rebound",
            Self::PeerClosed(..) => "peer-closed",
            Self::Silent => "peer-silent",
            Self::Oversize(_) => "oversize-frame",
            Self::Protocol(_) => "protocol",
            Self::Busy => "peer-busy",
            Self::Probe => "probe",
            Self::Lost(_) => "lost",
        }
    }
}

impl Error {
    /// What it means that connecting to `peer` failed.
    pub(crate) fn of_connect(error: &ConnectError, peer: [u8; 32]) -> Self {
        match error {
            ConnectError::Connect { source: ConnectWithOptsError::SelfConnect { .. }, .. } => Self::Myself,
            ConnectError::Connect { source: ConnectWithOptsError::NoAddress { .. }, .. } => Self::NoAddress(peer),
            ConnectError::Connect { source: ConnectWithOptsError::EndpointClosed { .. }, .. } => Self::Stopping,
            ConnectError::Connecting { source: ConnectingError::ConnectionError { source, .. }, .. }
            | ConnectError::Connection { source, .. } => Self::of_connection(source, peer),
            other => Self::Ended(End::Lost(printable(&other.to_string()))),
        }
    }

    /// A handshake that fails in our own TLS (RFC 9001, 4.8) says that the key which was shown is not the peer's.
    fn of_connection(error: &ConnectionError, peer: [u8; 32]) -> Self {
        match error {
            ConnectionError::TransportError(error) if is_bad_certificate(error.code) => Self::WrongPeer(peer),
            ConnectionError::TimedOut => Self::Timeout,
            ConnectionError::LocallyClosed => Self::Stopping,
            other => Self::Ended(End::of(other)),
        }
    }
}

/// Whether the code is one of the TLS alerts from `bad_certificate` (42) to `certificate_unknown` (46), or `unknown_ca` (48)
/// (RFC 8446, 6.2).
fn is_bad_certificate(code: TransportErrorCode) -> bool {
    let alerts = [42, 43, 44, 45, 46, 48, 51];
    alerts.into_iter().any(|alert| code == TransportErrorCode::crypto(alert))
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.word())?;
        match self {
            Self::Closed(why) => f.write_str(why),
            Self::PeerDone => f.write_str("the peer closed the link in good order"),
            Self::PeerGoing => f.write_str("the peer's transport is being stopped or replaced"),
            Self::Quiesced => f.write_str("this transport is being stopped or replaced"),
            Self::Rebound => f.write_str("the sockets are bound anew, to listen at another address too"),
            Self::PeerClosed(code, why) => write!(f, "the peer closed the link, code {code}, {why:?}"),
            Self::Silent => f.write_str("the peer has not answered for the idle timeout"),
            Self::Oversize(len) => write!(f, "the peer announced a frame of {len} bytes; the limit is {MAX_FRAME}"),
            Self::Protocol(what) => f.write_str(what),
            Self::Busy => f.write_str("the peer has no room for another link; try again later"),
            Self::Probe => f.write_str("the peer only looked for a direct path"),
            Self::Lost(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri { uri, why } => write!(
                f,
                "{uri:?} is no address: {why}; dial iroh://KEY?direct=IP:PORT&relay=URL, listen at iroh://IP:PORT"
            ),
            Self::OtherPeer => f.write_str("the address names another peer than the one that is wanted there"),
            Self::Myself => f.write_str("this address is the node's own; dial another node"),
            Self::NoAddress(peer) => write!(
                f,
                "nobody knows where {} is: add ?direct=IP:PORT to the address, or set `relays` of transport-iroh to one \
                 that both nodes use",
                hex(peer)
            ),
            Self::ForeignRelay(url) => write!(
                f,
                "the address leads over the relay {url}, which this node doesn't use; if you trust it, add it to `relays` \
                 of transport-iroh"
            ),
            Self::Bind { addr, source } if source.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "iroh://{addr} is in use; stop what uses it, or choose another port")
            }
            Self::Bind { addr, source } => write!(f, "iroh://{addr} can't be used: {source}"),
            Self::RelayOnly => f.write_str(
                "transport-iroh listens nowhere while its `relay_only` is set: drop the address from `listen`, or the key",
            ),
            Self::TooManySockets => write!(f, "{MAX_LISTEN} addresses are listened at already; drop one"),
            Self::WrongPeer(peer) => write!(f, "another node answered: it does not have the key {}", hex(peer)),
            Self::Timeout => f.write_str(
                "no link came up within the dial timeout; is the node there, its UDP port open, and are both at one relay?",
            ),
            Self::TooManyLinks(limit) => write!(f, "all {limit} links are in use; raise `max_links` of transport-iroh"),
            Self::Ended(end) => end.fmt(f),
            Self::Stopping => f.write_str("this transport is being stopped or replaced"),
            Self::Setup(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}
