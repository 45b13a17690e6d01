//! A host that writes down what it is told.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::abi::{self, Frame, LinkEvent, Out, Slice, Status, Str, interface};
use crate::export::{Exported, Parts};
use crate::sdk::frames::FrameBatch;
use crate::sdk::plugin::Plugin;

/// Every host that was made: they live for ever, as the ABI promises, and stay reachable.
static ALL: Mutex<Vec<&'static FakeHost>> = Mutex::new(Vec::new());

pub(super) struct FakeHost {
    pub(super) lines: Mutex<Vec<String>>,
    pub(super) frames: Mutex<Vec<Bytes>>,
    /// How many more frames it takes.
    pub(super) room: Mutex<usize>,
    raw: Mutex<Option<&'static abi::Host>>,
}

impl FakeHost {
    pub(super) fn new() -> &'static Self {
        let host: &'static Self = Box::leak(Box::new(Self {
            lines: Mutex::default(),
            frames: Mutex::default(),
            room: Mutex::new(usize::MAX),
            raw: Mutex::new(None),
        }));
        let raw = Box::leak(Box::new(abi::Host {
            size: size_of::<abi::Host>() as u32,
            abi_minor: 0,
            ctx: std::ptr::from_ref(host).cast_mut().cast(),
            log_level: Some(log_level),
            log: Some(log),
            op_done: Some(op_done),
            fail: Some(fail),
            get_interface: Some(get_interface),
        }));
        *host.raw.lock().expect("unpoisoned") = Some(raw);
        ALL.lock().unwrap_or_else(PoisonError::into_inner).push(host);
        host
    }

    pub(super) fn raw(&self) -> &'static abi::Host {
        self.raw.lock().expect("unpoisoned").expect("set in new")
    }

    fn note(&self, line: String) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// What it was told since the last time, without log messages: panics of tests that run beside this one are among them.
    pub(super) fn told(&self) -> Vec<String> {
        let mut told = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        told.retain(|line| !line.starts_with("log "));
        told
    }
}

unsafe fn host(ctx: *mut c_void) -> &'static FakeHost {
    // SAFETY: the tests pass the pointer that `new` made.
    unsafe { &*ctx.cast::<FakeHost>() }
}

unsafe fn text<'a>(text: Str) -> &'a str {
    // SAFETY: the SDK passes texts that live for the call.
    unsafe { text.get() }.expect("UTF-8")
}

unsafe extern "C" fn log_level(_: *mut c_void) -> u32 {
    abi::log_level::WARN
}

unsafe extern "C" fn log(ctx: *mut c_void, level: u32, _target: Str, msg: Str, fields: Str) {
    // SAFETY: as for `host` and `text`.
    unsafe { host(ctx).note(format!("log {level} {} {}", text(msg), text(fields)).trim_end().to_owned()) }
}

unsafe extern "C" fn op_done(ctx: *mut c_void, op: u64, status: Status, detail: Str) {
    // SAFETY: as above.
    unsafe { host(ctx).note(format!("op {op} {status} {}", text(detail))) }
}

unsafe extern "C" fn fail(ctx: *mut c_void, status: Status, why: Str) {
    // SAFETY: as above.
    unsafe { host(ctx).note(format!("fail {status} {}", text(why))) }
}

