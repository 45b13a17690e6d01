#![allow(unsafe_code, reason = "the host's side of the C boundary, for plugins under trial")]

use std::ffi::c_void;

use super::shape::Shape;
use super::stage::{Stage, inside};
use super::state::LinkNote;
use crate::abi::{
    self, ABI_MINOR, Frame, HostDiscovery, HostIdentity, HostRouting, HostStore, HostTransport, LinkEvent, Slice,
    Status, Str, frame_flags, interface, link_event, link_flags,
};

/// Largest number of a link.
const MAX_LINK: u64 = (1 << 48) - 1;
/// Smallest `max_frame`.
const LEAST_FRAME: u32 = 512;
/// Longest channel binding.
const MAX_BINDING: usize = 256;
/// How long the host dawdles in an `on_frames` that it takes in part.
const DAWDLE: std::time::Duration = std::time::Duration::from_micros(500);
/// Longest record of a peer.
const MAX_RECORD: usize = 4096;
/// Largest control message of routing.
const MAX_CONTROL: usize = 16 * 1024;

/// A struct with what a later version would append: functions that nobody of today knows.
#[repr(C)]
struct Grown<T> {
    base: T,
    more: [Option<unsafe extern "C" fn(*mut c_void) -> Status>; 8],
}

/// The structs of one host.
pub(super) struct Vtables {
    host: Grown<abi::Host>,
    transport: Grown<HostTransport>,
    discovery: Grown<HostDiscovery>,
    routing: Grown<HostRouting>,
    store: Grown<HostStore>,
    identity: Grown<HostIdentity>,
}

fn grown<T>(base: T) -> Grown<T> {
    Grown { base, more: [Some(trap); 8] }
}

fn size<T>(shape: Shape, oldest: usize) -> u32 {
    let size = match shape {
        Shape::Newer => size_of::<Grown<T>>(),
        Shape::Oldest => oldest,
        Shape::Today | Shape::Poor => size_of::<T>(),
    };
    size as u32
}

impl Vtables {
    pub(super) fn new(shape: Shape, ctx: *mut c_void) -> Self {
        let abi_minor = match shape {
            Shape::Newer => ABI_MINOR + 1,
            Shape::Oldest => 0,
            Shape::Today | Shape::Poor => ABI_MINOR,
        };
        Self {
            host: grown(abi::Host {
                size: size::<abi::Host>(shape, size_of::<abi::Host>()),
                abi_minor,
                ctx,
                log_level: Some(log_level),
                log: Some(log),
                op_done: Some(op_done),
                fail: Some(fail),
                get_interface: Some(get_interface),
            }),
            transport: grown(HostTransport {
                size: size::<HostTransport>(shape, size_of::<HostTransport>()),
                rsvd: 0,
                on_frames: Some(on_frames),
                on_writable: Some(on_writable),
                on_link: Some(on_link),
                on_unsent: Some(on_unsent),
            }),
            discovery: grown(HostDiscovery {
                size: size::<HostDiscovery>(shape, size_of::<HostDiscovery>()),
                rsvd: 0,
                on_peer: Some(on_peer),
            }),
            routing: grown(HostRouting {
                size: size::<HostRouting>(shape, size_of::<HostRouting>()),
                rsvd: 0,
                send_control: Some(send_control),
                invalidate: Some(invalidate),
                random: Some(random),
            }),
            store: grown(HostStore {
                size: size::<HostStore>(shape, size_of::<HostStore>()),
                rsvd: 0,
                on_read_only: Some(on_read_only),
            }),
            identity: grown(HostIdentity {
                size: size::<HostIdentity>(shape, HostIdentity::SIZE_1_0),
                rsvd: 0,
                public_key: Some(public_key),
                sign: Some(sign),
                transport_subkey: Some(transport_subkey),
                secret: Some(secret),
            }),
        }
    }

    /// The struct that `create` gets.
    pub(super) fn host(&'static self) -> *const abi::Host {
        &self.host.base
    }
}

// SAFETY: immutable after it was made; the pointers in it are tokens.
unsafe impl Sync for Vtables {}
// SAFETY: as above.
unsafe impl Send for Vtables {}

