//! Figures of large networks. NODES, ANNOUNCING, DEGREE, SEED, AUDIT=1 and SAMPLES may be set:
//! `cargo test --release -p qpq-babel --lib -- --ignored --nocapture measure`.

use std::time::Instant;

use super::{Plan, World};
use crate::babel::Babel;

/// How often the network is looked at, in milliseconds.
const STEP_MS: u64 = 100;

fn env(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

struct Trial {
    world: World,
    sources: Vec<usize>,
    wall: Instant,
    /// Destinations, times nodes.
    known: f64,
}

impl Trial {
    fn new() -> Self {
        let nodes = env("NODES", 1_000);
        let mut plan = Plan::new(nodes);
        plan.announcing = env("ANNOUNCING", nodes);
        plan.degree = env("DEGREE", 5) as f64;
        plan.audit = env("AUDIT", 0) == 1;
        let world = World::geometric(plan, env("SEED", 1) as u64);
        let sources = (0..nodes).step_by((nodes / 40).max(1)).collect();
        Self { world, sources, wall: Instant::now(), known: plan.announcing as f64 * nodes as f64 }
    }

    #[allow(clippy::print_stdout, reason = "figures for people")]
    fn say(&self, what: &str) {
        println!("[{:5.1} s] {what}", self.wall.elapsed().as_secs_f64());
    }

    /// Milliseconds until all sampled pairs with a way are served.
    fn until_served(&mut self, limit_ms: u64) -> Option<u64> {
        (0..=limit_ms / STEP_MS).find_map(|step| {
            if step > 0 {
                self.world.run(STEP_MS);
            }
            self.world.unserved(&self.sources).is_empty().then_some(step * STEP_MS)
        })
    }

    fn bytes_per_node(&self, before: u64) -> f64 {
        (self.world.counts.bytes - before) as f64 / self.world.nodes.len() as f64
    }

    fn cold_start(&mut self) {
        let begin = self.world.now_ms;
        self.world.mend_all();
        self.world.run(20_000);
        let counts = self.world.counts.clone();
        let after = counts.last_change_ms - begin;
        self.say(&format!("cold start: last change of a next hop after {after} ms"));
        self.say(&format!(
            "  {:.1} B per node and destination, {} frames, {:.2} changes per pair",
            counts.bytes as f64 / self.known,
            counts.frames,
            counts.changes as f64 / self.known
        ));
        let stretch = self.world.stretch(&self.sources);
        let hops = self.world.longest_way(self.sources[0]);
        self.say(&format!("  stretch mean {:.4}, most {:.3}; longest way {hops} hops", stretch.0, stretch.1));
    }

    fn state(&self) {
        let babels = self.world.nodes.iter().filter_map(|node| node.babel.as_ref());
        let bytes: usize = babels.map(Babel::state_bytes).sum();
        self.say(&format!("state: {:.1} B per destination and node", bytes as f64 / self.known));
    }

    fn steady(&mut self) {
        let before = self.world.counts.bytes;
        let secs = self.world.plan.refresh_secs;
        self.world.run(secs * 1_000);
        let rate = self.bytes_per_node(before) / secs as f64;
        self.say(&format!(
            "steady: {rate:.1} B/s a node, {:.3} B/s per node known",
            rate / self.world.plan.announcing as f64
        ));
        let stretch = self.world.stretch(&self.sources);
        self.say(&format!("  stretch mean {:.4}, most {:.3}", stretch.0, stretch.1));
    }

    /// Lines whose end the rest doesn't hang on are lost one by one.
    fn lost_links(&mut self) {
        for sample in 0..env("SAMPLES", 5) {
            let line = self.world.random.between(0, self.world.lines.len() as u64 - 1) as usize;
            let before = self.world.counts.bytes;
            self.world.cut(line);
            let after = self.until_served(30_000);
            let bytes = self.bytes_per_node(before);
            self.say(&format!("link {sample} lost: all served after {after:?} ms, {bytes:.1} B a node"));
            self.world.mend(line);
            self.world.run(5_000);
        }
    }

    fn partition_and_heal(&mut self) {
        let half = self.world.half();
        for line in 0..self.world.lines.len() {
            let [a, b] = self.world.lines[line].ends;
            if half[a] != half[b] {
                self.world.cut(line);
            }
        }
        let inside = self.until_served(60_000);
        self.say(&format!("partition: all served inside after {inside:?} ms"));
        self.world.run(60_000);
        let before = self.world.counts.bytes;
        self.world.mend_all();
        let healed = self.until_served(60_000);
        let bytes = self.bytes_per_node(before) / self.world.plan.announcing as f64;
        self.say(&format!("heal: all served after {healed:?} ms, {bytes:.1} B per node and destination"));
    }
}

#[test]
#[ignore = "prints figures; takes minutes without optimization"]
fn measure() {
    let mut trial = Trial::new();
    trial.cold_start();
    trial.state();
    if env("STEADY", 1) == 1 {
        trial.steady();
    }
    trial.lost_links();
    trial.partition_and_heal();
    trial.say(&format!("updates put off: {}", trial.world.counted("put_off")));
    trial.say(&format!("loops {} (looked for: {})", trial.world.counts.loops, trial.world.plan.audit));
}
