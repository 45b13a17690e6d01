//! The protocol: who is there, what they say, which way is chosen, what is told.
//!
//! A pure state machine: no clock, no thread, no I/O; randomness from a seed. The same calls give the same answers.
//!
//! Why there are no loops (Dijkstra's and Garcia-Luna-Aceves' argument, as in RFC 8966, 2.4 and 3.5.1): along a chain of next
//! hops the feasibility distance falls strictly. A node chooses a neighbour only if what that one told lies below its own
//! distance, and a node's distance never lies above anything that it ever told. This holds at every instant, whatever
//! is lost or late, as long as nobody forgets his distance while others still go through him; [`session`](self) sees to that.

mod announce;
mod dump;
mod hear;
mod links;
mod own;
mod request;
mod room;
mod route;
mod select;
mod session;
mod starve;
mod sweep;

use std::collections::BTreeMap;

pub use route::{Answer, Query};

use crate::bucket::Bucket;
use crate::clock::Clock;
use crate::config::Settings;
use crate::counters::Counters;
use crate::neighbour::Neighbour;
use crate::random::Random;
use crate::record::{Key, Record};
use crate::table::{Graves, RowId, Slot, Table};
use crate::wire::{Message, Writer};

/// Signs a message as the node's, in this plugin's domain. `None` when the host refuses.
pub type Signer = Box<dyn Fn(&[u8]) -> Option<[u8; 64]> + Send>;

/// What a call wants done.
#[derive(Debug, Default)]
pub struct Output {
    /// Control frames for the fellow router behind a link.
    pub control: Vec<(u64, Vec<u8>)>,
    /// Destinations whose next hop is another one now, or none.
    pub changed: Vec<Key>,
}

/// A queue of rows to tell the neighbours about, and when.
#[derive(Debug, Default)]
struct Queue {
    rows: Vec<RowId>,
    due: Option<u64>,
}

impl Queue {
    fn hasten(&mut self, due: u64) {
        self.due = Some(self.due.map_or(due, |old| old.min(due)));
    }

    fn take_if_due(&mut self, now: u64) -> Vec<RowId> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.due = None;
        std::mem::take(&mut self.rows)
    }
}

/// A node's routing.
pub struct Babel {
    settings: Settings,
    key: Key,
    signer: Signer,
    clock: Clock,
    random: Random,
    /// A random number of this life, never 0.
    instance: u64,
    table: Table,
    graves: Graves,
    neighbours: Vec<Neighbour>,
    /// By slot: what its best link costs, [`INFINITE`](crate::cost::INFINITE) when nothing may go there.
    costs: Vec<u32>,
    links: BTreeMap<u64, Slot>,
    by_key: BTreeMap<Key, Slot>,
    own: Option<RowId>,
    /// Ways are chosen: nobody can still go through this node's former life.
    settled: bool,
    /// How much older than this node the eldest is that it has heard of, in milliseconds.
    eldest_ms: u64,
    /// A link went down before its neighbour had answered: until then it may not know that.
    silent_until: u64,
    /// When they are chosen even if a neighbour hasn't answered; `None` before the first link.
    settle_by: Option<u64>,
    /// The sum over all that is told.
    told_sum: u64,
    prompt: Queue,
    lazy: Queue,
    starving: BTreeMap<RowId, starve::Starving>,
    ask_ms: Option<u64>,
    wanted: BTreeMap<RowId, request::Wanted>,
    raises: Bucket,
    refresh_ms: u64,
    digest_ms: u64,
    sweep_ms: u64,
    sweep_at: RowId,
    counters: Counters,
    /// Frames of the present call, by slot, and those for certain links.
    post: Vec<Writer>,
    post_links: Vec<(u64, Writer)>,
    changed: Vec<Key>,
}

impl std::fmt::Debug for Babel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Babel")
            .field("table", &self.table)
            .field("neighbours", &self.neighbours)
            .finish_non_exhaustive()
    }
}