/// # Safety
/// `ctx` came from [`Stage::ctx`].
unsafe fn stage(ctx: *mut c_void) -> Option<&'static Stage> {
    // SAFETY: the plugin hands back what it was given, and stages are never freed.
    unsafe { ctx.cast::<Stage>().as_ref() }
}

/// Text of the plugin; what is none is noted.
///
/// # Safety
/// The text is readable for the call, if it is one.
unsafe fn text(stage: &Stage, function: &str, what: &str, value: Str) -> String {
    // SAFETY: handed on to the caller.
    match unsafe { value.get() } {
        Ok(text) => text.to_owned(),
        Err(why) => {
            stage.change(|state| state.broken(format!("{function}: the {what} is no text: {why}")));
            String::new()
        }
    }
}

/// Stands where the struct's size says that nothing does.
unsafe extern "C" fn trap(ctx: *mut c_void) -> Status {
    // SAFETY: a plugin that gets here passes its ctx first, as everywhere.
    if let Some(stage) = unsafe { stage(ctx) } {
        stage.change(|state| {
            state.broken("it called a function that lies behind the end of the host's struct".to_owned());
        });
    }
    Status::UNSUPPORTED
}

// SAFETY, for all below: the plugin passes the ctx of its host struct, and texts, frames and structs that live for the call.

unsafe extern "C" fn log_level(ctx: *mut c_void) -> u32 {
    // SAFETY: see above.
    if let Some(stage) = unsafe { stage(ctx) } {
        stage.called("log_level");
    }
    abi::log_level::TRACE
}

unsafe extern "C" fn log(ctx: *mut c_void, _level: u32, target: Str, msg: Str, fields: Str) {
    // SAFETY: see above.
    unsafe {
        let Some(stage) = stage(ctx) else { return };
        stage.called("log");
        text(stage, "log", "target", target);
        text(stage, "log", "message", msg);
        let fields = text(stage, "log", "fields", fields);
        if !fields.is_empty() && !matches!(serde_json::from_str(&fields), Ok(serde_json::Value::Object(_))) {
            stage.change(|state| state.broken(format!("log: the fields are no JSON object: {fields}")));
        }
    }
}

unsafe extern "C" fn op_done(ctx: *mut c_void, op: u64, status: Status, detail: Str) {
    // SAFETY: see above.
    let Some(stage) = (unsafe { stage(ctx) }) else { return };
    stage.called("op_done");
    // SAFETY: see above.
    let detail = unsafe { text(stage, "op_done", "detail", detail) };
    stage.change(|state| match state.ops.get_mut(&op) {
        None => state.broken(format!("op_done for operation {op}, which the host never began")),
        Some(answers) => {
            answers.push((status, detail));
            if answers.len() > 1 {
                state.broken(format!("op_done came twice for operation {op}"));
            }
        }
    });
}

unsafe extern "C" fn fail(ctx: *mut c_void, status: Status, why: Str) {
    // SAFETY: see above.
    let Some(stage) = (unsafe { stage(ctx) }) else { return };
    stage.called("fail");
    // SAFETY: see above.
    let why = unsafe { text(stage, "fail", "reason", why) };
    stage.change(|state| {
        if state.started {
            state.broken(format!("it gave up ({status}): {why}"));
        }
        state.failures.push((status, why));
    });
}

unsafe extern "C" fn get_interface(ctx: *mut c_void, id: Str) -> *const c_void {
    // SAFETY: see above.
    let Some(stage) = (unsafe { stage(ctx) }) else { return std::ptr::null() };
    stage.called("get_interface");
    if stage.shape == Shape::Poor {
        return std::ptr::null();
    }
    let tables = stage.vtables();
    // SAFETY: see above.
    match unsafe { text(stage, "get_interface", "id", id) }.as_str() {
        interface::HOST_TRANSPORT => std::ptr::from_ref(&tables.transport.base).cast(),
        interface::HOST_DISCOVERY => std::ptr::from_ref(&tables.discovery.base).cast(),
        interface::HOST_ROUTING => std::ptr::from_ref(&tables.routing.base).cast(),
        interface::HOST_STORE => std::ptr::from_ref(&tables.store.base).cast(),
        interface::HOST_IDENTITY => std::ptr::from_ref(&tables.identity.base).cast(),
        _ => std::ptr::null(),
    }
}

