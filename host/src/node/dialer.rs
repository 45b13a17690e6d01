//! Makes links: to the servers that the configuration or the user named, to nodes that were found, and to peers for
//! whom mail waits.
//!
//! [`planner`] decides what to dial when; this is the shell around it, which dials and tells it what came of it.

mod address;
mod pause;
mod planner;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qpq_schemas::PeerId;
use qpq_schemas::link::CloseCode;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tracing::{debug, info};

use super::engine::Message;
use super::shared::Shared;
use super::switchboard::{Fate, Moving, Switchboard};
use super::transports::Transports;
use crate::api::ApiError;
use crate::core::{Event, LinkId};
use crate::link::CloseReason;
pub(super) use address::{at_port, host, is_ipv6, place, port, scheme};
pub(super) use pause::Pauses;
use planner::{Dial, Planner, View};
pub(super) use planner::{End, Fact, Limits, Server, State};

/// How long a transport may take to make a link.
const REACH: Duration = Duration::from_secs(12);
/// How long a link then may take to prove its peer: as long as the longest handshake that the configuration allows, as a
/// link that fails it ends by itself.
const PROOF: Duration = Duration::from_secs(61);
/// The planner is asked at least so often.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The dialer of a node.
pub(super) struct Dialer {
    planner: Mutex<Planner>,
    transports: Arc<Transports>,
    board: Arc<Switchboard>,
    wake: Notify,
    began: Instant,
}

impl Dialer {
    pub(super) fn new(me: PeerId, transports: Arc<Transports>, board: Arc<Switchboard>, limits: Limits) -> Arc<Self> {
        let planner = Planner::new(me, limits, StdRng::from_rng(&mut rand::rng()));
        let (wake, began) = (Notify::new(), Instant::now());
        Arc::new(Self { planner: Mutex::new(planner), transports, board, wake, began })
    }

    fn lock(&self) -> MutexGuard<'_, Planner> {
        self.planner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// All servers and how they stand.
    pub(super) fn servers(&self) -> BTreeMap<String, Server> {
        let servers = self.lock().servers().clone();
        servers.into_iter().map(|(uri, server)| (uri.clone(), self.seen_now(&uri, server))).collect()
    }

    /// How one server stands.
    pub(super) fn server(&self, uri: &str) -> Option<Server> {
        let server = self.lock().servers().get(uri).cloned();
        server.map(|server| self.seen_now(uri, server))
    }

    fn seen_now(&self, uri: &str, server: Server) -> Server {
        server.seen_now(uri, self.transports.serves(scheme(uri)))
    }

    /// Keeps a link to that address from now on; whether it is new.
    pub(super) fn keep(&self, uri: &str) -> Result<bool, ApiError> {
        let kept = self.lock().keep(uri, self.now_ms());
        self.wake.notify_one();
        kept.ok_or_else(|| {
            ApiError::new("too-many-servers", "as many servers are noted as can be; `mesh forget ADDRESS` makes room")
        })
    }

    /// Keeps a link to that address no more, and closes the one that was made for it; whether it was noted.
    pub(super) fn forget(&self, uri: &str) -> bool {
        let Some(server) = self.lock().forget(uri) else { return false };
        if let Some(link) = server.link() {
            self.board.close(link, CloseReason::going_away("its address was forgotten"));
        }
        true
    }

    /// Discovery found a peer at these addresses. Nothing but a link proves that it is there.
    pub(super) fn suggest(&self, peer: PeerId, uris: &[String]) {
        self.lock().suggest(peer, uris, self.now_ms());
        self.wake.notify_one();
    }

    /// Discovery no longer sees a peer.
    pub(super) fn withdraw(&self, peer: &PeerId) {
        self.lock().withdraw(peer);
    }

    /// Mail waits for a peer to whom no way is known.
    pub(super) fn want(&self, peer: PeerId) {
        if self.lock().want(peer, self.now_ms()) {
            self.wake.notify_one();
        }
    }

    /// This node's addresses have changed, or a transport was started: look at everything again, now.
    pub(super) fn network_changed(&self) {
        self.lock().network_changed(self.now_ms());
        self.wake.notify_one();
    }

    /// Something that the planner looks at is different now.
    pub(super) fn look_again(&self) {
        self.wake.notify_one();
    }

