//! A host double: it drives an instance of the plugin through the C ABI alone, as the real host does.
#![allow(unsafe_code, reason = "plays the host's side of the C boundary")]
#![allow(clippy::print_stderr, reason = "the log of a test")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod bad;
pub mod pki;
pub mod server;
pub mod stranger;

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer, SigningKey};
use qpq_plugin_api::abi::{self, HostIdentity, HostTransport, LinkEvent, Slice, Status, Str, link_event, link_flags};
use qpq_plugin_api::{Bytes, FrameBatch, offer};

use self::pki::{Ca, Files};

/// How long anything may take that should happen at once.
pub const SOON: Duration = Duration::from_secs(10);

/// What the host was told of a link.
#[derive(Debug, Clone)]
pub struct Up {
    pub op: u64,
    pub outbound: bool,
    pub reliable: bool,
    pub peer: Option<[u8; 32]>,
    pub remote: String,
    pub max_frame: u32,
    pub channel_binding: Vec<u8>,
}

/// All that the host was told.
#[derive(Debug)]
pub struct Told {
    pub ops: HashMap<u64, (Status, String)>,
    pub up: BTreeMap<u64, Up>,
    pub down: BTreeMap<u64, String>,
    pub frames: BTreeMap<u64, Vec<Vec<u8>>>,
    pub writable: Vec<u64>,
    pub unsent: Vec<Vec<u8>>,
    pub failures: Vec<String>,
    pub log: Vec<String>,
    /// Frames that the host takes before it says that it is full.
    pub room: usize,
    /// Refuse links that come up.
    pub refuse_links: bool,
}

struct Context {
    key: SigningKey,
    told: Mutex<Told>,
    changed: Condvar,
}

/// One instance of the plugin and its host.
pub struct Node {
    context: &'static Context,
    instance: *mut c_void,
    transport: &'static abi::Transport,
    next_op: Mutex<u64>,
    files: Option<Files>,
}

// SAFETY: the ABI lets any thread call an instance, and the double's state is behind a lock.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

static HOST_TRANSPORT: HostTransport = HostTransport {
    size: size_of::<HostTransport>() as u32,
    rsvd: 0,
    on_frames: Some(on_frames),
    on_writable: Some(on_writable),
    on_link: Some(on_link),
    on_unsent: Some(on_unsent),
};

static HOST_IDENTITY: HostIdentity = HostIdentity {
    size: size_of::<HostIdentity>() as u32,
    rsvd: 0,
    public_key: Some(public_key),
    sign: Some(sign),
    transport_subkey: Some(transport_subkey),
    secret: None,
};

impl Node {
    /// A started instance with the identity of that seed and these files.
    pub fn new(seed: u8, files: &Files, more: &serde_json::Value) -> Self {
        let mut node = Self::create(seed, &files.config(more)).expect("the configuration fits");
        node.files = Some(files.clone());
        assert_eq!(node.start(), Ok(String::new()));
        node
    }

    /// The same with the default settings.
    pub fn with(seed: u8, files: &Files) -> Self {
        Self::new(seed, files, &serde_json::json!({}))
    }

    /// Starts it.
    pub fn start(&self) -> Result<String, (Status, String)> {
        let plugin = &qpq_federation_capnp::QPQ_PLUGIN;
        // SAFETY: the instance was just made.
        self.op(|op| unsafe { plugin.start.unwrap()(self.instance, op) })
    }

