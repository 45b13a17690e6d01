//! What the transport plugins report, on their own threads: links that come and go, frames that arrive.

mod places;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use qpq_plugin_api::FrameBatch;
use qpq_schemas::PeerId;
use qpq_schemas::link::Role;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::clock::now_ms;
use super::dialer::Fact;
use super::engine::Message;
use super::link_task::{Inbox, LinkTask, Restart, Taken, room};
use super::pings::Pings;
use super::switchboard::{Figures, Moving, Switchboard};
use crate::core::LinkId;
use crate::identity::{Identity, PeerSet};
use crate::link::{Link, LinkConfig, LinkSetup};
use crate::plugin::{Frame, LinkUp, Listeners, NewPath, TransportEvents, TransportHandle};
use crate::store::Store;

#[cfg(feature = "fuzz-doors")]
pub(super) use places::address_of;
pub(super) use places::{HalfOpen, Places};

/// What all links of a node share.
pub(super) struct LinkParts {
    pub(super) identity: Arc<Identity>,
    pub(super) blocked: PeerSet,
    /// Their links may take the places that are kept for those that this node opens.
    pub(super) trusted: PeerSet,
    pub(super) config: LinkConfig,
    pub(super) store: Store,
    pub(super) engine: mpsc::Sender<Message>,
    pub(super) board: Arc<Switchboard>,
    pub(super) runtime: Handle,
    pub(super) places: Places,
}

/// Makes a listener for each instance of a transport, and keeps those of each name that count.
pub(super) struct Transports {
    parts: Arc<LinkParts>,
    seats: Mutex<BTreeMap<String, Seat>>,
    changes: watch::Sender<u64>,
}

/// The instances of one transport.
#[derive(Default)]
struct Seat {
    /// The newest, which may never run.
    newest: Option<Arc<Links>>,
    /// The one that new links are made with.
    running: Option<Arc<Links>>,
    /// In a swap, the one that was `running` before.
    before: Option<Arc<Links>>,
}

/// How long a swap waits for neighbours to come over, while the old links go on: a few round trips over a slow network.
const COMING_OVER: Duration = Duration::from_secs(1);

/// How long the last words to all neighbours may take: as long as a full queue takes on a slow disk of work.
const LAST_WORDS: Duration = Duration::from_millis(100);

