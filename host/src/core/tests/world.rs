//! A world of cores: links that carry frames in order, disks that keep what was written, a clock.

mod disk;
mod report;
mod toy;

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use qpq_schemas::envelope::{Draft, Envelope, Flags, Kind, Priority};
use qpq_schemas::receipt::Receipt;
use qpq_schemas::record::NodeRecord;
use qpq_schemas::sealing::SealingKeyPair;
use qpq_schemas::signature::{SigningKey, Verifier};

use super::super::federation::Domain;
use super::super::links::LinkState;
use super::super::quota::Limit;
use super::super::why::Trace;
use super::*;
use crate::api::ApiError;
use crate::store::Places;
use disk::Disk;
pub(in crate::core) use toy::Toy;

pub(super) const TOPIC: TopicId = TopicId([9; 32]);
const START_MS: u64 = 1_800_000_000_000;

/// Links between two nodes at most.
const LANES: u8 = 3;

struct Node {
    key: SigningKey,
    core: Core,
    disk: Disk,
    /// Links by the neighbour's number and the lane: two nodes may have several.
    links: BTreeMap<(usize, u8), LinkId>,
    answers: HashMap<u64, Result<crate::api::Receipt, ApiError>>,
    delivered: Vec<MessageId>,
    /// What else was told.
    news: Vec<Notice>,
    subscribed: bool,
    clock: Clock,
    /// Its domain; empty where it has none.
    domain: String,
    /// What it lets through to other domains.
    policy: Option<FederationPolicy>,
}

/// A node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// It goes on, so many milliseconds ahead of the time.
    Ahead(i64),
    /// It stands still.
    Frozen(u64),
}

pub(super) struct World {
    nodes: Vec<Node>,
    /// Frames under way: from, to, the link's number at the receiver, the frame.
    wire: VecDeque<(usize, usize, LinkId, Frame)>,
    limits: StoreLimits,
    link_limit: Limit,
    now_ms: u64,
    next_records_ms: u64,
    next: u64,
    verifier: Verifier,
}

impl World {
    pub(super) fn new(nodes: usize) -> Self {
        Self::with_limits(nodes, &StoreLimits::default())
    }

    pub(super) fn with_limits(nodes: usize, limits: &StoreLimits) -> Self {
        let node = |number: usize| {
            let key = SigningKey::from_seed(&[u8::try_from(number).unwrap() + 1; 32]);
            let disk = Disk::of(number);
            let core = fresh(key.public(), (limits, Limit::LINK), &disk, false, None, START_MS);
            Node {
                key,
                core,
                disk,
                links: BTreeMap::new(),
                answers: HashMap::new(),
                delivered: Vec::new(),
                news: Vec::new(),
                subscribed: false,
                clock: Clock::Ahead(0),
                domain: String::new(),
                policy: None,
            }
        };
        let nodes = (0..nodes).map(node).collect();
        let verifier = Verifier::new(64);
        Self {
            nodes,
            wire: VecDeque::new(),
            limits: limits.clone(),
            link_limit: Limit::LINK,
            now_ms: START_MS,
            next_records_ms: START_MS,
            next: 0,
            verifier,
        }
    }

    /// Puts a node's clock.
    pub(super) fn set_clock(&mut self, node: usize, clock: Clock) {
        self.nodes[node].clock = clock;
    }

    /// The time.
    pub(super) fn time(&self) -> u64 {
        self.now_ms
    }

    /// What a node's clock shows.
    pub(super) fn clock_of(&self, node: usize) -> u64 {
        match self.nodes[node].clock {
            Clock::Ahead(ms) => self.now_ms.saturating_add_signed(ms),
            Clock::Frozen(at) => at,
        }
    }

    /// Puts a node into a domain.
    pub(super) fn settle_in(&mut self, node: usize, domain: &str) {
        self.nodes[node].domain = domain.to_owned();
    }

    /// Makes a node a gateway of its policy's domain.
    pub(super) fn federate(&mut self, node: usize, policy: FederationPolicy) {
        self.settle_in(node, &policy.domain);
        self.nodes[node].policy = Some(policy);
        self.crash(node);
    }

    /// Has a node say what it is, as real ones do at their start.
    pub(super) fn introduce(&mut self, node: usize) {
        self.speak_of_oneself(node);
        self.settle();
    }

