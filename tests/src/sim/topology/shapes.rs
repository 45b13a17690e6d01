//! How each shape is made.

use std::collections::BTreeSet;

use super::{Edge, Graph, LATENCY_US, MEAN_DEGREE};
use crate::Random;

/// How fast the probability of a link falls off with its length in the geometric shape: by e in this many radii, where a
/// disc of one radius holds [`MEAN_DEGREE`] nodes. So most links lead to somebody near, and a few along a free line of
/// sight: networks of 1,000 nodes are then 15 to 25 hops wide, as wireless community networks are.
pub(super) const RANGE: f64 = 0.7;

/// Longest link that is considered, in the same radii.
const LONGEST: f64 = 6.0;

/// Links that each new node of the scale-free shape makes.
const ATTACHED: usize = 2;

/// A number from 0 to 1, without 0.
fn part(random: &mut Random) -> f64 {
    ((random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

fn any_latency(random: &mut Random) -> u32 {
    LATENCY_US.0 + random.below((LATENCY_US.1 - LATENCY_US.0) as usize + 1) as u32
}

fn edge(a: usize, b: usize, latency_us: u32) -> Edge {
    Edge { ends: [a.min(b) as u32, a.max(b) as u32], latency_us }
}

fn on_a_circle(nodes: usize) -> Vec<[f64; 2]> {
    let turn = |node: usize| std::f64::consts::TAU * node as f64 / nodes as f64;
    (0..nodes).map(|node| [0.5 + 0.48 * turn(node).cos(), 0.5 + 0.48 * turn(node).sin()]).collect()
}

pub(super) fn line(nodes: usize, closed: bool, random: &mut Random) -> Graph {
    let mut edges: Vec<Edge> = (1..nodes).map(|node| edge(node - 1, node, any_latency(random))).collect();
    if closed && nodes > 2 {
        edges.push(edge(nodes - 1, 0, any_latency(random)));
    }
    let straight = |node: usize| [(node as f64 + 0.5) / nodes as f64, 0.5];
    let places = if closed { on_a_circle(nodes) } else { (0..nodes).map(straight).collect() };
    Graph { nodes, edges, places }
}

pub(super) fn grid(nodes: usize, random: &mut Random) -> Graph {
    let width = (1..=nodes).find(|width| width * width >= nodes).unwrap_or(1);
    let mut edges = Vec::new();
    for node in 0..nodes {
        if node % width + 1 < width && node + 1 < nodes {
            edges.push(edge(node, node + 1, any_latency(random)));
        }
        if node + width < nodes {
            edges.push(edge(node, node + width, any_latency(random)));
        }
    }
    let place = |node: usize| [0.5 + (node % width) as f64, 0.5 + (node / width) as f64].map(|at| at / width as f64);
    Graph { nodes, edges, places: (0..nodes).map(place).collect() }
}

/// A node with every pair of others at most `reach` apart, and their distance.
fn near_pairs(places: &[[f64; 2]], reach: f64) -> Vec<(f64, usize, usize)> {
    let cells = ((1.0 / reach) as usize).clamp(1, 1_024);
    let cell = |at: f64| ((at * cells as f64) as usize).min(cells - 1);
    let mut held = vec![Vec::new(); cells * cells];
    for (node, place) in places.iter().enumerate() {
        held[cell(place[1]) * cells + cell(place[0])].push(node);
    }
    let around = |at: usize| at.saturating_sub(1)..=(at + 1).min(cells - 1);
    let mut pairs = Vec::new();
    for (node, [x, y]) in places.iter().copied().enumerate() {
        for row in around(cell(y)) {
            for other in around(cell(x)).flat_map(|column| &held[row * cells + column]).filter(|other| **other > node) {
                let distance = (places[*other][0] - x).hypot(places[*other][1] - y);
                if distance <= reach {
                    pairs.push((distance, node, *other));
                }
            }
        }
    }
    pairs.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.cmp_nodes(other)));
    pairs
}

trait Nodes {
    fn cmp_nodes(&self, other: &Self) -> std::cmp::Ordering;
}

impl Nodes for (f64, usize, usize) {
    fn cmp_nodes(&self, other: &Self) -> std::cmp::Ordering {
        (self.1, self.2).cmp(&(other.1, other.2))
    }
}

/// Places at random; a tree of the shortest links that connects all (Kruskal), and then links up to the mean degree: with a
/// range as probable as they are short, without one the shortest.
pub(super) fn geometric(nodes: usize, range: Option<f64>, random: &mut Random) -> Graph {
    let places: Vec<[f64; 2]> = (0..nodes).map(|_| [part(random), part(random)]).collect();
    let radius = (MEAN_DEGREE as f64 / (std::f64::consts::PI * nodes as f64)).sqrt();
    let reach = if nodes < 200 { 1.5 } else { LONGEST * radius };
    let mut groups: Vec<usize> = (0..nodes).collect();
    let (mut chosen, mut rest) = (Vec::new(), Vec::new());
    for pair in near_pairs(&places, reach) {
        let roots = [root(&mut groups, pair.1), root(&mut groups, pair.2)];
        if roots[0] == roots[1] {
            // Sampling by weight: the smallest of -ln(u)/w come first (Efraimidis and Spirakis, 2006).
            let key = range.map_or(pair.0, |range| -part(random).ln() * (pair.0 / (range * radius)).exp());
            rest.push((key, pair));
        } else {
            groups[roots[0]] = roots[1];
            chosen.push(pair);
        }
    }
    rest.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp_nodes(&other.1)));
    let wanted = (nodes * MEAN_DEGREE / 2).saturating_sub(chosen.len());
    chosen.extend(rest.into_iter().take(wanted).map(|(_, pair)| pair));
    let longest = chosen.iter().fold(f64::MIN_POSITIVE, |longest, pair| longest.max(pair.0));
    let span = f64::from(LATENCY_US.1 - LATENCY_US.0);
    let latency = |distance: f64| LATENCY_US.0 + (span * distance / longest) as u32;
    let edges = chosen.into_iter().map(|(distance, a, b)| edge(a, b, latency(distance))).collect();
    Graph { nodes, edges, places }
}

