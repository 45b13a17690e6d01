#![allow(unsafe_code, reason = "the C entries of a routing protocol, and the host's functions for it")]

use std::ffi::c_void;
use std::sync::{Mutex, TryLockError};

use serde_json::Value;

use crate::abi::{self, HostRouting, Out, Slice, Status, link_change, route_flags};
use crate::sdk::error::Error;
use crate::sdk::glue::{Instance, enter, write_json};
use crate::sdk::host::{Host, bytes, text};
use crate::sdk::plugin::Plugin;

/// Decides over which links an envelope goes. A state machine without I/O, threads or a clock: time and randomness come
/// with each call, so the same library runs in a simulator. The host calls one function at a time.
pub trait Routing: Send + Sized + 'static {
    /// Whether [`Self::on_seen`] teaches it anything. Where no routing learns from what comes in, nodes save themselves the
    /// trouble of being heard of every few minutes.
    const LEARNS_FROM_SEEN: bool = true;

    /// Makes an instance from a configuration that fits the plugin's schema.
    fn create(host: Host, instance: &str, config: Value) -> Result<Self, Error>;

    /// A link came up, went down or has new figures.
    fn on_link(&mut self, context: &mut RouteContext<'_>, link: &RouteLink<'_>) {
        let _ = (context, link);
    }

    /// Control bytes from the other end of a link. They come from outside: trust nothing in them.
    fn on_control(&mut self, context: &mut RouteContext<'_>, link: u64, bytes: &[u8]) {
        let _ = (context, link, bytes);
    }

    /// An envelope signed by `origin` came in over `link` for the first time. `hops` is unsigned hearsay. Never called where
    /// [`Self::LEARNS_FROM_SEEN`] is false.
    fn on_seen(&mut self, context: &mut RouteContext<'_>, origin: &[u8; 32], link: u64, hops: u32) {
        let _ = (context, origin, link, hops);
    }

    /// Time has passed. Returns when it wants to be called next at the latest, on the clock of the context; `None`: never.
    /// The host also calls it right after [`Self::on_link`] and [`Self::on_control`], so that these can bring the time forward.
    fn on_tick(&mut self, context: &mut RouteContext<'_>) -> Option<u64> {
        let _ = context;
        None
    }

    /// Adds the links that an envelope should go over, best first, and says what they are.
    fn route(&mut self, context: &mut RouteContext<'_>, query: &RouteQuery, links: &mut RouteLinks<'_>) -> RouteKind;

    /// The table: `{"routes": [{"destination", "next_hop", "metric", "hops", "age_ms"}]}`.
    fn dump(&self, now_ms: u64) -> Value {
        let _ = now_ms;
        serde_json::json!({"routes": []})
    }
}

/// What an answer of [`Routing::route`] is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// No link leads anywhere now; the envelope waits.
    Unknown,
    /// The links lead to the destination: one of them is enough.
    Known,
    /// Where the destination is isn't known: a copy should go over each link.
    Flood,
}

/// What happened to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Its peer has proven its key, and envelopes may go over it.
    Up,
    /// It is gone.
    Down,
    /// It has new figures.
    Metrics,
}

/// A link, as routing sees it.
#[derive(Debug, Clone, Copy)]
pub struct RouteLink<'a> {
    /// What happened.
    pub state: LinkState,
    /// The host's number for it.
    pub link: u64,
    /// The peer at the other end.
    pub peer: [u8; 32],
    /// Smoothed round-trip time in microseconds, where known.
    pub rtt_us: Option<u64>,
    /// Estimated loss in parts of a million.
    pub loss_ppm: u32,
    /// The largest frame in bytes.
    pub max_frame: u32,
    /// Name of the transport plugin.
    pub transport: &'a str,
}

/// Where an envelope wants to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteQuery {
    /// 0 direct, 1 broadcast (the host spreads those itself and doesn't ask), 2 delivery receipt.
    pub kind: u32,
    /// The recipient's key, or the topic id.
    pub destination: [u8; 32],
    /// The link that it came over; it must not be among the answers. `None` when it was made here.
    pub from_link: Option<u64>,
}

/// Takes the answers of [`Routing::route`], without allocating.
#[derive(Debug)]
pub struct RouteLinks<'a> {
    room: &'a mut [u64],
    count: usize,
}

impl<'a> RouteLinks<'a> {
    /// Collects into `room`; what doesn't fit is counted only.
    pub fn new(room: &'a mut [u64]) -> Self {
        Self { room, count: 0 }
    }

