//! The routing rules: known next hop, or all links but the one it came from.
//!
//! A pure state machine: no clock, no randomness, no thread, no I/O. The same calls give the same answers.

use std::collections::{BTreeMap, BTreeSet};

use crate::table::{Entry, Key, Limits, Observed, Table};

/// Where an envelope shall go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The next hop is known.
    Known(u64),
    /// Nothing is known: hand it to each of these links. May be empty.
    Flood(Vec<u64>),
}

/// A line of the route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Whom it leads to.
    pub destination: Key,
    /// The neighbour to hand an envelope to.
    pub next_hop: Key,
    /// The link to that neighbour.
    pub link: u64,
    /// Links to cross, or [`UNKNOWN_HOPS`](crate::table::UNKNOWN_HOPS).
    pub hops: u8,
    /// Age of the newest confirmation, in milliseconds; 0 for a neighbour.
    pub age_ms: u64,
}

/// The state: the links that are up, and what was learned.
#[derive(Debug)]
pub struct Flood {
    links: BTreeMap<u64, Key>,
    /// The same links by neighbour: two nodes may have several between them.
    neighbours: BTreeMap<Key, BTreeSet<u64>>,
    learned: Table,
}

impl Flood {
    /// No links, nothing learned.
    pub fn new(limits: Limits) -> Self {
        Self { links: BTreeMap::new(), neighbours: BTreeMap::new(), learned: Table::new(limits) }
    }

    /// A link to that neighbour is up.
    pub fn link_up(&mut self, link: u64, peer: Key) {
        // A number that is used again may stand for another neighbour: what was learned over the old one is void.
        if self.links.get(&link).is_some_and(|old| *old != peer) {
            self.link_down(link);
        }
        self.links.insert(link, peer);
        let parallel = self.neighbours.entry(peer).or_default();
        if parallel.is_empty() {
            self.learned.come_back(&peer, link);
        }
        parallel.insert(link);
    }

    /// A link is gone. Returns the origins that lost their next hop, smallest key first.
    pub fn link_down(&mut self, link: u64) -> Vec<Key> {
        let Some(peer) = self.links.remove(&link) else { return Vec::new() };
        if let Some(parallel) = self.neighbours.get_mut(&peer) {
            parallel.remove(&link);
        }
        self.neighbours.retain(|_, parallel| !parallel.is_empty());
        self.learned.drop_link(link, &peer, self.link_to(&peer))
    }

    /// Something of `origin` came in over `link` for the first time, after crossing `hops` links (or
    /// [`UNKNOWN_HOPS`](crate::table::UNKNOWN_HOPS)).
    pub fn seen(&mut self, origin: Key, link: u64, hops: u8, now_ms: u64) -> Observed {
        if !self.links.contains_key(&link) {
            return Observed::Ignored;
        }
        self.learned.observe(origin, link, hops, now_ms)
    }

    /// Forgets what is too old; returns how many origins that were.
    pub fn tick(&mut self, now_ms: u64) -> usize {
        self.learned.expire(now_ms)
    }

    /// Where a message for one node goes. Never back to the neighbour that it came from.
    pub fn route_direct(&self, destination: &Key, from: Option<u64>, now_ms: u64) -> Choice {
        let came_from = self.peer_of(from);
        if let Some(link) = self.next_hop(destination, now_ms)
            && self.links.get(&link) != came_from
        {
            return Choice::Known(link);
        }
        self.flood(from)
    }

    /// Where a message for everybody goes: one link to each neighbour, save the one that it came from.
    pub fn flood(&self, from: Option<u64>) -> Choice {
        let came_from = self.peer_of(from);
        let others = self.neighbours.iter().filter(|(peer, _)| Some(*peer) != came_from);
        let mut links: Vec<u64> = others.filter_map(|(_, parallel)| parallel.first().copied()).collect();
        links.sort_unstable();
        Choice::Flood(links)
    }

    /// The route table: neighbours and learned origins, smallest key first.
    pub fn routes(&self, now_ms: u64) -> Vec<Route> {
        let mut routes: BTreeMap<Key, Route> =
            self.learned.iter(now_ms).filter_map(|(origin, entry)| self.learned_route(origin, entry, now_ms)).collect();
        for (peer, link) in self.neighbours.iter().filter_map(|(peer, parallel)| Some((*peer, *parallel.first()?))) {
            routes.insert(peer, Route { destination: peer, next_hop: peer, link, hops: 1, age_ms: 0 });
        }
        routes.into_values().collect()
    }

    /// Number of links that are up.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// Number of origins remembered, and how many had to go for want of room.
    pub fn learned_count(&self) -> (usize, u64) {
        (self.learned.origins(), self.learned.evicted())
    }

    /// The link for a destination: its own if it is a neighbour, else the one that was learned.
    fn next_hop(&self, destination: &Key, now_ms: u64) -> Option<u64> {
        self.link_to(destination).or_else(|| self.learned.get(destination, now_ms).map(|entry| entry.link))
    }

    /// The link of smallest number to that neighbour.
    fn link_to(&self, peer: &Key) -> Option<u64> {
        self.neighbours.get(peer)?.first().copied()
    }

    fn peer_of(&self, link: Option<u64>) -> Option<&Key> {
        self.links.get(&link?)
    }

    fn learned_route(&self, origin: &Key, entry: &Entry, now_ms: u64) -> Option<(Key, Route)> {
        let next_hop = *self.links.get(&entry.link)?;
        let age_ms = now_ms.saturating_sub(entry.confirmed_ms);
        Some((*origin, Route { destination: *origin, next_hop, link: entry.link, hops: entry.hops, age_ms }))
    }
}

#[cfg(test)]
mod tests;