unsafe extern "C" fn get_interface(_: *mut c_void, id: Str) -> *const c_void {
    // SAFETY: as above.
    match unsafe { text(id) } {
        interface::HOST_TRANSPORT => (&raw const TRANSPORT).cast(),
        interface::HOST_ROUTING => (&raw const ROUTING).cast(),
        interface::HOST_DISCOVERY => (&raw const DISCOVERY).cast(),
        interface::HOST_STORE => (&raw const STORE).cast(),
        _ => std::ptr::null(),
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

static ROUTING: abi::HostRouting = abi::HostRouting {
    size: size_of::<abi::HostRouting>() as u32,
    rsvd: 0,
    send_control: Some(send_control),
    invalidate: Some(invalidate),
    random: Some(random),
};

static DISCOVERY: abi::HostDiscovery =
    abi::HostDiscovery { size: size_of::<abi::HostDiscovery>() as u32, rsvd: 0, on_peer: Some(on_peer) };

static STORE: abi::HostStore =
    abi::HostStore { size: size_of::<abi::HostStore>() as u32, rsvd: 0, on_read_only: Some(on_read_only) };

unsafe extern "C" fn on_frames(ctx: *mut c_void, frames: *const Frame, n: usize) -> usize {
    // SAFETY: as above; the frames live for the call.
    unsafe {
        let mut batch = FrameBatch::from_raw(frames, n);
        let mut room = host(ctx).room.lock().expect("unpoisoned");
        while *room > 0 {
            let Some(frame) = batch.pop() else { break };
            *room -= 1;
            host(ctx).frames.lock().expect("unpoisoned").push(frame);
        }
        batch.taken()
    }
}

unsafe extern "C" fn on_writable(ctx: *mut c_void, link: u64) {
    // SAFETY: as above.
    unsafe { host(ctx).note(format!("writable {link}")) }
}

unsafe extern "C" fn on_link(ctx: *mut c_void, event: *const LinkEvent) -> Status {
    // SAFETY: as above; the event lives for the call.
    unsafe {
        let event = &*event;
        let (remote, reason) = (text(event.remote), text(event.reason));
        host(ctx).note(format!("link {} {} op {} {remote}{reason}", event.kind, event.link, event.op));
    }
    Status::OK
}

unsafe extern "C" fn on_unsent(ctx: *mut c_void, frames: *const Frame, n: usize) {
    // SAFETY: as above; all frames belong to the host.
    unsafe {
        let mut batch = FrameBatch::from_raw(frames, n);
        while batch.pop().is_some() {}
        host(ctx).note(format!("unsent {}", batch.taken()));
    }
}

unsafe extern "C" fn send_control(ctx: *mut c_void, link: u64, bytes: Slice) -> Status {
    // SAFETY: as above.
    unsafe { host(ctx).note(format!("control {link} {:?}", bytes.get().expect("bytes"))) };
    Status::OK
}

unsafe extern "C" fn invalidate(ctx: *mut c_void, destination: *const u8) -> Status {
    // SAFETY: as above.
    unsafe { host(ctx).note(format!("invalidate {}", if destination.is_null() { "all" } else { "one" })) };
    Status::OK
}

unsafe extern "C" fn random(_: *mut c_void, out: *mut u8, len: usize) -> Status {
    // SAFETY: the SDK passes `len` writable bytes.
    unsafe { std::ptr::write_bytes(out, 4, len) };
    Status::OK
}

unsafe extern "C" fn on_peer(ctx: *mut c_void, kind: u32, op: u64, record: Str) -> Status {
    // SAFETY: as above.
    unsafe { host(ctx).note(format!("peer {kind} {op} {}", text(record))) };
    Status::OK
}

unsafe extern "C" fn on_read_only(ctx: *mut c_void, why: Str) -> Status {
    // SAFETY: as above.
    unsafe { host(ctx).note(format!("read-only {}", text(why))) };
    Status::OK
}

/// An instance, driven as the host drives it.
pub(super) struct Driven {
    pub(super) descriptor: abi::Plugin,
    pub(super) raw: *mut c_void,
}

impl Driven {
    /// Creates an instance of `P`.
    pub(super) fn create<P: Plugin>(host: &FakeHost, config: &str) -> Result<Self, Status> {
        let parts = Parts {
            id: "test",
            kind: "transport",
            version: "1",
            licence: "MIT",
            interfaces: "",
            needs: "",
            config_schema: "",
            exclusive: false,
            overlaps: false,
            schemes: "",
            unwinds: true,
        };
        unsafe extern "C" fn none(_: Str) -> *const c_void {
            std::ptr::null()
        }
        let descriptor = Exported::<P>::descriptor(parts, none);
        let mut raw = std::ptr::null_mut();
        // SAFETY: the host lives for ever, the texts and `raw` for the call.
        let status =
            unsafe { descriptor.create.expect("set")(host.raw(), Str::new("t"), Str::new(config), &raw mut raw) };
        if status.is_ok() { Ok(Self { descriptor, raw }) } else { Err(status) }
    }

    pub(super) fn start(&self, op: u64) -> Status {
        // SAFETY: created and not destroyed.
        unsafe { self.descriptor.start.expect("set")(self.raw, op) }
    }

    pub(super) fn stop(&self) -> Status {
        // SAFETY: created and not destroyed.
        unsafe { self.descriptor.stop.expect("set")(self.raw, 1000) }
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        // SAFETY: created, and destroyed once.
        unsafe { self.descriptor.destroy.expect("set")(self.raw) };
    }
}

/// A vtable as the host holds it.
pub(super) fn vtable<V: Copy>(pointer: *const c_void) -> V {
    // SAFETY: the tests name the type that belongs to the function they ask.
    unsafe { *pointer.cast::<V>() }
}

/// What `call` writes.
pub(super) fn written(call: impl FnOnce(Out) -> Status) -> String {
    unsafe extern "C" fn write(ctx: *mut c_void, text: Str) {
        // SAFETY: the buffer below lives for the call.
        unsafe { (*ctx.cast::<String>()).push_str(text.get().expect("UTF-8")) };
    }
    let mut buffer = String::new();
    assert_eq!(call(Out { ctx: (&raw mut buffer).cast(), write: Some(write) }), Status::OK);
    buffer
}
