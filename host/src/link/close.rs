//! Why a link ends, and whose fault that is.

use std::fmt;

use qpq_schemas::PeerId;
use qpq_schemas::link::{Close, CloseCode, Frame, FrameError, MAX_BLOCK, MAX_REASON_LEN, MIN_TRANSPORT_FRAME};
use qpq_schemas::packet::PacketError;
use qpq_schemas::signature::SignatureError;

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The neighbour broke the protocol.
    Violation(Violation),
    /// No version of the protocol in common.
    Version {
        /// The newest that the neighbour speaks.
        theirs: u8,
        /// The newest that we speak.
        ours: u8,
    },
    /// The neighbour has this node's own key.
    Ourselves,
    /// Another node than the one that was dialled.
    WrongPeer {
        /// Who was dialled.
        expected: PeerId,
        /// Who says to be there.
        found: PeerId,
    },
    /// Another node than the one that the transport found.
    ContradictsTransport {
        /// Whom the transport found.
        proven: PeerId,
        /// Who says to be there.
        claimed: PeerId,
    },
    /// The neighbour could not prove its key for this connection.
    AuthFailed {
        /// Whose key it claimed.
        claimed: PeerId,
        /// What is wrong with the proof.
        error: SignatureError,
    },
    /// The admin blocked the neighbour.
    Blocked(PeerId),
    /// HELLO and AUTH did not come in time.
    HandshakeTimeout {
        /// What was waited for.
        stage: Stage,
    },
    /// Nothing was heard for too long.
    Silent,
    /// A block was begun and not finished in time.
    Stalled,
    /// The neighbour closed the link.
    ByPeer(Close),
    /// This node closes the link.
    Local {
        /// For the other side's program.
        code: CloseCode,
        /// For people.
        reason: String,
    },
    /// The transport's frames are too small to shake hands in.
    FrameTooSmall {
        /// What it takes, in bytes.
        max_frame: usize,
    },
}

/// Whose fault the end of a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It was wanted.
    Nobody,
    /// The neighbour's.
    Peer,
    /// The way between, as far as can be told from here.
    Network,
    /// The transport plugin's, or its configuration's.
    Transport,
}

/// What a neighbour did that no neighbour may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Bytes that are no frame.
    Frame(FrameError),
    /// A frame that has no place there.
    Unexpected {
        /// Its type.
        frame: &'static str,
        /// Where it came.
        stage: Stage,
    },
    /// A transport frame with nothing in it.
    EmptyBlock,
    /// A transport frame larger than any block.
    BlockTooLarge {
        /// Its size in bytes.
        len: usize,
    },
    /// Pieces that make no block.
    Fragments(&'static str),
    /// Pieces of more bytes than any block has.
    TooManyPieces,
    /// Far more PINGs than anybody needs.
    PingFlood,
    /// A sealed packet whose body is none, or a HELLO that makes no key.
    Packet(PacketError),
    /// An ACK of packets that were never sent.
    AckOfNothing,
    /// A block beyond what this node said it takes.
    BeyondWindow,
}

/// How far a link had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The neighbour had to say HELLO.
    Hello,
    /// The neighbour had to prove its key with AUTH.
    Auth,
    /// Authenticated.
    Ready,
}

impl Violation {
    /// That frame had no place there.
    pub(super) fn unexpected(frame: &Frame, stage: Stage) -> Self {
        Self::Unexpected { frame: name(frame), stage }
    }
}

impl From<Violation> for CloseReason {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<FrameError> for CloseReason {
    fn from(error: FrameError) -> Self {
        Self::Violation(Violation::Frame(error))
    }
}

impl CloseReason {
    /// This node stops, or its admin closes the link.
    pub fn going_away(reason: impl Into<String>) -> Self {
        Self::Local { code: CloseCode::GOING_AWAY, reason: reason.into() }
    }

    /// The transport of the link is replaced; the neighbour should dial again at once.
    pub fn restarting() -> Self {
        Self::Local { code: CloseCode::RESTARTING, reason: "this node replaces its transport".to_owned() }
    }