fn root(groups: &mut [usize], mut node: usize) -> usize {
    while groups[node] != node {
        groups[node] = groups[groups[node]];
        node = groups[node];
    }
    node
}

/// Each new node links to some that are there, with a probability that grows with their links (Barabási and Albert, 1999).
pub(super) fn scale_free(nodes: usize, random: &mut Random) -> Graph {
    let mut pairs: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut ends: Vec<usize> = vec![0]; // each node as often as it has links
    for node in 1..nodes {
        let wanted = ATTACHED.min(node);
        let mut chosen = BTreeSet::new();
        while chosen.len() < wanted {
            chosen.insert(ends[random.below(ends.len())]);
            if ends.len() <= wanted {
                chosen.extend(0..node);
            }
        }
        for other in chosen.into_iter().take(wanted) {
            pairs.insert((other, node));
            ends.extend([other, node]);
        }
    }
    let edges = pairs.into_iter().map(|(a, b)| edge(a, b, any_latency(random))).collect();
    Graph { nodes, edges, places: on_a_circle(nodes) }
}

/// Share of nodes with more than one strong link, in a thousand: of guifi.net's 23,468 nodes 1.4 % are strong and 7.1 %
/// medium, the rest weak (Coimbra, Selimi, Francisco, Freitag, Veiga: "Gelly-Scheduling", 2017). Weak ones are taken here for
/// leaves, as in "Topology patterns of a community network: Guifi.net" (Vega et al., 2012), which parts the network into a
/// core and its leaves.
const CORE_PER_MILLE: usize = 85;

/// A geometric core, and leaves that gather at those of its nodes that have most already.
pub(super) fn community(nodes: usize, random: &mut Random) -> Graph {
    let core = (nodes * CORE_PER_MILLE / 1_000).max(3).min(nodes);
    let Graph { mut edges, mut places, .. } = geometric(core, Some(RANGE), random);
    let mut ends: Vec<usize> = (0..core).collect();
    for leaf in core..nodes {
        let relay = ends[random.below(ends.len())];
        ends.push(relay);
        edges.push(edge(relay, leaf, any_latency(random)));
        let [x, y] = places[relay];
        let near = |at: f64, random: &mut Random| (at + 0.06 * (part(random) - 0.5)).clamp(0.0, 1.0);
        places.push([near(x, random), near(y, random)]);
    }
    Graph { nodes, edges, places }
}
