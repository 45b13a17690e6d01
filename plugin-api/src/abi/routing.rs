use std::ffi::c_void;

use super::{Out, Slice, Status, Str};

/// `qpq.routing/1`, the plugin's side: a state machine without I/O, threads or a clock of its own. Time and randomness come
/// from the host, so that the same library runs in a simulator. The host calls one function at a time, on any thread;
/// none may block. `now_ms` counts milliseconds and never goes back; where it starts says nothing.
///
/// The functions of [`HostRouting`] may be called only from inside one of these calls, on the same thread.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Routing {
    /// Size of this struct in bytes.
    pub size: u32,
    /// 0.
    pub rsvd: u32,
    /// A link came up, went down or has new figures.
    pub on_link: Option<unsafe extern "C" fn(plugin: *mut c_void, now_ms: u64, link: *const RouteLink) -> Status>,
    /// Control bytes of the same routing protocol at the other end of `link`. They come from outside: trust nothing.
    pub on_control: Option<unsafe extern "C" fn(plugin: *mut c_void, now_ms: u64, link: u64, bytes: Slice) -> Status>,
    /// An envelope signed by `origin` (32 bytes) came in over `link` for the first time. `hops` is unsigned hearsay. NULL for a
    /// protocol that learns nothing from it: then the node spreads its own record only when it changes and every few hours.
    pub on_seen: Option<
        unsafe extern "C" fn(plugin: *mut c_void, now_ms: u64, origin: *const u8, link: u64, hops: u32) -> Status,
    >,
    /// Time has passed. Returns when it wants the next call at the latest, on the same clock; `UINT64_MAX` for never. Also
    /// called right after `on_link` and `on_control`, so that these can bring the time forward.
    pub on_tick: Option<unsafe extern "C" fn(plugin: *mut c_void, now_ms: u64) -> u64>,
    /// Over which links an envelope should go. Writes up to `cap` links, best first, and the [`route_flags`](super::route_flags);
    /// returns how many there are, which may be more than `cap`: the host may call again with more room.
    pub route: Option<
        unsafe extern "C" fn(
            plugin: *mut c_void,
            now_ms: u64,
            query: *const RouteQuery,
            links: *mut u64,
            cap: usize,
            flags: *mut u32,
        ) -> usize,
    >,
    /// Writes its table as JSON: `{"routes": [{"destination", "next_hop" (64 hex digits), "metric", "hops", "age_ms"}]}`.
    pub dump: Option<unsafe extern "C" fn(plugin: *mut c_void, now_ms: u64, out: Out) -> Status>,
}

/// `qpq.host.routing/1`. Only from inside a call of [`Routing`], on its thread.
#[repr(C)]
pub struct HostRouting {
    /// Size of this struct in bytes.
    pub size: u32,
    /// 0.
    pub rsvd: u32,
    /// Sends control bytes (up to 16 KiB) to the other end of `link`. They may be lost.
    pub send_control: Option<unsafe extern "C" fn(ctx: *mut c_void, link: u64, bytes: Slice) -> Status>,
    /// Answers of `route` for `destination` (32 bytes; NULL: for all) may be different now. Name the destination where there
    /// is one: then the host asks anew for its mail alone.
    pub invalidate: Option<unsafe extern "C" fn(ctx: *mut c_void, destination: *const u8) -> Status>,
    /// Fills `out` with `len` random bytes (up to 4 KiB).
    pub random: Option<unsafe extern "C" fn(ctx: *mut c_void, out: *mut u8, len: usize) -> Status>,
}

/// Values of [`RouteLink::change`].
pub mod link_change {
    /// The link's peer has proven its key, and envelopes may go over it.
    pub const UP: u32 = 1;
    /// The link is gone.
    pub const DOWN: u32 = 2;
    /// New figures for a link that is up.
    pub const METRICS: u32 = 3;
}

/// `qpq_route_link`: a link, as routing sees it.
#[repr(C)]
pub struct RouteLink {
    /// Size of this struct in bytes.
    pub size: u32,
    /// See [`link_change`].
    pub change: u32,
    /// The host's number for the link, never 0.
    pub link: u64,
    /// The peer at the other end.
    pub peer: [u8; 32],
    /// Smoothed round-trip time in microseconds, 0 when unknown.
    pub rtt_us: u64,
    /// Estimated loss in parts of a million.
    pub loss_ppm: u32,
    /// The largest frame in bytes.
    pub max_frame: u32,
    /// Name of the transport plugin.
    pub transport: Str,
}

/// `qpq_route_query`: where an envelope wants to go.
#[repr(C)]
pub struct RouteQuery {
    /// Size of this struct in bytes.
    pub size: u32,
    /// The envelope's kind: 0 direct, 1 broadcast (the host spreads those itself and doesn't ask), 2 delivery receipt.
    pub kind: u32,
    /// The recipient's key, or the topic id of a broadcast.
    pub destination: [u8; 32],
    /// The link that it came over, 0 when it was made here. It must not be among the answers.
    pub from_link: u64,
}

/// Bits that [`Routing::route`] writes.
pub mod route_flags {
    /// The links lead to the destination, as far as the protocol knows.
    pub const KNOWN: u32 = 1;
    /// The destination is not known; a copy should go over each of the links.
    pub const FLOOD: u32 = 2;
}
