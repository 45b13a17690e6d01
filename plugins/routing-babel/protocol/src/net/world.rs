//! Nodes, links and time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::{LazyLock, Mutex};

use qpq_schemas::signature::SigningKey;
use serde_json::json;

use crate::babel::{Answer, Babel, Output, Query};
use crate::config::Settings;
use crate::random::{Random, mix};
use crate::record::Key;

/// 2026-01-15, Unix milliseconds.
pub(super) const START_MS: u64 = 1_768_435_200_000;

/// The host calls at least so often, in milliseconds.
const MAX_PAUSE_MS: u64 = 60_000;

/// How the network is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    /// Links for each node on average.
    pub(super) degree: f64,
    /// One-way latency in milliseconds.
    pub(super) latency: (u64, u64),
    /// How long a node takes to see that a link is dead, in milliseconds.
    pub(super) detection: (u64, u64),
    pub(super) unsafe_: bool,
    /// Nodes that are destinations; the others only forward.
    pub(super) announcing: usize,
    /// Walk the next hops after each change.
    pub(super) audit: bool,
    pub(super) refresh_secs: u64,
    pub(super) max_destinations: usize,
}

impl Plan {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            nodes,
            degree: 5.0,
            latency: (1, 45),
            detection: (1_500, 2_500),
            unsafe_: false,
            announcing: nodes,
            audit: true,
            refresh_secs: 900,
            max_destinations: 16_384,
        }
    }
}

/// A line between two nodes, and the links that it carried one after the other.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) ends: [usize; 2],
    pub(super) latency_ms: u64,
    /// Frames get through.
    pub(super) is_up: bool,
    /// The link that it carries now, if both ends took it up.
    pub(super) link: Option<u64>,
}

enum Event {
    Frame { to: usize, link: u64, bytes: Vec<u8> },
    LinkUp { at: usize, link: u64, peer: usize },
    LinkDown { at: usize, link: u64 },
    Tick { at: usize },
}

struct Timed(u64, u64, Event);

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Timed {}
impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

pub(super) struct Node {
    pub(super) babel: Option<Babel>,
    pub(super) key: Key,
    life: u64,
    tick_ms: u64,
    /// How far its clock is off, in milliseconds.
    pub(super) clock_off_ms: i64,
    /// The links that this node believes to be up, and their other ends.
    pub(super) links: BTreeMap<u64, usize>,
}

/// What was counted.
#[derive(Debug, Default, Clone)]
pub(super) struct Counts {
    pub(super) bytes: u64,
    pub(super) frames: u64,
    pub(super) changes: u64,
    pub(super) loops: u64,
    /// When a next hop changed last.
    pub(super) last_change_ms: u64,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) nodes: Vec<Node>,
    pub(super) lines: Vec<Line>,
    /// Links whose frames get through, by number: the line.
    alive: HashMap<u64, usize>,
    queue: BinaryHeap<Reverse<Timed>>,
    serial: u64,
    next_link: u64,
    pub(super) now_ms: u64,
    pub(super) random: Random,
    pub(super) counts: Counts,
    /// Share of control frames that a living link loses, in percent.
    pub(super) frames_lost_percent: u64,
}

impl World {
    /// Nodes without lines.
    pub(super) fn empty(plan: Plan, seed: u64) -> Self {
        let nodes: Vec<Node> = (0..plan.nodes)
            .map(|n| Node {
                babel: None,
                key: key(n).public().0,
                life: 0,
                tick_ms: u64::MAX,
                clock_off_ms: 0,
                links: BTreeMap::new(),
            })
            .collect();
        let mut world = Self {
            plan,
            nodes,
            lines: Vec::new(),
            alive: HashMap::new(),
            queue: BinaryHeap::new(),
            serial: 0,
            next_link: 1,
            now_ms: START_MS,
            random: Random::new(seed),
            counts: Counts::default(),
            frames_lost_percent: 0,
        };
        (0..plan.nodes).for_each(|node| world.boot(node));
        world
    }

