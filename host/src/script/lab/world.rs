//! The virtual mesh: nodes, links and disks under one virtual clock.
//!
//! A link between two nodes is up as soon as both run and nothing parts them, and both ends know at once when it isn't:
//! there are no handshakes and no hellos. Frames arrive in order after the link's latency; what is lost below is repeated
//! and comes later. A commit takes a millisecond, as on a good disk.
//!
//! Idle time is skipped. A core wants to be called once a second for its upkeep, but the longer nothing of substance
//! happened (no message, no link that came or went), the more rarely it is: at most as late as a quarter of that time,
//! and an hour at most ([`World::upkeep_us`]). It is told that the clock went on meanwhile ([`Core::time_went_on`]), so that
//! it expires what is over as a node does that never slept.

mod links;
mod post;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use qpq_schemas::PeerId;
use qpq_schemas::envelope::{Envelope, LARGEST_PAYLOAD, Refusal};
use qpq_schemas::link::Frame;
use qpq_schemas::signature::Verifier;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use super::super::clock::VirtualTime;
use super::super::shared::LiveEvent;
use super::compass::Map;
use super::node::{Node, key_of};
use crate::api::{ApiError, Receipt};
use crate::core::{Core, Effect, Event, LinkId, Notice, Ticket};
use crate::identity::{About, Sighting};
use crate::node::mail::{Moment, receipt_at};
use crate::sim::{Queue, Random};
use links::Wire;
pub(super) use post::{Answer, Posted};

/// When every test begins: 15 January 2027, 08:00:00 UTC.
pub(super) const START: Duration = Duration::from_secs(1_800_000_000);

/// Nodes of one mesh, people's included.
const MAX_NODES: usize = 64;

/// How long a signature check takes, in microseconds.
const VERIFY_US: u64 = 100;

/// How long a commit with its sync takes, in microseconds.
const SYNC_US: u64 = 1_000;

/// The shortest time between two calls of a core that wants to be called at once, in microseconds.
const TICK_STEP_US: u64 = 50;

/// The upkeep of a core may be late by this part of the time for which nothing of substance has happened.
const UPKEEP_PART: u64 = 4;

/// The longest that a core goes without upkeep, in microseconds.
const UPKEEP_MAX_US: u64 = 3_600 * 1_000_000;

/// How often a node makes its record anew, in microseconds: three days, well within a record's life.
const RECORD_EVERY_US: u64 = 3 * 86_400 * 1_000_000;

/// Public keys that the signature checks remember.
const KEY_CACHE: usize = 256;

/// What is due at some time.
enum Happening {
    /// A frame arrives at an end of a wire, sent in that life of it.
    Frame { wire: usize, end: usize, life: u32, frame: Frame },
    /// Signatures were checked.
    Verified { node: usize, life: u32, ticket: Ticket, verdicts: Vec<Result<(), Refusal>> },
    /// A commit is on the disk.
    Committed { node: usize, life: u32 },
    /// A node makes its record anew.
    Record { node: usize, life: u32 },
}

impl Happening {
    /// Whether the mesh isn't quiet while it waits for this.
    fn is_busy(&self) -> bool {
        !matches!(self, Self::Record { .. })
    }
}

/// See the module.
pub(super) struct World {
    pub nodes: Vec<Node>,
    /// All that bots sent, in order.
    pub posted: Vec<Posted>,
    /// Share of frames that have to be repeated.
    pub loss: f64,
    time: Arc<VirtualTime>,
    wires: Vec<Wire>,
    /// The parts that the mesh was broken into; nodes that none names are together in one more.
    parts: Vec<Vec<usize>>,
    map: Map,
    queue: Queue<Happening>,
    /// How many of those in the queue the mesh isn't quiet before.
    busy: usize,
    /// When something of substance happened last, in microseconds.
    active_us: u64,
    random: Random,
    rng: StdRng,
    verifier: Verifier,
    replies: HashMap<u64, oneshot::Sender<Result<Receipt, ApiError>>>,
    next_token: u64,
}

