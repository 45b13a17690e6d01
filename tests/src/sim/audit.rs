//! What all nodes together know: is there a loop anywhere, is everybody served, how long are the ways?

use std::collections::HashMap;

use qpq_schemas::PeerId;

use super::net::Wire;
use super::topology::Graph;

/// No way is known.
const NONE: u32 = u32::MAX;

/// Links that an envelope can cross at most: its hop count is one byte. Pairs that are farther apart are left out.
pub const MAX_HOPS: u8 = u8::MAX - 1;

/// Too far, or not reachable at all.
const FAR: u8 = u8::MAX;

/// The next hop of every node to every destination, as the routers said last, and the loops found in them.
pub struct Audit {
    /// The nodes that are destinations.
    destinations: Vec<u32>,
    numbers: HashMap<PeerId, u32>,
    /// The link towards destination `d` at node `n` stands at `n · destinations + d`.
    next: Vec<u32>,
    /// The walk that a node was last visited by.
    visited: Vec<u32>,
    walk: u32,
    /// Next hops that changed so far.
    pub changes: u64,
    /// When the last one did, in microseconds.
    pub last_change_us: u64,
    /// Loops found.
    pub loops: u64,
    /// The first one, in words.
    pub first_loop: Option<String>,
    /// Hops of the shortest living way, by destination and node; made anew when links live or die.
    reach: Vec<u8>,
    reach_is_old: bool,
    /// What [`Self::served`] said last, and how many changes there were by then.
    said: Option<(u64, (usize, usize))>,
}

impl Audit {
    /// Nothing is known yet.
    pub fn new(nodes: usize, destinations: Vec<(u32, PeerId)>) -> Self {
        let numbers = (0..).zip(&destinations).map(|(number, (_, peer))| (*peer, number)).collect();
        let count = destinations.len();
        Self {
            destinations: destinations.into_iter().map(|(node, _)| node).collect(),
            numbers,
            next: vec![NONE; nodes * count],
            visited: vec![0; nodes],
            walk: 0,
            changes: 0,
            last_change_us: 0,
            loops: 0,
            first_loop: None,
            reach: vec![FAR; nodes * count],
            reach_is_old: true,
            said: None,
        }
    }

    /// How many destinations there are.
    pub fn count(&self) -> u32 {
        self.destinations.len() as u32
    }

    /// The number of a destination.
    pub fn number(&self, peer: &PeerId) -> Option<u32> {
        self.numbers.get(peer).copied()
    }

    /// The node that a destination is.
    pub fn destination(&self, number: u32) -> u32 {
        self.destinations[number as usize]
    }

    /// Notes the next hop of a node, and looks for a loop where it is another than before.
    pub fn note(&mut self, graph: &Graph, node: u32, number: u32, link: Option<u32>, now_us: u64) {
        let place = node as usize * self.destinations.len() + number as usize;
        let link = link.unwrap_or(NONE);
        if self.next[place] == link || self.destinations[number as usize] == node {
            return;
        }
        self.next[place] = link;
        self.changes += 1;
        self.last_change_us = now_us;
        if let Some(path) = self.look_for_loop(graph, node, number) {
            self.loops += 1;
            let target = self.destination(number);
            self.first_loop.get_or_insert_with(|| format!("at {now_us} us, towards {target}: {path:?}"));
        }
    }

    /// A node is gone, and with it all that it knew.
    pub fn forget(&mut self, node: u32) {
        let count = self.destinations.len();
        self.next[node as usize * count..][..count].fill(NONE);
        self.reach_is_old = true;
    }

    /// Links have come to life, or died.
    pub fn links_changed(&mut self) {
        self.reach_is_old = true;
    }

    /// The link that a node would send over.
    pub fn next_link(&self, node: u32, number: u32) -> Option<u32> {
        Some(self.next[node as usize * self.destinations.len() + number as usize]).filter(|link| *link != NONE)
    }

    fn look_for_loop(&mut self, graph: &Graph, from: u32, number: u32) -> Option<Vec<u32>> {
        self.walk += 1;
        let mut node = from;
        while node != self.destination(number) {
            if std::mem::replace(&mut self.visited[node as usize], self.walk) == self.walk {
                return Some(self.path(graph, from, number));
            }
            node = graph.far(self.next_link(node, number)?, node);
        }
        None
    }

    /// The nodes of a walk, up to the first that comes twice.
    fn path(&self, graph: &Graph, from: u32, number: u32) -> Vec<u32> {
        let mut path = vec![from];
        while let Some(link) = path.last().and_then(|node| self.next_link(*node, number)) {
            let far = graph.far(link, path[path.len() - 1]);
            let ends = path.contains(&far) || far == self.destination(number);
            path.push(far);
            if ends {
                break;
            }
        }
        path
    }

