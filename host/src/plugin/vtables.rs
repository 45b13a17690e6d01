//! The C functions that the host offers to plugins. Each catches panics, checks what comes in, and hands it to the [`Port`].
#![allow(unsafe_code, reason = "the host's side of the C boundary")]

use std::ffi::c_void;
use std::sync::Arc;

use qpq_plugin_api::abi::{self, ABI_MINOR, Frame, LinkEvent, Slice, Status, Str, interface, log_level};
use qpq_plugin_api::{FrameBatch, catch};

use super::identity;
use super::log;
use super::port::{Port, Role};
use super::token::Token;

/// The longest text that a plugin may pass, in bytes; more is cut off, or refused where a part means nothing.
const MAX_TEXT: usize = 64 * 1024;

/// The struct for an instance with that token.
pub(super) fn host(ctx: *mut c_void) -> abi::Host {
    abi::Host {
        size: size_of::<abi::Host>() as u32,
        abi_minor: ABI_MINOR,
        ctx,
        log_level: Some(host_log_level),
        log: Some(host_log),
        op_done: Some(host_op_done),
        fail: Some(host_fail),
        get_interface: Some(host_get_interface),
    }
}

static TRANSPORT: abi::HostTransport = abi::HostTransport {
    size: size_of::<abi::HostTransport>() as u32,
    rsvd: 0,
    on_frames: Some(on_frames),
    on_writable: Some(on_writable),
    on_link: Some(on_link),
    on_unsent: Some(on_unsent),
};

static DISCOVERY: abi::HostDiscovery =
    abi::HostDiscovery { size: size_of::<abi::HostDiscovery>() as u32, rsvd: 0, on_peer: Some(on_peer) };

static ROUTING: abi::HostRouting = abi::HostRouting {
    size: size_of::<abi::HostRouting>() as u32,
    rsvd: 0,
    send_control: Some(send_control),
    invalidate: Some(invalidate),
    random: Some(random),
};

static STORE: abi::HostStore =
    abi::HostStore { size: size_of::<abi::HostStore>() as u32, rsvd: 0, on_read_only: Some(on_read_only) };

static IDENTITY: abi::HostIdentity = abi::HostIdentity {
    size: size_of::<abi::HostIdentity>() as u32,
    rsvd: 0,
    public_key: Some(public_key),
    sign: Some(sign),
    transport_subkey: Some(transport_subkey),
    secret: Some(secret),
};

/// Runs `work` with the instance's port. A tombstone, or a panic of ours, gives `otherwise`.
///
/// # Safety
/// `ctx` is NULL or a token of this host.
unsafe fn with<R>(ctx: *mut c_void, otherwise: R, work: impl FnOnce(&Arc<Port>) -> R) -> R {
    // SAFETY: handed on to the caller.
    let Some(token) = (unsafe { Token::from_ctx(ctx) }) else { return otherwise };
    let Some(port) = token.port() else { return otherwise };
    match catch(|| work(&port)) {
        Ok(value) => value,
        Err(panic) => {
            tracing::error!(plugin = %port.name(), panic = %panic.0, "the host panicked in a callback: please report this");
            otherwise
        }
    }
}

/// A text of the plugin, or nothing when it is none.
///
/// # Safety
/// As for [`Str::get`].
unsafe fn text<'a>(value: Str) -> &'a str {
    let len = value.len.min(MAX_TEXT);
    // SAFETY: handed on to the caller; a shorter part of readable memory is readable.
    match unsafe { (Str { ptr: value.ptr, len }).get() } {
        Ok(text) => text,
        // SAFETY: as above; the bytes up to there are UTF-8.
        Err(abi::StrError::Utf8(good)) => unsafe { Str { ptr: value.ptr, len: good }.get() }.unwrap_or_default(),
        Err(abi::StrError::Length) => "",
    }
}

unsafe extern "C" fn host_log_level(ctx: *mut c_void) -> u32 {
    // SAFETY: the plugin passes its token.
    unsafe { with(ctx, log_level::ERROR, |_| log::wanted()) }
}

unsafe extern "C" fn host_log(ctx: *mut c_void, level: u32, target: Str, msg: Str, fields: Str) {
    // SAFETY: the plugin passes its token and texts that live for the call.
    unsafe { with(ctx, (), |port| log::write(port.name(), level, text(target), text(msg), text(fields))) }
}

unsafe extern "C" fn host_op_done(ctx: *mut c_void, op: u64, status: Status, detail: Str) {
    // SAFETY: as above.
    unsafe {
        with(ctx, (), |port| {
            if !port.ops.done(op, status, text(detail).to_owned()) {
                tracing::debug!(plugin = %port.name(), op, "an answer that nobody waits for");
            }
        });
    }
}

unsafe extern "C" fn host_fail(ctx: *mut c_void, status: Status, why: Str) {
    // SAFETY: as above.
    unsafe { with(ctx, (), |port| port.fail(status, &log::clean(text(why)))) }
}

unsafe extern "C" fn host_get_interface(ctx: *mut c_void, id: Str) -> *const c_void {
    // SAFETY: as above.
    unsafe {
        with(ctx, std::ptr::null(), |_| match text(id) {
            interface::HOST_TRANSPORT => (&raw const TRANSPORT).cast(),
            interface::HOST_DISCOVERY => (&raw const DISCOVERY).cast(),
            interface::HOST_ROUTING => (&raw const ROUTING).cast(),
            interface::HOST_STORE => (&raw const STORE).cast(),
            interface::HOST_IDENTITY => (&raw const IDENTITY).cast(),
            _ => std::ptr::null(),
        })
    }
}