    /// Adds a link.
    pub fn push(&mut self, link: u64) {
        if let Some(place) = self.room.get_mut(self.count) {
            *place = link;
        }
        self.count += 1;
    }

    /// How many links were added, with those that had no room.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// The time of a call, and what routing may ask of the host during it.
pub struct RouteContext<'a> {
    now_ms: u64,
    host: &'a dyn RouteHost,
}

/// The functions behind a [`RouteContext`].
trait RouteHost {
    fn send_control(&self, link: u64, bytes: &[u8]) -> Status;
    fn invalidate(&self, destination: Option<&[u8; 32]>);
    fn random(&self, out: &mut [u8]) -> Status;
}

impl RouteContext<'_> {
    /// Milliseconds on a clock that never goes back; where it starts says nothing.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Sends control bytes (up to 16 KiB) to the other end of a link. They may be lost.
    pub fn send_control(&mut self, link: u64, bytes: &[u8]) -> Result<(), Error> {
        Error::check(self.host.send_control(link, bytes), "the host did not take the control bytes")
    }

    /// Says that answers for `destination` (`None`: for all) may be different now.
    pub fn invalidate(&mut self, destination: Option<&[u8; 32]>) {
        self.host.invalidate(destination);
    }

    /// Fills `out` (up to 4 KiB) with random bytes; under a simulator, with repeatable ones.
    pub fn random(&mut self, out: &mut [u8]) -> Result<(), Error> {
        Error::check(self.host.random(out), "the host gave no randomness")
    }
}

struct CRouteHost(Host, &'static HostRouting);

// SAFETY, for all three: `ctx` belongs to this host, and the bytes outlive the call.
impl RouteHost for CRouteHost {
    fn send_control(&self, link: u64, bytes: &[u8]) -> Status {
        // SAFETY: see above.
        self.1.send_control.map_or(Status::UNSUPPORTED, |f| unsafe { f(self.0.ctx(), link, Slice::new(bytes)) })
    }

    fn invalidate(&self, destination: Option<&[u8; 32]>) {
        if let Some(f) = self.1.invalidate {
            let destination = destination.map_or(std::ptr::null(), |key| key.as_ptr());
            // SAFETY: see above.
            unsafe { f(self.0.ctx(), destination) };
        }
    }

    fn random(&self, out: &mut [u8]) -> Status {
        // SAFETY: see above.
        self.1.random.map_or(Status::UNSUPPORTED, |f| unsafe { f(self.0.ctx(), out.as_mut_ptr(), out.len()) })
    }
}

/// A routing protocol as an instance: the lock is never contended, since the host calls one function at a time. It keeps
/// a host that breaks this rule from breaking memory.
#[doc(hidden)]
pub struct Shared<R> {
    host: CRouteHost,
    routing: Mutex<R>,
}

impl<R: Routing> Plugin for Shared<R> {
    fn create(host: Host, instance: &str, config: Value) -> Result<Self, Error> {
        let vtable = host.vtable(abi::interface::HOST_ROUTING)?;
        Ok(Self { host: CRouteHost(host, vtable), routing: Mutex::new(R::create(host, instance, config)?) })
    }
}

impl<R> Shared<R> {
    /// Runs `work` with the state machine. Refuses re-entry, and a state that a panic left half changed.
    fn with<T>(&self, now_ms: u64, work: impl FnOnce(&mut R, &mut RouteContext<'_>) -> T) -> Result<T, Status> {
        let mut routing = self.routing.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => Status::BUSY,
            TryLockError::Poisoned(_) => Status::PANIC,
        })?;
        Ok(work(&mut routing, &mut RouteContext { now_ms, host: &self.host }))
    }
}

/// The vtable of routing protocol `R`.
pub const fn vtable<R: Routing>() -> *const c_void {
    std::ptr::from_ref(Entries::<R>::VTABLE).cast()
}

struct Entries<R>(std::marker::PhantomData<R>);

