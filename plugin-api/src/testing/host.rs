//! The host's side of the boundary.
#![allow(unsafe_code, reason = "plays the host's side of the C boundary")]
#![allow(clippy::print_stderr, reason = "the log of a test")]

use std::ffi::c_void;
use std::sync::{Condvar, Mutex};

use super::{Keys, Told, Up};
use crate::FrameBatch;
use crate::abi::{self, HostIdentity, HostTransport, LinkEvent, Slice, Status, Str, link_event, link_flags};

/// One host, for one instance. It is never freed, as the ABI asks: a late call must meet a live host.
pub(super) struct Host {
    pub(super) keys: Keys,
    pub(super) told: Mutex<Told>,
    pub(super) changed: Condvar,
}

impl Host {
    pub(super) fn new(keys: Keys) -> &'static Self {
        Box::leak(Box::new(Self { keys, told: Mutex::default(), changed: Condvar::new() }))
    }

    /// The struct that `create` gets.
    pub(super) fn raw(&'static self) -> &'static abi::Host {
        Box::leak(Box::new(abi::Host {
            size: size_of::<abi::Host>() as u32,
            abi_minor: abi::ABI_MINOR,
            ctx: std::ptr::from_ref(self).cast_mut().cast(),
            log_level: Some(log_level),
            log: Some(log),
            op_done: Some(op_done),
            fail: Some(fail),
            get_interface: Some(get_interface),
        }))
    }
}

static TRANSPORT: HostTransport = HostTransport {
    size: size_of::<HostTransport>() as u32,
    rsvd: 0,
    on_frames: Some(on_frames),
    on_writable: Some(on_writable),
    on_link: Some(on_link),
    on_unsent: Some(on_unsent),
};

static IDENTITY: HostIdentity = HostIdentity {
    size: size_of::<HostIdentity>() as u32,
    rsvd: 0,
    public_key: Some(public_key),
    sign: Some(sign),
    transport_subkey: Some(transport_subkey),
    secret: Some(secret),
};

// SAFETY, for all below: `ctx` is always a leaked host, and the plugin lends texts, frames and structs for the call.

fn host(ctx: *mut c_void) -> &'static Host {
    // SAFETY: see above.
    unsafe { &*ctx.cast::<Host>() }
}

fn note<R>(ctx: *mut c_void, note: impl FnOnce(&mut Told) -> R) -> R {
    let host = host(ctx);
    let noted = note(&mut host.told.lock().expect("no assertion has failed here"));
    host.changed.notify_all();
    noted
}

fn text(value: Str) -> String {
    // SAFETY: see above.
    unsafe { value.get() }.expect("text is UTF-8").to_owned()
}

unsafe extern "C" fn log_level(_: *mut c_void) -> u32 {
    abi::log_level::DEBUG
}

unsafe extern "C" fn log(ctx: *mut c_void, level: u32, _: Str, message: Str, _: Str) {
    let line = text(message);
    // Errors always: the plugin's panic hook sends the words of a failed assertion here too.
    if level <= abi::log_level::ERROR || std::env::var_os("QPQ_TEST_LOG").is_some() {
        eprintln!("{level} {line}");
    }
    note(ctx, |told| told.log.push((level, line)));
}

unsafe extern "C" fn op_done(ctx: *mut c_void, op: u64, status: Status, detail: Str) {
    let before = note(ctx, |told| told.ops.insert(op, (status, text(detail))));
    assert!(before.is_none(), "operation {op} was answered twice");
}

unsafe extern "C" fn fail(ctx: *mut c_void, _: Status, why: Str) {
    note(ctx, |told| told.failures.push(text(why)));
}

unsafe extern "C" fn get_interface(_: *mut c_void, id: Str) -> *const c_void {
    match text(id).as_str() {
        abi::interface::HOST_TRANSPORT => std::ptr::from_ref(&TRANSPORT).cast(),
        abi::interface::HOST_IDENTITY => std::ptr::from_ref(&IDENTITY).cast(),
        _ => std::ptr::null(),
    }
}