impl World {
    /// A world without nodes. All that is random in it follows from the seed.
    pub(super) fn new(time: Arc<VirtualTime>, seed: u64) -> Self {
        Self {
            nodes: Vec::new(),
            posted: Vec::new(),
            loss: 0.0,
            time,
            wires: Vec::new(),
            parts: Vec::new(),
            map: Arc::new(Mutex::new(BTreeMap::new())),
            queue: Queue::default(),
            busy: 0,
            active_us: 0,
            random: Random::seeded(seed),
            rng: StdRng::seed_from_u64(seed),
            verifier: Verifier::new(KEY_CACHE),
            replies: HashMap::new(),
            next_token: 0,
        }
    }

    /// The node of that name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The name of the node with that key, whoever knows it.
    pub(super) fn name_of(&self, peer: &PeerId) -> Option<&str> {
        self.nodes.iter().find(|node| node.peer() == *peer).map(|node| node.name.as_str())
    }

    /// Whom a test means by that text: the name of a node or a person, also one that isn't there yet, or a key.
    pub(super) fn key(text: &str) -> PeerId {
        text.parse().unwrap_or_else(|_| key_of(text).peer_id())
    }

    /// Adds a node and starts it. A person's node names the node whose side it is on.
    pub(super) fn add(&mut self, name: &str, home: Option<usize>) -> Result<usize, String> {
        if self.nodes.len() >= MAX_NODES {
            return Err(format!("a mesh has at most {MAX_NODES} nodes, people's included"));
        }
        let node = Node::new(name, home, self.now_ms(), &mut self.rng);
        self.nodes.push(node);
        let number = self.nodes.len() - 1;
        self.start(number);
        Ok(number)
    }

    /// Starts a node over what its disk holds.
    pub(super) fn start(&mut self, number: usize) {
        let now_ms = self.now_ms();
        let Some(node) = self.nodes.get_mut(number).filter(|node| node.core.is_none()) else { return };
        node.start(&self.map, now_ms);
        let left = node.core.as_ref().map(Core::unread_receipts).unwrap_or_default();
        let wires: Vec<Bytes> = left.into_iter().filter_map(|seq| node.disk.read(seq)).collect();
        for envelope in wires.into_iter().filter_map(|wire| Envelope::from_wire(wire, LARGEST_PAYLOAD).ok()) {
            self.feed(number, Event::ReceiptLeft { envelope });
        }
        self.speak_of_oneself(number);
        self.relink();
    }

    /// Takes a node down. After a crash what was not on its disk is lost.
    pub(super) fn stop(&mut self, number: usize, crash: bool) {
        let Some(node) = self.nodes.get_mut(number) else { return };
        while !crash && !node.disk.is_at_rest() {
            _ = node.disk.commit(); // whoever waited goes down with the node
        }
        node.disk.crash(&mut self.random);
        (node.core, node.tick_us) = (None, u64::MAX);
        node.bots.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.relink();
    }

    /// The time, in microseconds since the start.
    pub(super) fn now_us(&self) -> u64 {
        self.time.passed().as_micros() as u64
    }

