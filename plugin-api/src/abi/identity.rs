use std::ffi::c_void;

use super::{Slice, Status};

/// What [`HostIdentity::sign`] may sign. A plugin can't have an envelope, a record or a link handshake signed: no purpose
/// yields a signature that means anything there.
pub mod sign_purpose {
    /// Signs `"qpq-plugin-sign-v1\0"` ‖ u8 length of the plugin's id ‖ id ‖ message. Any message up to 64 KiB.
    pub const PLUGIN: u32 = 1;
    /// Signs the message as it is, if it is the content of a TLS 1.3 `CertificateVerify` (RFC 8446, 4.4.3): 64 spaces, the
    /// context string of the server or the client, a zero byte, a hash of 32 or 48 bytes. For TLS with the identity key.
    pub const TLS13: u32 = 2;
}

/// `qpq.host.identity/1`. Every function may be called on any thread; none blocks beyond the time of a signature.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct HostIdentity {
    /// Size of this struct in bytes.
    pub size: u32,
    /// 0.
    pub rsvd: u32,
    /// Writes the node's Ed25519 public key to `out` (32 bytes).
    pub public_key: Option<unsafe extern "C" fn(ctx: *mut c_void, out: *mut u8) -> Status>,
    /// Writes an Ed25519 signature to `out` (64 bytes). REFUSED when `message` doesn't fit `purpose`, see [`sign_purpose`].
    pub sign: Option<unsafe extern "C" fn(ctx: *mut c_void, purpose: u32, message: Slice, out: *mut u8) -> Status>,
    /// Writes a 32-byte seed to `out` that only this plugin gets from this identity (HKDF-SHA256 over the secret, with the
    /// plugin's id), the same at each start.
    pub transport_subkey: Option<unsafe extern "C" fn(ctx: *mut c_void, out: *mut u8) -> Status>,
    /// Since 1.1: writes the secret of the node's Ed25519 key (32 bytes, the seed of RFC 8032) to `out`. Who holds it is the
    /// node, so REFUSED unless the admin lists the plugin in `plugins.trusted_with_key`. For libraries that sign by
    /// themselves and know no other way. The plugin wipes its copies.
    pub secret: Option<unsafe extern "C" fn(ctx: *mut c_void, out: *mut u8) -> Status>,
}

impl HostIdentity {
    /// Size of this struct in version 1.0, in bytes; what follows is optional.
    pub const SIZE_1_0: usize = std::mem::offset_of!(Self, secret);
}
