//! Figures for `stats`.

use std::collections::VecDeque;

use qpq_plugin_api::Bytes;

use crate::error::End;

qpq_quic_common::counters! {
    /// Frames that were read from a stream.
    frames_in,
    /// Their bytes.
    bytes_in,
    /// Frames that were written to a stream.
    frames_out,
    /// Their bytes.
    bytes_out,
    /// How often the host took fewer frames than came in.
    stalls,
    /// Frames of the host that were above the limit.
    oversize_dropped,
    /// Links that came up.
    links_up,
    /// Links that ended.
    links_ended,
    /// Links that ended because the peer fell silent.
    peers_silent,
    /// Links that ended because the peer broke the protocol.
    peers_at_fault,
    /// Dials that failed.
    dials_failed,
    /// Inbound handshakes that failed.
    handshakes_failed,
    /// Inbound handshakes that were refused for want of room.
    handshakes_refused,
}

impl Counters {
    /// Frames were read from a stream.
    pub(crate) fn received(&self, frames: &VecDeque<Bytes>) {
        self.frames_in.add(frames.len());
        self.bytes_in.add(frames.iter().map(Bytes::len).sum());
    }

    /// Frames were written to a stream.
    pub(crate) fn sent(&self, frames: &VecDeque<Bytes>) {
        self.frames_out.add(frames.len());
        self.bytes_out.add(frames.iter().map(Bytes::len).sum());
    }

    /// A link ended.
    pub(crate) fn ended(&self, end: &End) {
        self.links_ended.one();
        match end {
            End::Silent => self.peers_silent.one(),
            End::Oversize(_) | End::Protocol(_) => self.peers_at_fault.one(),
            _ => {}
        }
    }
}
