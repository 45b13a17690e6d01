//! How much longer the ways are than the shortest ones, by the metric that the routing uses.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Scenario;
use crate::sim::world::World;

/// What a link costs at least.
const BASE: f64 = 96.0;

/// What its round trip adds at most.
const SPAN: f64 = 96.0;

/// The round trip up to which nothing is added, and how much more adds all of [`SPAN`], in milliseconds.
const RTT_MS: (f64, f64) = (10.0, 110.0);

impl Scenario<'_> {
    pub(super) fn note_stretch(&mut self) {
        let costs = costs(&self.world);
        let (mut sum, mut count, mut largest) = (0.0, 0_u64, 1.0_f64);
        for number in 0..self.world.audit.count() {
            let shortest = shortest(&self.world, &costs, self.world.audit.destination(number));
            for (routed, shortest) in routed(&self.world, &costs, number).into_iter().zip(shortest) {
                if let Some(stretch) = routed.filter(|_| shortest > 0.0).map(|routed| routed / shortest) {
                    (sum, count, largest) = (sum + stretch, count + 1, largest.max(stretch));
                }
            }
        }
        self.report.stretch_mean = if count > 0 { sum / count as f64 } else { 0.0 };
        self.report.stretch_max = largest;
        self.say(&format!("stretch {:.4}, at most {:.3}", self.report.stretch_mean, largest));
    }
}

/// What each link costs: the rule of routing-babel.
fn costs(world: &World) -> Vec<f64> {
    let arrives = 1.0 - world.options.loss;
    let of = |rtt_us: u64| BASE + SPAN * ((rtt_us as f64 / 1e3 - RTT_MS.0) / RTT_MS.1).clamp(0.0, 1.0);
    world.wires.iter().map(|wire| of(wire.rtt_us()) / (arrives * arrives)).collect()
}

/// The cheapest way of each node to one (Dijkstra); infinite where there is none.
fn shortest(world: &World, costs: &[f64], to: u32) -> Vec<f64> {
    let mut best = vec![f64::INFINITY; world.nodes.len()];
    let mut open = BinaryHeap::from([(Reverse(0_u64), to)]);
    best[to as usize] = 0.0;
    while let Some((Reverse(bits), node)) = open.pop() {
        let cost = f64::from_bits(bits); // bits of positive numbers are in their order
        if cost > best[node as usize] {
            continue;
        }
        for link in &world.links[node as usize] {
            let (far, through) = (world.graph.far(*link, node), cost + costs[*link as usize]);
            if world.wires[*link as usize].works() && through < best[far as usize] {
                best[far as usize] = through;
                open.push((Reverse(through.to_bits()), far));
            }
        }
    }
    best
}

/// What following the next hops costs each node; `None` where that doesn't lead there.
fn routed(world: &World, costs: &[f64], number: u32) -> Vec<Option<f64>> {
    let mut known: Vec<Option<f64>> = vec![None; world.nodes.len()];
    known[world.audit.destination(number) as usize] = Some(0.0);
    let mut path = Vec::new();
    for from in 0..world.nodes.len() as u32 {
        let mut node = from;
        path.clear();
        while known[node as usize].is_none() && path.len() <= world.nodes.len() {
            let Some(link) = world.audit.next_link(node, number) else { break };
            path.push((node, link));
            node = world.graph.far(link, node);
        }
        let Some(mut cost) = known[node as usize] else { continue };
        for (node, link) in path.iter().rev() {
            cost += costs[*link as usize];
            known[*node as usize] = Some(cost);
        }
    }
    known
}
