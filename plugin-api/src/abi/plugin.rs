#![allow(unsafe_code, reason = "the descriptor is a static that holds raw pointers to other statics")]

use std::ffi::c_void;

use super::{Host, Status, Str};

/// First field of every descriptor: the bytes `QPQPLUG1`, read as a little-endian number.
pub const MAGIC: u64 = u64::from_le_bytes(*b"QPQPLUG1");
/// Major version of this ABI. A plugin of another major version is refused.
pub const ABI_MAJOR: u32 = 1;
/// Minor version of this ABI. It grows when fields are appended; any minor version loads.
pub const ABI_MINOR: u32 = 1;
/// The one symbol that a plugin exports, of type [`EntryFn`].
pub const ENTRY_SYMBOL: &str = "qpq_plugin_entry_v1";

/// Type of the exported symbol. Pure: it starts no thread, does no I/O and returns the same static descriptor each time.
pub type EntryFn = unsafe extern "C" fn() -> *const Plugin;

/// Bits of [`Plugin::flags`]. A host refuses bits 16 to 31 that it doesn't know, and ignores the others.
pub mod plugin_flags {
    /// No panic aborts the process: Rust built with `panic = "unwind"`, or a language without panics. Required.
    pub const PANIC_UNWIND: u32 = 1;
    /// Two instances can't work side by side (a fixed port, one key): a swap drains the old one first.
    pub const NEEDS_EXCLUSIVE: u32 = 2;
    /// A transport, with [`NEEDS_EXCLUSIVE`]: nothing but its ports belongs to one instance alone. In a swap the new one
    /// listens at other ports first, and the links go over to it before the old one drains.
    pub const OVERLAPS: u32 = 4;
    /// The bits that a host must understand.
    pub const MUST_UNDERSTAND: u32 = 0xffff_0000;
}

/// `qpq_plugin`: the static descriptor of a plugin.
///
/// All text is static. Limits that the host checks: `id`, `kind`, `version` 64 bytes, the others 1 KiB, the schema 64 KiB.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Plugin {
    /// [`MAGIC`].
    pub magic: u64,
    /// Size of this struct in bytes.
    pub size: u32,
    /// [`ABI_MAJOR`].
    pub abi_major: u32,
    /// [`ABI_MINOR`].
    pub abi_minor: u32,
    /// See [`plugin_flags`].
    pub flags: u32,
    /// The plugin's name: lower-case letters, digits and `-`, such as `transport-quic`.
    pub id: Str,
    /// `transport`, `discovery`, `routing`, `federation` or `store`.
    pub kind: Str,
    /// The plugin's own version, such as `1.4.0`.
    pub version: Str,
    /// What built it, for bug reports.
    pub build: Str,
    /// Its licence, as an SPDX expression.
    pub licence: Str,
    /// Ids of the interfaces that it offers, separated by spaces.
    pub interfaces: Str,
    /// Ids of the host interfaces that it can't work without, separated by spaces.
    pub needs: Str,
    /// JSON Schema of its configuration; empty accepts any object.
    pub config_schema: Str,
    /// Makes an instance. `host` lives until the process exits. Starts no thread. On failure it reports the reason through
    /// `host.fail` and leaves `out` alone. Called on any thread; may block for a short while.
    pub create: Option<
        unsafe extern "C" fn(host: *const Host, instance: Str, config_json: Str, out: *mut *mut c_void) -> Status,
    >,
    /// Starts the instance's threads; answers `op`. Called once. Must not block.
    pub start: Option<unsafe extern "C" fn(plugin: *mut c_void, op: u64) -> Status>,
    /// Takes on nothing new, flushes what it accepted, hands the rest back; then answers `op`. Must not block.
    pub quiesce: Option<unsafe extern "C" fn(plugin: *mut c_void, op: u64, deadline_ms: u32) -> Status>,
    /// Joins its threads; after the return there is no callback any more. May block up to the deadline.
    pub stop: Option<unsafe extern "C" fn(plugin: *mut c_void, deadline_ms: u32) -> Status>,
    /// Frees a stopped instance (or one that was never started). Called once, last.
    pub destroy: Option<unsafe extern "C" fn(plugin: *mut c_void)>,
    /// The static vtable of an offered interface, or NULL. Called on any thread; must not block.
    pub get_interface: Option<unsafe extern "C" fn(id: Str) -> *const c_void>,
    /// Since 1.1, for transports: the URI schemes that it serves, separated by spaces. Absent or empty: its id without
    /// `transport-`.
    pub schemes: Str,
}

impl Plugin {
    /// Size in bytes of the descriptor of version 1.0: the least that any plugin has.
    pub const SIZE_1_0: usize = std::mem::offset_of!(Self, schemes);
}

// SAFETY: a descriptor is immutable, and all that it points to is static and immutable too.
unsafe impl Sync for Plugin {}
// SAFETY: as above.
unsafe impl Send for Plugin {}
