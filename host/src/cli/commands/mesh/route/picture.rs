//! What a picture of the routes shows: this node, its neighbours, and behind each the destinations that it leads to.

use std::collections::BTreeMap;

use qpq_schemas::PeerId;

use super::label;
use crate::api::RouteTable;

/// Nodes in a picture at most; more of them nobody could tell apart.
pub(super) const MAX_NODES: usize = 2_000;

/// A node in the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) peer: PeerId,
    pub(super) label: String,
    /// Links from here: 0 this node, 1 neighbours.
    pub(super) ring: u8,
    /// There is no way to it now.
    pub(super) lost: bool,
}

/// A line between two nodes, by their places in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) from: usize,
    pub(super) to: usize,
    /// A live link; else a way of several links.
    pub(super) direct: bool,
    /// Its cost.
    pub(super) cost: Option<u32>,
}

/// The picture. Node 0 is this node.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub(super) plugin: String,
    pub(super) spots: Vec<Spot>,
    pub(super) lines: Vec<Line>,
    /// Destinations that found no place.
    pub(super) left_out: usize,
}

impl Picture {
    pub(super) fn of(table: &RouteTable) -> Self {
        let mut picture = Self { plugin: table.plugin.clone(), ..Self::default() };
        let here = table.here.unwrap_or(PeerId([0; 32]));
        let mut places = BTreeMap::new();
        picture.spot(&mut places, here, label(&here, table.here_name.as_ref()), 0, false);
        for link in &table.links {
            let at = picture.spot(&mut places, link.peer, label(&link.peer, link.nickname.as_ref()), 1, false);
            picture.line(Some(0), at, true, link.cost);
        }
        // A plugin may not name its links; then the next hops are the neighbours.
        for route in &table.routes {
            let name = label(&route.next_hop, route.next_hop_name.as_ref());
            let known = places.contains_key(&route.next_hop);
            let at = picture.spot(&mut places, route.next_hop, name, 1, false);
            if !known {
                let own = route.destination == route.next_hop;
                picture.line(Some(0), at, true, own.then_some(route.metric));
            }
        }
        for route in table.routes.iter().filter(|route| route.destination != route.next_hop) {
            let name = label(&route.destination, route.nickname.as_ref());
            let ring = route.hops.unwrap_or(2).max(2);
            let by = places.get(&route.next_hop).copied();
            let new = !places.contains_key(&route.destination);
            let at = picture.spot(&mut places, route.destination, name, ring, false);
            // A neighbour that is reached better by another has a line of its own already; the next hop is drawn besides.
            if new || by != at {
                picture.line(by, at, false, Some(route.metric));
            }
        }
        for lost in &table.lost {
            picture.spot(&mut places, lost.destination, label(&lost.destination, lost.nickname.as_ref()), 2, true);
        }
        picture
    }

    fn spot(
        &mut self,
        places: &mut BTreeMap<PeerId, usize>,
        peer: PeerId,
        label: String,
        ring: u8,
        lost: bool,
    ) -> Option<usize> {
        if let Some(place) = places.get(&peer) {
            return Some(*place);
        }
        if self.spots.len() >= MAX_NODES {
            self.left_out += 1;
            return None;
        }
        places.insert(peer, self.spots.len());
        self.spots.push(Spot { peer, label, ring, lost });
        Some(self.spots.len() - 1)
    }

    fn line(&mut self, from: Option<usize>, to: Option<usize>, direct: bool, cost: Option<u32>) {
        if let (Some(from), Some(to)) = (from, to) {
            self.lines.push(Line { from, to, direct, cost });
        }
    }
}
