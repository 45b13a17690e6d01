#![allow(unsafe_code, reason = "a struct of the C boundary that is shared between threads")]

use std::ffi::c_void;

use super::{Status, Str};

/// Levels of [`Host::log`]; a larger number says more.
pub mod log_level {
    /// Something is broken and an admin should act.
    pub const ERROR: u32 = 1;
    /// Something is odd, the plugin goes on.
    pub const WARN: u32 = 2;
    /// What an admin wants to know in normal operation.
    pub const INFO: u32 = 3;
    /// For the plugin's author.
    pub const DEBUG: u32 = 4;
    /// Each step.
    pub const TRACE: u32 = 5;
}

/// `qpq_host`: what the host offers to one instance of a plugin. It lives until the process exits, so that a late call
/// meets a live function, which answers [`Status::CLOSED`] or does nothing.
///
/// Every function may be called on any thread and from inside any call of the host, and never blocks.
#[repr(C)]
pub struct Host {
    /// Size of this struct in bytes.
    pub size: u32,
    /// Minor ABI version of the host.
    pub abi_minor: u32,
    /// The instance's token: first argument of all functions of the host.
    pub ctx: *mut c_void,
    /// The largest level that the host wants, see [`log_level`].
    pub log_level: Option<unsafe extern "C" fn(ctx: *mut c_void) -> u32>,
    /// Logs `msg`. `fields_json` is empty or a JSON object. Texts are borrowed for the call.
    pub log: Option<unsafe extern "C" fn(ctx: *mut c_void, level: u32, target: Str, msg: Str, fields_json: Str)>,
    /// Ends operation `op`; exactly once for each `op` whose call returned OK. `detail` is the result or the reason.
    pub op_done: Option<unsafe extern "C" fn(ctx: *mut c_void, op: u64, status: Status, detail: Str)>,
    /// The instance can't go on (or, inside `create`, can't come to be). The host stops it and starts another later.
    pub fail: Option<unsafe extern "C" fn(ctx: *mut c_void, status: Status, why: Str)>,
    /// The static vtable of a host interface, or NULL.
    pub get_interface: Option<unsafe extern "C" fn(ctx: *mut c_void, id: Str) -> *const c_void>,
}

// SAFETY: immutable after it was made; `ctx` is a token that the host's functions accept on any thread.
unsafe impl Sync for Host {}
// SAFETY: as above.
unsafe impl Send for Host {}