    /// An instance, or why there is none.
    pub fn create(seed: u8, config: &str) -> Result<Self, String> {
        let told = Told {
            ops: HashMap::new(),
            up: BTreeMap::new(),
            down: BTreeMap::new(),
            frames: BTreeMap::new(),
            writable: Vec::new(),
            unsent: Vec::new(),
            failures: Vec::new(),
            log: Vec::new(),
            room: usize::MAX,
            refuse_links: false,
        };
        let key = SigningKey::from_bytes(&[seed; 32]);
        // Leaked, as the ABI asks: a late call must meet a live host.
        let context: &'static Context =
            Box::leak(Box::new(Context { key, told: Mutex::new(told), changed: Condvar::new() }));
        let host: &'static abi::Host = Box::leak(Box::new(abi::Host {
            size: size_of::<abi::Host>() as u32,
            abi_minor: 0,
            ctx: std::ptr::from_ref(context).cast_mut().cast(),
            log_level: Some(log_level),
            log: Some(log),
            op_done: Some(op_done),
            fail: Some(fail),
            get_interface: Some(get_interface),
        }));
        let plugin = &qpq_federation_capnp::QPQ_PLUGIN;
        let mut instance = std::ptr::null_mut();
        // SAFETY: all arguments live for the call, the host for ever.
        let status = unsafe { plugin.create.unwrap()(host, Str::new("test"), Str::new(config), &mut instance) };
        if !status.is_ok() {
            return Err(context.told.lock().unwrap().failures.concat());
        }
        // SAFETY: the plugin's interfaces are static.
        let transport = unsafe {
            plugin.get_interface.unwrap()(Str::new(abi::interface::TRANSPORT)).cast::<abi::Transport>().as_ref()
        };
        Ok(Self { context, instance, transport: transport.unwrap(), next_op: Mutex::new(0), files: None })
    }

    /// The identity's public key.
    pub fn key(&self) -> [u8; 32] {
        self.context.key.verifying_key().to_bytes()
    }

    /// What the host was told so far.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.context.told.lock().unwrap()
    }

    /// Waits until `look` finds what it looks for.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, look: impl FnMut(&mut Told) -> Option<T>) -> T {
        self.wait_for(SOON, look).unwrap_or_else(|| panic!("in vain: {what}: {:?}", self.told().failures))
    }

    /// As [`Self::wait`], for so long.
    pub fn wait_for<T>(&self, patience: Duration, mut look: impl FnMut(&mut Told) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut told = self.told();
        loop {
            if let Some(found) = look(&mut told) {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            told = self.context.changed.wait_timeout(told, left).unwrap().0;
        }
    }

    /// Begins an operation and waits for its answer.
    pub fn op(&self, begin: impl FnOnce(u64) -> Status) -> Result<String, (Status, String)> {
        let op = self.begin(begin);
        self.answer(op)
    }

    /// Begins an operation.
    pub fn begin(&self, begin: impl FnOnce(u64) -> Status) -> u64 {
        let mut next = self.next_op.lock().unwrap();
        *next += 1;
        let op = *next;
        drop(next);
        assert_eq!(begin(op), Status::OK);
        op
    }

    /// Waits for the answer of an operation.
    #[track_caller]
    pub fn answer(&self, op: u64) -> Result<String, (Status, String)> {
        match self.wait("an answer", |told| told.ops.get(&op).cloned()) {
            (Status::OK, detail) => Ok(detail),
            other => Err(other),
        }
    }

    pub fn listen(&self, uri: &str) -> Result<String, (Status, String)> {
        // SAFETY: the instance lives; the text outlives the call.
        self.op(|op| unsafe { self.transport.listen.unwrap()(self.instance, op, Str::new(uri)) })
    }

    /// Listens on a free port of the loopback interface.
    pub fn listen_anywhere(&self) -> String {
        self.listen("federation://127.0.0.1:0").unwrap()
    }

    /// Dials and returns the number of the link.
    pub fn dial(&self, uri: &str) -> Result<u64, (Status, String)> {
        let key = std::ptr::null();
        // SAFETY: the instance lives; the text outlives the call.
        let op = self.begin(|op| unsafe { self.transport.dial.unwrap()(self.instance, op, Str::new(uri), key) });
        self.answer(op)?;
        // UP must have come before the answer.
        let told = self.told();
        Ok(*told.up.iter().find(|(_, up)| up.op == op).expect("a link event came first").0)
    }

    pub fn send(&self, link: u64, frames: &[Vec<u8>]) -> usize {
        let frames: Vec<Bytes> = frames.iter().cloned().map(Bytes::from).collect();
        // SAFETY: the instance lives; `offer` passes frames that outlive the call.
        offer(link, &frames, |array, n| unsafe { self.transport.send.unwrap()(self.instance, array, n) })
    }

    /// Sends everything, waiting for room as the host does.
    pub fn send_all(&self, link: u64, frames: &[Vec<u8>]) {
        let mut sent = 0;
        while sent < frames.len() {
            sent += self.send(link, &frames[sent..]);
            if sent < frames.len() {
                self.wait("room to send", |told| {
                    let place = told.writable.iter().position(|known| *known == link)?;
                    told.writable.remove(place);
                    Some(())
                });
            }
        }
    }

    /// Makes room for so many frames, and says so for that link.
    pub fn make_room(&self, link: u64, room: usize) {
        self.told().room = room;
        // SAFETY: the instance lives.
        unsafe { self.transport.resume.unwrap()(self.instance, link) };
    }

    pub fn close(&self, link: u64, reason: &str) {
        // SAFETY: the instance lives; the text outlives the call.
        unsafe { self.transport.close.unwrap()(self.instance, link, Str::new(reason)) };
    }

    pub fn stats(&self) -> serde_json::Value {
        unsafe extern "C" fn write(ctx: *mut c_void, text: Str) {
            // SAFETY: `ctx` is the string below; the text lives for the call.
            unsafe { (*ctx.cast::<String>()).push_str(text.get().unwrap()) };
        }
        let mut text = String::new();
        let out = abi::Out { ctx: std::ptr::from_mut(&mut text).cast(), write: Some(write) };
        // SAFETY: the instance lives; `out` is valid for the call.
        unsafe { self.transport.stats.unwrap()(self.instance, out) };
        serde_json::from_str(&text).unwrap()
    }

    pub fn begin_quiesce(&self, deadline_ms: u32) -> u64 {
        let quiesce = qpq_federation_capnp::QPQ_PLUGIN.quiesce.unwrap();
        // SAFETY: the instance lives.
        self.begin(|op| unsafe { quiesce(self.instance, op, deadline_ms) })
    }

    pub fn stop(&self) -> Status {
        // SAFETY: the instance lives.
        unsafe { qpq_federation_capnp::QPQ_PLUGIN.stop.unwrap()(self.instance, 5_000) }
    }

    /// The inbound link from that domain.
    #[track_caller]
    pub fn link_from(&self, domain: &str) -> u64 {
        let prefix = format!("federation://{domain}@");
        self.wait("an inbound link", |told| {
            let found = |(_, up): &(&u64, &Up)| !up.outbound && up.remote.starts_with(&prefix);
            told.up.iter().filter(|(link, _)| !told.down.contains_key(link)).find(found).map(|(link, _)| *link)
        })
    }

    /// What `stats` says of a domain.
    pub fn peer(&self, domain: &str) -> serde_json::Value {
        let stats = self.stats();
        let peers = stats["peers"].as_array().unwrap();
        peers.iter().find(|peer| peer["domain"] == domain).cloned().unwrap_or_default()
    }

    /// The newest refusal with that code, once there is one.
    #[track_caller]
    pub fn refusal(&self, code: &str) -> serde_json::Value {
        let deadline = Instant::now() + SOON;
        loop {
            let refused = self.stats()["refused"].clone();
            let found = refused.as_array().unwrap().iter().find(|entry| entry["code"] == code);
            if let Some(found) = found {
                return found.clone();
            }
            assert!(Instant::now() < deadline, "in vain: {code}: {refused}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the log has a line with these words.
    #[track_caller]
    pub fn logged(&self, words: &str) -> String {
        self.wait("a line of the log", |told| told.log.iter().find(|line| line.contains(words)).cloned())
    }

    /// Waits for so many frames on a link, and returns them.
    #[track_caller]
    pub fn frames(&self, link: u64, n: usize) -> Vec<Vec<u8>> {
        self.wait("frames", |told| told.frames.get(&link).filter(|frames| frames.len() >= n).cloned())
    }

    /// Waits for the end of a link, and returns the reason.
    #[track_caller]
    pub fn end_of(&self, link: u64) -> String {
        self.wait("the end of the link", |told| told.down.get(&link).cloned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
        // SAFETY: stopped, and used for the last time.
        unsafe { qpq_federation_capnp::QPQ_PLUGIN.destroy.unwrap()(self.instance) };
    }
}

/// A pair of nodes with a link from the first to the second: (dialler, its link, listener, its link).
pub fn linked() -> (Node, u64, Node, u64) {
    let ca = Ca::new("ca");
    let dialler = Node::with(1, &Files::good("a.example", &ca));
    let listener = Node::with(2, &Files::good("b.example", &ca));
    let link = dialler.dial(&listener.listen_anywhere()).unwrap();
    let other = listener.link_from("a.example");
    (dialler, link, listener, other)
}

fn context(ctx: *mut c_void) -> &'static Context {
    // SAFETY: `ctx` is always the leaked context.
    unsafe { &*ctx.cast::<Context>() }
}

fn note<R>(ctx: *mut c_void, note: impl FnOnce(&mut Told) -> R) -> R {
    let context = context(ctx);
    let noted = note(&mut context.told.lock().unwrap());
    context.changed.notify_all();
    noted
}

fn text(value: Str) -> String {
    // SAFETY: the plugin lends it for the call.
    unsafe { value.get() }.unwrap().to_owned()
}

unsafe extern "C" fn log_level(_: *mut c_void) -> u32 {
    abi::log_level::DEBUG
}

unsafe extern "C" fn log(ctx: *mut c_void, level: u32, _: Str, message: Str, _: Str) {
    note(ctx, |told| told.log.push(text(message)));
    // Errors always: the plugin's panic hook sends the words of a failed assertion here too.
    if level <= abi::log_level::ERROR || std::env::var_os("QPQ_TEST_LOG").is_some() {
        eprintln!("{level} {}", text(message));
    }
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
        abi::interface::HOST_TRANSPORT => std::ptr::from_ref(&HOST_TRANSPORT).cast(),
        abi::interface::HOST_IDENTITY => std::ptr::from_ref(&HOST_IDENTITY).cast(),
        _ => std::ptr::null(),
    }
}

unsafe extern "C" fn public_key(ctx: *mut c_void, out: *mut u8) -> Status {
    // SAFETY: `out` has room for 32 bytes.
    unsafe { out.cast::<[u8; 32]>().write(context(ctx).key.verifying_key().to_bytes()) };
    Status::OK
}

unsafe extern "C" fn sign(ctx: *mut c_void, purpose: u32, message: Slice, out: *mut u8) -> Status {
    assert_eq!(purpose, abi::sign_purpose::TLS13);
    // SAFETY: the plugin lends the message for the call; `out` has room for 64 bytes.
    unsafe {
        let message = message.get().unwrap();
        assert!(message.starts_with(&[0x20; 64]), "only the content of a CertificateVerify is signed");
        out.cast::<[u8; 64]>().write(context(ctx).key.sign(message).to_bytes());
    }
    Status::OK
}

unsafe extern "C" fn transport_subkey(ctx: *mut c_void, out: *mut u8) -> Status {
    // SAFETY: `out` has room for 32 bytes.
    unsafe { out.cast::<[u8; 32]>().write(context(ctx).key.to_bytes().map(|byte| !byte)) };
    Status::OK
}

unsafe extern "C" fn on_frames(ctx: *mut c_void, frames: *const abi::Frame, n: usize) -> usize {
    // SAFETY: the plugin lends the array for the call.
    let mut batch = unsafe { FrameBatch::from_raw(frames, n) };
    note(ctx, |told| {
        while let Some(link) = batch.link().filter(|_| told.room > 0) {
            assert!(told.up.contains_key(&link) && !told.down.contains_key(&link), "frames only between UP and DOWN");
            told.room -= 1;
            let frame = batch.pop().unwrap().to_vec();
            told.frames.entry(link).or_default().push(frame);
        }
        batch.taken()
    })
}

unsafe extern "C" fn on_writable(ctx: *mut c_void, link: u64) {
    note(ctx, |told| told.writable.push(link));
}

unsafe extern "C" fn on_link(ctx: *mut c_void, event: *const LinkEvent) -> Status {
    // SAFETY: the plugin lends the event for the call.
    let event = unsafe { &*event };
    match event.kind {
        link_event::UP => note(ctx, |told| {
            if told.refuse_links {
                return Status::REFUSED;
            }
            let has = |bit| event.flags & bit != 0;
            let up = Up {
                op: event.op,
                outbound: has(link_flags::OUTBOUND),
                reliable: has(link_flags::RELIABLE),
                peer: has(link_flags::PEER_PROVEN).then_some(event.peer),
                remote: text(event.remote),
                max_frame: event.max_frame,
                // SAFETY: the plugin lends it for the call.
                channel_binding: unsafe { event.channel_binding.get() }.unwrap().to_vec(),
            };
            assert!(told.up.insert(event.link, up).is_none(), "a link number was used twice");
            Status::OK
        }),
        link_event::DOWN => note(ctx, |told| {
            assert!(told.down.insert(event.link, text(event.reason)).is_none(), "DOWN came twice");
            Status::OK
        }),
        _ => Status::OK,
    }
}

unsafe extern "C" fn on_unsent(ctx: *mut c_void, frames: *const abi::Frame, n: usize) {
    // SAFETY: the plugin lends the array for the call.
    let mut batch = unsafe { FrameBatch::from_raw(frames, n) };
    note(ctx, |told| {
        while let Some(frame) = batch.pop() {
            told.unsent.push(frame.to_vec());
        }
    });
}