    pub(super) fn peer(&self, node: usize) -> PeerId {
        self.nodes[node].key.public()
    }

    pub(super) fn core(&self, node: usize) -> &Core {
        &self.nodes[node].core
    }

    /// What a node says became of a message.
    pub(super) fn trace(&mut self, node: usize, id: &MessageId) -> Trace {
        self.nodes[node].core.trace(id, self.now_ms)
    }

    /// All that waits at a node, as an export has it.
    pub(super) fn exported(&self, node: usize) -> Vec<Envelope> {
        let (mut heads, mut place) = (Vec::new(), Some(0));
        while let Some(from) = place {
            let (page, next) = self.core(node).shelf().walk(from, 64);
            heads.extend(page);
            place = next;
        }
        let waiting = heads.into_iter().filter(|head| head.places.has(Places::WAITING));
        let wires = waiting.map(|head| self.nodes[node].disk.records[&head.seq].wire.clone());
        wires.map(|wire| Envelope::from_wire(wire, 65_536).unwrap()).collect()
    }

    /// Has a node take in an envelope out of a file.
    pub(super) fn import(&mut self, node: usize, envelope: Envelope) -> Result<MessageId, ApiError> {
        self.next += 1;
        let token = self.next;
        self.event(node, Event::Import { token, envelope });
        self.nodes[node].answers.remove(&token).expect("every import is answered").map(|receipt| receipt.id)
    }

    /// Has a node sign a receipt for a message that was not for it.
    pub(super) fn forge_receipt(&mut self, node: usize, to: PeerId, id: MessageId) {
        let envelope = self.receipt(node, to, id);
        self.event(node, Event::Submit { token: 0, envelope, trusted: true });
    }

    /// Links two nodes, each of which takes the other for the way to a third.
    pub(super) fn mislead(&mut self, a: usize, b: usize, third: usize) {
        let (to, until) = (self.peer(third), self.now_ms + 3_600_000);
        for (near, link, far) in [(a, 900, b), (b, 901, a)] {
            let toy = Toy::knowing(to, link, until);
            _ = self.nodes[near].core.replace_router(Box::new(toy), self.now_ms);
            self.nodes[near].links.insert((far, 0), link);
        }
        let (peer_a, peer_b) = (self.peer(a), self.peer(b));
        self.event(a, Event::LinkUp { link: 900, peer: peer_b, domain: None });
        self.event(b, Event::LinkUp { link: 901, peer: peer_a, domain: None });
    }

    /// What a neighbour may bring in from the next crash on.
    pub(super) fn limit_links(&mut self, limit: Limit) {
        self.link_limit = limit;
    }

    /// The bounds from the next crash on.
    pub(super) fn set_limits(&mut self, limits: &StoreLimits) {
        self.limits = limits.clone();
    }

    pub(super) fn counter(&self, node: usize, name: &str) -> u64 {
        let core = self.core(node);
        core.counters().get(name).copied().or_else(|| core.shelf().stats().counters.get(name).copied()).unwrap_or(0)
    }

    pub(super) fn inbox(&self, node: usize) -> Vec<MessageId> {
        self.core(node).shelf().inbox(0).map(|head| head.id).collect()
    }

    pub(super) fn waiting(&self, node: usize) -> usize {
        self.core(node).shelf().stats().waiting
    }

    pub(super) fn news(&self, node: usize) -> &[Notice] {
        &self.nodes[node].news
    }

    pub(super) fn delivered(&self, node: usize) -> &[MessageId] {
        &self.nodes[node].delivered
    }

    pub(super) fn draft(&mut self, from: usize, kind: Kind, destination: [u8; 32]) -> Envelope {
        self.draft_with(from, kind, destination, false)
    }

    fn draft_with(&mut self, from: usize, kind: Kind, destination: [u8; 32], receipt_wanted: bool) -> Envelope {
        self.next += 1;
        let flags = Flags { sealed: false, receipt_wanted, priority: Priority::Normal };
        let (created_ms, nonce) = (self.clock_of(from), self.next.to_be_bytes());
        let draft = Draft {
            kind,
            flags,
            max_hops: 64,
            ttl_secs: 604_800,
            created_ms,
            nonce,
            destination,
            payload: b"hello".to_vec(),
        };
        draft.sign(&self.nodes[from].key).unwrap()
    }

