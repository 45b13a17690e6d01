//! A router between the core and the plugin, so that the audit hears at once which ways have changed, and can ask for any.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qpq_host::core::{Changed, LinkId, RouteKind, RouteQuery, Router, RouterOutput};
use qpq_host::plugin::RoutingHandle;
use qpq_schemas::PeerId;
use qpq_schemas::envelope::Kind;

/// What core and audit share: the plugin's instance, and what it said to have changed since the audit looked last.
pub struct Recorded {
    router: RoutingHandle,
    changed: Changed,
    room: Vec<LinkId>,
}

/// A handle to it.
#[derive(Clone)]
pub struct Recorder(Arc<Mutex<Recorded>>);

impl Recorder {
    /// Records what this instance says.
    pub fn new(router: RoutingHandle) -> Self {
        Self(Arc::new(Mutex::new(Recorded { router, changed: Changed::Nothing, room: Vec::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has changed since this was asked last.
    pub fn take_changed(&self) -> Changed {
        std::mem::take(&mut self.lock().changed)
    }

    /// The link that leads to a destination, where the router knows it.
    pub fn next_hop(&self, now_ms: u64, destination: [u8; 32]) -> Option<LinkId> {
        let mut recorded = self.lock();
        let mut room = std::mem::take(&mut recorded.room);
        room.clear();
        let query = RouteQuery { destination, kind: Kind::Direct, from: None };
        let kind = recorded.router.route(now_ms, &query, &mut room);
        let first = room.first().copied().filter(|_| kind == RouteKind::Known);
        recorded.room = room;
        first
    }

    /// The plugin's own table, as JSON.
    pub fn dump(&self, now_ms: u64) -> String {
        self.lock().router.dump(now_ms)
    }

    fn record(&self, out: &mut RouterOutput, call: impl FnOnce(&mut RoutingHandle, &mut RouterOutput)) {
        let mut recorded = self.lock();
        let before = std::mem::take(&mut out.changed);
        call(&mut recorded.router, out);
        recorded.changed.merge(out.changed.clone());
        let said = std::mem::replace(&mut out.changed, before);
        out.changed.merge(said);
    }
}

impl Router for Recorder {
    fn name(&self) -> &str {
        "recorded"
    }
    fn link_up(&mut self, now_ms: u64, link: LinkId, peer: PeerId, out: &mut RouterOutput) {
        self.record(out, |router, out| router.link_up(now_ms, link, peer, out));
    }
    fn link_measured(&mut self, now_ms: u64, link: LinkId, rtt_us: u64, loss_ppm: u32, out: &mut RouterOutput) {
        self.record(out, |router, out| router.link_measured(now_ms, link, rtt_us, loss_ppm, out));
    }
    fn link_down(&mut self, now_ms: u64, link: LinkId, out: &mut RouterOutput) {
        self.record(out, |router, out| router.link_down(now_ms, link, out));
    }
    fn control(&mut self, now_ms: u64, link: LinkId, frame: &[u8], out: &mut RouterOutput) {
        self.record(out, |router, out| router.control(now_ms, link, frame, out));
    }
    fn seen(&mut self, now_ms: u64, origin: PeerId, link: LinkId, hops: u8, out: &mut RouterOutput) {
        self.record(out, |router, out| router.seen(now_ms, origin, link, hops, out));
    }
    fn tick(&mut self, now_ms: u64, out: &mut RouterOutput) -> Option<u64> {
        let mut next = None;
        self.record(out, |router, out| next = router.tick(now_ms, out));
        next
    }
    fn route(&mut self, now_ms: u64, query: &RouteQuery, links: &mut Vec<LinkId>) -> RouteKind {
        self.lock().router.route(now_ms, query, links)
    }
    fn dump(&self, now_ms: u64) -> String {
        self.lock().router.dump(now_ms)
    }
}
