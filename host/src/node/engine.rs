//! The task that owns the core, and performs its effects.
//!
//! It waits for nobody: links and clients come in through bounded channels, the disk and the signature checks
//! report back, and what goes out to a link is handed to that link's own task.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use qpq_schemas::envelope::{Envelope, LARGEST_PAYLOAD, Refusal};
use qpq_schemas::link::Frame;
use qpq_schemas::{MessageId, PeerId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tracing::warn;

use super::clock::now_ms;
use super::commands::{CommandSender, LinkCommand};
use super::mail::receipt;
use super::switchboard::Switchboard;
use super::verify::VerifyPool;
use crate::api::{ApiError, Receipt};
use crate::core::federation::Domain;
use crate::core::{Core, Effect, Event, LinkId, Notice};
use crate::identity::Identity;
use crate::link::CloseReason;
use crate::store::{Batch, Store};

/// Messages from links and clients that wait for the core.
pub(super) const MAX_MESSAGES: usize = 1_024;
/// Messages handled before the completions are looked at again.
const MESSAGE_STEP: usize = 128;
/// The clock is looked at again at least this often, since it may be set back, in milliseconds.
const MAX_WAIT_MS: u64 = 1_000;

/// A change of the core at that time, and what follows from it.
pub(super) type Change = Box<dyn FnOnce(&mut Core, u64) -> Vec<Effect> + Send>;

/// What the engine is asked for.
pub(super) enum Message {
    /// Something for the core.
    Event(Event),
    /// A link was authenticated, perhaps to another domain; its commands go there.
    LinkUp(LinkId, PeerId, Option<Domain>, CommandSender),
    /// A frame of an authenticated neighbour, and its place in the queue.
    Frame(LinkId, Frame, OwnedSemaphorePermit),
    /// A client's envelope, and where to answer.
    Submit { envelope: Envelope, trusted: bool, reply: oneshot::Sender<Result<Receipt, ApiError>> },
    /// An envelope out of a file, and where to answer.
    Import { envelope: Envelope, reply: oneshot::Sender<Result<Receipt, ApiError>> },
    /// A look at the core.
    Ask(Box<dyn FnOnce(&Core) + Send>),
    /// A PING over a link, and where to say how long its answer took.
    Ping(LinkId, oneshot::Sender<std::time::Duration>),
    /// A change of the core, with effects.
    Change(Change),
    /// Finish what is written and end.
    Stop(oneshot::Sender<()>),
}

/// Reports of the disk and of the signature checks. What the core has under way bounds them.
pub(super) type Completions = mpsc::UnboundedSender<Event>;

/// Hears of what concerns others than the core.
pub(super) trait Listener: Send {
    /// The inbox grew up to this place.
    fn inbox_grew(&mut self, seq: u64);
    /// A message came that somebody with a mailbox here may wait for.
    fn mail_came(&mut self, destination: [u8; 32]);
    /// News.
    fn notice(&mut self, notice: Notice);
}

/// The core with everything its effects need.
pub(super) struct Engine {
    core: Core,
    identity: Arc<Identity>,
    store: Store,
    verify: VerifyPool,
    links: HashMap<LinkId, CommandSender>,
    board: Arc<Switchboard>,
    replies: HashMap<u64, oneshot::Sender<Result<Receipt, ApiError>>>,
    next_token: u64,
    completions: Completions,
    /// Removals that the store had no room for; they go with the next tick.
    backlog: VecDeque<(u64, Batch)>,
    inbox: watch::Sender<u64>,
    listener: Box<dyn Listener>,
}

/// What an engine is made of.
pub(super) struct Parts {
    pub(super) core: Core,
    pub(super) board: Arc<Switchboard>,
    pub(super) identity: Arc<Identity>,
    pub(super) store: Store,
    pub(super) verify: VerifyPool,
    pub(super) completions: Completions,
    pub(super) inbox: watch::Sender<u64>,
    pub(super) listener: Box<dyn Listener>,
}

impl Engine {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { core, board, identity, store, verify, completions, inbox, listener } = parts;
        Self {
            core,
            identity,
            store,
            verify,
            links: HashMap::new(),
            board,
            replies: HashMap::new(),
            next_token: 0,
            completions,
            backlog: VecDeque::new(),
            inbox,
            listener,
        }
    }

    /// Runs until told to stop.
    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>, mut done: mpsc::UnboundedReceiver<Event>) {
        self.read_what_was_left();
        let mut batch = Vec::with_capacity(MESSAGE_STEP);
        let mut events = Vec::with_capacity(MESSAGE_STEP);
        loop {
            // Also under load, when there is always another message.
            if self.core.deadline_ms() <= now_ms() {
                self.tick();
            }
            let wait = self.core.deadline_ms().saturating_sub(now_ms()).min(MAX_WAIT_MS);
            tokio::select! {
                biased;
                reported = done.recv_many(&mut events, MESSAGE_STEP) => {
                    if reported == 0 {
                        return;
                    }
                }
                received = messages.recv_many(&mut batch, MESSAGE_STEP) => {
                    if received == 0 {
                        return;
                    }
                    for message in batch.drain(..) {
                        if let Message::Stop(stopped) = message {
                            self.handle_all(&mut events);
                            return self.finish(done, stopped).await;
                        }
                        self.message(message, &mut events);
                    }
                }
                () = tokio::time::sleep(std::time::Duration::from_millis(wait)) => self.tick(),
            }
            self.handle_all(&mut events);
        }
    }

    /// Waits until what was handed to the disk is there, so that nobody is left without an answer.
    async fn finish(mut self, mut done: mpsc::UnboundedReceiver<Event>, stopped: oneshot::Sender<()>) {
        self.links.clear();
        self.write_backlog();
        while !self.replies.is_empty() {
            let Some(event) = done.recv().await else { break };
            self.handle(event);
        }
        _ = stopped.send(()); // whoever asked may have gone
    }

    /// Notes what a message wants of the core; what asks or changes it comes after all that was noted before.
    fn message(&mut self, message: Message, events: &mut Vec<Event>) {
        match message {
            Message::Event(event) => {
                if let Event::LinkDown { link } = &event {
                    self.handle_all(events); // what is still to be said over it
                    self.links.remove(link);
                }
                events.push(event);
            }
            Message::LinkUp(link, peer, domain, commands) => {
                self.links.insert(link, commands);
                events.push(Event::LinkUp { link, peer, domain });
            }
            Message::Frame(link, frame, _place) => events.push(Event::Frame { link, frame }),
            Message::Submit { envelope, trusted, reply } => {
                self.next_token += 1;
                self.replies.insert(self.next_token, reply);
                events.push(Event::Submit { token: self.next_token, envelope, trusted });
            }
            Message::Import { envelope, reply } => {
                self.next_token += 1;
                self.replies.insert(self.next_token, reply);
                self.handle(Event::Import { token: self.next_token, envelope });
            }
            Message::Ping(link, reply) => self.command(link, LinkCommand::Ping(reply)),
            Message::Ask(look) => {
                self.handle_all(events);
                look(&self.core);
            }
            Message::Change(change) => {
                self.handle_all(events);
                let effects = change(&mut self.core, now_ms());
                self.perform(effects);
            }
            Message::Stop(_) => {}
        }
    }

    /// Hands the core what came in together.
    fn handle_all(&mut self, events: &mut Vec<Event>) {
        if !events.is_empty() {
            let effects = self.core.handle_all(events.drain(..), now_ms());
            self.perform(effects);
        }
    }

    fn tick(&mut self) {
        self.handle(Event::Tick);
        self.write_backlog();
    }

    fn handle(&mut self, event: Event) {
        let effects = self.core.handle(event, now_ms());
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { link, frame } => self.command(link, LinkCommand::Send(frame)),
                Effect::Offer { link, items } => self.command(link, LinkCommand::Offer(items)),
                Effect::Close { link, reason } => self.board.close(link, CloseReason::going_away(reason)),
                Effect::Retire { link } => self.board.close(link, CloseReason::duplicate()),
                Effect::Verify { ticket, envelopes } => self.verify.submit(ticket, envelopes),
                Effect::Persist { ticket, batch } => self.write(ticket, batch),
                Effect::Answer { token, result } => {
                    if let Some(reply) = self.replies.remove(&token) {
                        _ = reply.send(result); // the client may have gone
                    }
                }
                Effect::InboxGrew { seq } => {
                    self.inbox.send_replace(seq);
                    self.listener.inbox_grew(seq);
                }
                Effect::MailCame { destination } => self.listener.mail_came(destination),
                Effect::MakeReceipts { ticket, wanted } => self.make_receipts(ticket, wanted),
                Effect::Notice(notice) => self.listener.notice(notice),
            }
        }
    }

    /// A neighbour whose commands pile up is cut off: it reads too slowly for what it asks.
    fn command(&mut self, link: LinkId, command: LinkCommand) {
        let Some(commands) = self.links.get(&link) else { return };
        if !commands.send(command) {
            warn!(link, "the neighbour takes nothing; its link is closed");
            self.links.remove(&link);
            self.board.close(link, CloseReason::going_away("it takes nothing, and too much waits for it"));
        }
    }

    /// What was put off goes first: a message may come back whose removal is among it.
    fn write(&mut self, ticket: u64, batch: Batch) {
        self.write_backlog();
        let refused = if self.backlog.is_empty() { self.submit(ticket, batch) } else { Some(batch) };
        match refused {
            None => {}
            // Removals can wait.
            Some(batch) if batch.append.is_empty() => self.backlog.push_back((ticket, batch)),
            Some(_) => {
                let result = Err("its queue is full".to_owned());
                _ = self.completions.send(Event::Persisted { ticket, result });
            }
        }
    }

    /// Hands in what was put off, as far as there is room.
    fn write_backlog(&mut self) {
        while let Some((ticket, batch)) = self.backlog.pop_front() {
            if let Some(batch) = self.submit(ticket, batch) {
                return self.backlog.push_front((ticket, batch));
            }
        }
    }

    /// Hands a batch to the store, or returns it when the store's queue is full.
    fn submit(&self, ticket: u64, batch: Batch) -> Option<Batch> {
        let completions = self.completions.clone();
        let report = move |result: Result<(), crate::store::StoreError>| {
            let result = result.map_err(|error| error.to_string());
            _ = completions.send(Event::Persisted { ticket, result }); // fails only while the node stops
        };
        self.store.submit(batch, report).err().map(|full| *full.batch)
    }

    /// A crash may have come between a receipt's arrival and its use.
    fn read_what_was_left(&mut self) {
        for seq in self.core.unread_receipts() {
            match self.store.read(seq).map(|record| Envelope::from_wire(record.wire, LARGEST_PAYLOAD)) {
                Ok(Ok(envelope)) => self.handle(Event::ReceiptLeft { envelope }),
                Ok(Err(refusal)) => warn!(%refusal, "a receipt in the store can't be read"),
                Err(error) => warn!(%error, "a receipt in the store can't be read"),
            }
        }
    }

    fn make_receipts(&mut self, ticket: u64, wanted: Vec<(PeerId, MessageId)>) {
        let made = wanted.into_iter().map(|(to, id)| receipt(to, id, self.identity.signing_key()));
        let failed = |refusal: &Refusal| warn!(%refusal, "a receipt could not be made");
        let receipts = made.map(|receipt| receipt.inspect_err(failed).ok()).collect();
        self.handle(Event::ReceiptsMade { ticket, receipts });
    }
}