/// Writes what there is.
fn give<const N: usize>(bytes: Option<[u8; N]>, out: *mut u8) -> Status {
    let Some(bytes) = bytes else { return Status::REFUSED };
    // SAFETY: `out` has room for as many bytes as the function is asked for.
    unsafe { out.cast::<[u8; N]>().write(bytes) };
    Status::OK
}

unsafe extern "C" fn public_key(ctx: *mut c_void, out: *mut u8) -> Status {
    give(Some(host(ctx).keys.public), out)
}

unsafe extern "C" fn sign(ctx: *mut c_void, purpose: u32, message: Slice, out: *mut u8) -> Status {
    assert_eq!(purpose, abi::sign_purpose::TLS13);
    // SAFETY: see above.
    let message = unsafe { message.get() }.expect("a message");
    assert!(message.starts_with(&[0x20; 64]), "only the content of a CertificateVerify is signed");
    give(host(ctx).keys.sign.as_ref().map(|sign| sign(message)), out)
}

unsafe extern "C" fn transport_subkey(ctx: *mut c_void, out: *mut u8) -> Status {
    give(host(ctx).keys.subkey, out)
}

unsafe extern "C" fn secret(ctx: *mut c_void, out: *mut u8) -> Status {
    give(host(ctx).keys.secret, out)
}

unsafe extern "C" fn on_frames(ctx: *mut c_void, frames: *const abi::Frame, n: usize) -> usize {
    // SAFETY: see above.
    let mut batch = unsafe { FrameBatch::from_raw(frames, n) };
    note(ctx, |told| {
        while let Some(link) = batch.link().filter(|_| told.room > 0) {
            assert!(told.up.contains_key(&link) && !told.down.contains_key(&link), "frames only between UP and DOWN");
            told.room -= 1;
            let frame = batch.pop().expect("there is one").to_vec();
            told.frames.entry(link).or_default().push(frame);
        }
        batch.taken()
    })
}

unsafe extern "C" fn on_writable(ctx: *mut c_void, link: u64) {
    note(ctx, |told| told.writable.push(link));
}

unsafe extern "C" fn on_link(ctx: *mut c_void, event: *const LinkEvent) -> Status {
    // SAFETY: see above.
    let event = unsafe { &*event };
    let has = |bit| event.flags & bit != 0;
    note(ctx, |told| {
        match event.kind {
            link_event::UP if told.refuse_links => return Status::REFUSED,
            link_event::UP => {
                let up = Up {
                    op: event.op,
                    outbound: has(link_flags::OUTBOUND),
                    reliable: has(link_flags::RELIABLE),
                    relayed: has(link_flags::RELAYED),
                    peer: has(link_flags::PEER_PROVEN).then_some(event.peer),
                    remote: text(event.remote),
                    max_frame: event.max_frame,
                    // SAFETY: see above.
                    channel_binding: unsafe { event.channel_binding.get() }.expect("bytes").to_vec(),
                };
                assert!(told.up.insert(event.link, up).is_none(), "a link number was used twice");
            }
            link_event::DOWN => {
                assert!(told.down.insert(event.link, text(event.reason)).is_none(), "DOWN came twice");
            }
            link_event::PATH => told.paths.push((event.link, text(event.remote), has(link_flags::RELAYED))),
            _ => return Status::UNSUPPORTED,
        }
        Status::OK
    })
}

unsafe extern "C" fn on_unsent(ctx: *mut c_void, frames: *const abi::Frame, n: usize) {
    // SAFETY: see above.
    let mut batch = unsafe { FrameBatch::from_raw(frames, n) };
    note(ctx, |told| {
        while let Some(frame) = batch.pop() {
            told.unsent.push(frame.to_vec());
        }
    });
}
