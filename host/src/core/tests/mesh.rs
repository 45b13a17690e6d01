//! Many cores in a network with delays: frames take their time, disks too, and time passes from one event to the next.
//! Signatures are taken for good.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use qpq_schemas::envelope::{Draft, Flags, Kind, Priority};
use qpq_schemas::signature::SigningKey;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::shelf::Shelf;
use super::world::{TOPIC, Toy};
use super::*;
use crate::store::{Head, SeenEntry};

pub(super) const START_MS: u64 = 1_800_000_000_000;

/// What will happen at a time.
enum Happening {
    Frame { from: usize, to: usize, link: LinkId, frame: Frame },
    Written { node: usize, life: u32, ticket: Ticket, batch: Batch },
    Tick { node: usize },
}

pub(super) struct Node {
    key: SigningKey,
    pub(super) core: Core,
    limits: StoreLimits,
    heads: BTreeMap<u64, Head>,
    wires: BTreeMap<u64, Bytes>,
    seen: BTreeMap<MessageId, SeenEntry>,
    links: BTreeMap<usize, LinkId>,
    next_tick_ms: u64,
    /// Counts its restarts.
    life: u32,
    /// Knows neither trees nor comparisons.
    pub(super) old: bool,
    /// Broadcasts that arrived, each copy counted.
    pub(super) copies: usize,
}

/// What crossed the links, in bytes.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Traffic {
    pub(super) envelopes: usize,
    pub(super) tree: usize,
    pub(super) compare: usize,
    pub(super) lists: usize,
    pub(super) steps: usize,
}

pub(super) struct Mesh {
    pub(super) nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    /// When the last frame on a way arrives, so that none overtakes another.
    arrivals: BTreeMap<(usize, usize), u64>,
    delays: BTreeMap<(usize, usize), u64>,
    now_us: u64,
    next: u64,
    pub(super) rng: StdRng,
    pub(super) traffic: Traffic,
    /// When each broadcast reached its last node.
    pub(super) last_ms: BTreeMap<MessageId, u64>,
}

impl Mesh {
    pub(super) fn new(nodes: usize, seed: u64) -> Self {
        let nodes = (0..nodes).map(|number| Node::new(number, StoreLimits::default())).collect();
        Self {
            nodes,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            delays: BTreeMap::new(),
            now_us: START_MS * 1_000,
            next: 0,
            rng: StdRng::seed_from_u64(seed),
            traffic: Traffic::default(),
            last_ms: BTreeMap::new(),
        }
    }

    /// A connected random network of mean degree 5, with delays of 1 to 45 ms.
    pub(super) fn random(nodes: usize, seed: u64) -> Self {
        let mut mesh = Self::new(nodes, seed);
        for node in 1..nodes {
            let other = mesh.rng.random_range(0..node);
            mesh.connect(node, other);
        }
        for _ in 0..(nodes * 3 / 2) {
            let (a, b) = (mesh.rng.random_range(0..nodes), mesh.rng.random_range(0..nodes));
            mesh.connect(a, b);
        }
        mesh.pass(5_000);
        mesh
    }

    pub(super) fn set_limits(&mut self, node: usize, limits: StoreLimits) {
        self.nodes[node] = Node::new(node, limits);
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_us / 1_000
    }

    pub(super) fn counter(&self, name: &str) -> u64 {
        self.nodes.iter().map(|node| node.core.counters().get(name).copied().unwrap_or(0)).sum()
    }

    pub(super) fn linked(&self, a: usize, b: usize) -> bool {
        self.nodes[a].links.contains_key(&b)
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        if a == b || self.linked(a, b) {
            return;
        }
        let delay = self.rng.random_range(1_000..45_000);
        self.delays.insert((a.min(b), a.max(b)), delay);
        for (near, far) in [(a, b), (b, a)] {
            self.next += 1;
            let link = self.next;
            self.nodes[near].links.insert(far, link);
        }
        for (near, far) in [(a, b), (b, a)] {
            let (link, peer) = (self.nodes[near].links[&far], self.nodes[far].key.public());
            self.event(near, Event::LinkUp { link, peer, domain: None });
        }
    }

