//! What can go wrong, whose fault it is, and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use qpq_quic_common::{BindError, LinkEnd, canonical};
use quinn::{ConnectionError, TransportErrorCode, VarInt};
use tokio::task::JoinError;

use crate::address::printable;
use crate::limits::CLOSE_TEXT;
use crate::refusal::{Reason, Refusal};

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
    /// The domain has no address, or the look-up failed.
    Resolve {
        /// The name.
        host: String,
        /// What was found.
        why: String,
    },
    /// No name server could tell.
    NameServers {
        /// The name that was looked up.
        host: String,
        /// What the last of them did.
        why: String,
    },
    /// The domain says that it has no federation.
    NotOffered {
        /// Which domain.
        domain: String,
    },
    /// The socket could not be had.
    Bind {
        /// The wanted address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// One of both sides refuses the other.
    Refused(Refusal),
    /// The link did not come up in time.
    Timeout,
    /// All links that the configuration allows are in use.
    TooManyLinks,
    /// The connection ended before the link was up.
    Ended(End),
    /// This instance takes on nothing new.
    Stopping,
    /// The TLS set-up is broken, or the RPC thread is gone.
    Setup(String),
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// The host asked for it.
    Closed(String),
    /// The peer took its leave; everything it had to say has arrived.
    PeerDone,
    /// The peer's federation is being stopped or replaced.
    PeerGoing,
    /// This instance was quiesced.
    Quiesced,
    /// The peer closed with that code and text.
    PeerClosed(u64, String),
    /// One of both sides refuses the other.
    Refused(Refusal),
    /// The peer fell silent.
    Silent,
    /// The peer asked for no link in time.
    NotOpened,
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
    /// No room for another link.
    pub(crate) const BUSY: VarInt = VarInt::from_u32(3);
    /// The link did not come up in time.
    pub(crate) const TIMEOUT: VarInt = VarInt::from_u32(4);
    /// The closing side goes away.
    pub(crate) const GOING: VarInt = VarInt::from_u32(6);
    /// The peer is refused; the text is the refusal.
    pub(crate) const REFUSED: VarInt = VarInt::from_u32(7);
}

/// The QUIC error codes of TLS alerts (RFC 9001, 4.8).
const ALERTS: std::ops::Range<u64> = 0x100..0x200;

impl LinkEnd for End {
    const PEER_DONE: Self = Self::PeerDone;
    const QUIESCED: Self = Self::Quiesced;
}