    /// How many pairs have a living way between them, and how many of those are served: following the next hops leads to
    /// the destination over living links.
    pub fn served(&mut self, graph: &Graph, links: &[Vec<u32>], wires: &[Wire]) -> (usize, usize) {
        if std::mem::take(&mut self.reach_is_old) {
            self.measure_reach(graph, links, wires);
        } else if let Some((_, said)) = self.said.filter(|(changes, _)| *changes == self.changes) {
            return said;
        }
        let (mut pairs, mut served) = (0, 0);
        let mut known: Vec<Option<bool>> = Vec::new();
        for number in 0..self.count() {
            known.clear();
            known.resize(graph.nodes, None);
            known[self.destination(number) as usize] = Some(true);
            for node in 0..graph.nodes as u32 {
                let reach = self.reach[number as usize * graph.nodes + node as usize];
                if reach != FAR && reach > 0 {
                    pairs += 1;
                    served += usize::from(self.leads_there(graph, wires, node, number, &mut known));
                }
            }
        }
        self.said = Some((self.changes, (pairs, served)));
        (pairs, served)
    }

    /// Walks from a node, and notes the outcome for all nodes on the way.
    fn leads_there(&self, graph: &Graph, wires: &[Wire], from: u32, number: u32, known: &mut [Option<bool>]) -> bool {
        let mut node = from;
        let outcome = loop {
            if let Some(outcome) = known[node as usize] {
                break outcome;
            }
            known[node as usize] = Some(false); // so that a loop ends, and ends badly
            match self.next_link(node, number).filter(|link| wires[*link as usize].works()) {
                Some(link) => node = graph.far(link, node),
                None => break false,
            }
        };
        let mut node = from;
        while outcome && known[node as usize] == Some(false) {
            known[node as usize] = Some(true);
            let Some(link) = self.next_link(node, number) else { break };
            node = graph.far(link, node);
        }
        outcome
    }

    fn measure_reach(&mut self, graph: &Graph, links: &[Vec<u32>], wires: &[Wire]) {
        let bounded = |hops: u32| u8::try_from(hops).unwrap_or(FAR);
        for (number, destination) in self.destinations.iter().enumerate() {
            let hops = graph.hops(links, *destination as usize, |link| wires[link as usize].works());
            let bounded = hops.into_iter().map(|hops| hops.map_or(FAR, bounded));
            self.reach.splice(number * graph.nodes..(number + 1) * graph.nodes, bounded);
        }
    }

    /// The next hops, to tell one outcome from another.
    pub fn digest(&self) -> impl Iterator<Item = u64> + '_ {
        self.next.iter().map(|link| u64::from(*link))
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::Shape;
    use super::*;

    fn ring() -> (Graph, Audit) {
        let graph = Graph::new(Shape::Ring, 4, 1);
        let audit = Audit::new(4, vec![(0, PeerId([0; 32]))]);
        (graph, audit)
    }

    /// The number of the link between two nodes.
    fn link(graph: &Graph, a: u32, b: u32) -> Option<u32> {
        (0..).zip(&graph.edges).find(|(_, edge)| edge.ends == [a.min(b), a.max(b)]).map(|(number, _)| number)
    }

    #[test]
    fn a_loop_is_found_when_it_closes_and_not_before() {
        let (graph, mut audit) = ring();
        audit.note(&graph, 1, 0, link(&graph, 1, 2), 1);
        audit.note(&graph, 2, 0, link(&graph, 2, 3), 2);
        assert_eq!(audit.loops, 0);
        audit.note(&graph, 3, 0, link(&graph, 3, 2), 3);
        assert_eq!(audit.loops, 1);
        assert_eq!(audit.first_loop.as_deref(), Some("at 3 us, towards 0: [3, 2, 3]"));
    }

    #[test]
    fn a_pair_is_served_when_the_next_hops_lead_there_over_living_links() {
        let (graph, mut audit) = ring();
        let links = graph.links();
        let mut random = crate::Random::seeded(1);
        let mut wires: Vec<Wire> = graph.edges.iter().map(|edge| Wire::new(*edge, &mut random)).collect();
        wires.iter_mut().for_each(|wire| wire.up = [true; 2]);
        assert_eq!(audit.served(&graph, &links, &wires), (3, 0));
        for (node, next) in [(1, 0), (2, 1), (3, 0)] {
            audit.note(&graph, node, 0, link(&graph, node, next), 1);
        }
        assert_eq!(audit.served(&graph, &links, &wires), (3, 3));
        wires[link(&graph, 0, 1).unwrap() as usize].whole = false;
        audit.links_changed();
        assert_eq!(audit.served(&graph, &links, &wires), (3, 1), "all are still reachable by the other side");
    }
}
