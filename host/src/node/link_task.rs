//! The task of one link: between a transport's frames, the link's state machine, and the core.
//!
//! Each link waits for nobody but itself. A transport that takes no more frames stops this link's commands; a
//! core that is busy stops this link's reading, and the transport is told by a short acceptance.

mod inbox;
mod taken;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use qpq_schemas::PeerId;
use qpq_schemas::link::{Frame as LinkFrame, MAX_ENVELOPES};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tracing::{debug, warn};

use super::clock::now_ms;
use super::commands::{CommandSender, LinkCommand, commands};
use super::dialer::at_port;
use super::engine::Message;
use super::federation;
use super::pings::Pings;
use super::switchboard::{Entry, Figures, Moving, Switchboard};
use super::transports::HalfOpen;
use crate::core::{Event, Offered};
use crate::link::{CloseReason, Fault, Link, LinkInput, LinkOutput};
use crate::plugin::{DRAIN, Frame, LinkUp, TransportHandle};
use crate::store::{Store, StoreError};
pub(super) use inbox::Inbox;
pub(super) use taken::Taken;

/// Commands handled before anything is transmitted.
const COMMAND_STEP: usize = 64;
/// Transport frames handled before anything is transmitted.
const RECEIVE_STEP: usize = 64;
/// Their bytes.
const RECEIVE_BYTES: usize = 1 << 20;
/// Frames of one link that wait for the core. More are left with the transport, so that a link that floods the core
/// delays the others by no more than this.
const FRAMES_AHEAD: usize = 16;
/// Bytes of envelopes in one frame: large enough to share its cost, small enough not to delay what comes after it.
const FRAME_BYTES: usize = 64 << 10;
/// How long the end of a link may take whose transport is being replaced: as long as the one before may drain.
const LETTING_GO: Duration = DRAIN;
/// While frames wait for a busy core, the neighbour is told at most this often that this node is alive, in milliseconds.
const BUSY_MS: u64 = 50;
/// The link's deadline is looked at again at least this often, so that a leap of the clock delays nothing for long.
const MAX_SLEEP_MS: u64 = 1_000;

/// A link's task and all that it needs.
pub(super) struct LinkTask {
    pub(super) up: LinkUp,
    pub(super) link: Link,
    pub(super) transport: TransportHandle,
    pub(super) inbox: Arc<Inbox>,
    pub(super) store: Store,
    pub(super) engine: mpsc::Sender<Message>,
    pub(super) board: Arc<Switchboard>,
    pub(super) figures: Arc<Figures>,
    /// Frames for the transport that it has not taken yet.
    pub(super) unsent: VecDeque<Frame>,
    /// For the frames of this link that wait for the core: see [`room`].
    pub(super) room: Arc<Semaphore>,
    pub(super) pings: Pings,
    /// Given back once the peer has proven its key.
    pub(super) half_open: Option<HalfOpen>,
    /// What all links of the instance took in.
    pub(super) taken: Arc<Taken>,
    /// One of the two sides replaces its transport: both come back at once.
    pub(super) restart: Restart,
}

/// How far a link is that ends because a transport is replaced.
#[derive(Default)]
pub(super) struct Restart {
    /// The neighbour said so, or was told.
    known: bool,
    /// Dropped when the transport has taken the last word.
    said: Option<oneshot::Sender<()>>,
}

/// Room for one link's frames in the core's queue.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(FRAMES_AHEAD))
}

/// Where the engine's commands come from, once the link is authenticated.
struct Desk {
    sender: Option<CommandSender>,
    closer: watch::Sender<Option<CloseReason>>,
}