/// Notes a call that may not come from inside a call of the transport.
fn not_inside(stage: &Stage, function: &str) {
    stage.called(function);
    if let Some(outer) = inside().filter(|outer| TRANSPORT_CALLS.contains(outer)) {
        stage.change(|state| state.broken(format!("it called {function} from inside {outer}, on the same thread")));
    }
}

/// The functions of a transport, from inside of which most of the host may not be called.
const TRANSPORT_CALLS: [&str; 6] = ["listen", "dial", "close", "send", "resume", "stats"];

/// The frames of a call, as copies; each that the host owns now is released.
///
/// # Safety
/// `frames` is NULL or points to `n` frames.
unsafe fn copy(frames: *const Frame, n: usize, own: usize) -> Vec<Vec<u8>> {
    if frames.is_null() {
        return Vec::new();
    }
    // SAFETY: handed on to the caller.
    let frames = unsafe { std::slice::from_raw_parts(frames, n) };
    let mut copies = Vec::with_capacity(own);
    for frame in frames.iter().take(own) {
        // SAFETY: the plugin lends or gives the bytes.
        let bytes = unsafe { Slice { ptr: frame.buf.data, len: frame.buf.len }.get() };
        copies.push(bytes.unwrap_or_default().to_vec());
        if let (Some(release), true) = (frame.buf.release, frame.flags & frame_flags::BORROWED == 0) {
            // SAFETY: the frame was accepted, so it is the host's to release, once.
            unsafe { release(frame.buf.owner) };
        }
    }
    copies
}

unsafe extern "C" fn on_frames(ctx: *mut c_void, frames: *const Frame, n: usize) -> usize {
    // SAFETY: see above.
    let (Some(stage), Some(first)) = (unsafe { stage(ctx) }, unsafe { frames.as_ref() }) else { return 0 };
    not_inside(stage, "on_frames");
    let link = first.link;
    if !stage.delivering.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(link) {
        stage.change(|state| state.broken(format!("two threads called on_frames for link {link} at once")));
    }
    let take = stage.change(|state| {
        let fit = state.appetite.take(n);
        match state.links.get(&link) {
            None => state.broken(format!("frames came for link {link} before it was up")),
            Some(note) if note.refused => state.broken(format!("frames came for link {link}, which the host refused")),
            Some(note) if note.down.is_some() => state.broken(format!("frames came for link {link} after it was down")),
            Some(_) => {}
        }
        fit
    });
    // SAFETY: see above; the first `take` frames are ours from here on.
    let copies = unsafe { copy(frames, n, take) };
    stage.change(|state| {
        if let Some(note) = state.links.get_mut(&link) {
            note.frames.extend(copies);
        }
        if take < n {
            state.owed.push(link);
        }
    });
    if take < n {
        // Time for `resume` to come before this returns: a plugin that forgets it stands still.
        std::thread::sleep(DAWDLE);
    }
    stage.delivering.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&link);
    take
}

unsafe extern "C" fn on_writable(ctx: *mut c_void, link: u64) {
    // SAFETY: see above.
    if let Some(stage) = unsafe { stage(ctx) } {
        stage.called("on_writable");
        stage.change(|state| *state.writable.entry(link).or_default() += 1);
    }
}

unsafe extern "C" fn on_unsent(ctx: *mut c_void, frames: *const Frame, n: usize) {
    // SAFETY: see above.
    let (Some(stage), Some(first)) = (unsafe { stage(ctx) }, unsafe { frames.as_ref() }) else { return };
    not_inside(stage, "on_unsent");
    let link = first.link;
    // SAFETY: see above; all frames are ours from here on.
    let copies = unsafe { copy(frames, n, n) };
    stage.change(|state| match state.links.get_mut(&link) {
        None => state.broken(format!("unsent frames came for link {link}, which never was up")),
        Some(note) if note.down.is_some() => {
            state.broken(format!("unsent frames came for link {link} after it was down: they belong before DOWN"));
        }
        Some(note) => note.unsent.extend(copies),
    });
}