    /// A connected random graph: near nodes of a square are linked.
    pub(super) fn geometric(plan: Plan, seed: u64) -> Self {
        let mut world = Self::empty(plan, seed);
        let n = plan.nodes;
        let places: Vec<(f64, f64)> = (0..n).map(|_| (world.unit(), world.unit())).collect();
        let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
        for a in 0..n {
            for b in a + 1..n {
                let d = (places[a].0 - places[b].0).hypot(places[a].1 - places[b].1);
                pairs.push((d, a, b));
            }
        }
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        // A spanning tree of the shortest lines, then the shortest of the others.
        let mut part: Vec<usize> = (0..n).collect();
        let wanted = (n as f64 * plan.degree / 2.0) as usize;
        let (mut chosen, mut rest) = (Vec::new(), Vec::new());
        for (d, a, b) in pairs {
            let (pa, pb) = (root(&mut part, a), root(&mut part, b));
            if pa == pb {
                rest.push((d, a, b));
            } else {
                part[pa] = pb;
                chosen.push((d, a, b));
            }
        }
        let more = wanted.saturating_sub(chosen.len());
        chosen.extend(rest.into_iter().take(more));
        let longest = chosen.iter().map(|one| one.0).fold(0.0, f64::max);
        let (least, most) = plan.latency;
        for (d, a, b) in chosen {
            let latency = least + ((most - least) as f64 * d / longest) as u64;
            world.line(a, b, latency);
        }
        world
    }

    /// The nodes in one half of the network: those that are nearer to the first of two nodes far apart.
    pub(super) fn half(&self) -> Vec<bool> {
        let near = self.near();
        let far = |from: usize| {
            let best = self.best_from(from, &near);
            (0..best.len()).max_by_key(|node| best[*node].unwrap_or(0)).unwrap_or(0)
        };
        let one = far(0);
        let other = far(one);
        let (to_one, to_other) = (self.best_from(one, &near), self.best_from(other, &near));
        to_one.iter().zip(to_other).map(|(one, other)| *one < other).collect()
    }

    /// The most hops of a way that is taken from a node.
    pub(super) fn longest_way(&mut self, from: usize) -> usize {
        let hops = |world: &mut Self, to: usize| {
            let (mut at, mut hops, key) = (from, 0, world.nodes[to].key);
            while at != to && hops < world.nodes.len() {
                match world.next_hop(at, &key) {
                    Some(next) => at = next,
                    None => break,
                }
                hops += 1;
            }
            hops
        };
        (0..self.plan.announcing).map(|to| hops(self, to)).max().unwrap_or(0)
    }