impl LinkTask {
    /// Runs until the link is gone.
    pub(super) async fn run(mut self) {
        let (sender, mut commands) = commands();
        let (closer, mut close) = watch::channel(None);
        let mut desk = Desk { sender: Some(sender), closer };
        let mut reason = self.step(LinkInput::Start, &mut desk).await;
        while reason.is_none() {
            if let Some(port) = self.inbox.asked_to_move() {
                reason = self.step(LinkInput::Move(port), &mut desk).await;
                continue;
            }
            if let Some(said) = self.inbox.asked_to_leave() {
                self.restart = Restart { known: true, said: Some(said) };
                reason = self.step(LinkInput::Leave(CloseReason::restarting()), &mut desk).await;
                continue;
            }
            self.transmit();
            if self.unsent.is_empty() {
                self.restart.said = None;
            }
            let ping = self.pings.due_in();
            let deadline = self.link.deadline().map_or(MAX_SLEEP_MS, |at| at.saturating_sub(now_ms()));
            reason = tokio::select! {
                biased;
                Ok(()) = close.changed() => {
                    let reason = close.borrow_and_update().clone().unwrap_or_else(cut_off);
                    self.step(LinkInput::Close(reason), &mut desk).await
                }
                () = tokio::time::sleep(ping.unwrap_or_default()), if ping.is_some() => self.ping(&mut desk).await,
                () = self.inbox.arrived.notified() => self.receive(&mut desk).await,
                () = self.inbox.writable.notified() => None,
                batch = commands.take(COMMAND_STEP), if self.unsent.is_empty() && self.link.has_room() => match batch.is_empty() {
                    true => self.step(LinkInput::Close(cut_off()), &mut desk).await,
                    false => self.obey(batch, &mut desk).await,
                },
                () = tokio::time::sleep(Duration::from_millis(deadline.min(MAX_SLEEP_MS))) => {
                    self.step(LinkInput::Tick, &mut desk).await
                }
            };
        }
        self.finish(&reason.unwrap_or_default()).await;
    }

    async fn finish(mut self, reason: &str) {
        self.transmit(); // the last word, as far as the transport takes it
        self.inbox.frames.close();
        if let Some(peer) = self.link.peer() {
            self.taken.forget(&peer);
        }
        let back = match self.link.peer().filter(|_| self.restart.known) {
            Some(peer) => {
                self.let_go(reason).await;
                Some(self.board.expect_back(self.up.link, peer))
            }
            None => None,
        };
        self.transport.close(self.up.link, reason);
        if !self.board.leave(self.up.link, reason) {
            return;
        }
        let (engine, link) = (self.engine.clone(), self.up.link);
        let tell = async move { _ = engine.send(Message::Event(Event::LinkDown { link })).await }; // fails only at the end
        match back {
            None => tell.await,
            // Where another link takes over, that one tells. In a task of its own: the place and the commands of this link
            // are free from now on.
            Some(back) => drop(tokio::spawn(async move {
                if !back.await {
                    tell.await;
                }
            })),
        }
    }

    /// A transport is replaced, here or there. Whoever dials must not come before the new one listens, which the end of the
    /// link tells.
    async fn let_go(&mut self, reason: &str) {
        debug!(link = self.up.link, reason, "a transport is replaced");
        self.restart.said = None;
        self.transport.resume(self.up.link); // frames that it holds back would keep it from ending
        let down = async {
            while self.inbox.down().is_none() {
                self.inbox.arrived.notified().await;
            }
        };
        _ = tokio::time::timeout(LETTING_GO, down).await; // one that keeps no such order is closed from here
    }

    /// Gives the state machine one input and does what it wants; the reason, if the link is over.
    async fn step(&mut self, input: LinkInput, desk: &mut Desk) -> Option<String> {
        let mut outputs = Vec::new();
        self.link.handle(input, now_ms(), &mut outputs);
        for output in outputs {
            match output {
                LinkOutput::Transmit(bytes) => self.unsent.push_back(Frame { link: self.up.link, bytes }),
                LinkOutput::Frame(frame) => self.bring_in(frame).await,
                LinkOutput::Measured { rtt_us, loss_ppm } => {
                    self.figures.rtt_us.store(rtt_us, Ordering::Relaxed);
                    if !self.up.reliable {
                        self.figures.loss_ppm.store(u64::from(loss_ppm) + 1, Ordering::Relaxed);
                    }
                    self.tell(Event::LinkMeasured { link: self.up.link, rtt_us, loss_ppm }).await;
                }
                LinkOutput::Moving { port } => self.go_over(port),
                LinkOutput::Pinged { number } => self.pings.sent(number),
                LinkOutput::Ponged { number } => self.pings.answered(number),
                LinkOutput::Ready { peer, .. } => self.enter(peer, desk).await,
                LinkOutput::NotSent(error) => warn!(link = self.up.link, %error, "a frame was not sent"),
                LinkOutput::Closed(reason) => {
                    self.restart.known |= reason.is_restarting();
                    self.board.closing(self.up.link, &reason);
                    if reason.fault() == Fault::Peer {
                        warn!(link = self.up.link, remote = %self.up.remote, code = reason.code(), %reason, "link closed");
                    }
                    return Some(reason.to_string());
                }
            }
        }
        None
    }