    pub(super) fn disconnect(&mut self, a: usize, b: usize) {
        for (near, far) in [(a, b), (b, a)] {
            if let Some(link) = self.nodes[near].links.remove(&far) {
                self.event(near, Event::LinkDown { link });
            }
        }
    }

    /// All links of a node end.
    pub(super) fn isolate(&mut self, node: usize) -> Vec<usize> {
        let neighbours: Vec<usize> = self.nodes[node].links.keys().copied().collect();
        neighbours.iter().for_each(|other| self.disconnect(node, *other));
        neighbours
    }

    /// kill -9: what was not written is lost.
    pub(super) fn crash(&mut self, node: usize) -> Vec<usize> {
        let neighbours = self.isolate(node);
        self.nodes[node].restart();
        neighbours
    }

    /// The nodes that can be reached from one.
    pub(super) fn reachable(&self, from: usize) -> BTreeSet<usize> {
        let (mut found, mut rest) = (BTreeSet::from([from]), vec![from]);
        while let Some(node) = rest.pop() {
            rest.extend(self.nodes[node].links.keys().filter(|other| found.insert(**other)));
        }
        found
    }

    pub(super) fn draft(&mut self, from: usize, priority: Priority, max_hops: u8) -> Envelope {
        self.next += 1;
        let draft = Draft {
            kind: Kind::Broadcast,
            flags: Flags { sealed: false, receipt_wanted: false, priority },
            max_hops,
            ttl_secs: 604_800,
            created_ms: self.now_ms(),
            nonce: self.next.to_be_bytes(),
            destination: TOPIC.0,
            payload: vec![7; 200],
        };
        draft.sign(&self.nodes[from].key).unwrap()
    }

    pub(super) fn broadcast(&mut self, from: usize) -> MessageId {
        self.broadcast_with(from, Priority::Normal, 64)
    }

    pub(super) fn broadcast_with(&mut self, from: usize, priority: Priority, max_hops: u8) -> MessageId {
        let envelope = self.draft(from, priority, max_hops);
        let id = envelope.id();
        self.event(from, Event::Submit { token: 0, envelope, trusted: true });
        id
    }

    /// The nodes that hold a broadcast.
    pub(super) fn holders(&self, id: &MessageId) -> BTreeSet<usize> {
        let holds = |(_, node): &(usize, &Node)| node.core.shelf().broadcast(id).is_some();
        self.nodes.iter().enumerate().filter(holds).map(|(number, _)| number).collect()
    }

