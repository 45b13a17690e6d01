//! The world: nodes, links, disks and clients under one virtual clock.

mod client;
mod life;
mod reopen;
mod trace;

use std::collections::HashMap;

use bytes::Bytes;
use qpq_host::core::{Changed, Effect, Event, LinkId, Notice, Offered, Ticket};
use qpq_host::plugin::{Loader, RoutingLibrary};
use qpq_host::sim::Queue;
use qpq_schemas::envelope::Refusal;
use qpq_schemas::link::Frame;
use qpq_schemas::{MessageId, PeerId};

pub use client::{Answers, Inboxes, Message};
pub use trace::Trace;

use super::audit::Audit;
use super::checks::Checks;
use super::net::Wire;
use super::node::Node;
use super::options::Options;
use super::topology::Graph;
use super::traffic::Traffic;
use crate::{Failure, Outcome, Random, binaries};

/// How long a signature check takes, with its way to a worker and back, in microseconds.
const VERIFY_US: u64 = 100;

/// The shortest time between two calls of a core that wants to be called at once, in microseconds.
const TICK_STEP_US: u64 = 50;

/// What is due at some time.
enum Happening {
    /// A frame arrives at an end of a wire, sent in that life of it.
    Frame { wire: u32, end: u8, life: u32, frame: Frame },
    /// A core is to be called.
    Tick { node: u32 },
    /// Signatures were checked.
    Verified { node: u32, life: u32, ticket: Ticket, verdicts: Vec<Result<(), Refusal>> },
    /// A commit is on the disk.
    Committed { node: u32, life: u32 },
    /// A neighbour is dialled.
    Dial { wire: u32 },
    /// The connection is up at an end.
    Up { wire: u32, end: u8, life: u32 },
    /// The first round trip was measured.
    Measured { wire: u32, end: u8, life: u32 },
    /// An end has heard nothing for too long.
    Silent { wire: u32, end: u8, silence: u32 },
    /// A node spreads its record.
    Record { node: u32, life: u32 },
}

/// See the module.
pub struct World {
    /// The settings.
    pub options: Options,
    /// Who can be linked to whom.
    pub graph: Graph,
    /// The numbers of each node's links.
    pub links: Vec<Vec<u32>>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The links.
    pub wires: Vec<Wire>,
    /// What is known of all routes.
    pub audit: Audit,
    /// What went over the links.
    pub traffic: Traffic,
    /// What the clients got.
    pub inboxes: Inboxes,
    /// What they were told about what they handed in.
    pub answers: Answers,
    /// The present time, in microseconds since the start.
    pub now_us: u64,
    /// Randomness of network and disks.
    pub random: Random,
    /// A fingerprint of all that happened.
    pub trace: Trace,
    numbers: HashMap<PeerId, u32>,
    announcing: RoutingLibrary,
    silent: RoutingLibrary,
    queue: Queue<Happening>,
    checks: Checks,
    scratch: Vec<u8>,
    next_token: u64,
    failure: Option<Failure>,
}

impl World {
    /// A world in which no node runs yet.
    ///
    /// # Errors
    /// When the routing library can't be loaded.
    pub fn new(options: Options, graph: Graph) -> Outcome<Self> {
        let mut random = Random::seeded(options.seed);
        let folder = tempfile::tempdir()?;
        let loader = Loader::new(folder.path(), Vec::new());
        let library = |config: &serde_json::Value| {
            let file = binaries::plugin(&options.routing)?;
            RoutingLibrary::load(&loader, &file, config).map_err(|error| Failure::new(error.to_string()))
        };
        let announcing = library(&options.config)?;
        let silent = library(&options.silent_config())?;
        let mut nodes: Vec<Node> =
            (0..graph.nodes).map(|number| Node::new(number, options.seed, options.sync_us)).collect();
        let chosen = options.choose_announcers(&mut random);
        for (node, chosen) in nodes.iter_mut().zip(&chosen) {
            node.announces = *chosen;
        }
        let destinations: Vec<(u32, PeerId)> =
            (0..).zip(&nodes).filter(|(_, node)| node.announces).map(|(number, node)| (number, node.peer())).collect();
        let wires = graph.edges.iter().map(|edge| Wire::new(*edge, &mut random)).collect();
        Ok(Self {
            audit: Audit::new(graph.nodes, destinations),
            numbers: (0..).zip(&nodes).map(|(number, node)| (node.peer(), number)).collect(),
            links: graph.links(),
            nodes,
            wires,
            traffic: Traffic::default(),
            inboxes: Inboxes::default(),
            answers: Answers::default(),
            now_us: 0,
            random,
            trace: Trace::default(),
            announcing,
            silent,
            queue: Queue::default(),
            checks: Checks::default(),
            scratch: Vec::new(),
            next_token: 0,
            failure: None,
            options,
            graph,
        })
    }

