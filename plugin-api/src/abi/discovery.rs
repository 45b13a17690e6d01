use std::ffi::c_void;

use super::{Out, Status, Str};

/// `qpq.discovery/1`, the plugin's side. Every function may be called on any thread and must not block.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Discovery {
    /// Size of this struct in bytes.
    pub size: u32,
    /// 0.
    pub rsvd: u32,
    /// Makes this node known until the `op` is cancelled. `record_json` has `peer` (64 hex digits) and `addresses` (transport
    /// URIs), `server` (HOST:PORT of the first) and `domain`, these two null where there is none. `op_done` when it is
    /// announced, or can't be. When the record changes, the host advertises the new one, then cancels the old.
    pub advertise: Option<unsafe extern "C" fn(plugin: *mut c_void, op: u64, record_json: Str) -> Status>,
    /// Reports the nodes of `service` through `on_peer` until the `op` is cancelled. `op_done` once it watches.
    pub browse: Option<unsafe extern "C" fn(plugin: *mut c_void, op: u64, service: Str) -> Status>,
    /// Ends what `op` began. Unknown operations are ignored.
    pub cancel: Option<unsafe extern "C" fn(plugin: *mut c_void, op: u64) -> Status>,
    /// Writes figures as one JSON object.
    pub stats: Option<unsafe extern "C" fn(plugin: *mut c_void, out: Out) -> Status>,
}

/// Values of `kind` in [`HostDiscovery::on_peer`].
pub mod peer_event {
    /// A node was found.
    pub const FOUND: u32 = 1;
    /// A known node has another record.
    pub const CHANGED: u32 = 2;
    /// A node is gone.
    pub const LOST: u32 = 3;
}

/// `qpq.host.discovery/1`. Its function may be called on any thread, and doesn't block.
#[repr(C)]
pub struct HostDiscovery {
    /// Size of this struct in bytes.
    pub size: u32,
    /// 0.
    pub rsvd: u32,
    /// A node was found, changed or lost (see [`peer_event`]) by the `browse` with that `op`. The record is JSON of up to
    /// 4 KiB, as for `advertise`, and with `id` (the service's own name for the node; CHANGED and LOST repeat it) and
    /// `interface`, where it has any. Without a key `peer` is left out, and `server` must be there. The host forgets a node
    /// that nothing has confirmed for three minutes, so CHANGED is due once a minute as long as it is there. BUSY means that
    /// the host dropped it; report it again later.
    pub on_peer: Option<unsafe extern "C" fn(ctx: *mut c_void, kind: u32, op: u64, record_json: Str) -> Status>,
}