    /// What a node keeps for others.
    pub(super) fn history(&self, node: usize) -> BTreeSet<MessageId> {
        let shelf = self.nodes[node].core.shelf();
        shelf.topics().flat_map(|topic| shelf.history(&topic).map(|head| head.id).collect::<Vec<_>>()).collect()
    }

    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now_us + ms * 1_000;
        while let Some(Reverse((at, number))) = self.queue.peek().copied().filter(|Reverse((at, _))| *at <= end) {
            self.queue.pop();
            self.now_us = at;
            let Some(happening) = self.happenings.remove(&number) else { continue };
            self.happen(happening);
        }
        self.now_us = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Frame { from, to, link, frame } => {
                if self.nodes[to].links.get(&from) == Some(&link) {
                    if let Frame::Envelopes(wires) = &frame {
                        self.nodes[to].copies += wires.len();
                    }
                    self.event(to, Event::Frame { link, frame });
                }
            }
            Happening::Written { node, life, ticket, batch } => {
                if self.nodes[node].life == life {
                    batch.append.iter().for_each(|record| _ = self.last_ms.insert(record.head.id, self.now_us / 1_000));
                    self.nodes[node].write(batch);
                    self.event(node, Event::Persisted { ticket, result: Ok(()) });
                }
            }
            Happening::Tick { node } => {
                self.nodes[node].next_tick_ms = u64::MAX;
                self.event(node, Event::Tick);
            }
        }
    }

    fn later(&mut self, at_us: u64, happening: Happening) {
        self.next += 1;
        self.happenings.insert(self.next, happening);
        self.queue.push(Reverse((at_us, self.next)));
    }

    pub(super) fn event(&mut self, node: usize, event: Event) {
        let now_ms = self.now_ms();
        for effect in self.nodes[node].core.handle(event, now_ms) {
            self.perform(node, effect);
        }
        let due_ms = self.nodes[node].core.deadline_ms().max(now_ms);
        if due_ms < self.nodes[node].next_tick_ms {
            self.nodes[node].next_tick_ms = due_ms;
            self.later(due_ms * 1_000, Happening::Tick { node });
        }
    }

    fn perform(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Send { link, frame } => self.transmit(node, link, frame),
            Effect::Offer { link, items } => {
                let read =
                    |item: &Offered| item.wire.clone().or_else(|| self.nodes[node].wires.get(&item.seq).cloned());
                let wires = items.iter().filter_map(read).collect();
                self.transmit(node, link, Frame::Envelopes(wires));
            }
            Effect::Verify { ticket, envelopes } => {
                let verdicts = envelopes.iter().map(|_| Ok(())).collect();
                self.event(node, Event::Verified { ticket, verdicts });
            }
            Effect::Persist { ticket, batch } => {
                let takes = self.rng.random_range(2_000..5_000);
                let life = self.nodes[node].life;
                self.later(self.now_us + takes, Happening::Written { node, life, ticket, batch });
            }
            _ => {}
        }
    }

    fn transmit(&mut self, from: usize, link: LinkId, frame: Frame) {
        let Some((to, _)) = self.nodes[from].links.iter().find(|(_, on)| **on == link).map(|(to, on)| (*to, *on))
        else {
            return;
        };
        let new = matches!(frame, Frame::Tree(_) | Frame::Reconcile(_));
        if new && (self.nodes[from].old || self.nodes[to].old) {
            return;
        }
        self.measure(&frame);
        let Some(there) = self.nodes[to].links.get(&from).copied() else { return };
        let delay = self.delays[&(from.min(to), from.max(to))];
        let last = self.arrivals.entry((from, to)).or_default();
        *last = (self.now_us + delay).max(*last);
        let at = *last;
        self.later(at, Happening::Frame { from, to, link: there, frame });
    }

    fn measure(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes).expect("what is sent fits");
        match frame {
            Frame::Envelopes(_) => self.traffic.envelopes += bytes.len(),
            Frame::Tree(_) => self.traffic.tree += bytes.len(),
            Frame::Reconcile(_) => {
                self.traffic.compare += bytes.len();
                self.traffic.steps += 1;
            }
            Frame::Sync(_) => self.traffic.lists += bytes.len(),
            _ => {}
        }
    }
}

impl Node {
    fn new(number: usize, limits: StoreLimits) -> Self {
        let mut seed = [11; 32];
        seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let key = SigningKey::from_seed(&seed);
        let core = core_of(key.public(), Shelf::new(limits.clone()), 1);
        Self {
            key,
            core,
            limits,
            heads: BTreeMap::new(),
            wires: BTreeMap::new(),
            seen: BTreeMap::new(),
            links: BTreeMap::new(),
            next_tick_ms: u64::MAX,
            life: 0,
            old: false,
            copies: 0,
        }
    }

    /// Puts a head into the store, as if it had been there from the start, and its envelope where there is one.
    pub(super) fn put(&mut self, head: Head, wire: Option<Bytes>) {
        self.heads.insert(head.seq, head);
        wire.into_iter().for_each(|wire| _ = self.wires.insert(head.seq, wire));
    }

    pub(super) fn restart(&mut self) {
        self.life += 1;
        let mut shelf = Shelf::new(self.limits.clone());
        self.heads.values().for_each(|head| shelf.restore(head));
        self.seen.values().for_each(|entry| shelf.restore_seen(entry));
        let next = self.heads.keys().next_back().map_or(1, |seq| seq + 1_000);
        self.core = core_of(self.key.public(), shelf, next);
    }

    fn write(&mut self, batch: Batch) {
        for record in batch.append {
            self.put(record.head, Some(record.wire));
        }
        for seq in batch.remove {
            self.heads.remove(&seq);
            self.wires.remove(&seq);
        }
        self.seen.extend(batch.seen.into_iter().map(|entry| (entry.id, entry)));
    }
}

/// Shows a figure to whoever runs the tests.
pub(super) fn tell(figure: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{figure}\n").as_bytes());
}

fn core_of(me: PeerId, shelf: Shelf, next_seq: u64) -> Core {
    Core::new(CoreConfig::new(me), shelf, next_seq, Box::new(Toy::default()))
}