    pub(super) fn send(&mut self, from: usize, to: usize) -> Result<MessageId, ApiError> {
        let envelope = self.draft(from, Kind::Direct, self.peer(to).0);
        self.submit(from, envelope)
    }

    pub(super) fn send_with_receipt(&mut self, from: usize, to: usize) -> Result<MessageId, ApiError> {
        let envelope = self.draft_with(from, Kind::Direct, self.peer(to).0, true);
        self.submit(from, envelope)
    }

    pub(super) fn broadcast(&mut self, from: usize) -> Result<MessageId, ApiError> {
        let envelope = self.draft(from, Kind::Broadcast, TOPIC.0);
        self.submit(from, envelope)
    }

    pub(super) fn submit(&mut self, node: usize, envelope: Envelope) -> Result<MessageId, ApiError> {
        self.next += 1;
        let token = self.next;
        self.event(node, Event::Submit { token, envelope, trusted: true });
        self.nodes[node].answers.remove(&token).expect("every submission is answered").map(|receipt| receipt.id)
    }

    pub(super) fn subscribe(&mut self, node: usize) {
        self.nodes[node].subscribed = true;
        self.event(node, Event::Subscribe(TOPIC));
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        self.connect_lane(a, b, 0);
    }

    /// One more link between two nodes.
    pub(super) fn connect_lane(&mut self, a: usize, b: usize, lane: u8) {
        if a == b || self.nodes[a].links.contains_key(&(b, lane)) {
            return;
        }
        self.next += 2;
        let (at_a, at_b) = (self.next, self.next + 1);
        self.nodes[a].links.insert((b, lane), at_a);
        self.nodes[b].links.insert((a, lane), at_b);
        let (peer_a, peer_b) = (self.peer(a), self.peer(b));
        let (domain_a, domain_b) = (self.nodes[a].domain.clone(), self.nodes[b].domain.clone());
        let other = |domain: &str| (domain_a != domain_b).then(|| Domain::from(domain));
        self.event(a, Event::LinkUp { link: at_a, peer: peer_b, domain: other(&domain_b) });
        self.event(b, Event::LinkUp { link: at_b, peer: peer_a, domain: other(&domain_a) });
        self.next += 1;
    }

    /// Cuts all links between two nodes; what is under way over them is lost.
    pub(super) fn disconnect(&mut self, a: usize, b: usize) {
        (0..LANES).for_each(|lane| self.cut_lane(a, b, lane));
    }

    /// Cuts one link; what is under way over it is lost.
    pub(super) fn cut_lane(&mut self, a: usize, b: usize, lane: u8) {
        for (near, far) in [(a, b), (b, a)] {
            if let Some(link) = self.nodes[near].links.remove(&(far, lane)) {
                self.wire.retain(|(_, to, on, _)| (*to, *on) != (near, link));
                self.event(near, Event::LinkDown { link });
            }
        }
    }

    /// A node that dialled is told that one lane takes the place of another.
    pub(super) fn succeed(&mut self, node: usize, far: usize, [before, after]: [u8; 2]) {
        let [before, after] = [before, after].map(|lane| self.nodes[node].links[&(far, lane)]);
        self.event(node, Event::Succeeds { before, after, close: true });
    }

    /// Which lanes there are from one node to another.
    pub(super) fn lanes(&self, near: usize, far: usize) -> Vec<u8> {
        (0..LANES).filter(|lane| self.nodes[near].links.contains_key(&(far, *lane))).collect()
    }

    /// A measurement of one lane, told to both ends.
    pub(super) fn measure(&mut self, a: usize, b: usize, lane: u8, rtt_us: u64) {
        for (near, far) in [(a, b), (b, a)] {
            let link = self.nodes[near].links[&(far, lane)];
            self.event(near, Event::LinkMeasured { link, rtt_us, loss_ppm: 0 });
        }
    }

    /// A measurement of the last lane that there is, if any.
    pub(super) fn measure_any(&mut self, a: usize, b: usize, rtt_us: u64) {
        let lane = (0..LANES).rev().find(|lane| self.nodes[a].links.contains_key(&(b, *lane)));
        lane.into_iter().for_each(|lane| self.measure(a, b, lane, rtt_us));
    }