impl Babel {
    /// A node without neighbours. `host_ms` is the host's time; `seed` should differ for each life of each node.
    pub fn new(settings: Settings, key: Key, signer: Signer, seed: u64, host_ms: u64) -> Self {
        let mut random = Random::new(seed);
        let instance = random.draw().max(1);
        let mut babel = Self {
            settings,
            key,
            signer,
            clock: Clock::new(host_ms),
            instance,
            table: Table::new(random.draw()),
            graves: Graves::default(),
            random,
            neighbours: Vec::new(),
            costs: Vec::new(),
            links: BTreeMap::new(),
            by_key: BTreeMap::new(),
            own: None,
            settled: false,
            settle_by: None,
            eldest_ms: 0,
            silent_until: 0,
            told_sum: 0,
            prompt: Queue::default(),
            lazy: Queue::default(),
            starving: BTreeMap::new(),
            ask_ms: None,
            wanted: BTreeMap::new(),
            raises: Bucket::default(),
            refresh_ms: u64::MAX,
            digest_ms: u64::MAX,
            sweep_ms: 0,
            sweep_at: 0,
            counters: Counters::default(),
            post: Vec::new(),
            post_links: Vec::new(),
            changed: Vec::new(),
        };
        babel.begin_own();
        babel
    }

    /// The random number of this life, as neighbours get to know it.
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// A link to `peer` came up.
    pub fn link_up(&mut self, host_ms: u64, link: u64, peer: Key, out: &mut Output) {
        self.call(host_ms, out, |babel| babel.on_link_up(link, peer));
    }

    /// A link was measured: round-trip time in microseconds, loss in parts of a million.
    pub fn link_measured(&mut self, host_ms: u64, link: u64, rtt_us: u64, loss_ppm: u32, out: &mut Output) {
        self.call(host_ms, out, |babel| babel.on_measured(link, rtt_us, loss_ppm));
    }

    /// A link is gone.
    pub fn link_down(&mut self, host_ms: u64, link: u64, out: &mut Output) {
        self.call(host_ms, out, |babel| babel.on_link_down(link));
    }

    /// A control frame came in.
    pub fn control(&mut self, host_ms: u64, link: u64, frame: &[u8], out: &mut Output) {
        self.call(host_ms, out, |babel| babel.on_frame(link, frame));
    }

    /// Does what is due, and returns when to call again, on the host's clock.
    pub fn tick(&mut self, host_ms: u64, out: &mut Output) -> u64 {
        self.call(host_ms, out, Self::on_tick);
        self.clock.on_host(self.next_due())
    }

    fn call(&mut self, host_ms: u64, out: &mut Output, work: impl FnOnce(&mut Self)) {
        self.clock.advance(host_ms);
        work(self);
        out.changed.append(&mut self.changed);
        for (link, writer) in std::mem::take(&mut self.post_links) {
            out.control.extend(writer.frames().into_iter().map(|frame| (link, frame)));
        }
        for (neighbour, writer) in self.neighbours.iter().zip(std::mem::take(&mut self.post)) {
            if let Some(link) = neighbour.links.first() {
                out.control.extend(writer.frames().into_iter().map(|frame| (link.id, frame)));
            }
        }
    }

    fn on_tick(&mut self) {
        let now = self.now();
        self.settle_if_due(now);
        self.end_suspicions(now);
        self.send_tables_if_due(now);
        for row in self.prompt.take_if_due(now) {
            self.announce_queued(row, false);
        }
        for row in self.lazy.take_if_due(now) {
            self.announce_queued(row, true);
        }
        self.ask_if_due(now);
        self.refresh_if_due(now);
        self.send_digests(now);
        self.sweep_if_due(now);
    }

    fn next_due(&self) -> u64 {
        let some = [
            self.prompt.due,
            self.lazy.due,
            self.next_ask(),
            self.next_suspicion(),
            self.next_table(),
            self.settle_due(),
        ];
        let always = [self.refresh_ms, self.digest_ms, self.sweep_ms];
        some.into_iter().flatten().chain(always).min().unwrap_or(u64::MAX)
    }

    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn soon(&mut self, range: (u64, u64)) -> u64 {
        self.now() + self.random.between(range.0, range.1)
    }

    /// Puts a message into the frames for a neighbour.
    fn send(&mut self, slot: Slot, message: &Message) {
        if self.post.len() < self.neighbours.len() {
            self.post.resize_with(self.neighbours.len(), Writer::default);
        }
        if let Some(writer) = self.post.get_mut(usize::from(slot)) {
            writer.push(message);
        }
    }

    fn neighbour(&mut self, slot: Slot) -> Option<&mut Neighbour> {
        self.neighbours.get_mut(usize::from(slot))
    }

    fn cost(&self, slot: Slot) -> u32 {
        self.costs.get(usize::from(slot)).copied().unwrap_or(crate::cost::INFINITE)
    }

    /// Signs a sequence number of this node's.
    fn sign(&self, seqno: u64, not_after: u32) -> Option<Record> {
        let signature = (self.signer)(&crate::record::message(seqno, not_after))?;
        Some(Record { seqno, not_after, signature })
    }
}

#[cfg(test)]
mod tests;
