//! Small networks in which anything may happen, and the promise that holds all the same: nothing that was acknowledged is
//! lost, nothing comes twice, and all that has a way over time arrives within its life.

mod acts;
mod verdict;

use qpq_schemas::{MessageId, TopicId};

pub use verdict::Verdict;

use super::options::Options;
use super::topology::{Graph, Shape};
use super::world::World;
use crate::{Outcome, Random};

/// A second in the world's unit.
const SECOND_US: u64 = 1_000_000;

/// The topics that there are.
const TOPICS: [TopicId; 2] = [TopicId([1; 32]), TopicId([2; 32])];

/// How long a message lives that must arrive, in seconds.
const LONG_LIFE_SECS: u32 = 7 * 86_400;

/// How far a clock may be off from the right time, in milliseconds: two of them differ by 5 minutes at most.
const MAX_SKEW_MS: usize = 150_000;

/// How long everything may take to arrive once all is whole, in microseconds: two of custody's longest pauses.
const PATIENCE_US: u64 = 1_500 * SECOND_US;

/// Within this time a disk has done all that it was given, in microseconds.
const SLOWEST_US: u64 = 10 * SECOND_US;

/// How long is waited for what might come twice, once all has arrived, in microseconds.
const AFTERMATH_US: u64 = 40 * SECOND_US;

/// Shapes of the networks.
const SHAPES: [Shape; 4] = [Shape::Geometric, Shape::Ring, Shape::Grid, Shape::ScaleFree];

/// How large a run is.
#[derive(Debug, Clone)]
pub struct Size {
    /// Fewest and most nodes.
    pub nodes: [usize; 2],
    /// Things that happen.
    pub acts: usize,
    /// The routing plugin.
    pub routing: String,
}

impl Default for Size {
    fn default() -> Self {
        Self { nodes: [5, 20], acts: 80, routing: super::options::DEFAULT_ROUTING.to_owned() }
    }
}

/// A message that was handed in.
#[derive(Debug, Clone, Copy)]
struct Sent {
    token: u64,
    id: MessageId,
    from: u32,
    /// The recipient, or the topic's place in [`TOPICS`].
    to: To,
    /// It may expire on its way.
    short: bool,
}

#[derive(Debug, Clone, Copy)]
enum To {
    Node(u32),
    Topic(usize),
}

/// One run.
pub struct Chaos {
    world: World,
    random: Random,
    sent: Vec<Sent>,
    /// Who has subscribed which topic.
    subscribers: [Vec<u32>; TOPICS.len()],
    /// What happened, for whoever looks for a fault.
    story: Vec<String>,
}

impl Chaos {
    /// Lets anything happen, mends all, waits, and says whether the promise held.
    ///
    /// # Errors
    /// When the routing plugin can't be loaded or started.
    pub fn run(seed: u64, size: &Size) -> Outcome<Verdict> {
        let mut chaos = Self::begin(seed, size)?;
        for _ in 0..size.acts {
            chaos.act()?;
        }
        chaos.mend_all()?;
        chaos.wait()?;
        let differences = chaos.world.compare_with_disks()?;
        Ok(chaos.verdict(seed, differences))
    }

    fn begin(seed: u64, size: &Size) -> Outcome<Self> {
        let mut random = Random::seeded(seed ^ 0xc4a0_5000);
        let nodes = size.nodes[0] + random.below(size.nodes[1] - size.nodes[0] + 1);
        let shape = SHAPES[random.below(SHAPES.len())];
        let mut options = Options::new(shape, nodes, seed);
        options.routing.clone_from(&size.routing);
        options.loss = [0.0, 0.0, 0.05, 0.25][random.below(4)];
        let mut world = World::new(options, Graph::new(shape, nodes, seed))?;
        for node in &mut world.nodes {
            node.skew_ms = random.below(2 * MAX_SKEW_MS + 1) as i64 - MAX_SKEW_MS as i64;
            node.sync_us = 1_000 + random.below(9_000) as u64;
        }
        for node in 0..nodes as u32 {
            world.start(node, SECOND_US)?;
        }
        let subscribers = [const { Vec::new() }; TOPICS.len()];
        let story = vec![format!("{shape} of {nodes} nodes, loss {}", world.options.loss)];
        let mut chaos = Self { world, random, sent: Vec::new(), subscribers, story };
        for node in 0..nodes as u32 {
            chaos.subscribe(node);
        }
        Ok(chaos)
    }

    fn wait(&mut self) -> Outcome {
        self.world.run_for(SLOWEST_US)?; // what a slow disk has yet to acknowledge counts, too
        let until_us = self.world.now_us + PATIENCE_US;
        while self.missing().next().is_some() && self.world.now_us < until_us {
            self.world.run_for(SECOND_US)?;
        }
        self.world.run_for(AFTERMATH_US)
    }

    /// What was acknowledged and lives long, with those who should have it and don't.
    fn missing(&self) -> impl Iterator<Item = (&Sent, u32)> + '_ {
        let due = self.sent.iter().filter(|sent| !sent.short && self.world.answers.is_stored(sent.token));
        due.flat_map(|sent| self.wanted_by(sent).map(move |node| (sent, node)))
            .filter(|(sent, node)| self.world.delivered(*node, &sent.id) == 0)
    }

    fn wanted_by(&self, sent: &Sent) -> impl Iterator<Item = u32> + '_ {
        let (one, all) = match sent.to {
            To::Node(node) => (Some(node), [].as_slice()),
            To::Topic(topic) => (None, self.subscribers[topic].as_slice()),
        };
        one.into_iter().chain(all.iter().copied())
    }
}