impl Transports {
    pub(super) fn new(parts: LinkParts) -> Self {
        Self { parts: Arc::new(parts), seats: Mutex::default(), changes: watch::Sender::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest instance runs: its links can be served, and new ones are made with it. Returns the one that it replaces.
    pub(super) fn started(&self, name: &str, handle: TransportHandle) -> Option<Arc<Links>> {
        let mut seats = self.lock();
        let seat = seats.get_mut(name)?;
        let newest = seat.newest.clone()?;
        _ = newest.handle.set(handle); // a new instance has a new listener
        if !seat.running.as_ref().is_some_and(|running| Arc::ptr_eq(running, &newest)) {
            seat.before = seat.running.replace(newest);
        }
        let before = seat.before.clone();
        drop(seats);
        self.changes.send_modify(|number| *number += 1);
        before
    }

    /// The one that runs has taken over for good.
    pub(super) fn settled(&self, name: &str) {
        if let Some(seat) = self.lock().get_mut(name) {
            seat.before = None;
        }
    }

    /// New links are made with the instance before again.
    pub(super) fn put_back(&self, name: &str) {
        if let Some(seat) = self.lock().get_mut(name) {
            seat.running = seat.before.take();
        }
        self.changes.send_modify(|number| *number += 1);
    }

    /// No instance runs any more; returns the links of the last one.
    pub(super) fn ended(&self, name: &str) -> Option<Arc<Links>> {
        let before = self.lock().get_mut(name).and_then(|seat| {
            seat.before = None;
            seat.running.take()
        })?;
        self.changes.send_modify(|number| *number += 1);
        Some(before)
    }

    /// Changes with each transport that starts or ends.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether a transport for addresses of that scheme runs.
    pub(super) fn serves(&self, scheme: &str) -> bool {
        self.for_uri(scheme).is_some()
    }

    /// The running transport that serves addresses of that scheme; of several, the first by name.
    pub(super) fn for_uri(&self, uri: &str) -> Option<TransportHandle> {
        let scheme = uri.split_once("://").map_or(uri, |(scheme, _)| scheme);
        let seats = self.lock();
        let running = seats.values().filter_map(|seat| seat.running.as_ref()).filter(|links| !links.is_leaving());
        running.filter_map(|links| links.handle.get()).find(|handle| handle.serves(scheme)).cloned()
    }
}

impl Listeners for Transports {
    fn transport(&self, name: &str) -> Arc<dyn TransportEvents> {
        let links = Arc::new(Links {
            parts: Arc::clone(&self.parts),
            handle: OnceLock::new(),
            inboxes: Mutex::default(),
            leaving: AtomicBool::new(false),
            taken: Arc::default(),
        });
        self.lock().entry(name.to_owned()).or_default().newest = Some(Arc::clone(&links));
        links
    }
}

/// The links of one instance.
pub(super) struct Links {
    parts: Arc<LinkParts>,
    handle: OnceLock<TransportHandle>,
    inboxes: Mutex<HashMap<LinkId, Arc<Inbox>>>,
    /// Another instance takes over.
    leaving: AtomicBool,
    taken: Arc<Taken>,
}

impl Links {
    /// Whether the instance serves addresses like that one.
    pub(super) fn serves(&self, uri: &str) -> bool {
        self.handle.get().is_some_and(|handle| handle.serves_uri(uri))
    }

    /// Has all links go over to `heir`, the instance that runs now, while they carry on: those that this node dialled are dialled
    /// again, the neighbours of the others are asked to come to the port that `port` tells for their address. Waits until
    /// they have, for a while.
    pub(super) async fn go_over(&self, heir: &TransportHandle, port: impl Fn(&str) -> Option<u16>) {
        self.taken.part();
        let board = &self.parts.board;
        let mut changes = board.watch();
        let mut going = Vec::new();
        for Fact { link, peer, remote, outbound } in board.facts() {
            let Some(inbox) = self.inbox(link).filter(|_| heir.serves_uri(&remote)) else { continue };
            match (outbound, port(&remote)) {
                (true, _) => board.move_over(Moving { link, peer, uri: remote }),
                (false, Some(port)) => inbox.ask_move(port),
                (false, None) => continue,
            }
            going.push(link);
        }
        let over = async { while going.iter().any(|link| board.has(*link)) && changes.changed().await.is_ok() {} };
        _ = tokio::time::timeout(COMING_OVER, over).await; // who is late has to come back after the old one's end
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    fn inboxes(&self) -> MutexGuard<'_, HashMap<LinkId, Arc<Inbox>>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self, link: LinkId) -> Option<Arc<Inbox>> {
        self.inboxes().get(&link).cloned()
    }

    fn task(&self, up: LinkUp, transport: TransportHandle, inbox: Arc<Inbox>, half_open: Option<HalfOpen>) -> LinkTask {
        let parts = &self.parts;
        let setup = LinkSetup {
            role: if up.outbound { Role::Initiator } else { Role::Responder },
            identity: Arc::clone(&parts.identity),
            blocked: parts.blocked.clone(),
            expected: None,
            proven_by_transport: up.peer,
            binding: up.channel_binding.clone(),
            max_frame: up.max_frame,
            reliable: up.reliable,
        };
        LinkTask {
            link: Link::new(setup, parts.config.clone(), now_ms(), &mut rand::rng()),
            up,
            transport,
            inbox,
            store: parts.store.clone(),
            engine: parts.engine.clone(),
            board: Arc::clone(&parts.board),
            figures: Arc::new(Figures::default()),
            unsent: VecDeque::new(),
            room: room(),
            pings: Pings::default(),
            half_open,
            taken: Arc::clone(&self.taken),
            restart: Restart::default(),
        }
    }
}

impl TransportEvents for Links {
    fn link_up(&self, up: LinkUp) {
        let Some(handle) = self.handle.get().cloned() else {
            return warn!(link = up.link, "a link came up before its transport had started");
        };
        let favoured = up.outbound || up.peer.is_some_and(|peer| self.parts.trusted.contains(&peer));
        let mut place = match self.parts.places.take(favoured, &up.remote) {
            Ok(place) => place,
            Err(setting) => {
                warn!(remote = %up.remote, setting, "refused: as many links are open as may be");
                self.parts.runtime.spawn(async move { handle.close(up.link, "this node has no room for more links") });
                return;
            }
        };
        let inbox = Arc::new(Inbox::default());
        self.inboxes().insert(up.link, Arc::clone(&inbox));
        let task = self.task(up, handle, inbox, place.half_open.take());
        self.parts.runtime.spawn(async move {
            task.run().await;
            drop(place);
        });
    }

    fn link_down(&self, link: LinkId, reason: &str) {
        if let Some(inbox) = self.inboxes().remove(&link) {
            inbox.set_down(reason);
        }
    }

    fn path_changed(&self, link: LinkId, path: NewPath<'_>) {
        self.parts.board.moved(link, path);
    }

    fn frames(&self, link: LinkId, batch: &mut FrameBatch<'_>) {
        match self.inbox(link) {
            Some(inbox) => {
                inbox.frames.accept(batch);
                inbox.arrived.notify_one();
            }
            None => while batch.pop().is_some() {},
        }
    }

    fn writable(&self, link: LinkId) {
        if let Some(inbox) = self.inbox(link) {
            inbox.writable.notify_one();
        }
    }

    fn part(&self) -> BoxFuture<'static, ()> {
        self.leaving.store(true, Ordering::Release);
        self.taken.part();
        let said: Vec<_> = self.inboxes().values().map(|inbox| inbox.ask_leave()).collect();
        async move {
            _ = tokio::time::timeout(LAST_WORDS, futures::future::join_all(said)).await;
        }
        .boxed()
    }

    fn taken(&self) -> BTreeMap<PeerId, (Instant, Instant)> {
        self.taken.times()
    }

    /// What a link did not send is covered by custody: it is offered again over the next link.
    fn unsent(&self, _frames: Vec<Frame>) {}
}
