//! What goes into a link's state machine, and what comes out.

use bytes::Bytes;
use qpq_schemas::PeerId;
use qpq_schemas::link::{Frame, FrameError};

use super::CloseReason;

/// Something that happened to a link.
#[derive(Debug)]
pub enum LinkInput {
    /// The transport is connected. Comes first, and once.
    Start,
    /// The transport brought a frame.
    Received(Bytes),
    /// Send these frames, packed together where they fit. Only once [`LinkOutput::Ready`] was seen.
    Send(Vec<Frame>),
    /// Send a PING now; [`LinkOutput::Pinged`] says its number.
    Ping,
    /// [`Link::deadline`](super::Link::deadline) has come.
    Tick,
    /// What the neighbour has sent waits for this node, which is busy. So its silence counts for nothing; but it shall hear from
    /// this node, as by [`Tick`](Self::Tick).
    Busy,
    /// Close the link, and tell the neighbour why.
    Close(CloseReason),
    /// Tell the neighbour that it may dial this port of the same host, where the transport that replaces this link's listens.
    Move(u16),
    /// Tell the neighbour why the link will end, as the last word; what it still sends is taken in until the transport
    /// ends the link.
    Leave(CloseReason),
}

/// Something to be done.
#[derive(Debug)]
pub enum LinkOutput {
    /// Hand these bytes to the transport as one frame.
    Transmit(Bytes),
    /// The neighbour has proven who it is; frames may be sent.
    Ready {
        /// Its proven key.
        peer: PeerId,
        /// What both sides can do beyond the protocol's version.
        features: u32,
    },
    /// A frame for the node: ENVELOPES, CUSTODY, SUBSCRIPTIONS, ROUTE, SYNC or RECORDS, well-formed and within its limits.
    /// Its byte strings share the memory of what the transport brought; copy what shall be kept for long.
    Frame(Frame),
    /// The neighbour replaces its transport: the new one can be dialled at this port of the same host. Comes once.
    Moving {
        /// Never 0.
        port: u16,
    },
    /// A PING that was asked for is on its way; nothing comes if the link isn't ready.
    Pinged {
        /// Its number.
        number: u64,
    },
    /// A PING of ours was answered.
    Ponged {
        /// Its number.
        number: u64,
    },
    /// The round-trip time was measured anew.
    Measured {
        /// Smoothed, in microseconds.
        rtt_us: u64,
        /// Packets lost of a million; 0 on a reliable transport.
        loss_ppm: u32,
    },
    /// A frame that was given to [`LinkInput::Send`] was not sent; this node is at fault.
    NotSent(SendError),
    /// The link is closed: transmit what came before this, then close the transport's connection. Nothing follows.
    Closed(CloseReason),
}

/// Why a frame was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The neighbour hasn't proven itself yet.
    NotReady,
    /// A frame that the link itself sends when it is time.
    Reserved,
    /// The frame breaks a limit of its type.
    Frame(FrameError),
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotReady => f.write_str("the link is not ready yet"),
            Self::Reserved => f.write_str("the link sends such frames by itself"),
            Self::Frame(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}

/// What went over a link so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Frames received.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Bytes received from the transport.
    pub bytes_in: u64,
    /// Bytes given to the transport.
    pub bytes_out: u64,
    /// Envelopes received.
    pub envelopes_in: u64,
    /// Envelopes sent.
    pub envelopes_out: u64,
    /// What was wrong: frames of ours that could not be sent, answers to no question, the fault that closed the link.
    pub errors: u64,
}