    /// The neighbour replaces its transport. The one that dialled dials again: its way there is known to be open.
    fn go_over(&self, port: u16) {
        let uri = at_port(&self.up.remote, port).filter(|_| self.up.outbound);
        if let (Some(peer), Some(uri)) = (self.link.peer(), uri) {
            self.board.move_over(Moving { link: self.up.link, peer, uri });
        }
    }

    /// The peer has proven its key.
    async fn enter(&mut self, peer: PeerId, desk: &mut Desk) {
        let Some(sender) = desk.sender.take() else { return };
        self.half_open = None;
        let entry = Entry {
            peer,
            transport: self.transport.name().to_owned(),
            remote: self.up.remote.clone(),
            outbound: self.up.outbound,
            relayed: self.up.relayed,
            since_ms: now_ms(),
            figures: Arc::clone(&self.figures),
            closer: desk.closer.clone(),
        };
        match self.board.enter(self.up.link, entry) {
            Ok(()) => {
                let domain = federation::domain_behind(self.transport.name(), &self.up.remote);
                _ = self.engine.send(Message::LinkUp(self.up.link, peer, domain, sender)).await; // fails only at the end
                for before in self.board.predecessors(self.up.link) {
                    self.tell(Event::Succeeds { before, after: self.up.link, close: false }).await;
                }
                // After this one is up, so that what was learned of ways over them goes over to it.
                for link in self.board.back(peer) {
                    self.tell(Event::LinkDown { link }).await;
                }
            }
            Err(refused) => {
                desk.sender = Some(sender); // else the link would end before it has told the neighbour why
                desk.closer.send_replace(Some(refused));
            }
        }
    }

    async fn bring_in(&mut self, frame: LinkFrame) {
        if let LinkFrame::Envelopes(wires) = &frame {
            self.figures.received.fetch_add(wires.len() as u64, Ordering::Relaxed);
        }
        let Some(room) = self.wait_for_room().await else { return };
        _ = self.engine.send(Message::Frame(self.up.link, frame, room)).await; // fails only while the node stops
        if let Some(peer) = self.link.peer() {
            self.taken.note(peer);
        }
    }