impl<R: Routing> Entries<R> {
    const VTABLE: &'static abi::Routing = &abi::Routing {
        size: size_of::<abi::Routing>() as u32,
        rsvd: 0,
        on_link: Some(Self::on_link),
        on_control: Some(Self::on_control),
        on_seen: if R::LEARNS_FROM_SEEN { Some(Self::on_seen) } else { None },
        on_tick: Some(Self::on_tick),
        route: Some(Self::route),
        dump: Some(Self::dump),
    };

    /// # Safety
    /// As for all entries here: the host passes the pointer that `create` gave it, before `destroy`, and texts, structs
    /// and arrays that live for the call.
    unsafe fn call<T>(
        plugin: *mut c_void,
        now_ms: u64,
        work: impl FnOnce(&mut R, &mut RouteContext<'_>) -> T,
    ) -> Result<T, Status> {
        // SAFETY: handed on to the caller.
        unsafe { enter(plugin, Err(Status::PANIC), |this: &Instance<Shared<R>>| this.plugin.with(now_ms, work)) }
    }

    unsafe extern "C" fn on_link(plugin: *mut c_void, now_ms: u64, link: *const abi::RouteLink) -> Status {
        // SAFETY: see `call`.
        unsafe {
            let Some(link) = read_link(link) else { return Status::INVALID };
            status(Self::call(plugin, now_ms, |routing, context| routing.on_link(context, &link)))
        }
    }

    unsafe extern "C" fn on_control(plugin: *mut c_void, now_ms: u64, link: u64, data: Slice) -> Status {
        // SAFETY: see `call`.
        unsafe {
            let Ok(data) = bytes(data, "control message") else { return Status::INVALID };
            status(Self::call(plugin, now_ms, |routing, context| routing.on_control(context, link, data)))
        }
    }

    unsafe extern "C" fn on_seen(plugin: *mut c_void, now_ms: u64, origin: *const u8, link: u64, hops: u32) -> Status {
        // SAFETY: see `call`; `origin` points to 32 bytes.
        unsafe {
            let Some(origin) = origin.cast::<[u8; 32]>().as_ref() else { return Status::INVALID };
            status(Self::call(plugin, now_ms, |routing, context| routing.on_seen(context, origin, link, hops)))
        }
    }

    unsafe extern "C" fn on_tick(plugin: *mut c_void, now_ms: u64) -> u64 {
        // SAFETY: see `call`.
        let next = unsafe { Self::call(plugin, now_ms, R::on_tick) };
        next.ok().flatten().unwrap_or(u64::MAX)
    }

    unsafe extern "C" fn route(
        plugin: *mut c_void,
        now_ms: u64,
        query: *const abi::RouteQuery,
        links: *mut u64,
        cap: usize,
        flags: *mut u32,
    ) -> usize {
        // SAFETY: see `call`; `links` has room for `cap` numbers, `flags` for one.
        unsafe {
            let (Some(query), Some(flags)) = (query.as_ref(), flags.as_mut()) else { return 0 };
            let room = if links.is_null() { &mut [] } else { std::slice::from_raw_parts_mut(links, cap) };
            let mut found = RouteLinks::new(room);
            let query = RouteQuery {
                kind: query.kind,
                destination: query.destination,
                from_link: (query.from_link != 0).then_some(query.from_link),
            };
            let kind = Self::call(plugin, now_ms, |routing, context| routing.route(context, &query, &mut found));
            *flags = match kind {
                Ok(RouteKind::Known) => route_flags::KNOWN,
                Ok(RouteKind::Flood) => route_flags::FLOOD,
                Ok(RouteKind::Unknown) | Err(_) => 0,
            };
            if kind.is_ok() { found.count() } else { 0 }
        }
    }

    unsafe extern "C" fn dump(plugin: *mut c_void, now_ms: u64, out: Out) -> Status {
        // SAFETY: see `call`.
        let table = unsafe { Self::call(plugin, now_ms, |routing, _| routing.dump(now_ms)) };
        table.map_or_else(|status| status, |table| write_json(out, &table))
    }
}

fn status(result: Result<(), Status>) -> Status {
    result.err().unwrap_or(Status::OK)
}

/// # Safety
/// `link` is NULL or points to a struct that lives, with its texts, for `'a`.
unsafe fn read_link<'a>(link: *const abi::RouteLink) -> Option<RouteLink<'a>> {
    // SAFETY: handed on to the caller.
    let link = unsafe { link.as_ref() }?;
    let state = match link.change {
        link_change::UP => LinkState::Up,
        link_change::DOWN => LinkState::Down,
        link_change::METRICS => LinkState::Metrics,
        _ => return None,
    };
    Some(RouteLink {
        state,
        link: link.link,
        peer: link.peer,
        rtt_us: (link.rtt_us != 0).then_some(link.rtt_us),
        loss_ppm: link.loss_ppm,
        max_frame: link.max_frame,
        // SAFETY: handed on to the caller.
        transport: unsafe { text(link.transport, "transport name") }.ok()?,
    })
}
