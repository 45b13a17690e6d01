//! One case from the cold start to the death of a third of the nodes, and what was measured on the way.

mod mail;
mod report;
mod routes;
mod stretch;

use std::time::Instant;

use qpq_schemas::{MessageId, TopicId};

pub use report::Report;

use super::options::Options;
use super::topology::Graph;
use super::world::World;
use crate::{Outcome, Random, procfs};

/// The topic that all nodes subscribe.
pub const TOPIC: TopicId = TopicId(*b"everybody in the simulated city!");

/// A second in the world's unit.
pub const SECOND_US: u64 = 1_000_000;

/// Within what time neighbours dial each other once they can, in microseconds.
pub const DIAL_US: u64 = 100_000;

/// A message that was handed in, and whom it is for.
#[derive(Debug, Clone, Copy)]
struct Sent {
    token: u64,
    id: MessageId,
    to: u32,
}

/// A run of one case.
pub struct Scenario<'a> {
    world: World,
    /// Randomness of what is done, as opposed to what happens.
    random: Random,
    report: Report,
    sent: Vec<Sent>,
    progress: &'a mut dyn FnMut(&str),
    began: Instant,
}

impl<'a> Scenario<'a> {
    /// Runs a case through all its phases. `progress` hears in words how far it is.
    ///
    /// # Errors
    /// When the routing plugin can't be loaded or started.
    pub fn run(options: Options, progress: &'a mut dyn FnMut(&str)) -> Outcome<Report> {
        let began = Instant::now();
        let graph = Graph::new(options.shape, options.nodes, options.seed);
        let random = Random::seeded(options.seed ^ 0x5ce0_a410);
        let report = Report::new(&options, graph.edges.len());
        let world = World::new(options, graph)?;
        let mut scenario = Self { world, random, report, sent: Vec::new(), progress, began };
        scenario.phases()?;
        Ok(scenario.report)
    }

    fn phases(&mut self) -> Outcome {
        let before = resident();
        self.cold_start()?;
        self.note_memory(before);
        self.steady_state()?;
        self.note_stretch();
        self.unicast()?;
        self.broadcasts()?;
        self.link_losses()?;
        self.partition_and_heal()?;
        self.settle_mail()?;
        self.deaths()?;
        self.conclude()
    }

    /// Says how far the run is.
    fn say(&mut self, what: &str) {
        let (wall, now) = (self.began.elapsed().as_secs_f64(), self.world.now_us as f64 / 1e6);
        (self.progress)(&format!("{wall:7.1} s wall, {now:8.1} s simulated: {what}"));
    }

    /// How many pairs have a living way, and how many of them are served.
    fn served(&mut self) -> (usize, usize) {
        let World { audit, graph, links, wires, .. } = &mut self.world;
        audit.served(graph, links, wires)
    }

    fn note_memory(&mut self, before: u64) {
        self.report.rss_bytes_per_node = resident().saturating_sub(before) as f64 / self.world.nodes.len() as f64;
        let looked_at = self.world.nodes.len().min(20);
        let step = self.world.nodes.len() / looked_at;
        let sizes: Vec<f64> = (0..looked_at).filter_map(|index| self.state_bytes(index * step)).collect();
        // A plugin that doesn't tell its size is charged with the process's memory.
        let told = (!sizes.is_empty()).then(|| sizes.iter().sum::<f64>() / sizes.len() as f64);
        self.report.state_bytes_per_node = told.unwrap_or(self.report.rss_bytes_per_node);
    }

    fn state_bytes(&self, node: usize) -> Option<f64> {
        let node = &self.world.nodes[node];
        let dump: serde_json::Value =
            serde_json::from_str(&node.router.as_ref()?.dump(node.clock_ms(self.world.now_us))).ok()?;
        dump.get("state_bytes")?.as_f64()
    }

    fn conclude(&mut self) -> Outcome {
        self.report.other_than_on_disk = self.world.compare_with_disks()?;
        self.report.loops = self.world.audit.loops;
        self.report.first_loop = self.world.audit.first_loop.clone();
        self.report.duplicates_at_application = self.world.inboxes.doubled;
        self.report.state_hash = self.world.state_hash();
        self.report.happenings = self.world.happenings();
        self.report.route_changes = self.world.audit.changes;
        self.report.simulated_s = self.world.now_us as f64 / 1e6;
        self.report.wall_s = self.began.elapsed().as_secs_f64();
        self.say("done");
        Ok(())
    }
}

fn resident() -> u64 {
    procfs::resident(std::process::id()).unwrap_or(0)
}