    /// The time that all nodes' clocks show, Unix time in milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        (START + self.time.passed()).as_millis() as u64
    }

    /// When something is due next, counted from the start.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let ticks = self.nodes.iter().filter(|node| node.core.is_some()).map(|node| node.tick_us);
        ticks.chain(self.queue.due_us()).min().filter(|due| *due < u64::MAX).map(Duration::from_micros)
    }

    /// Whether something is under way: a frame, a check, a commit.
    pub(super) fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// Does all that is due now.
    pub(super) fn run_due(&mut self) {
        let now_us = self.now_us();
        while let Some((_, what)) = self.queue.pop(now_us) {
            self.busy -= usize::from(what.is_busy());
            self.happen(what);
        }
        for number in 0..self.nodes.len() {
            if let Some(node) = self.nodes.get_mut(number).filter(|node| node.tick_us <= now_us) {
                node.tick_us = u64::MAX;
                self.feed(number, Event::Tick);
            }
        }
    }

    fn plan(&mut self, at_us: u64, what: Happening) {
        self.busy += usize::from(what.is_busy());
        self.queue.push(at_us, what);
    }

    fn happen(&mut self, what: Happening) {
        let lives = |nodes: &[Node], number: usize, life| {
            nodes.get(number).is_some_and(|node: &Node| node.life == life && node.core.is_some())
        };
        match what {
            Happening::Frame { wire, end, life, frame } => self.arrive(wire, end, life, frame),
            Happening::Verified { node, life, ticket, verdicts } if lives(&self.nodes, node, life) => {
                self.feed(node, Event::Verified { ticket, verdicts });
            }
            Happening::Committed { node, life } if lives(&self.nodes, node, life) => self.committed(node),
            Happening::Record { node, life } if lives(&self.nodes, node, life) => self.speak_of_oneself(node),
            _ => {} // for an earlier life of the node
        }
    }

    /// Something of substance happens: cores are called for their upkeep as often as they want.
    fn be_active(&mut self) {
        self.active_us = self.now_us();
    }

    /// Tells a core what happened, and performs the effects.
    fn feed(&mut self, number: usize, event: Event) {
        let now_ms = self.now_ms();
        let Some(core) = self.nodes.get_mut(number).and_then(|node| node.core.as_mut()) else { return };
        core.time_went_on(now_ms);
        let effects = core.handle(event, now_ms);
        self.perform_all(number, effects);
    }

    fn perform_all(&mut self, number: usize, effects: Vec<Effect>) {
        effects.into_iter().for_each(|effect| self.perform(number, effect));
        self.plan_tick(number);
    }

    fn plan_tick(&mut self, number: usize) {
        let now_us = self.now_us();
        let upkeep_us = self.upkeep_us();
        let Some(node) = self.nodes.get_mut(number) else { return };
        let Some(core) = &node.core else { return };
        let since_start_ms = core.deadline_ms().saturating_sub(START.as_millis() as u64);
        node.tick_us = node.tick_us.min((since_start_ms * 1_000).max(now_us + upkeep_us));
    }

    /// How soon a core may be called for its upkeep.
    fn upkeep_us(&self) -> u64 {
        (self.now_us().saturating_sub(self.active_us) / UPKEEP_PART).clamp(TICK_STEP_US, UPKEEP_MAX_US)
    }

    fn perform(&mut self, number: usize, effect: Effect) {
        let now_us = self.now_us();
        let Some(node) = self.nodes.get_mut(number) else { return };
        match effect {
            Effect::Send { link, frame } => self.send_frame(number, link, frame),
            Effect::Offer { link, items } => {
                // Where the copy was given up in the same step there is nothing to send.
                let wire = |item: crate::core::Offered| item.wire.or_else(|| node.disk.read(item.seq));
                let wires: Vec<Bytes> = items.into_iter().filter_map(wire).collect();
                if !wires.is_empty() {
                    self.send_frame(number, link, Frame::Envelopes(wires));
                }
            }
            Effect::Close { link, .. } | Effect::Retire { link } => self.close(link),
            Effect::Verify { ticket, envelopes } => {
                let verdicts = envelopes.iter().map(|envelope| self.verifier.check(envelope.view())).collect();
                let life = node.life;
                self.plan(now_us + VERIFY_US, Happening::Verified { node: number, life, ticket, verdicts });
            }
            Effect::Persist { ticket, batch } => {
                let life = node.life;
                if node.disk.submit(ticket, batch) {
                    self.plan(now_us + SYNC_US, Happening::Committed { node: number, life });
                }
            }
            Effect::Answer { token, result } => {
                if let Some(reply) = self.replies.remove(&token) {
                    _ = reply.send(result); // who asked may have gone
                }
            }
            Effect::InboxGrew { seq } => node.each_bot(|bot| bot.inbox_grew(seq)),
            Effect::MakeReceipts { ticket, wanted } => {
                let mut moment = Moment { now_ms: (START + self.time.passed()).as_millis() as u64, rng: &mut self.rng };
                let key = node.identity.signing_key();
                let made = wanted.into_iter().map(|(to, id)| receipt_at(to, id, key, &mut moment).ok());
                let receipts = made.collect();
                self.feed(number, Event::ReceiptsMade { ticket, receipts });
            }
            Effect::Notice(notice) => self.notice(number, notice),
            Effect::MailCame { .. } => {}
        }
    }

    fn committed(&mut self, number: usize) {
        let now_us = self.now_us();
        let Some(node) = self.nodes.get_mut(number) else { return };
        let (tickets, result, next) = node.disk.commit();
        let life = node.life;
        if next {
            self.plan(now_us + SYNC_US, Happening::Committed { node: number, life });
        }
        for ticket in tickets {
            self.feed(number, Event::Persisted { ticket, result: result.clone() });
        }
    }

    /// What news mean to a node's directory and its bots.
    fn notice(&mut self, number: usize, notice: Notice) {
        let now_ms = self.now_ms();
        let Some(node) = self.nodes.get_mut(number) else { return };
        let told = LiveEvent::of(&notice);
        match notice {
            Notice::PeerUp(peer) => {
                let sighting = Sighting { seen_ms: Some(now_ms), ..Sighting::default() };
                _ = node.directory.upsert(peer, &sighting); // a full directory refuses; the link works all the same
            }
            Notice::PeerDown(peer) => {
                node.directory.note_seen(&peer, now_ms);
            }
            Notice::Record { record, wire } => {
                node.records.insert(record.peer, wire);
                _ = node.directory.upsert(record.peer, &Sighting::from(*record));
            }
            Notice::RecordsGone(peers) => peers.iter().for_each(|peer| drop(node.records.remove(peer))),
            Notice::Delivered { id, by } => {
                node.deliveries.came(id, by, node.name_of(&by), now_ms);
            }
            Notice::LinkChange { .. } | Notice::RoutesChanged | Notice::Failed { .. } | Notice::Evicted { .. } => {}
            Notice::NoWay(_) | Notice::Twin => {}
        }
        if let Some(mut event) = told {
            event.name = event.peer.and_then(|peer| node.name_of(&peer));
            node.tell(&event);
        }
    }

    /// A node spreads a new record of itself, and will again.
    fn speak_of_oneself(&mut self, number: usize) {
        let (now_us, now_ms) = (self.now_us(), self.now_ms());
        let Some(node) = self.nodes.get_mut(number) else { return };
        _ = node.sealing.rotate(now_ms, &mut self.rng); // in memory nothing fails
        let about = About { nickname: Some(node.name.clone()), ..About::default() };
        let (record, life) = (node.sealing.own_record(&about, now_ms), node.life);
        self.plan(now_us + RECORD_EVERY_US, Happening::Record { node: number, life });
        if let Ok(wire) = record {
            self.feed(number, Event::OwnRecord(wire));
        }
    }

    /// Answers a client when the core does.
    fn expect_answer(&mut self) -> (u64, oneshot::Receiver<Result<Receipt, ApiError>>) {
        self.next_token += 1;
        let (reply, answer) = oneshot::channel();
        self.replies.insert(self.next_token, reply);
        (self.next_token, answer)
    }

    /// What a node's core shows of itself.
    pub(super) fn core(&self, number: usize) -> Result<&Core, ApiError> {
        let core = self.nodes.get(number).and_then(|node| node.core.as_ref());
        core.ok_or_else(|| ApiError::new("stopping", "the node is down"))
    }

    fn is_up(&self, number: usize) -> bool {
        self.core(number).is_ok()
    }

    fn peer(&self, number: usize) -> Option<PeerId> {
        self.nodes.get(number).map(Node::peer)
    }
}

/// The number by which both ends of a wire know its present connection.
fn link_id(wire: usize, life: u32) -> LinkId {
    (u64::from(life) << 32) | (wire as u64 + 1)
}

/// The wire, and its life, of that number.
fn of_link_id(link: LinkId) -> (usize, u32) {
    ((link as u32).wrapping_sub(1) as usize, (link >> 32) as u32)
}