unsafe extern "C" fn on_link(ctx: *mut c_void, event: *const LinkEvent) -> Status {
    // SAFETY: see above.
    let (Some(stage), Some(event)) = (unsafe { stage(ctx) }, unsafe { event.as_ref() }) else { return Status::INVALID };
    not_inside(stage, "on_link");
    // SAFETY: see above.
    let (remote, reason, binding) = unsafe {
        let binding = event.channel_binding.get().unwrap_or_default().to_vec();
        (text(stage, "on_link", "remote", event.remote), text(stage, "on_link", "reason", event.reason), binding)
    };
    stage.change(|state| match event.kind {
        link_event::UP => {
            for why in wrong_link(event, &remote, &binding) {
                state.broken(format!("link {} came up {why}", event.link));
            }
            if state.links.contains_key(&event.link) {
                state.broken(format!("link {} came up twice, or its number was used again", event.link));
            }
            let refused = state.refuse;
            let note = LinkNote {
                op: event.op,
                flags: event.flags,
                max_frame: event.max_frame,
                peer: event.peer,
                remote,
                binding,
                refused,
                ..LinkNote::default()
            };
            state.links.insert(event.link, note);
            if refused { Status::REFUSED } else { Status::OK }
        }
        link_event::DOWN => {
            match state.links.get_mut(&event.link) {
                None => state.broken(format!("link {} went down and never was up", event.link)),
                Some(note) if note.down.is_some() => state.broken(format!("link {} went down twice", event.link)),
                Some(note) => note.down = Some(reason),
            }
            Status::OK
        }
        link_event::PATH => {
            if state.links.get(&event.link).is_none_or(|note| note.down.is_some()) {
                state.broken(format!("link {} changed its path and isn't up", event.link));
            }
            Status::OK
        }
        other => {
            state.broken(format!("a link event of unknown kind {other}"));
            Status::INVALID
        }
    })
}

/// What is wrong with a link that came up.
fn wrong_link(event: &LinkEvent, remote: &str, binding: &[u8]) -> Vec<String> {
    let mut wrong = Vec::new();
    if (event.size as usize) < size_of::<LinkEvent>() {
        wrong.push(format!("in an event of {} bytes; version 1.0 has {}", event.size, size_of::<LinkEvent>()));
    }
    if !(1..=MAX_LINK).contains(&event.link) {
        wrong.push("with a number that is not from 1 to 2^48 - 1".to_owned());
    }
    if event.max_frame < LEAST_FRAME {
        wrong.push(format!("with max_frame {}; at least {LEAST_FRAME} is needed", event.max_frame));
    }
    if !remote.contains("://") {
        wrong.push(format!("with the remote `{remote}`, which is no URI"));
    }
    if binding.len() > MAX_BINDING {
        wrong.push(format!("with a channel binding of {} bytes; {MAX_BINDING} are allowed", binding.len()));
    }
    let outbound = event.flags & link_flags::OUTBOUND != 0;
    if outbound != (event.op != 0) {
        wrong.push("OUTBOUND without the number of its dial, or the other way round".to_owned());
    }
    wrong
}

unsafe extern "C" fn on_peer(ctx: *mut c_void, kind: u32, op: u64, record: Str) -> Status {
    // SAFETY: see above.
    let Some(stage) = (unsafe { stage(ctx) }) else { return Status::CLOSED };
    stage.called("on_peer");
    // SAFETY: see above.
    let record = unsafe { text(stage, "on_peer", "record", record) };
    stage.change(|state| {
        if record.len() > MAX_RECORD {
            state.broken(format!("on_peer: a record of {} bytes; {MAX_RECORD} are allowed", record.len()));
        }
        if !matches!(serde_json::from_str(&record), Ok(serde_json::Value::Object(_))) {
            state.broken("on_peer: the record is no JSON object".to_owned());
        }
        if !(abi::peer_event::FOUND..=abi::peer_event::LOST).contains(&kind) {
            state.broken(format!("on_peer: unknown kind {kind}"));
        }
        state.peers.push((kind, op, record));
    });
    Status::OK
}

