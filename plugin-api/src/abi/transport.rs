use std::ffi::c_void;

use super::{Frame, Out, Slice, Status, Str};

/// `qpq.transport/1`, the plugin's side. Every function may be called on any thread, also at once on several, must not
/// block, and must not call the host's `on_frames`, `on_unsent` or `on_link` before it returns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Transport {
    /// Size of this struct in bytes.
    pub size: u32,
    /// 0.
    pub rsvd: u32,
    /// Listens at `uri`. `op_done` carries the bound URI (with the port that was chosen for port 0).
    pub listen: Option<unsafe extern "C" fn(plugin: *mut c_void, op: u64, uri: Str) -> Status>,
    /// Makes a link to `uri`. `peer_key` is NULL or the 32 bytes of the key that must answer there. On success a link
    /// event UP with this `op` comes first, then `op_done`.
    pub dial: Option<unsafe extern "C" fn(plugin: *mut c_void, op: u64, uri: Str, peer_key: *const u8) -> Status>,
    /// Closes a link after what was accepted is sent (or at once, where that takes over a second); DOWN follows.
    pub close: Option<unsafe extern "C" fn(plugin: *mut c_void, link: u64, reason: Str) -> Status>,
    /// Takes frames, all of one link, and returns how many: ownership moves for this prefix only. Returning short, the
    /// plugin promises one `on_writable`: it notes that it owes it, **then checks again** for room. Frames of a link that
    /// is gone are accepted and dropped.
    pub send: Option<unsafe extern "C" fn(plugin: *mut c_void, frames: *const Frame, n: usize) -> usize>,
    /// The host has room again for frames of `link`, after an `on_frames` that it accepted in part.
    pub resume: Option<unsafe extern "C" fn(plugin: *mut c_void, link: u64)>,
    /// Writes figures as one JSON object.
    pub stats: Option<unsafe extern "C" fn(plugin: *mut c_void, out: Out) -> Status>,
}

/// `qpq.host.transport/1`. Every function may be called on any thread of the plugin; none blocks and none calls back
/// into the plugin before it returns. After CLOSED nothing of the instance matters any more.
#[repr(C)]
pub struct HostTransport {
    /// Size of this struct in bytes.
    pub size: u32,
    /// 0.
    pub rsvd: u32,
    /// Hands over frames that came in, all of one link; returns how many the host took. Ownership moves for this prefix
    /// only. After a short return the plugin keeps the rest, and tries again when `resume` was called. Calls for one link
    /// come one after the other.
    pub on_frames: Option<unsafe extern "C" fn(ctx: *mut c_void, frames: *const Frame, n: usize) -> usize>,
    /// There is room again on `link`, after a `send` that was accepted in part.
    pub on_writable: Option<unsafe extern "C" fn(ctx: *mut c_void, link: u64)>,
    /// A link came up, went down or changed its path. The event is borrowed for the call. UP comes before the link's
    /// first frame, DOWN after its last, once.
    pub on_link: Option<unsafe extern "C" fn(ctx: *mut c_void, event: *const LinkEvent) -> Status>,
    /// Returns frames that were accepted and not sent, in their order (before DOWN, or while quiescing). All of them
    /// belong to the host again.
    pub on_unsent: Option<unsafe extern "C" fn(ctx: *mut c_void, frames: *const Frame, n: usize)>,
}

/// Values of [`LinkEvent::kind`].
pub mod link_event {
    /// The link can carry frames.
    pub const UP: u32 = 1;
    /// The link is gone; `reason` says why.
    pub const DOWN: u32 = 2;
    /// The link goes on over another path: `remote`, `max_frame`, `rtt_us` and the RELAYED flag are new.
    pub const PATH: u32 = 3;
}

/// Bits of [`LinkEvent::flags`].
pub mod link_flags {
    /// This node dialled.
    pub const OUTBOUND: u32 = 1;
    /// Frames arrive all, once and in order for as long as the link is up.
    pub const RELIABLE: u32 = 2;
    /// `peer` holds the key that the transport has proven the remote to have.
    pub const PEER_PROVEN: u32 = 4;
    /// Since 1.1, with UP and PATH: a third party forwards the frames (encrypted), since the two ends don't reach each other.
    pub const RELAYED: u32 = 8;
}

/// `qpq_link_event`: something happened to a link.
#[repr(C)]
pub struct LinkEvent {
    /// Size of this struct in bytes.
    pub size: u32,
    /// See [`link_event`].
    pub kind: u32,
    /// The link: chosen by the transport, from 1 to 2⁴⁸ − 1, never used again by the same instance.
    pub link: u64,
    /// The `dial` that made it, or 0.
    pub op: u64,
    /// See [`link_flags`].
    pub flags: u32,
    /// The largest frame that the link carries, in bytes.
    pub max_frame: u32,
    /// Round-trip time in microseconds, 0 when unknown.
    pub rtt_us: u64,
    /// The proven key of the remote, with PEER_PROVEN.
    pub peer: [u8; 32],
    /// The remote's address as a URI that `dial` understands.
    pub remote: Str,
    /// Bytes that only the two ends of this connection share and that no one between them can choose, such as a TLS
    /// exporter (RFC 9266). Empty where the transport has none.
    pub channel_binding: Slice,
    /// With DOWN: why.
    pub reason: Str,
}