    /// Another link to the peer goes on in the place of this one.
    pub fn duplicate() -> Self {
        let reason = "another link to this peer is used instead".to_owned();
        Self::Local { code: CloseCode::DUPLICATE, reason }
    }

    /// The neighbour replaces its transport, and can be dialled again at once.
    pub fn is_restarting(&self) -> bool {
        matches!(self, Self::ByPeer(close) if close.code == CloseCode::RESTARTING)
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Violation(_)
            | Self::Version { .. }
            | Self::WrongPeer { .. }
            | Self::ContradictsTransport { .. }
            | Self::AuthFailed { .. }
            | Self::Blocked(_)
            | Self::Stalled => Fault::Peer,
            Self::HandshakeTimeout { .. } | Self::Silent => Fault::Network,
            Self::FrameTooSmall { .. } => Fault::Transport,
            Self::Ourselves | Self::ByPeer(_) | Self::Local { .. } => Fault::Nobody,
        }
    }

    /// The code in the CLOSE frame that ended the link, the neighbour's or ours.
    pub fn wire_code(&self) -> Option<CloseCode> {
        match self {
            Self::ByPeer(close) => Some(close.code),
            other => other.to_neighbour().map(|close| close.code),
        }
    }

    /// A stable word for counters and programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Violation(Violation::Frame(error)) => error.code(),
            Self::Violation(Violation::Unexpected { .. }) => "link-unexpected-frame",
            Self::Violation(Violation::EmptyBlock) => "link-empty-block",
            Self::Violation(Violation::BlockTooLarge { .. }) => "link-block-too-large",
            Self::Violation(Violation::Fragments(_)) => "link-bad-fragments",
            Self::Violation(Violation::TooManyPieces) => "link-too-many-pieces",
            Self::Violation(Violation::PingFlood) => "link-ping-flood",
            Self::Violation(Violation::Packet(error)) => error.code(),
            Self::Violation(Violation::AckOfNothing) => "packet-ack-of-nothing",
            Self::Violation(Violation::BeyondWindow) => "packet-beyond-window",
            Self::Version { .. } => "link-version",
            Self::Ourselves => "link-to-ourselves",
            Self::WrongPeer { .. } => "link-wrong-peer",
            Self::ContradictsTransport { .. } => "link-contradicts-transport",
            Self::AuthFailed { .. } => "link-auth-failed",
            Self::Blocked(_) => "link-blocked",
            Self::HandshakeTimeout { .. } => "link-handshake-timeout",
            Self::Silent => "link-silent",
            Self::Stalled => "link-stalled",
            Self::ByPeer(_) => "link-closed-by-peer",
            Self::Local { .. } => "link-closed",
            Self::FrameTooSmall { .. } => "link-small-transport-frame",
        }
    }

    /// What the neighbour is told; nothing where it closed the link itself, or can't be told.
    pub(super) fn to_neighbour(&self) -> Option<Close> {
        let code = match self {
            Self::ByPeer(_) | Self::FrameTooSmall { .. } => return None,
            Self::Violation(Violation::PingFlood | Violation::TooManyPieces) => CloseCode::LIMIT,
            // A HELLO of version 0 isn't even read as one.
            Self::Violation(Violation::Frame(FrameError::Malformed { what: "version", .. })) | Self::Version { .. } => {
                CloseCode::VERSION
            }
            Self::Violation(_) => CloseCode::PROTOCOL,
            Self::Ourselves => CloseCode::SELF,
            Self::WrongPeer { .. } | Self::ContradictsTransport { .. } => CloseCode::WRONG_PEER,
            Self::AuthFailed { .. } => CloseCode::AUTH_FAILED,
            Self::Blocked(_) => CloseCode::BLOCKED,
            Self::HandshakeTimeout { .. } | Self::Silent | Self::Stalled => CloseCode::TIMEOUT,
            Self::Local { code, .. } => *code,
        };
        let reason = match self {
            // Whom we looked for is nobody else's business.
            Self::WrongPeer { .. } => "another node was dialled".to_owned(),
            Self::Blocked(_) => "blocked by this node's admin".to_owned(),
            Self::Local { reason, .. } => reason.clone(),
            other => other.to_string(),
        };
        Some(Close { code, reason: cut(&reason).to_owned() })
    }
}