    /// Delivers nothing, and says how many frames with envelopes are under way over each lane from one node to another.
    pub(super) fn under_way(&self, from: usize, to: usize) -> Vec<usize> {
        let count = |lane: u8| {
            let Some(link) = self.nodes[to].links.get(&(from, lane)) else { return 0 };
            let envelopes = |(_, at, on, frame): &&(usize, usize, LinkId, Frame)| {
                (at, on) == (&to, link) && matches!(frame, Frame::Envelopes(_))
            };
            self.wire.iter().filter(envelopes).count()
        };
        (0..LANES).map(count).collect()
    }

    /// kill -9 and a restart: memory and links are gone, the disk stays.
    pub(super) fn crash(&mut self, node: usize) {
        let neighbours: Vec<(usize, u8)> = self.nodes[node].links.keys().copied().collect();
        self.wire.retain(|(from, to, ..)| *from != node && *to != node);
        for (other, lane) in neighbours {
            let Some(link) = self.nodes[other].links.remove(&(node, lane)) else { continue };
            self.event(other, Event::LinkDown { link });
        }
        let now_ms = self.clock_of(node);
        let Node { key, core, disk, links, subscribed, policy, .. } = &mut self.nodes[node];
        links.clear();
        disk.writes_left = None;
        *core = fresh(key.public(), (&self.limits, self.link_limit), disk, *subscribed, policy.clone(), now_ms);
        let left: Vec<Bytes> = core.unread_receipts().iter().map(|seq| disk.records[seq].wire.clone()).collect();
        for wire in left {
            let envelope = Envelope::from_wire(wire, 65_536).unwrap();
            self.event(node, Event::ReceiptLeft { envelope });
        }
    }

    /// Has the power of a node fail behind so many more writes. It is as good as dead then, until it is crashed.
    pub(super) fn power_fails_after(&mut self, node: usize, writes: usize) {
        self.nodes[node].disk.writes_left = Some(writes);
    }

    /// Whether that has come.
    pub(super) fn is_dark(&self, node: usize) -> bool {
        self.nodes[node].disk.writes_left == Some(0)
    }

    /// A crash after which the store is made anew.
    pub(super) fn wipe(&mut self, node: usize) {
        self.nodes[node].disk = Disk::of(node);
        self.crash(node);
    }

    pub(super) fn break_disk(&mut self, node: usize, broken: bool) {
        self.nodes[node].disk.broken = broken;
    }

    /// Puts a frame of envelopes on the wire, as a hostile neighbour might.
    pub(super) fn inject(&mut self, from: usize, to: usize, wires: Vec<Bytes>) {
        self.say(from, to, Frame::Envelopes(wires));
    }

    /// Puts any frame on the wire.
    pub(super) fn say(&mut self, from: usize, to: usize, frame: Frame) {
        let link = self.nodes[to].links[&(from, 0)];
        self.wire.push_back((from, to, link, frame));
    }

    /// Delivers so many frames.
    pub(super) fn steps(&mut self, count: usize) {
        for _ in 0..count {
            let Some((_, to, link, frame)) = self.wire.pop_front() else { return };
            self.event(to, Event::Frame { link, frame });
        }
    }