impl End {
    /// What a connection error means for the link.
    pub(crate) fn of(error: &ConnectionError) -> Self {
        let alert = |code: TransportErrorCode, text: &str| {
            let code = u64::from(code);
            Refusal::of_alert(code.checked_sub(ALERTS.start).filter(|_| ALERTS.contains(&code))?, text)
        };
        match error {
            ConnectionError::ApplicationClosed(close) => {
                Self::of_close(close.error_code, &String::from_utf8_lossy(&close.reason))
            }
            ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
                Self::Busy
            }
            ConnectionError::ConnectionClosed(close) => {
                let text = String::from_utf8_lossy(&close.reason);
                alert(close.error_code, &text).map_or_else(|| Self::Lost(printable(&error.to_string())), Self::Refused)
            }
            ConnectionError::TransportError(cause) => {
                let refusal = alert(cause.code, &cause.reason);
                refusal.map_or_else(|| Self::Lost(printable(&error.to_string())), Self::Refused)
            }
            ConnectionError::VersionMismatch => Self::Refused(Refusal::found(Reason::Protocol, "another QUIC version")),
            ConnectionError::TimedOut => Self::Silent,
            other => Self::Lost(printable(&other.to_string())),
        }
    }

    fn of_close(code: VarInt, text: &str) -> Self {
        match code {
            code::BUSY => Self::Busy,
            code::DONE => Self::PeerDone,
            code::GOING => Self::PeerGoing,
            code::TIMEOUT => Self::NotOpened,
            code::REFUSED => Refusal::in_text(text)
                .map_or_else(|| Self::PeerClosed(code.into_inner(), printable(text)), Self::Refused),
            _ => Self::PeerClosed(code.into_inner(), printable(text)),
        }
    }

    /// The code and text to close the connection with.
    pub(crate) fn to_close(&self) -> (VarInt, String) {
        let code = match self {
            Self::Closed(_) => code::CLOSED,
            Self::Quiesced => code::GOING,
            Self::Refused(_) => code::REFUSED,
            Self::NotOpened => code::TIMEOUT,
            Self::Busy => code::BUSY,
            _ => code::DONE,
        };
        let mut text = match self {
            Self::Closed(why) => why.clone(),
            Self::Refused(refusal) => refusal.to_string(),
            other => other.word().to_owned(),
        };
        while text.len() > CLOSE_TEXT {
            text.pop();
        }
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
            Self::Refused(refusal) => refusal.reason.code(),
            Self::Silent => "peer-silent",
            Self::NotOpened => "not-opened",
            Self::Busy => "busy",
            Self::Lost(_) => "lost",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = match self {
            Self::Refused(refusal) => return refusal.fmt(f),
            Self::Closed(why) | Self::Lost(why) => why,
            Self::PeerDone => "the peer closed the link in good order",
            Self::PeerGoing => "the peer's federation is being stopped or replaced",
            Self::Quiesced => "this federation is being stopped or replaced",
            Self::PeerClosed(code, why) => {
                return write!(f, "{}: the peer closed the link, code {code}, {why:?}", self.word());
            }
            Self::Silent => "the peer has not answered for the idle timeout",
            Self::NotOpened => "no call came in time",
            Self::Busy => "there is no room for another link; try again later, or raise the limit there",
        };
        write!(f, "{}: {sentence}", self.word())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri { uri, why } => write!(
                f,
                "{uri:?} is no address: {why}; write federation://HOST:PORT to listen, and federation://DOMAIN or \
                 federation://DOMAIN@HOST:PORT to dial"
            ),
            Self::Resolve { host, why } => write!(
                f,
                "{host:?} could not be found: {why}; give the domain a DNS record (SRV _quicproquo-federation._udp, or an \
                 address), or write DOMAIN@HOST:PORT"
            ),
            Self::NameServers { host, why } => write!(
                f,
                "{host:?} could not be looked up: {why}; check the name servers of this machine, or write DOMAIN@IP:PORT"
            ),
            Self::NotOffered { domain } => write!(
                f,
                "not-offered: {domain} says in its DNS that it does not federate (SRV record with the target \".\"); if it \
                 does, write DOMAIN@HOST:PORT"
            ),
            Self::Bind { addr, source } if source.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "UDP port {} is in use by another program; stop it, or choose another port", canonical(*addr))
            }
            Self::Bind { addr, source } => write!(f, "{} can't be used: {source}", canonical(*addr)),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Timeout => f.write_str(
                "timeout: no link came up within the handshake timeout; is the domain there and its UDP port open?",
            ),
            Self::TooManyLinks => f.write_str("busy: all links are in use; raise `max_links` of federation-capnp"),
            Self::Ended(end) => end.fmt(f),
            Self::Stopping => f.write_str("this federation is being stopped or replaced"),
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

impl From<End> for Error {
    fn from(end: End) -> Self {
        match end {
            End::Refused(refusal) => Self::Refused(refusal),
            End::Silent => Self::Timeout,
            end => Self::Ended(end),
        }
    }
}

impl From<Error> for qpq_plugin_api::Error {
    fn from(error: Error) -> Self {
        use qpq_plugin_api::Status;
        let status = match &error {
            Error::Uri { .. } => Status::INVALID,
            Error::Resolve { .. } | Error::NotOffered { .. } => Status::NOT_FOUND,
            Error::Refused(_) | Error::Ended(End::Closed(_) | End::PeerClosed(..)) => Status::REFUSED,
            Error::Timeout => Status::TIMEOUT,
            Error::TooManyLinks | Error::Ended(End::Busy) => Status::BUSY,
            Error::Ended(_) | Error::NameServers { .. } => Status::UNREACHABLE,
            Error::Stopping => Status::CLOSED,
            Error::Bind { .. } | Error::Setup(_) => Status::FAILED,
        };
        Self::new(status, error.to_string())
    }
}