/// The beginning of a text that fits a CLOSE frame.
fn cut(text: &str) -> &str {
    let end = (0..=MAX_REASON_LEN.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => violation.fmt(f),
            Self::Version { theirs, ours } => {
                write!(f, "no common version of the link protocol: the neighbour speaks {theirs}, this node {ours}")
            }
            Self::Ourselves => f.write_str(
                "the neighbour has this node's own key: either this node dialled itself, or the key was copied",
            ),
            Self::WrongPeer { expected, found } => write!(f, "dialled {expected}, found {found}"),
            Self::ContradictsTransport { proven, claimed } => {
                write!(f, "the transport found {proven}, but the neighbour says it is {claimed}")
            }
            Self::AuthFailed { claimed, error } => {
                write!(f, "the neighbour failed to prove that it is {claimed}: {error}")
            }
            Self::Blocked(peer) => write!(f, "{peer} is blocked by this node's admin"),
            Self::HandshakeTimeout { stage } => write!(f, "the neighbour did not send {stage} in time"),
            Self::Silent => f.write_str("nothing was heard from the neighbour for too long"),
            Self::Stalled => f.write_str("the neighbour began a large message and did not finish it"),
            Self::ByPeer(close) => write!(f, "closed by the neighbour: {} (code {})", close.reason, close.code.0),
            Self::Local { reason, .. } => f.write_str(reason),
            Self::FrameTooSmall { max_frame } => {
                write!(f, "the transport takes frames of {max_frame} bytes, but a link needs {MIN_TRANSPORT_FRAME}")
            }
        }
    }
}

impl std::error::Error for CloseReason {}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Unexpected { frame, stage: Stage::Ready } => {
                write!(f, "the neighbour sent {frame} after the handshake")
            }
            Self::Unexpected { frame, stage } => write!(f, "the neighbour sent {frame} instead of {stage}"),
            Self::EmptyBlock => f.write_str("the neighbour sent an empty block"),
            Self::BlockTooLarge { len } => {
                write!(f, "the neighbour sent a block of {len} bytes, more than {MAX_BLOCK}")
            }
            Self::Fragments(what) => write!(f, "the neighbour sent {what}"),
            Self::TooManyPieces => write!(f, "the neighbour sent pieces of more than {MAX_BLOCK} bytes"),
            Self::PingFlood => f.write_str("the neighbour sent too many PINGs"),
            Self::Packet(error) => write!(f, "the neighbour broke the packet protocol: {error}"),
            Self::AckOfNothing => f.write_str("the neighbour acknowledged packets that were never sent"),
            Self::BeyondWindow => f.write_str("the neighbour sent more than this node has room for"),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "HELLO",
            Self::Auth => "AUTH",
            Self::Ready => "frames",
        })
    }
}

fn name(frame: &Frame) -> &'static str {
    match frame {
        Frame::Hello(_) => "HELLO",
        Frame::Auth(_) => "AUTH",
        Frame::Envelopes(_) => "ENVELOPES",
        Frame::Custody(_) => "CUSTODY",
        Frame::Subscriptions(..) => "SUBSCRIPTIONS",
        Frame::Route(_) => "ROUTE",
        Frame::Sync(_) => "SYNC",
        Frame::Records(_) => "RECORDS",
        Frame::Ping(_) => "PING",
        Frame::Pong(_) => "PONG",
        Frame::Close(_) => "CLOSE",
        Frame::Fragment(_) => "FRAGMENT",
        Frame::Resolve(_) => "RESOLVE",
        Frame::Moving(_) => "MOVING",
        Frame::Tree(_) => "TREE",
        Frame::Reconcile(_) => "RECONCILE",
        Frame::Optional(..) => "an optional frame",
    }
}
