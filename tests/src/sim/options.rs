//! What can be set for a run.

use serde_json::{Value, json};

use super::topology::Shape;
use crate::Random;

/// The routing plugin that runs, unless another is named.
pub const DEFAULT_ROUTING: &str = "routing-babel";

/// Nodes that announce themselves at most: in larger networks the others are reached by their neighbours alone.
pub const MAX_ANNOUNCERS: usize = 1_000;

/// The same where there are more than [`MANY_NODES`] nodes.
pub const FEW_ANNOUNCERS: usize = 200;

/// See [`FEW_ANNOUNCERS`].
pub const MANY_NODES: usize = 5_000;

/// How nodes notice that a link is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detection {
    /// By missing hellos, as over any transport: 1.5 to 2.5 s later.
    Hello,
    /// The transport says so at once.
    AtOnce,
}

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes there are.
    pub nodes: usize,
    /// The form of the network.
    pub shape: Shape,
    /// All that is random follows from it.
    pub seed: u64,
    /// The routing plugin.
    pub routing: String,
    /// Its configuration.
    pub config: Value,
    /// How many nodes announce themselves.
    pub announcers: usize,
    /// How often a node that announces itself spreads its record, in seconds; as the daemon does, if nothing is said.
    pub record_s: Option<u64>,
    /// How nodes notice that a link is gone.
    pub detection: Detection,
    /// Share of frames that have to be repeated.
    pub loss: f64,
    /// How long a disk takes for a commit, in microseconds.
    pub sync_us: u64,
    /// How long the steady state is watched, in seconds.
    pub window_s: u64,
}

impl Options {
    /// The usual settings for a network of that form and size.
    pub fn new(shape: Shape, nodes: usize, seed: u64) -> Self {
        Self {
            nodes,
            shape,
            seed,
            routing: DEFAULT_ROUTING.to_owned(),
            config: json!({}),
            announcers: if nodes > MANY_NODES { FEW_ANNOUNCERS } else { nodes.min(MAX_ANNOUNCERS) },
            record_s: None,
            detection: Detection::Hello,
            loss: 0.0,
            sync_us: 4_000,
            window_s: 960,
        }
    }

    /// How often a node that announces itself spreads its record, in seconds: more often where the routing learns from it.
    pub fn record_s(&self) -> u64 {
        self.record_s.unwrap_or(if self.learns() { 300 } else { 6 * 3_600 })
    }

    /// The configuration of nodes that don't announce themselves.
    pub(super) fn silent_config(&self) -> Value {
        let mut config = self.config.clone();
        if let (false, Some(table)) = (self.learns() || self.announcers >= self.nodes, config.as_object_mut()) {
            table.insert("announce".to_owned(), json!(false));
        }
        config
    }

    /// Whether the plugin learns ways from node records and messages, and announces nothing.
    fn learns(&self) -> bool {
        self.routing == "routing-flood"
    }

    /// Which nodes announce themselves.
    pub(super) fn choose_announcers(&self, random: &mut Random) -> Vec<bool> {
        let mut chosen = vec![self.announcers >= self.nodes; self.nodes];
        let mut left = if self.announcers >= self.nodes { 0 } else { self.announcers };
        while left > 0 {
            let node = random.below(self.nodes);
            left -= usize::from(!std::mem::replace(&mut chosen[node], true));
        }
        chosen
    }
}