    /// A place in the core's queue. That takes long where the core is busy, and the last word must not: all neighbours' pause
    /// is as long as that of the slowest. Nor may the neighbour think that this node is dead.
    async fn wait_for_room(&mut self) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.room).acquire_owned();
        tokio::pin!(room);
        loop {
            let due = self.link.deadline().map_or(MAX_SLEEP_MS, |at| at.saturating_sub(now_ms()));
            tokio::select! {
                biased;
                room = &mut room => return room.ok(),
                () = self.inbox.parting.notified(), if self.up.reliable => self.heed_orders(),
                () = tokio::time::sleep(Duration::from_millis(due.clamp(BUSY_MS, MAX_SLEEP_MS))) => self.say(LinkInput::Busy),
            }
        }
    }

    /// On a reliable transport of a link that is up, where more may come in after it.
    fn heed_orders(&mut self) {
        if let Some(port) = self.inbox.asked_to_move() {
            self.say(LinkInput::Move(port));
        }
        if let Some(said) = self.inbox.asked_to_leave() {
            self.restart = Restart { known: true, said: Some(said) };
            self.say(LinkInput::Leave(CloseReason::restarting()));
        }
        if self.unsent.is_empty() {
            self.restart.said = None;
        }
    }

    /// Does what says something to the neighbour, and nothing else.
    fn say(&mut self, input: LinkInput) {
        let mut outputs = Vec::new();
        self.link.handle(input, now_ms(), &mut outputs);
        for output in outputs {
            if let LinkOutput::Transmit(bytes) = output {
                self.unsent.push_back(Frame { link: self.up.link, bytes });
            }
        }
        self.transmit();
    }

    async fn tell(&self, event: Event) {
        _ = self.engine.send(Message::Event(event)).await; // fails only while the node stops
    }

    async fn receive(&mut self, desk: &mut Desk) -> Option<String> {
        let mut blocks: Vec<Bytes> = Vec::new();
        let taken = self.inbox.frames.take(&mut blocks, RECEIVE_STEP, RECEIVE_BYTES);
        if taken.tell_other_side {
            self.transport.resume(self.up.link);
        }
        if taken.frames == 0 {
            return self.inbox.down();
        }
        self.inbox.arrived.notify_one(); // there may be more, also the news of the link's end
        for block in blocks {
            let over = self.step(LinkInput::Received(block), desk).await;
            if over.is_some() {
                return over;
            }
        }
        None
    }

    async fn obey(&mut self, commands: Vec<LinkCommand>, desk: &mut Desk) -> Option<String> {
        let mut frames = Vec::with_capacity(commands.len());
        let mut offered = Vec::new();
        for command in commands {
            match command {
                LinkCommand::Send(frame) => frames.push(frame),
                LinkCommand::Offer(items) => offered.extend(items),
                LinkCommand::Ping(reply) => self.pings.asked.push(reply),
            }
        }
        self.envelopes(offered, &mut frames).await;
        self.step(LinkInput::Send(frames), desk).await
    }

    async fn ping(&mut self, desk: &mut Desk) -> Option<String> {
        let over = self.step(LinkInput::Ping, desk).await;
        self.pings.asked.clear(); // on a link that sends none any more
        over
    }

    /// Puts envelopes into frames; those that are no longer in memory are read first.
    async fn envelopes(&self, mut items: Vec<Offered>, frames: &mut Vec<LinkFrame>) {
        if items.iter().any(|item| item.wire.is_none()) {
            items = self.read(items).await;
        }
        let (mut wires, mut bytes) = (Vec::new(), 0);
        for wire in items.into_iter().filter_map(|item| item.wire) {
            if !wires.is_empty() && (bytes + wire.len() > FRAME_BYTES || wires.len() == MAX_ENVELOPES) {
                frames.push(LinkFrame::Envelopes(std::mem::take(&mut wires)));
                bytes = 0;
            }
            bytes += wire.len();
            wires.push(wire);
            self.figures.sent.fetch_add(1, Ordering::Relaxed);
        }
        if !wires.is_empty() {
            frames.push(LinkFrame::Envelopes(wires));
        }
    }

    async fn read(&self, mut items: Vec<Offered>) -> Vec<Offered> {
        let (store, engine) = (self.store.clone(), self.engine.clone());
        let read = move || {
            for item in items.iter_mut().filter(|item| item.wire.is_none()) {
                match store.read(item.seq) {
                    Ok(record) => item.wire = Some(record.wire),
                    Err(StoreError::DamagedRecord { .. }) => {
                        _ = engine.blocking_send(Message::Event(Event::Damaged { id: item.id }));
                    }
                    Err(error) => debug!(%error, "an envelope was gone before it could be sent"),
                }
            }
            items
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }

    /// Hands the transport what it takes.
    fn transmit(&mut self) {
        while !self.unsent.is_empty() {
            let taken = self.transport.send(self.unsent.make_contiguous());
            self.unsent.drain(..taken.min(self.unsent.len()));
            if taken == 0 {
                return;
            }
        }
    }
}

fn cut_off() -> CloseReason {
    CloseReason::going_away("this node cut the link off")
}