    fn unit(&mut self) -> f64 {
        (self.random.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A further line.
    pub(super) fn line(&mut self, a: usize, b: usize, latency_ms: u64) -> usize {
        self.lines.push(Line { ends: [a, b], latency_ms, is_up: false, link: None });
        self.lines.len() - 1
    }

    /// Starts a node with an empty memory.
    pub(super) fn boot(&mut self, node: usize) {
        let config = json!({
            "announce": node < self.plan.announcing, "unsafe_ignore_feasibility": self.plan.unsafe_,
            "refresh_secs": self.plan.refresh_secs, "max_destinations": self.plan.max_destinations,
        });
        let settings = Settings::read(&config).unwrap();
        let life = self.nodes[node].life;
        let seed = mix(mix(node as u64 + 1) ^ self.random.draw() ^ life);
        let signer = Box::new(move |message: &[u8]| Some(signed(node, message)));
        let babel = Babel::new(settings, self.nodes[node].key, signer, seed, self.clock_of(node));
        self.nodes[node].babel = Some(babel);
        self.tick_at(node, self.now_ms);
    }

    /// What a node's clock shows.
    pub(super) fn clock_of(&self, node: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.nodes[node].clock_off_ms)
    }

    /// A new router takes the old one's place, with the links that are up. Their other ends hear nothing of it.
    pub(super) fn swap(&mut self, node: usize) {
        self.nodes[node].life += 1;
        self.boot(node);
        let links: Vec<(u64, usize)> = self.nodes[node].links.iter().map(|(link, peer)| (*link, *peer)).collect();
        let (now, mut out) = (self.clock_of(node), Output::default());
        for (link, peer) in links {
            let key = self.nodes[peer].key;
            self.nodes[node].babel.as_mut().unwrap().link_up(now, link, key, &mut out);
        }
        self.finish(node, out);
    }

    pub(super) fn swap_if_up(&mut self, node: usize) {
        if self.nodes[node].babel.is_some() {
            self.swap(node);
        }
    }

    /// A node measures a line anew.
    pub(super) fn measure(&mut self, node: usize, line: usize, rtt_us: u64, loss_ppm: u32) {
        let (now, mut out) = (self.clock_of(node), Output::default());
        if let (Some(link), Some(babel)) = (self.lines[line].link, &mut self.nodes[node].babel) {
            babel.link_measured(now, link, rtt_us, loss_ppm, &mut out);
            self.finish(node, out);
        }
    }

    /// A counter of all nodes together.
    pub(super) fn counted(&self, name: &str) -> u64 {
        (0..self.nodes.len()).map(|node| self.counter(node, name)).sum()
    }

    /// A counter of one node.
    pub(super) fn counter(&self, node: usize, name: &str) -> u64 {
        self.nodes[node].babel.as_ref().and_then(|babel| babel.dump()["counters"][name].as_u64()).unwrap_or(0)
    }

    /// Pairs of linked neighbours of which one has heard other things than the other has told.
    pub(super) fn disagreements(&self) -> usize {
        let agree = |a: usize, b: usize| {
            let (one, other) = (self.nodes[a].babel.as_ref(), self.nodes[b].babel.as_ref());
            one.zip(other)
                .is_some_and(|(one, other)| one.sum_told(&self.nodes[b].key) == other.sum_heard(&self.nodes[a].key))
        };
        let up = self.lines.iter().filter(|line| line.is_up).map(|line| line.ends);
        up.filter(|[a, b]| !agree(*a, *b) || !agree(*b, *a)).count()
    }

    /// A node is gone at once, without a word.
    pub(super) fn crash(&mut self, node: usize) {
        self.nodes[node].babel = None;
        self.nodes[node].tick_ms = u64::MAX;
        self.nodes[node].life += 1;
        self.nodes[node].links.clear();
        for line in 0..self.lines.len() {
            if self.lines[line].ends.contains(&node) {
                self.cut(line);
            }
        }
    }

    /// A line carries nothing any more; who is at its ends notices it after a while.
    pub(super) fn cut(&mut self, line: usize) {
        self.lines[line].is_up = false;
        let Some(link) = self.lines[line].link.take() else { return };
        self.alive.remove(&link);
        for at in self.lines[line].ends {
            let (least, most) = self.plan.detection;
            let when = self.now_ms + self.random.between(least, most);
            self.push(when, Event::LinkDown { at, link });
        }
    }

    /// A line carries a new link. Both ends hear of it, the second one a latency later.
    pub(super) fn mend(&mut self, line: usize) {
        if self.lines[line].is_up || self.lines[line].ends.iter().any(|end| self.nodes[*end].babel.is_none()) {
            return;
        }
        let link = self.next_link;
        self.next_link += 1;
        self.lines[line].is_up = true;
        self.lines[line].link = Some(link);
        self.alive.insert(link, line);
        let [a, b] = self.lines[line].ends;
        let later = self.now_ms + self.lines[line].latency_ms;
        self.push(self.now_ms, Event::LinkUp { at: a, link, peer: b });
        self.push(later, Event::LinkUp { at: b, link, peer: a });
    }

    pub(super) fn mend_all(&mut self) {
        (0..self.lines.len()).for_each(|line| self.mend(line));
    }

    fn push(&mut self, when: u64, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse(Timed(when, self.serial, event)));
    }

