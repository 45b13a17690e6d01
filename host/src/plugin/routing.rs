//! Routing protocols: the plugin behind [`crate::core::Router`].
#![allow(unsafe_code, reason = "calls the plugin's functions")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use qpq_plugin_api::Status;
use qpq_plugin_api::abi::{self, RouteLink, Slice, Str, link_change, route_flags};
use qpq_schemas::PeerId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::descriptor::Vtable;
use super::error::PluginError;
use super::identity::PluginIdentity;
use super::instance::{Instance, collect};
use super::loader::{Image, Loader};
use super::port::{Port, Role};
use crate::core::{Changed, LinkId, RouteKind, RouteQuery, Router, RouterOutput};

/// The longest control message, in bytes.
pub const MAX_CONTROL: usize = 16 * 1024;
/// The most control messages that one call may send.
pub const MAX_CONTROLS: usize = 1024;
/// The most random bytes in one call.
pub(super) const MAX_RANDOM: usize = 4096;
/// Links that fit into the first answer of `route`; a longer one is asked for again.
const FIRST_LINKS: usize = 16;
/// The most links in an answer.
const MAX_ANSWER: usize = 16_384;

/// What the plugin asks of the host during a call.
pub(super) struct Scratch(Mutex<ScratchState>);

struct ScratchState {
    /// `Some` during a call.
    output: Option<RouterOutput>,
    rng: StdRng,
}