    /// The node with that key.
    pub fn number_of(&self, peer: &PeerId) -> Option<u32> {
        self.numbers.get(peer).copied()
    }

    /// Lets time pass up to that moment.
    ///
    /// # Errors
    /// When a node could not go on: a routing plugin that doesn't start, a record that can't be made.
    pub fn run_until(&mut self, until_us: u64) -> Outcome {
        while let Some((at_us, what)) = self.queue.pop(until_us) {
            self.now_us = at_us;
            self.happen(what);
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
        }
        self.now_us = until_us.max(self.now_us);
        Ok(())
    }

    /// Lets so much time pass.
    ///
    /// # Errors
    /// As [`World::run_until`].
    pub fn run_for(&mut self, us: u64) -> Outcome {
        self.run_until(self.now_us + us)
    }

    /// How many happenings there were.
    pub fn happenings(&self) -> u64 {
        self.queue.count()
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Frame { wire, end, life, frame } => self.arrive(wire, end.into(), life, frame),
            Happening::Tick { node } => {
                if self.nodes[node as usize].tick_us == self.now_us {
                    self.nodes[node as usize].tick_us = u64::MAX;
                    self.feed(node, Event::Tick);
                }
            }
            Happening::Verified { node, life, ticket, verdicts } => {
                if self.nodes[node as usize].life == life {
                    self.feed(node, Event::Verified { ticket, verdicts });
                }
            }
            Happening::Committed { node, life } => self.committed(node, life),
            Happening::Dial { wire } => self.dial(wire),
            Happening::Up { wire, end, life } => self.up(wire, end.into(), life),
            Happening::Measured { wire, end, life } => self.measured(wire, end.into(), life),
            Happening::Silent { wire, end, silence } => self.silent(wire, end.into(), silence),
            Happening::Record { node, life } => self.speak_of_oneself(node, life),
        }
    }

    /// Tells a core what happened, looks at what that did to its routes, and performs the effects.
    pub(super) fn feed(&mut self, node: u32, event: Event) {
        let place = &mut self.nodes[node as usize];
        let clock_ms = place.clock_ms(self.now_us);
        let Some(core) = place.core.as_mut() else { return };
        let effects = core.handle(event, clock_ms);
        self.trace.mix(self.now_us, node.into());
        self.look_at_routes(node);
        for effect in effects {
            self.perform(node, effect);
        }
        self.plan_tick(node);
    }

    fn plan_tick(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        let Some(core) = &node.core else { return };
        let due_us = node.when_us(core.deadline_ms()).max(self.now_us + TICK_STEP_US);
        if due_us < node.tick_us {
            node.tick_us = due_us;
            self.queue.push(due_us, Happening::Tick { node: number });
        }
    }

    fn look_at_routes(&mut self, node: u32) {
        let Some(router) = self.nodes[node as usize].router.clone() else { return };
        match router.take_changed() {
            Changed::Nothing => {}
            Changed::These(keys) => {
                for key in keys {
                    if let Some(number) = self.audit.number(&PeerId(key)) {
                        self.ask_for_hop(&router, node, number);
                    }
                }
            }
            Changed::All => (0..self.audit.count()).for_each(|number| self.ask_for_hop(&router, node, number)),
        }
    }

    fn ask_for_hop(&mut self, router: &super::recorder::Recorder, node: u32, number: u32) {
        let place = &self.nodes[node as usize];
        let key = self.nodes[self.audit.destination(number) as usize].peer();
        let link = router.next_hop(place.clock_ms(self.now_us), key.0).map(|link| Wire::of_link_id(link).0);
        self.audit.note(&self.graph, node, number, link, self.now_us);
    }

    /// How many next hops are others than the routers ever said: 0, or a router has changed its mind in silence.
    pub fn unannounced(&mut self) -> u64 {
        let mut found = 0;
        for node in 0..self.nodes.len() as u32 {
            let Some(router) = self.nodes[node as usize].router.clone() else { continue };
            for number in 0..self.audit.count() {
                let destination = self.audit.destination(number);
                if destination != node {
                    let key = self.nodes[destination as usize].peer();
                    let clock_ms = self.nodes[node as usize].clock_ms(self.now_us);
                    let link = router.next_hop(clock_ms, key.0).map(|link| Wire::of_link_id(link).0);
                    found += u64::from(link != self.audit.next_link(node, number));
                }
            }
        }
        found
    }

    fn perform(&mut self, node: u32, effect: Effect) {
        match effect {
            Effect::Send { link, frame } => self.send(node, link, frame),
            Effect::Offer { link, items } => {
                let wires: Vec<Bytes> = items.iter().filter_map(|item| self.read(node, item)).collect();
                if !wires.is_empty() {
                    self.send(node, link, Frame::Envelopes(wires));
                }
            }
            Effect::Close { link, .. } | Effect::Retire { link } => self.close(node, link),
            Effect::Verify { ticket, envelopes } => {
                let verdicts = envelopes.iter().map(|envelope| self.checks.check(envelope)).collect();
                let life = self.nodes[node as usize].life;
                self.queue.push(self.now_us + VERIFY_US, Happening::Verified { node, life, ticket, verdicts });
            }
            Effect::Persist { ticket, batch } => {
                if self.nodes[node as usize].disk.submit(ticket, batch) {
                    self.plan_commit(node);
                }
            }
            Effect::Answer { token, result } => self.answers.note(token, result),
            Effect::InboxGrew { .. } => self.read_inbox(node),
            Effect::MakeReceipts { ticket, wanted } => {
                let receipts = wanted.into_iter().map(|(to, id)| self.make_receipt(node, to, id)).collect();
                self.feed(node, Event::ReceiptsMade { ticket, receipts });
            }
            Effect::Notice(Notice::Delivered { id, .. }) => self.inboxes.receipt(node, id),
            Effect::MailCame { .. } | Effect::Notice(_) => {}
        }
    }

    fn plan_commit(&mut self, node: u32) {
        let Node { life, sync_us, .. } = self.nodes[node as usize];
        self.queue.push(self.now_us + sync_us, Happening::Committed { node, life });
    }

    fn committed(&mut self, node: u32, life: u32) {
        if self.nodes[node as usize].life != life || !self.nodes[node as usize].lives() {
            return;
        }
        let (tickets, result, next) = self.nodes[node as usize].disk.commit();
        if next {
            self.plan_commit(node);
        }
        for ticket in tickets {
            self.feed(node, Event::Persisted { ticket, result: result.clone() });
        }
    }

    /// What the shell would send; nothing where the copy was given up in the same step.
    fn read(&self, node: u32, item: &Offered) -> Option<Bytes> {
        item.wire.clone().or_else(|| self.nodes[node as usize].disk.read(item.seq))
    }

    fn send(&mut self, node: u32, link: LinkId, frame: Frame) {
        let (number, life) = Wire::of_link_id(link);
        let Some(wire) = self.wires.get_mut(number as usize) else { return };
        let end = wire.end_of(node);
        if wire.life != life || !wire.up[end] {
            return;
        }
        self.traffic.sent(&frame, &mut self.scratch);
        if !wire.whole {
            return wire.stalled.push((1 - end, frame));
        }
        let at_us = wire.arrival(1 - end, self.now_us, self.options.loss, &mut self.random);
        self.queue.push(at_us, Happening::Frame { wire: number, end: (1 - end) as u8, life, frame });
    }

    fn arrive(&mut self, number: u32, end: usize, life: u32, frame: Frame) {
        let wire = &mut self.wires[number as usize];
        if wire.life != life || !wire.up[end] {
            return;
        }
        if !wire.whole {
            return wire.stalled.push((end, frame)); // a reliable link repeats it once the wire is whole
        }
        wire.hear(end, self.now_us);
        let (link, node) = (wire.link_id(number), wire.edge.ends[end]);
        self.traffic.arrived(&frame);
        self.feed(node, Event::Frame { link, frame });
    }

    /// A digest of the whole outcome: what each disk holds, where each route leads, what was delivered when, and the
    /// fingerprint of all that happened.
    pub fn state_hash(&self) -> String {
        let mut trace = self.trace.clone();
        for (number, node) in (0..).zip(&self.nodes) {
            node.disk.digest().for_each(|word| trace.mix(word, number));
            let counters = node.core.as_ref().map(|core| core.counters().values().sum::<u64>());
            trace.mix(counters.unwrap_or(0), node.life.into());
        }
        self.audit.digest().for_each(|word| trace.mix(word, 1));
        self.inboxes.digest().for_each(|word| trace.mix(word, 2));
        let bytes = self.traffic;
        [bytes.route, bytes.records, bytes.others, bytes.custody, bytes.envelopes]
            .into_iter()
            .for_each(|n| trace.mix(n, 3));
        trace.finish()
    }

    /// Messages that were handed over, by id.
    pub fn delivered(&self, node: u32, id: &MessageId) -> u32 {
        self.inboxes.count(node, id)
    }
}