    fn tick_at(&mut self, node: usize, when: u64) {
        if when < self.nodes[node].tick_ms {
            self.nodes[node].tick_ms = when;
            self.push(when, Event::Tick { at: node });
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.queue.peek().is_some_and(|Reverse(Timed(when, ..))| *when <= end) {
            let Some(Reverse(Timed(when, _, event))) = self.queue.pop() else { break };
            self.now_ms = self.now_ms.max(when);
            self.handle(event);
        }
        self.now_ms = end;
    }

    fn handle(&mut self, event: Event) {
        let at = match &event {
            Event::Frame { to, .. } => *to,
            Event::LinkUp { at, .. } | Event::LinkDown { at, .. } | Event::Tick { at } => *at,
        };
        let (real_ms, now, mut out) = (self.now_ms, self.clock_of(at), Output::default());
        let node = &mut self.nodes[at];
        let Some(babel) = &mut node.babel else { return };
        match event {
            Event::Frame { link, bytes, .. } => {
                if !self.alive.contains_key(&link) {
                    return;
                }
                babel.control(now, link, &bytes, &mut out);
            }
            Event::LinkUp { link, peer, .. } => {
                if !self.alive.contains_key(&link) {
                    return;
                }
                node.links.insert(link, peer);
                let peer = self.nodes[peer].key;
                self.nodes[at].babel.as_mut().unwrap().link_up(now, link, peer, &mut out);
            }
            Event::LinkDown { link, .. } => {
                node.links.remove(&link);
                babel.link_down(now, link, &mut out);
            }
            Event::Tick { .. } => {
                if node.tick_ms > real_ms {
                    return;
                }
                node.tick_ms = u64::MAX;
            }
        }
        self.finish(at, out);
    }

    /// What the host does after each call: asks when to tick, sends, and here audits.
    fn finish(&mut self, at: usize, mut out: Output) {
        let (now, clock) = (self.now_ms, self.clock_of(at));
        let Some(babel) = &mut self.nodes[at].babel else { return };
        let next = babel.tick(clock, &mut out);
        self.tick_at(at, now + next.saturating_sub(clock).clamp(1, MAX_PAUSE_MS));
        self.send(at, std::mem::take(&mut out.control));
        if !out.changed.is_empty() {
            self.counts.last_change_ms = now;
            self.counts.changes += out.changed.len() as u64;
        }
        if self.plan.audit {
            for destination in out.changed {
                self.audit(at, &destination);
            }
        }
    }

    fn send(&mut self, at: usize, frames: Vec<(u64, Vec<u8>)>) {
        for (link, bytes) in frames {
            self.counts.frames += 1;
            self.counts.bytes += bytes.len() as u64;
            assert!(bytes.len() <= crate::limits::MAX_FRAME);
            let Some(line) = self.alive.get(&link).copied() else { continue };
            let lost = self.frames_lost_percent > 0 && self.random.between(0, 99) < self.frames_lost_percent;
            if lost {
                continue;
            }
            let line = &self.lines[line];
            let to = if line.ends[0] == at { line.ends[1] } else { line.ends[0] };
            self.push(self.now_ms + line.latency_ms, Event::Frame { to, link, bytes });
        }
    }

    /// The neighbour to which a node hands what is for `destination`, if a living link leads there.
    pub(super) fn next_hop(&mut self, at: usize, destination: &Key) -> Option<usize> {
        self.step(at, destination).map(|(next, _)| next)
    }

    /// The same, and the line between them.
    fn step(&mut self, at: usize, destination: &Key) -> Option<(usize, usize)> {
        let now = self.clock_of(at);
        let query = Query { destination: *destination, broadcast: false, from: None };
        let Answer::Known(link) = self.nodes[at].babel.as_mut()?.route(now, &query) else { return None };
        let line = self.alive.get(&link)?;
        Some((*self.nodes[at].links.get(&link)?, *line))
    }

    /// Walks the next hops as the nodes believe in them, over links that are dead without anybody's knowing it, too.
    fn audit(&mut self, from: usize, destination: &Key) {
        let (mut at, mut steps) = (from, 0);
        while self.nodes[at].key != *destination {
            let Some(next) = self.believed_hop(at, destination) else { return };
            at = next;
            steps += 1;
            if at == from || steps > self.nodes.len() {
                self.counts.loops += 1;
                return;
            }
        }
    }

    fn believed_hop(&mut self, at: usize, destination: &Key) -> Option<usize> {
        let now = self.clock_of(at);
        let query = Query { destination: *destination, broadcast: false, from: None };
        let Answer::Known(link) = self.nodes[at].babel.as_mut()?.route(now, &query) else { return None };
        self.nodes[at].links.get(&link).copied()
    }

    /// The metric of the way that messages take now; `None` when they don't arrive.
    pub(super) fn walk(&mut self, from: usize, to: usize) -> Option<u32> {
        let destination = self.nodes[to].key;
        let (mut at, mut cost) = (from, 0);
        for _ in 0..=self.nodes.len() {
            if at == to {
                return Some(cost);
            }
            let (next, line) = self.step(at, &destination)?;
            cost += line_cost(&self.lines[line]);
            at = next;
        }
        None
    }

    /// The metric of the best ways from a node, over the lines that are up.
    pub(super) fn best_from(&self, from: usize, near: &[Vec<(usize, u32)>]) -> Vec<Option<u32>> {
        let mut best = vec![None; self.nodes.len()];
        let mut heap = BinaryHeap::from([Reverse((0, from))]);
        while let Some(Reverse((cost, at))) = heap.pop() {
            if best[at].is_some() {
                continue;
            }
            best[at] = Some(cost);
            heap.extend(near[at].iter().map(|(next, more)| Reverse((cost + more, *next))));
        }
        best
    }

    /// Who is linked to whom now, and what the link costs.
    pub(super) fn near(&self) -> Vec<Vec<(usize, u32)>> {
        let mut near = vec![Vec::new(); self.nodes.len()];
        for line in self.lines.iter().filter(|line| line.is_up) {
            let [a, b] = line.ends;
            near[a].push((b, line_cost(line)));
            near[b].push((a, line_cost(line)));
        }
        near
    }

    /// The pairs that have a way but are not served.
    pub(super) fn unserved(&mut self, sources: &[usize]) -> Vec<(usize, usize)> {
        let near = self.near();
        let mut unserved = Vec::new();
        for from in sources {
            let best = self.best_from(*from, &near);
            let reachable = best.iter().enumerate().take(self.plan.announcing);
            for to in reachable.filter_map(|(to, best)| best.map(|_| to)) {
                if self.walk(*from, to).is_none() {
                    unserved.push((*from, to));
                }
            }
        }
        unserved
    }

    /// Mean and greatest stretch over the pairs from these sources.
    pub(super) fn stretch(&mut self, sources: &[usize]) -> (f64, f64) {
        let near = self.near();
        let (mut sum, mut count, mut most) = (0.0, 0.0, 0.0f64);
        for from in sources {
            let best = self.best_from(*from, &near);
            for to in (0..self.plan.announcing).filter(|to| to != from) {
                if let (Some(best), Some(real)) = (best[to], self.walk(*from, to)) {
                    let stretch = f64::from(real) / f64::from(best);
                    (sum, count, most) = (sum + stretch, count + 1.0, most.max(stretch));
                }
            }
        }
        (sum / f64::max(count, 1.0), most)
    }
}

fn line_cost(line: &Line) -> u32 {
    crate::cost::link_cost(line.latency_ms * 2_000, 0)
}

fn root(part: &mut [usize], mut at: usize) -> usize {
    while part[at] != at {
        part[at] = part[part[at]];
        at = part[at];
    }
    at
}

/// The key of a node: the same in each test, so that a signature is calculated once.
pub(super) fn key(node: usize) -> SigningKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(node as u64).to_be_bytes());
    SigningKey::from_seed(&seed)
}

type Signatures = HashMap<(usize, Vec<u8>), [u8; 64]>;
static SIGNATURES: LazyLock<Mutex<Signatures>> = LazyLock::new(Mutex::default);

fn signed(node: usize, message: &[u8]) -> [u8; 64] {
    let mut known = SIGNATURES.lock().unwrap();
    *known.entry((node, message.to_vec())).or_insert_with(|| crate::testing::sign(&key(node), message))
}