impl Scratch {
    /// Randomness comes from `seed`, so that a simulation can be repeated; without one, from the system.
    pub(super) fn new(seed: Option<[u8; 32]>) -> Self {
        let seed = seed.unwrap_or_else(rand::random);
        Self(Mutex::new(ScratchState { output: None, rng: StdRng::from_seed(seed) }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ScratchState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Control bytes for a link. REFUSED outside of a call.
    pub(super) fn control(&self, link: u64, bytes: &[u8]) -> Status {
        match &mut self.lock().output {
            None => Status::REFUSED,
            Some(_) if bytes.len() > MAX_CONTROL => Status::INVALID,
            Some(output) if output.control.len() >= MAX_CONTROLS => Status::BUSY,
            Some(output) => {
                output.control.push((link, Bytes::copy_from_slice(bytes)));
                Status::OK
            }
        }
    }

    /// Answers for a destination, or for all, may have changed. REFUSED outside of a call.
    pub(super) fn invalidate(&self, destination: Option<[u8; 32]>) -> Status {
        match &mut self.lock().output {
            None => Status::REFUSED,
            Some(output) => {
                match destination {
                    Some(destination) => output.changed.add(destination),
                    None => output.changed = Changed::All,
                }
                Status::OK
            }
        }
    }

    /// Fills `out`. REFUSED outside of a call, and then `out` stays as it is.
    pub(super) fn random(&self, out: &mut [u8]) -> Status {
        let mut state = self.lock();
        if state.output.is_none() {
            return Status::REFUSED;
        }
        state.rng.fill_bytes(out);
        Status::OK
    }
}

/// A routing library and one configuration for it, both checked once, for those who start thousands of instances.
pub struct RoutingLibrary {
    image: Arc<Image>,
    config: Value,
}

impl RoutingLibrary {
    /// Maps the library and checks the configuration against its schema.
    ///
    /// # Errors
    /// When the library or the configuration is refused.
    pub fn load(loader: &Loader, file: &Path, config: &Value) -> Result<Self, PluginError> {
        Ok(Self { image: loader.load("standalone", file, config)?, config: config.clone() })
    }

    /// Starts an instance, as [`RoutingHandle::load`] does.
    ///
    /// # Errors
    /// When the library is no routing plugin, or doesn't start.
    pub fn start(&self, seed: [u8; 32], identity: Arc<dyn PluginIdentity>) -> Result<RoutingHandle, PluginError> {
        let id = &self.image.descriptor.info.id;
        let port = Port::new(id, id, Role::Routing(Arc::new(Scratch::new(Some(seed)))), identity);
        let instance = Instance::create_here(Arc::clone(&self.image), port, &self.config)?;
        instance.start_here()?;
        let other = instance.failed("load", Status::UNSUPPORTED, "it is no routing plugin");
        RoutingHandle::new(instance).ok_or(other)
    }
}

/// A running routing plugin. It does nothing, and knows no way, once its instance has stopped.
pub struct RoutingHandle {
    instance: Arc<Instance>,
    scratch: Arc<Scratch>,
    peers: HashMap<LinkId, PeerId>,
}

impl RoutingHandle {
    /// `None` for a plugin of another kind.
    pub(super) fn new(instance: Arc<Instance>) -> Option<Self> {
        let (Vtable::Routing(_), Role::Routing(scratch)) = (&instance.image.descriptor.vtable, &instance.port.role)
        else {
            return None;
        };
        let scratch = Arc::clone(scratch);
        Some(Self { instance, scratch, peers: HashMap::new() })
    }

    /// Loads and starts a routing plugin on this thread and without a supervisor, for simulators and tests: with the same
    /// `seed` and the same calls it does the same. Dropping the handle stops it.
    ///
    /// # Errors
    /// When the library is refused, is no routing plugin, or doesn't start.
    pub fn load(
        loader: &Loader,
        file: &Path,
        config: &Value,
        seed: [u8; 32],
        identity: Arc<dyn PluginIdentity>,
    ) -> Result<Self, PluginError> {
        RoutingLibrary::load(loader, file, config)?.start(seed, identity)
    }

    fn vtable(&self) -> abi::Routing {
        match &self.instance.image.descriptor.vtable {
            Vtable::Routing(vtable) => *vtable,
            _ => NOTHING,
        }
    }

    /// Makes one call, and passes on what the plugin asked for during it.
    fn call<R>(&self, out: Option<&mut RouterOutput>, otherwise: R, work: impl FnOnce(&abi::Routing) -> R) -> R {
        let Some(_pass) = self.instance.gate.enter() else { return otherwise };
        self.scratch.lock().output = Some(RouterOutput::default());
        let result = work(&self.vtable());
        let said = self.scratch.lock().output.take();
        if let (Some(said), Some(out)) = (said, out) {
            out.control.extend(said.control);
            out.changed.merge(said.changed);
        }
        result
    }

    fn link_event(&self, now_ms: u64, link: &RouteLink, out: &mut RouterOutput) {
        self.call(Some(out), (), |vtable| {
            if let Some(f) = vtable.on_link {
                // SAFETY: inside the gate; the struct and its texts outlive the call.
                unsafe { f(self.instance.raw(), now_ms, link) };
            }
        });
    }

    fn route_link(&self, change: u32, link: LinkId, rtt_us: u64, loss_ppm: u32) -> RouteLink {
        let peer = self.peers.get(&link).map_or([0; 32], |peer| peer.0);
        let size = size_of::<RouteLink>() as u32;
        RouteLink { size, change, link, peer, rtt_us, loss_ppm, max_frame: 0, transport: Str::EMPTY }
    }
}

/// Stands for a vtable that isn't there.
const NOTHING: abi::Routing = abi::Routing {
    size: 0,
    rsvd: 0,
    on_link: None,
    on_control: None,
    on_seen: None,
    on_tick: None,
    route: None,
    dump: None,
};

impl Router for RoutingHandle {
    fn name(&self) -> &str {
        self.instance.name()
    }

    fn link_up(&mut self, now_ms: u64, link: LinkId, peer: PeerId, out: &mut RouterOutput) {
        self.peers.insert(link, peer);
        self.link_event(now_ms, &self.route_link(link_change::UP, link, 0, 0), out);
    }

    fn link_measured(&mut self, now_ms: u64, link: LinkId, rtt_us: u64, loss_ppm: u32, out: &mut RouterOutput) {
        self.link_event(now_ms, &self.route_link(link_change::METRICS, link, rtt_us, loss_ppm), out);
    }

    fn link_down(&mut self, now_ms: u64, link: LinkId, out: &mut RouterOutput) {
        self.link_event(now_ms, &self.route_link(link_change::DOWN, link, 0, 0), out);
        self.peers.remove(&link);
    }

    fn control(&mut self, now_ms: u64, link: LinkId, frame: &[u8], out: &mut RouterOutput) {
        self.call(Some(out), (), |vtable| {
            if let Some(f) = vtable.on_control {
                // SAFETY: inside the gate; the bytes outlive the call.
                unsafe { f(self.instance.raw(), now_ms, link, Slice::new(frame)) };
            }
        });
    }

    fn learns(&self) -> bool {
        self.vtable().on_seen.is_some()
    }

    fn seen(&mut self, now_ms: u64, origin: PeerId, link: LinkId, hops: u8, out: &mut RouterOutput) {
        self.call(Some(out), (), |vtable| {
            if let Some(f) = vtable.on_seen {
                // SAFETY: inside the gate; the key outlives the call.
                unsafe { f(self.instance.raw(), now_ms, origin.0.as_ptr(), link, hops.into()) };
            }
        });
    }

    fn tick(&mut self, now_ms: u64, out: &mut RouterOutput) -> Option<u64> {
        let next = self.call(Some(out), u64::MAX, |vtable| {
            // SAFETY: inside the gate.
            vtable.on_tick.map_or(u64::MAX, |f| unsafe { f(self.instance.raw(), now_ms) })
        });
        (next != u64::MAX).then_some(next)
    }

    fn route(&mut self, now_ms: u64, query: &RouteQuery, links: &mut Vec<LinkId>) -> RouteKind {
        let query = abi::RouteQuery {
            size: size_of::<abi::RouteQuery>() as u32,
            kind: query.kind as u32,
            destination: query.destination,
            from_link: query.from.unwrap_or(0),
        };
        let (begin, mut room) = (links.len(), FIRST_LINKS);
        self.call(None, RouteKind::Nowhere, |vtable| {
            let Some(f) = vtable.route else { return RouteKind::Nowhere };
            loop {
                links.resize(begin + room, 0);
                let (mut flags, place) = (0, links.split_at_mut(begin).1);
                // SAFETY: inside the gate; the query outlives the call, `place` has `room` numbers.
                let n =
                    unsafe { f(self.instance.raw(), now_ms, &raw const query, place.as_mut_ptr(), room, &mut flags) };
                if n <= room || room >= MAX_ANSWER {
                    links.truncate(begin + n.min(room));
                    return answer(flags, n);
                }
                room = n.min(MAX_ANSWER);
            }
        })
    }

    fn dump(&self, now_ms: u64) -> String {
        self.call(None, None, |vtable| {
            // SAFETY: inside the gate; `out` is valid during the call.
            vtable.dump.and_then(|f| collect(|out| unsafe { f(self.instance.raw(), now_ms, out) }).ok())
        })
        .unwrap_or_else(|| r#"{"routes":[]}"#.to_owned())
    }
}

fn answer(flags: u32, links: usize) -> RouteKind {
    match flags {
        _ if links == 0 => RouteKind::Nowhere,
        f if f & route_flags::KNOWN != 0 => RouteKind::Known,
        f if f & route_flags::FLOOD != 0 => RouteKind::Flood,
        _ => RouteKind::Nowhere,
    }
}
