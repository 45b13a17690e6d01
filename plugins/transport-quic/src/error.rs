//! What can go wrong, whose fault it is, and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use qpq_quic_common::{BindError, LinkEnd};
use quinn::{ConnectionError, TransportErrorCode, VarInt};
use tokio::task::JoinError;

use crate::address::{printable, uri_of};
use crate::limits::MAX_FRAME;
use crate::tls::Key;

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
    /// The name has no address, or the look-up failed.
    Resolve {
        /// The name.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// The socket could not be had.
    Bind {
        /// The wanted address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The remote has another key than the one asked for.
    WrongPeer {
        /// The key asked for.
        expected: Key,
        /// The key that the remote has.
        found: Key,
    },
    /// The link did not come up in time.
    Timeout,
    /// All links that the configuration allows are in use.
    TooManyLinks(usize),
    /// The connection ended before the link was up.
    Ended(End),
    /// This instance takes on nothing new.
    Stopping,
    /// The TLS set-up or the identity is broken.
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
    /// The connection broke.
    Lost(String),
}

/// Codes of the QUIC close (RFC 9000, 19.19) that both ends understand.
pub(crate) mod code {
    use quinn::VarInt;

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
}

impl LinkEnd for End {
    const PEER_DONE: Self = Self::PeerDone;
    const QUIESCED: Self = Self::Quiesced;
}

impl End {
    /// What a connection error means for the link.
    pub(crate) fn of(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) if close.error_code == code::BUSY => Self::Busy,
            ConnectionError::ApplicationClosed(close) if close.error_code == code::DONE => Self::PeerDone,
            ConnectionError::ApplicationClosed(close) if close.error_code == code::GOING => Self::PeerGoing,
            ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
                Self::Busy
            }
            ConnectionError::ApplicationClosed(close) => {
                let text = String::from_utf8_lossy(&close.reason);
                Self::PeerClosed(close.error_code.into_inner(), printable(&text))
            }
            ConnectionError::TimedOut => Self::Silent,
            other => Self::Lost(printable(&other.to_string())),
        }
    }

    /// The code and text to close the connection with.
    pub(crate) fn to_close(&self) -> (VarInt, String) {
        let code = match self {
            Self::Closed(_) => code::CLOSED,
            Self::Quiesced => code::GOING,
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
            Self::PeerClosed(..) => "peer-closed",
            Self::Silent => "peer-silent",
            Self::Oversize(_) => "oversize-frame",
            Self::Protocol(_) => "protocol",
            Self::Busy => "peer-busy",
            Self::Lost(_) => "lost",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.word())?;
        match self {
            Self::Closed(why) => f.write_str(why),
            Self::PeerDone => f.write_str("the peer closed the link in good order"),
            Self::PeerGoing => f.write_str("the peer's transport is being stopped or replaced"),
            Self::Quiesced => f.write_str("this transport is being stopped or replaced"),
            Self::PeerClosed(code, why) => write!(f, "the peer closed the link, code {code}, {why:?}"),
            Self::Silent => f.write_str("the peer has not answered for the idle timeout"),
            Self::Oversize(len) => write!(f, "the peer announced a frame of {len} bytes; the limit is {MAX_FRAME}"),
            Self::Protocol(what) => f.write_str(what),
            Self::Busy => f.write_str("the peer has no room for another link; try again later"),
            Self::Lost(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri { uri, why } => {
                write!(f, "{uri:?} is no address: {why}; write quic://HOST:PORT, such as quic://192.0.2.1:4433")
            }
            Self::Resolve { host, source } => write!(f, "no address was found for {host:?}: {source}"),
            Self::Bind { addr, source } if source.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{} is in use by another program; stop it, or choose another port", uri_of(*addr))
            }
            Self::Bind { addr, source } => write!(f, "{} can't be used: {source}", uri_of(*addr)),
            Self::WrongPeer { expected, found } => {
                write!(f, "another node answered: key {}, expected {}", hex(found), hex(expected))
            }
            Self::Timeout => {
                f.write_str("no link came up within the handshake timeout; is the node there and its UDP port open?")
            }
            Self::TooManyLinks(limit) => write!(f, "all {limit} links are in use; raise `max_links` of transport-quic"),
            Self::Ended(end) => end.fmt(f),
            Self::Stopping => f.write_str("this transport is being stopped or replaced"),
            Self::Setup(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

impl From<BindError> for Error {
    fn from(BindError { addr, source }: BindError) -> Self {
        Self::Bind { addr, source }
    }
}

impl From<JoinError> for Error {
    fn from(panic: JoinError) -> Self {
        Self::Setup(panic.to_string())
    }
}

fn hex(key: &Key) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}