unsafe extern "C" fn on_frames(ctx: *mut c_void, frames: *const Frame, n: usize) -> usize {
    // SAFETY: the plugin passes its token and frames that live for the call.
    unsafe {
        let mut batch = FrameBatch::from_raw(frames, n);
        with(ctx, (), |port| port.frames(&mut batch));
        // What was popped is ours, also when a panic followed.
        batch.taken()
    }
}

unsafe extern "C" fn on_unsent(ctx: *mut c_void, frames: *const Frame, n: usize) {
    // SAFETY: as above; all of the frames are ours, so all are popped.
    unsafe {
        let mut batch = FrameBatch::from_raw(frames, n);
        with(ctx, (), |port| port.unsent(&mut batch));
        while batch.pop().is_some() {}
    }
}

unsafe extern "C" fn on_writable(ctx: *mut c_void, link: u64) {
    // SAFETY: the plugin passes its token.
    unsafe { with(ctx, (), |port| port.writable(link)) }
}

unsafe extern "C" fn on_link(ctx: *mut c_void, event: *const LinkEvent) -> Status {
    // SAFETY: the plugin passes its token, and an event that lives, with its texts, for the call. Version 1.0 has no
    // optional fields, so a smaller one is a mistake.
    unsafe {
        with(ctx, Status::CLOSED, |port| {
            let Some(event) = event.as_ref().filter(|e| e.size as usize >= size_of::<LinkEvent>()) else {
                return Status::INVALID;
            };
            let Ok(binding) = event.channel_binding.get() else { return Status::INVALID };
            port.link_event(event, text(event.remote), binding, text(event.reason))
        })
    }
}

unsafe extern "C" fn on_peer(ctx: *mut c_void, kind: u32, op: u64, record: Str) -> Status {
    // SAFETY: the plugin passes its token and a text that lives for the call.
    unsafe { with(ctx, Status::CLOSED, |port| port.discovered(kind, op, text(record))) }
}

unsafe extern "C" fn on_read_only(ctx: *mut c_void, why: Str) -> Status {
    // SAFETY: as above.
    unsafe {
        with(ctx, Status::CLOSED, |port| match &port.role {
            Role::Store(events) => {
                let why = log::clean(text(why));
                events.read_only((!why.is_empty()).then_some(&why));
                Status::OK
            }
            _ => Status::REFUSED,
        })
    }
}

unsafe extern "C" fn send_control(ctx: *mut c_void, link: u64, bytes: Slice) -> Status {
    // SAFETY: as above.
    unsafe {
        with(ctx, Status::CLOSED, |port| match (&port.role, bytes.get()) {
            (Role::Routing(scratch), Ok(bytes)) => scratch.control(link, bytes),
            _ => Status::INVALID,
        })
    }
}

unsafe extern "C" fn invalidate(ctx: *mut c_void, destination: *const u8) -> Status {
    // SAFETY: the plugin passes its token, and NULL or 32 bytes.
    unsafe {
        with(ctx, Status::CLOSED, |port| match &port.role {
            Role::Routing(scratch) => scratch.invalidate(destination.cast::<[u8; 32]>().as_ref().copied()),
            _ => Status::INVALID,
        })
    }
}

unsafe extern "C" fn random(ctx: *mut c_void, out: *mut u8, len: usize) -> Status {
    // SAFETY: the plugin passes its token and `len` writable bytes.
    unsafe {
        with(ctx, Status::CLOSED, |port| {
            let Role::Routing(scratch) = &port.role else { return Status::INVALID };
            let mut bytes = vec![0; len.min(super::routing::MAX_RANDOM)];
            if out.is_null() || bytes.len() < len {
                return Status::INVALID;
            }
            let status = scratch.random(&mut bytes);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), out, len);
            status
        })
    }
}

/// # Safety
/// `out` is NULL or has room for `N` bytes.
unsafe fn put<const N: usize>(out: *mut u8, bytes: &[u8; N]) -> Status {
    if out.is_null() {
        return Status::INVALID;
    }
    // SAFETY: handed on to the caller.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), out, N) };
    Status::OK
}

unsafe extern "C" fn public_key(ctx: *mut c_void, out: *mut u8) -> Status {
    // SAFETY: the plugin passes its token and 32 writable bytes.
    unsafe { with(ctx, Status::CLOSED, |port| put(out, &port.identity.public_key())) }
}

unsafe extern "C" fn sign(ctx: *mut c_void, purpose: u32, message: Slice, out: *mut u8) -> Status {
    // SAFETY: the plugin passes its token, a message that lives for the call and 64 writable bytes.
    unsafe {
        with(ctx, Status::CLOSED, |port| {
            let Ok(message) = message.get() else { return Status::INVALID };
            match identity::sign(port.identity.as_ref(), port.id(), purpose, message) {
                Some(signature) => put(out, &signature),
                None => Status::REFUSED,
            }
        })
    }
}

unsafe extern "C" fn transport_subkey(ctx: *mut c_void, out: *mut u8) -> Status {
    // SAFETY: the plugin passes its token and 32 writable bytes.
    unsafe { with(ctx, Status::CLOSED, |port| put(out, &port.identity.subkey(port.id()))) }
}

unsafe extern "C" fn secret(ctx: *mut c_void, out: *mut u8) -> Status {
    // SAFETY: the plugin passes its token and 32 writable bytes.
    unsafe {
        with(ctx, Status::CLOSED, |port| match port.secret() {
            Some(secret) => put(out, &secret),
            None => Status::REFUSED,
        })
    }
}