    /// Delivers all frames.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            if self.wire.is_empty() {
                return;
            }
            self.steps(1);
        }
        panic!("the world never settles\n{}", self.report());
    }

    /// A node spreads a new record, as real ones do every few minutes.
    fn speak_of_oneself(&mut self, node: usize) {
        let now_ms = self.clock_of(node);
        let key = &self.nodes[node].key;
        let record = NodeRecord {
            peer: key.public(),
            seq_ms: now_ms,
            expires_ms: now_ms + 3_600_000,
            sealing: SealingKeyPair::of_identity(key).public(),
            nickname: String::new(),
            domain: self.nodes[node].domain.clone(),
            addresses: Vec::new(),
        };
        let wire = record.sign(key).unwrap().into();
        self.event(node, Event::OwnRecord(wire));
    }

    /// Lets time pass, second by second.
    pub(super) fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        // Real nodes look at the clock every second; a leap of it means something.
        let step = (ms / 200).clamp(1_000, 240_000);
        while self.now_ms < end {
            self.settle();
            self.now_ms = end.min(self.now_ms + step);
            for node in 0..self.nodes.len() {
                self.event(node, Event::Tick);
                if self.now_ms >= self.next_records_ms {
                    self.speak_of_oneself(node);
                }
            }
            if self.now_ms >= self.next_records_ms {
                self.next_records_ms = self.now_ms + 50_000;
            }
        }
        self.settle();
    }

    pub(super) fn event(&mut self, node: usize, event: Event) {
        let now_ms = self.clock_of(node);
        let effects = self.nodes[node].core.handle(event, now_ms);
        for effect in effects {
            self.perform(node, effect);
        }
    }

    fn perform(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Send { link, frame } => self.transmit(node, link, frame),
            Effect::Offer { link, items } => {
                let wires = items.iter().filter_map(|item| self.read(node, item)).collect();
                self.transmit(node, link, Frame::Envelopes(wires));
            }
            Effect::Close { link, .. } | Effect::Retire { link } => {
                let far = self.nodes[node].links.iter().find(|(_, on)| **on == link).map(|(far, _)| *far);
                far.into_iter().for_each(|(far, lane)| self.cut_lane(node, far, lane));
            }
            Effect::Verify { ticket, envelopes } => {
                let verdicts = envelopes.iter().map(|envelope| self.verifier.check(envelope.view())).collect();
                self.event(node, Event::Verified { ticket, verdicts });
            }
            Effect::Persist { ticket, batch } => {
                let disk = &mut self.nodes[node].disk;
                if disk.writes_left == Some(0) {
                    return; // the power is off: nobody hears of it
                }
                disk.writes_left = disk.writes_left.map(|left| left - 1);
                let result = if disk.broken { Err("broken".to_owned()) } else { disk.write(batch) };
                self.event(node, Event::Persisted { ticket, result });
            }
            Effect::Answer { token, result } => _ = self.nodes[node].answers.insert(token, result),
            Effect::MakeReceipts { ticket, wanted } => {
                let receipts = wanted.into_iter().map(|(to, id)| Some(self.receipt(node, to, id))).collect();
                self.event(node, Event::ReceiptsMade { ticket, receipts });
            }
            Effect::Notice(Notice::Delivered { id, .. }) => self.nodes[node].delivered.push(id),
            Effect::Notice(notice) => self.nodes[node].news.push(notice),
            Effect::InboxGrew { .. } | Effect::MailCame { .. } => {}
        }
    }

    fn receipt(&mut self, node: usize, to: PeerId, id: MessageId) -> Envelope {
        let receipt = Receipt { id, received_ms: self.clock_of(node) }.encode().to_vec();
        let view = self.draft(node, Kind::Receipt, to.0);
        let view = view.view();
        let draft = Draft {
            kind: Kind::Receipt,
            flags: view.flags(),
            max_hops: 64,
            ttl_secs: view.ttl_secs(),
            created_ms: view.created_ms(),
            nonce: view.nonce(),
            destination: to.0,
            payload: receipt,
        };
        draft.sign(&self.nodes[node].key).unwrap()
    }

    /// What the shell would send; nothing where the copy was given up in the same step.
    fn read(&self, node: usize, item: &Offered) -> Option<Bytes> {
        let stored = self.nodes[node].disk.records.get(&item.seq).map(|record| record.wire.clone());
        item.wire.clone().or(stored)
    }

    fn transmit(&mut self, node: usize, link: LinkId, frame: Frame) {
        let Some(((far, lane), _)) = self.nodes[node].links.iter().find(|(_, on)| **on == link) else { return };
        if let Some(there) = self.nodes[*far].links.get(&(node, *lane)) {
            self.wire.push_back((node, *far, *there, frame));
        }
    }
}

/// A core that has just opened its disk.
fn fresh(
    me: PeerId,
    (limits, link): (&StoreLimits, Limit),
    disk: &Disk,
    subscribed: bool,
    federation: Option<FederationPolicy>,
    now_ms: u64,
) -> Core {
    let config = CoreConfig { federation, link, ..CoreConfig::new(me) };
    let mut core = Core::new(config, disk.shelf(limits), disk.next_seq(), Box::new(Toy::default()));
    for (key, domain) in &disk.kv {
        core.restore_gateway(key, domain);
    }
    if subscribed {
        core.handle(Event::Subscribe(TOPIC), now_ms);
    }
    core
}
