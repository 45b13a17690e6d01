//! What a case has shown.

use serde_json::{Value, json};

use crate::sim::options::Options;

/// The outcome of a case.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the names are those of the output; `Report::json` and tests/README.md explain them")]
pub struct Report {
    pub nodes: usize,
    pub topology: &'static str,
    pub seed: u64,
    pub routing: String,
    pub links: usize,
    pub announcers: usize,
    pub pairs: usize,
    pub served_after_start: usize,
    pub messages: usize,
    pub delivery_ratio: f64,
    pub delivered_at_once: f64,
    pub loops: u64,
    pub first_loop: Option<String>,
    pub unannounced_changes: u64,
    pub stretch_mean: f64,
    pub stretch_max: f64,
    pub cold_start_s: f64,
    pub cold_start_changes: u64,
    pub cold_start_route_bytes_per_node: f64,
    pub record_bytes_at_start: u64,
    pub link_losses_s: Vec<f64>,
    pub partition_s: f64,
    pub heal_s: f64,
    pub route_bytes_per_node_s: f64,
    pub record_bytes_per_node_s: f64,
    pub control_bytes_per_node_s: f64,
    pub copies_of_the_first_broadcasts: f64,
    pub copies_per_broadcast: f64,
    pub control_bytes_per_broadcast_and_node: f64,
    pub broadcast_reach: f64,
    pub together_after_deaths: usize,
    pub reach_after_deaths: f64,
    pub state_bytes_per_node: f64,
    pub rss_bytes_per_node: f64,
    pub duplicates_at_application: u64,
    pub other_than_on_disk: Vec<String>,
    pub route_changes: u64,
    pub happenings: u64,
    pub simulated_s: f64,
    pub wall_s: f64,
    pub state_hash: String,
}

impl Report {
    /// An empty one.
    pub fn new(options: &Options, links: usize) -> Self {
        Self {
            nodes: options.nodes,
            topology: options.shape.name(),
            seed: options.seed,
            routing: options.routing.clone(),
            announcers: options.announcers.min(options.nodes),
            links,
            broadcast_reach: 1.0,
            reach_after_deaths: 1.0,
            ..Self::default()
        }
    }

    /// The slowest recovery from a lost link, in seconds.
    pub fn link_loss_recovery_s(&self) -> f64 {
        self.link_losses_s.iter().copied().fold(0.0, f64::max)
    }

    /// All figures as one JSON object.
    pub fn json(&self) -> Value {
        let mut figures = json!({
            "schema": "qpq.sim/1",
            "nodes": self.nodes,
            "topology": self.topology,
            "seed": self.seed,
            "routing": self.routing,
            "links": self.links,
            "announcers": self.announcers,
            "pairs": self.pairs,
            "served_after_start": self.served_after_start,
            "messages": self.messages,
            "delivery_ratio": self.delivery_ratio,
            "delivered_at_once": self.delivered_at_once,
            "loops": self.loops,
            "first_loop": self.first_loop,
            "unannounced_changes": self.unannounced_changes,
            "stretch_mean": rounded(self.stretch_mean),
            "stretch_max": rounded(self.stretch_max),
            "cold_start_s": rounded(self.cold_start_s),
            "cold_start_route_bytes_per_node": rounded(self.cold_start_route_bytes_per_node),
            "link_loss_recovery_s": rounded(self.link_loss_recovery_s()),
            "link_losses_s": self.link_losses_s,
            "partition_s": rounded(self.partition_s),
            "heal_s": rounded(self.heal_s),
            "control_bytes_per_node_s": rounded(self.control_bytes_per_node_s),
            "route_bytes_per_node_s": rounded(self.route_bytes_per_node_s),
            "record_bytes_per_node_s": rounded(self.record_bytes_per_node_s),
            "copies_per_broadcast": rounded(self.copies_per_broadcast),
            "copies_of_the_first_broadcasts": rounded(self.copies_of_the_first_broadcasts),
            "control_bytes_per_broadcast_and_node": rounded(self.control_bytes_per_broadcast_and_node),
            "broadcast_reach": self.broadcast_reach,
            "together_after_deaths": self.together_after_deaths,
            "reach_after_deaths": self.reach_after_deaths,
            "state_bytes_per_node": rounded(self.state_bytes_per_node),
            "state_bytes_per_destination": rounded(self.state_bytes_per_node / self.announcers.max(1) as f64),
            "rss_bytes_per_node": rounded(self.rss_bytes_per_node),
            "duplicates_at_application": self.duplicates_at_application,
            "route_changes": self.route_changes,
            "happenings": self.happenings,
            "simulated_s": rounded(self.simulated_s),
            "wall_s": rounded(self.wall_s),
            "state_hash": self.state_hash,
        });
        figures["other_than_on_disk"] = json!(self.other_than_on_disk);
        figures
    }
}

/// To a thousandth, or to three digits where that is less.
fn rounded(number: f64) -> f64 {
    let scale = if number.abs() < 0.1 { 1e6 } else { 1e4 };
    (number * scale).round() / scale
}
