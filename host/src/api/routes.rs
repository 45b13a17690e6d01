//! What the routing plugin knows.

use std::collections::BTreeMap;

use qpq_schemas::PeerId;
use serde::{Deserialize, Serialize};

/// The routing table, as the routing plugin shows it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RouteTable {
    /// The routing plugin's name.
    pub plugin: String,
    /// One row for each destination that has a way.
    pub routes: Vec<RouteInfo>,
    /// Destinations that had a way, and have none now.
    #[serde(default)]
    pub lost: Vec<LostRoute>,
    /// The links to neighbours, as the plugin weighs them.
    #[serde(default)]
    pub links: Vec<RouteLink>,
    /// This node.
    #[serde(default)]
    pub here: Option<PeerId>,
    /// What this node calls itself.
    #[serde(default)]
    pub here_name: Option<String>,
    /// Memory that the table takes, in bytes, where the plugin knows.
    #[serde(default)]
    pub state_bytes: Option<u64>,
    /// The plugin's own counters.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// A path to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteInfo {
    /// Whom it leads to.
    pub destination: PeerId,
    /// The neighbour to hand an envelope to.
    pub next_hop: PeerId,
    /// The destination's nickname.
    #[serde(default)]
    pub nickname: Option<String>,
    /// Cost; smaller is better. Its unit is the plugin's.
    pub metric: u32,
    /// Links to cross, where the plugin knows.
    pub hops: Option<u8>,
    /// Age of the newest confirmation, in milliseconds.
    pub age_ms: u64,
    /// The next hop's nickname.
    #[serde(default)]
    pub next_hop_name: Option<String>,
    /// The link to the next hop.
    #[serde(default)]
    pub link: Option<u64>,
    /// The destination's sequence number.
    #[serde(default)]
    pub seqno: Option<u64>,
    /// What another way must beat, so that no loop comes of it.
    #[serde(default)]
    pub feasibility: Option<Feasibility>,
    /// Other ways that neighbours offer.
    #[serde(default)]
    pub alternatives: Vec<RouteAlternative>,
}

/// A destination without a way at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRoute {
    /// Whom it led to.
    pub destination: PeerId,
    /// The destination's nickname.
    #[serde(default)]
    pub nickname: Option<String>,
    /// `starved` (neighbours offer ways that might be loops) or `retracted`.
    pub state: String,
    /// Since when, in milliseconds, or the age of what is known.
    pub age_ms: u64,
    /// The destination's sequence number.
    #[serde(default)]
    pub seqno: Option<u64>,
    /// What another way must beat.
    #[serde(default)]
    pub feasibility: Option<Feasibility>,
    /// Ways that neighbours offer.
    #[serde(default)]
    pub alternatives: Vec<RouteAlternative>,
}

/// A feasibility distance (RFC 8966, section 3.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feasibility {
    /// The sequence number.
    pub seqno: u64,
    /// The metric.
    pub metric: u32,
}

/// Another way to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteAlternative {
    /// The neighbour that offers it.
    pub next_hop: PeerId,
    /// The neighbour's nickname.
    #[serde(default)]
    pub nickname: Option<String>,
    /// Its cost.
    pub metric: u32,
    /// The sequence number that it comes with.
    #[serde(default)]
    pub seqno: Option<u64>,
    /// Whether it may be taken without a loop.
    #[serde(default)]
    pub feasible: bool,
    /// Age of its newest confirmation, in milliseconds.
    #[serde(default)]
    pub age_ms: Option<u64>,
}

/// A link, as the routing plugin weighs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteLink {
    /// The host's number for it.
    pub link: u64,
    /// The neighbour.
    pub peer: PeerId,
    /// The neighbour's nickname.
    #[serde(default)]
    pub nickname: Option<String>,
    /// Its cost.
    #[serde(default)]
    pub cost: Option<u32>,
    /// Smoothed round-trip time in microseconds.
    #[serde(default)]
    pub rtt_us: Option<u64>,
    /// Lost frames in a million.
    #[serde(default)]
    pub loss_ppm: Option<u32>,
}
