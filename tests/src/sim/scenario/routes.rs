//! Phases that try the routes: cold start, steady state, lost links, partition and heal.

use super::{DIAL_US, SECOND_US, Scenario, TOPIC};
use crate::Outcome;
use crate::sim::traffic::Traffic;

/// How often is looked whether all pairs are served, in microseconds.
const LOOK_US: u64 = 20_000;

/// The routes have settled when none has changed for so long, in microseconds.
const QUIET_US: u64 = 5 * SECOND_US;

/// The cold start is given up after so long, in microseconds.
const LONGEST_START_US: u64 = 180 * SECOND_US;

/// All pairs must be served for so long until a fault counts as overcome, in microseconds: longer than the last end needs
/// to notice it.
const STEADY_US: u64 = 3 * SECOND_US;

/// A fault that is not overcome after so long is reported with this time, in microseconds.
const LONGEST_FAULT_US: u64 = 60 * SECOND_US;

/// Links that are lost, one after the other.
const LOST_LINKS: usize = 5;

/// How long a partition is left, once both parts have settled, in microseconds.
const APART_US: u64 = 20 * SECOND_US;

impl Scenario<'_> {
    pub(super) fn cold_start(&mut self) -> Outcome {
        for node in &mut self.world.nodes {
            node.topics.push(TOPIC);
        }
        for node in 0..self.world.nodes.len() as u32 {
            self.world.start(node, DIAL_US)?;
        }
        self.say("all nodes are started");
        loop {
            self.world.run_for(100_000)?;
            let quiet = self.world.now_us - self.world.audit.last_change_us;
            if (quiet >= QUIET_US && self.is_all_served()) || self.world.now_us > LONGEST_START_US {
                break;
            }
        }
        self.report.cold_start_s = self.world.audit.last_change_us as f64 / 1e6;
        self.report.cold_start_changes = self.world.audit.changes;
        let (nodes, cold) = (self.world.nodes.len() as f64, self.world.traffic);
        self.report.cold_start_route_bytes_per_node = cold.route as f64 / nodes;
        self.report.record_bytes_at_start = cold.records;
        let (pairs, served) = self.served();
        self.report.pairs = pairs;
        self.report.served_after_start = served;
        self.say(&format!("cold start took {:.3} s; {served} of {pairs} pairs are served", self.report.cold_start_s));
        Ok(())
    }

    fn is_all_served(&mut self) -> bool {
        let (pairs, served) = self.served();
        served == pairs
    }

    pub(super) fn steady_state(&mut self) -> Outcome {
        self.world.run_for(QUIET_US)?;
        let (before, begin_us) = (self.world.traffic, self.world.now_us);
        self.world.run_for(self.world.options.window_s * SECOND_US)?;
        let spent = self.world.traffic.since(&before);
        let seconds = (self.world.now_us - begin_us) as f64 / 1e6;
        self.note_control(&spent, seconds);
        self.report.unannounced_changes = self.world.unannounced();
        self.say(&format!("in peace {:.1} bytes of control a node and second", self.report.control_bytes_per_node_s));
        Ok(())
    }

    /// Records that are spread more seldom than the window is long are charged with what their first round cost.
    fn note_control(&mut self, spent: &Traffic, seconds: f64) {
        let options = &self.world.options;
        let nodes = self.world.nodes.len() as f64;
        let seldom = options.record_s() > options.window_s;
        let (bytes, over) = if seldom {
            (self.report.record_bytes_at_start, options.record_s() as f64)
        } else {
            (spent.records, seconds)
        };
        self.report.route_bytes_per_node_s = spent.route as f64 / nodes / seconds;
        self.report.record_bytes_per_node_s = bytes as f64 / nodes / over;
        let others = spent.others as f64 / nodes / seconds;
        self.report.control_bytes_per_node_s =
            self.report.route_bytes_per_node_s + self.report.record_bytes_per_node_s + others;
    }

    /// Waits until all pairs that have a living way are served again; how long that took since `since_us`, in seconds.
    fn until_served(&mut self, since_us: u64) -> Outcome<f64> {
        let mut last_us = since_us;
        loop {
            let all = self.is_all_served();
            if !all {
                last_us = self.world.now_us + LOOK_US;
            }
            let waited = self.world.now_us - since_us;
            if (all && waited >= STEADY_US && self.world.now_us >= last_us + SECOND_US) || waited > LONGEST_FAULT_US {
                return Ok((last_us - since_us) as f64 / 1e6);
            }
            if !all && waited % SECOND_US < LOOK_US {
                let (pairs, served) = self.served();
                self.say(&format!("{} of {pairs} pairs are not served", pairs - served));
            }
            self.world.run_for(LOOK_US)?;
        }
    }

    pub(super) fn link_losses(&mut self) -> Outcome {
        for _ in 0..LOST_LINKS {
            let wire = self.choose_link();
            let since_us = self.world.now_us;
            self.world.cut(wire);
            self.send_some(10, since_us)?;
            let took = self.until_served(since_us)?;
            self.report.link_losses_s.push(took);
            self.world.mend(wire, DIAL_US);
            self.world.run_for(QUIET_US)?;
        }
        self.say(&format!("lost links were overcome in {:?} s", self.report.link_losses_s));
        Ok(())
    }

    /// A link at random; if there is one, one without which the network still hangs together.
    fn choose_link(&mut self) -> u32 {
        let (graph, links) = (&self.world.graph, &self.world.links);
        let mut chosen = 0;
        for _ in 0..50 {
            chosen = self.random.below(graph.edges.len()) as u32;
            if graph.hops(links, 0, |link| link != chosen).iter().all(Option::is_some) {
                break;
            }
        }
        chosen
    }

    pub(super) fn partition_and_heal(&mut self) -> Outcome {
        let inside = self.world.graph.half(&mut self.random);
        let crosses = |ends: [u32; 2]| inside[ends[0] as usize] != inside[ends[1] as usize];
        let edges = (0..).zip(&self.world.graph.edges);
        let cut: Vec<u32> = edges.filter(|(_, edge)| crosses(edge.ends)).map(|(number, _)| number).collect();
        let since_us = self.world.now_us;
        cut.iter().for_each(|wire| self.world.cut(*wire));
        self.send_some(40, since_us)?;
        self.report.partition_s = self.until_served(since_us)?;
        self.say(&format!("cut in two over {} links: served inside after {:.2} s", cut.len(), self.report.partition_s));
        self.world.run_for(APART_US)?;
        let since_us = self.world.now_us;
        cut.iter().for_each(|wire| self.world.mend(*wire, DIAL_US));
        self.report.heal_s = self.until_served(since_us)?;
        self.say(&format!("healed after {:.2} s", self.report.heal_s));
        Ok(())
    }
}
