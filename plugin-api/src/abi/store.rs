use std::ffi::c_void;

use super::{Buf, Out, Status, Str};

/// `qpq.store/1`, the plugin's side. Every function may be called on any thread; those with an `op` must not block, the
/// others may block for the time of a disk access. What `append` and `remove` did is durable once `op_done` says so.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Store {
    /// Size of this struct in bytes.
    pub size: u32,
    /// 0.
    pub rsvd: u32,
    /// Opens the store in the folder `path`, which exists and belongs to the plugin. Called once, before the others.
    pub open: Option<unsafe extern "C" fn(plugin: *mut c_void, op: u64, path: Str) -> Status>,
    /// Stores all items or none. The array is borrowed for the call; with OK the plugin owns the buffers.
    pub append: Option<unsafe extern "C" fn(plugin: *mut c_void, op: u64, items: *const StoreItem, n: usize) -> Status>,
    /// Hands up to `limit` items for `recipient` (32 bytes) with places after `cursor` to `sink`, in order, before it returns.
    pub fetch: Option<
        unsafe extern "C" fn(
            plugin: *mut c_void,
            recipient: *const u8,
            cursor: u64,
            limit: u32,
            sink: StoreSink,
        ) -> Status,
    >,
    /// Removes items by id: `ids` points to `n` ids of 32 bytes, borrowed for the call. Unknown ids are ignored.
    pub remove: Option<unsafe extern "C" fn(plugin: *mut c_void, op: u64, ids: *const u8, n: usize) -> Status>,
    /// Removes what has expired at `now_ms` (Unix time). `op_done` says how many, as a decimal number.
    pub expire: Option<unsafe extern "C" fn(plugin: *mut c_void, op: u64, now_ms: u64) -> Status>,
    /// Writes figures as one JSON object.
    pub stats: Option<unsafe extern "C" fn(plugin: *mut c_void, out: Out) -> Status>,
}

/// `qpq.host.store/1`. May be called on any thread; doesn't block.
#[repr(C)]
pub struct HostStore {
    /// Size of this struct in bytes.
    pub size: u32,
    /// 0.
    pub rsvd: u32,
    /// The store takes no more (`why` says why: disk full, failed sync), or takes again (`why` empty).
    pub on_read_only: Option<unsafe extern "C" fn(ctx: *mut c_void, why: Str) -> Status>,
}

/// `qpq_store_item`: one stored envelope. Frozen: it travels in arrays.
#[repr(C)]
pub struct StoreItem {
    /// The message id.
    pub id: [u8; 32],
    /// For whom it is kept.
    pub recipient: [u8; 32],
    /// When it dies, Unix time in milliseconds.
    pub expires_ms: u64,
    /// Its place in the recipient's queue; written by the store, 0 in `append`.
    pub cursor: u64,
    /// 0 low … 3 emergency.
    pub priority: u32,
    /// 0.
    pub rsvd: u32,
    /// The envelope in wire form.
    pub envelope: Buf,
}

/// `qpq_store_sink`: takes what `fetch` finds. Valid during the call only.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct StoreSink {
    /// Handed to `item`.
    pub ctx: *mut c_void,
    /// Takes one item; the item and its bytes are borrowed for the call (`release` is not called). Returns 0 to end early.
    pub item: Option<unsafe extern "C" fn(ctx: *mut c_void, item: *const StoreItem) -> u32>,
}