    /// Dials for the life of the node.
    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        let (mut changes, mut started) = (self.board.watch(), self.transports.watch());
        let mut seen = 0;
        loop {
            changes.mark_unchanged();
            started.mark_unchanged();
            for dial in self.step(&shared, &mut seen) {
                tokio::spawn(Arc::clone(&self).attempt(dial, Arc::clone(&shared)));
            }
            for moving in self.board.take_moving() {
                tokio::spawn(Arc::clone(&self).move_over(moving, Arc::clone(&shared)));
            }
            let deadline = self.lock().deadline_ms();
            let wait = deadline.map_or(MAX_WAIT, |at| Duration::from_millis(at.saturating_sub(self.now_ms())));
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = self.wake.notified() => {}
                changed = started.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait.clamp(Duration::from_millis(1), MAX_WAIT)) => {}
            }
        }
    }

    fn step(&self, shared: &Shared, seen: &mut u64) -> Vec<Dial> {
        let mut planner = self.lock(); // first: a dial that is done in between must find its link among the facts
        let now_ms = self.now_ms();
        let ends = self.board.ends_since(seen);
        let links = self.board.facts();
        let view = View {
            links: &links,
            serves: &|scheme| self.transports.serves(scheme),
            addresses: &|peer| shared.directory().get(peer).map(|peer| peer.addresses.clone()).unwrap_or_default(),
            blocked: &|peer| shared.directory().blocked().contains(peer),
        };
        for (link, end) in ends {
            planner.ended(link, &end, now_ms);
        }
        planner.step(now_ms, &view)
    }

    async fn attempt(self: Arc<Self>, dial: Dial, shared: Arc<Shared>) {
        let outcome = self.dial(&dial).await;
        match &outcome {
            // Where it was reached once it may be reached again. A full directory refuses; the link works all the same.
            Ok((_, peer)) => _ = shared.directory().note_address(*peer, &dial.uri),
            Err(end) => self.say(&dial, end),
        }
        self.lock().done(dial.number, outcome, self.now_ms());
        self.wake.notify_one();
    }

    /// Dials the transport that replaces a link's; the old link is used no more once the new one is up. Where that fails, the
    /// old one ends by and by, and is dialled again as any other.
    async fn move_over(self: Arc<Self>, moving: Moving, shared: Arc<Shared>) {
        let Moving { link: before, peer, uri } = moving;
        if !self.board.has(before) {
            return;
        }
        match self.dial(&Dial { number: 0, uri, peer: Some(peer) }).await {
            // It ended meanwhile, and was dialled again.
            Ok((after, _)) if !self.board.has(before) && self.board.is_one_of_several(after) => {
                self.board.close(after, CloseReason::duplicate());
            }
            Ok((after, _)) => {
                self.lock().moved(before, after);
                let succeeds = Event::Succeeds { before, after, close: true };
                _ = shared.engine.send(Message::Event(succeeds)).await; // fails only at the end
            }
            Err(end) => debug!(link = before, peer = %peer.short(), why = end.reason, "the link did not go over"),
        }
    }

    /// Once for each reason: a server may be away for weeks.
    fn say(&self, dial: &Dial, end: &End) {
        let known = self.server(&dial.uri).is_none_or(|server| server.last_error.as_ref() == Some(&end.reason));
        match known || end.code == Some(CloseCode::DUPLICATE) {
            true => debug!(uri = dial.uri, why = end.reason, "not reached"),
            false => info!(uri = dial.uri, why = end.reason, "this server can't be reached; trying on"),
        }
    }

    /// Makes a link, and waits until its peer is proven.
    async fn dial(&self, dial: &Dial) -> Result<(LinkId, PeerId), End> {
        let failed = |reason: String| End { reason, ..End::default() };
        let transport = self.transports.for_uri(&dial.uri);
        let transport = transport.ok_or_else(|| failed("its transport has just stopped".to_owned()))?;
        let mut changes = self.board.watch();
        let link = tokio::time::timeout(REACH, transport.dial(&dial.uri, dial.peer)).await;
        let link = link.map_err(|_| failed(format!("no answer within {} s", REACH.as_secs())))?;
        let link = link.map_err(|error| failed(error.to_string()))?;
        let fate = async {
            loop {
                if let Some(fate) = self.board.fate(link) {
                    return Some(fate);
                }
                changes.changed().await.ok()?;
            }
        };
        match tokio::time::timeout(PROOF, fate).await {
            Ok(Some(Fate::Up(peer))) => self.check(link, peer, dial.peer),
            Ok(Some(Fate::Ended(end))) => Err(end),
            _ => Err(failed("the other side did not prove who it is".to_owned())),
        }
    }

    fn check(&self, link: LinkId, peer: PeerId, expected: Option<PeerId>) -> Result<(LinkId, PeerId), End> {
        let Some(expected) = expected.filter(|expected| *expected != peer) else { return Ok((link, peer)) };
        let code = CloseCode::WRONG_PEER;
        let reason = CloseReason::Local { code, reason: "another node was dialled".to_owned() };
        self.board.close(link, reason);
        Err(End { code: Some(code), reason: format!("{peer} is there, not {expected}"), ..End::default() })
    }
}
