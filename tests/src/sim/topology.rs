//! Who is linked to whom, and how far apart they are.

mod shapes;

use std::fmt;

use crate::{Failure, Outcome, Random};

/// The latency of the shortest and of the longest link, one way, in microseconds.
pub const LATENCY_US: (u32, u32) = (1_000, 45_000);

/// The links of a node, on average, where the shape leaves that open.
pub const MEAN_DEGREE: usize = 5;

/// The form of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One behind the other.
    Line,
    /// A line whose ends meet.
    Ring,
    /// A square grid.
    Grid,
    /// A city's wireless mesh: places at random, links whose probability falls off exponentially with the distance.
    Geometric,
    /// The same places, but only the shortest links: few long ways, so paths of very many hops.
    Disc,
    /// Preferential attachment: a few hubs with very many links.
    ScaleFree,
    /// The degrees of a wireless community network: many leaves, few strong relays.
    Community,
}

impl Shape {
    /// All shapes, in the order of the reports.
    pub const ALL: [Self; 7] =
        [Self::Line, Self::Ring, Self::Grid, Self::Geometric, Self::Disc, Self::ScaleFree, Self::Community];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Ring => "ring",
            Self::Grid => "grid",
            Self::Geometric => "geometric",
            Self::Disc => "disc",
            Self::ScaleFree => "scale-free",
            Self::Community => "community",
        }
    }

    /// The shape of that name.
    ///
    /// # Errors
    /// When there is none; the error lists all.
    pub fn named(name: &str) -> Outcome<Self> {
        let names: Vec<&str> = Self::ALL.iter().map(|shape| shape.name()).collect();
        let found = Self::ALL.into_iter().find(|shape| shape.name() == name);
        found.ok_or_else(|| Failure::new(format!("there is no topology `{name}`; there are {}", names.join(", "))))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A link between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Its ends, the smaller number first.
    pub ends: [u32; 2],
    /// One way, in microseconds.
    pub latency_us: u32,
}

/// A network.
#[derive(Debug, Clone)]
pub struct Graph {
    /// How many nodes there are.
    pub nodes: usize,
    /// The links; at most one between two nodes.
    pub edges: Vec<Edge>,
    /// Where each node is, in a square of side 1; for pictures, and where latency follows from distance.
    pub places: Vec<[f64; 2]>,
}

impl Graph {
    /// A connected network of that shape.
    pub fn new(shape: Shape, nodes: usize, seed: u64) -> Self {
        let mut random = Random::seeded(seed ^ 0x7090_1047);
        match shape {
            Shape::Line => shapes::line(nodes, false, &mut random),
            Shape::Ring => shapes::line(nodes, true, &mut random),
            Shape::Grid => shapes::grid(nodes, &mut random),
            Shape::Geometric => shapes::geometric(nodes, Some(shapes::RANGE), &mut random),
            Shape::Disc => shapes::geometric(nodes, None, &mut random),
            Shape::ScaleFree => shapes::scale_free(nodes, &mut random),
            Shape::Community => shapes::community(nodes, &mut random),
        }
    }

    /// The numbers of each node's links.
    pub fn links(&self) -> Vec<Vec<u32>> {
        let mut links = vec![Vec::new(); self.nodes];
        for (number, edge) in (0..).zip(&self.edges) {
            edge.ends.iter().for_each(|end| links[*end as usize].push(number));
        }
        links
    }

    /// Which nodes are reached from `from` over links that are `alive`, and in how many hops.
    pub fn hops(&self, links: &[Vec<u32>], from: usize, alive: impl Fn(u32) -> bool) -> Vec<Option<u32>> {
        let mut hops = vec![None; self.nodes];
        hops[from] = Some(0);
        let mut order = vec![from];
        let mut next = 0;
        while let Some(node) = order.get(next).copied() {
            next += 1;
            for link in links[node].iter().filter(|link| alive(**link)) {
                let far = self.far(*link, node as u32) as usize;
                if hops[far].is_none() {
                    hops[far] = hops[node].map(|count| count + 1);
                    order.push(far);
                }
            }
        }
        hops
    }

    /// The node at the other end of a link.
    pub fn far(&self, link: u32, node: u32) -> u32 {
        let [one, other] = self.edges[link as usize].ends;
        if one == node { other } else { one }
    }

    /// Half of the network, as it is reached first from a random node: what a partition cuts off.
    pub fn half(&self, random: &mut Random) -> Vec<bool> {
        let links = self.links();
        let hops = self.hops(&links, random.below(self.nodes), |_| true);
        let mut order: Vec<usize> = (0..self.nodes).collect();
        order.sort_by_key(|node| (hops[*node].unwrap_or(u32::MAX), *node));
        let mut inside = vec![false; self.nodes];
        order.iter().take(self.nodes / 2).for_each(|node| inside[*node] = true);
        inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_is_connected_simple_and_of_the_promised_degree() {
        for shape in Shape::ALL {
            for nodes in [2, 3, 20, 100, 1_000] {
                let graph = Graph::new(shape, nodes, 7);
                let links = graph.links();
                assert!(graph.hops(&links, 0, |_| true).iter().all(Option::is_some), "{shape} of {nodes} is connected");
                let mut pairs: Vec<_> = graph.edges.iter().map(|edge| edge.ends).collect();
                pairs.sort_unstable();
                assert!(pairs.windows(2).all(|two| two[0] != two[1]), "{shape}: no link is double");
                assert!(pairs.iter().all(|[a, b]| a < b && (*b as usize) < nodes), "{shape}: ends are in order");
                let latencies = graph.edges.iter().map(|edge| edge.latency_us);
                assert!(latencies.clone().all(|us| (LATENCY_US.0..=LATENCY_US.1).contains(&us)), "{shape}");
                if nodes >= 1_000 && matches!(shape, Shape::Geometric | Shape::Disc) {
                    assert_eq!(graph.edges.len() * 2, nodes * MEAN_DEGREE, "{shape}");
                }
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_network() {
        for shape in Shape::ALL {
            let graphs = [3, 3, 4].map(|seed| Graph::new(shape, 60, seed).edges);
            assert_eq!(graphs[0], graphs[1], "{shape}");
            assert_ne!(graphs[0], graphs[2], "{shape}");
        }
    }
}