/// Notes a call of the host that may come only from inside a call of the routing plugin.
fn only_inside(stage: &Stage, function: &str) {
    stage.called(function);
    if stage.inside_only && inside().is_none() {
        stage.change(|state| state.broken(format!("it called {function} from outside a call of the host")));
    }
}

unsafe extern "C" fn send_control(ctx: *mut c_void, link: u64, bytes: Slice) -> Status {
    // SAFETY: see above.
    let Some(stage) = (unsafe { stage(ctx) }) else { return Status::CLOSED };
    only_inside(stage, "send_control");
    // SAFETY: see above.
    let bytes = unsafe { bytes.get() }.unwrap_or_default().to_vec();
    stage.change(|state| {
        if bytes.len() > MAX_CONTROL {
            state.broken(format!("send_control: {} bytes; {MAX_CONTROL} are allowed", bytes.len()));
            return Status::INVALID;
        }
        state.controls.push((link, bytes));
        Status::OK
    })
}

unsafe extern "C" fn invalidate(ctx: *mut c_void, _destination: *const u8) -> Status {
    // SAFETY: see above.
    let Some(stage) = (unsafe { stage(ctx) }) else { return Status::CLOSED };
    only_inside(stage, "invalidate");
    stage.change(|state| state.invalidated += 1);
    Status::OK
}

unsafe extern "C" fn random(ctx: *mut c_void, out: *mut u8, len: usize) -> Status {
    // SAFETY: see above.
    let Some(stage) = (unsafe { stage(ctx) }) else { return Status::CLOSED };
    only_inside(stage, "random");
    if out.is_null() || len > MAX_RECORD {
        return Status::INVALID;
    }
    // SAFETY: the plugin gives room for `len` bytes.
    let out = unsafe { std::slice::from_raw_parts_mut(out, len) };
    stage.change(|state| state.random.get_or_insert_with(|| super::Random::new(1)).fill(out));
    Status::OK
}

unsafe extern "C" fn on_read_only(ctx: *mut c_void, _why: Str) -> Status {
    // SAFETY: see above.
    if let Some(stage) = unsafe { stage(ctx) } {
        stage.called("on_read_only");
    }
    Status::OK
}

/// Writes an array of the host to the plugin's memory.
///
/// # Safety
/// `out` is NULL or has room for `N` bytes.
unsafe fn give<const N: usize>(out: *mut u8, bytes: &[u8; N]) -> Status {
    if out.is_null() {
        return Status::INVALID;
    }
    // SAFETY: handed on to the caller.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), out, N) };
    Status::OK
}

unsafe extern "C" fn public_key(ctx: *mut c_void, out: *mut u8) -> Status {
    // SAFETY: see above.
    unsafe {
        let Some(stage) = stage(ctx) else { return Status::CLOSED };
        stage.called("public_key");
        give(out, &stage.identity.public_key())
    }
}

unsafe extern "C" fn sign(ctx: *mut c_void, purpose: u32, message: Slice, out: *mut u8) -> Status {
    // SAFETY: see above.
    unsafe {
        let Some(stage) = stage(ctx) else { return Status::CLOSED };
        stage.called("sign");
        let message = message.get().unwrap_or_default();
        stage.identity.sign(&stage.plugin_id, purpose, message).map_or(Status::REFUSED, |signed| give(out, &signed))
    }
}

unsafe extern "C" fn transport_subkey(ctx: *mut c_void, out: *mut u8) -> Status {
    // SAFETY: see above.
    unsafe {
        let Some(stage) = stage(ctx) else { return Status::CLOSED };
        stage.called("transport_subkey");
        give(out, &stage.identity.subkey(&stage.plugin_id))
    }
}

unsafe extern "C" fn secret(ctx: *mut c_void, out: *mut u8) -> Status {
    // SAFETY: see above.
    unsafe {
        let Some(stage) = stage(ctx) else { return Status::CLOSED };
        stage.called("secret");
        if stage.shape == Shape::Oldest {
            return trap(ctx);
        }
        give(out, &stage.identity.secret())
    }
}
