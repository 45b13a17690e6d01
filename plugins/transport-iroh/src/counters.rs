//! Figures for `stats`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::error::End;

/// What happened since the instance was made.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    frames_in: AtomicU64,
    bytes_in: AtomicU64,
    frames_out: AtomicU64,
    bytes_out: AtomicU64,
    stalls: AtomicU64,
    oversize_dropped: AtomicU64,
    links_up: AtomicU64,
    links_ended: AtomicU64,
    peers_silent: AtomicU64,
    peers_at_fault: AtomicU64,
    dials_failed: AtomicU64,
    handshakes_failed: AtomicU64,
    handshakes_refused: AtomicU64,
    path_changes: AtomicU64,
    upgrades_tried: AtomicU64,
}

impl Counters {
    /// Frames were read from a stream.
    pub(crate) fn received(&self, frames: &VecDeque<Bytes>) {
        add(&self.frames_in, frames.len());
        add(&self.bytes_in, frames.iter().map(Bytes::len).sum());
    }

    /// Frames were written to a stream.
    pub(crate) fn sent(&self, frames: &VecDeque<Bytes>) {
        add(&self.frames_out, frames.len());
        add(&self.bytes_out, frames.iter().map(Bytes::len).sum());
    }

    /// The host took fewer frames than came in.
    pub(crate) fn stalled(&self) {
        add(&self.stalls, 1);
    }

    /// The host sent frames above the limit.
    pub(crate) fn dropped_oversize(&self, frames: usize) {
        add(&self.oversize_dropped, frames);
    }

    /// A link came up.
    pub(crate) fn up(&self) {
        add(&self.links_up, 1);
    }

    /// A link ended.
    pub(crate) fn ended(&self, end: &End) {
        add(&self.links_ended, 1);
        match end {
            End::Silent => add(&self.peers_silent, 1),
            End::Oversize(_) | End::Protocol(_) => add(&self.peers_at_fault, 1),
            _ => {}
        }
    }

    /// A dial failed.
    pub(crate) fn dial_failed(&self) {
        add(&self.dials_failed, 1);
    }

    /// An inbound handshake failed.
    pub(crate) fn handshake_failed(&self) {
        add(&self.handshakes_failed, 1);
    }

    /// An inbound handshake was refused for want of room.
    pub(crate) fn handshake_refused(&self) {
        add(&self.handshakes_refused, 1);
    }

    /// A link goes on over another path.
    pub(crate) fn moved(&self) {
        add(&self.path_changes, 1);
    }

    /// A relayed link was tried directly.
    pub(crate) fn upgrade_tried(&self) {
        add(&self.upgrades_tried, 1);
    }

    /// All figures by name.
    pub(crate) fn to_json(&self) -> Value {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "frames_in": read(&self.frames_in),
            "bytes_in": read(&self.bytes_in),
            "frames_out": read(&self.frames_out),
            "bytes_out": read(&self.bytes_out),
            "stalls": read(&self.stalls),
            "oversize_dropped": read(&self.oversize_dropped),
            "links_up": read(&self.links_up),
            "links_ended": read(&self.links_ended),
            "peers_silent": read(&self.peers_silent),
            "peers_at_fault": read(&self.peers_at_fault),
            "dials_failed": read(&self.dials_failed),
            "handshakes_failed": read(&self.handshakes_failed),
            "handshakes_refused": read(&self.handshakes_refused),
            "path_changes": read(&self.path_changes),
            "upgrades_tried": read(&self.upgrades_tried),
        })
    }
}

fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}
