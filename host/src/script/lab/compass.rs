//! The routing of the virtual mesh: every node sees the whole map, and takes the way over the fewest links.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use qpq_schemas::PeerId;
use qpq_schemas::envelope::Kind;
use serde_json::json;

use super::super::lock;
use crate::core::{Changed, LinkId, RouteKind, RouteQuery, Router, RouterOutput};

/// Which nodes are linked, each link noted at both ends.
pub(super) type Map = Arc<Mutex<BTreeMap<PeerId, BTreeSet<PeerId>>>>;

/// One node's router. It is made anew when the map changes.
pub(super) struct Compass {
    map: Map,
    me: PeerId,
    links: BTreeMap<LinkId, PeerId>,
}

impl Compass {
    pub(super) fn new(map: Map, me: PeerId) -> Self {
        Self { map, me, links: BTreeMap::new() }
    }

    /// For each node that can be reached the neighbour to go by, and how many links it takes.
    fn ways(&self) -> BTreeMap<PeerId, (PeerId, u8)> {
        let map = lock(&self.map);
        let mut ways = BTreeMap::new();
        let mut next: VecDeque<(PeerId, PeerId, u8)> = self.links.values().map(|peer| (*peer, *peer, 1)).collect();
        while let Some((at, by, hops)) = next.pop_front() {
            if at == self.me || ways.contains_key(&at) {
                continue;
            }
            ways.insert(at, (by, hops));
            next.extend(map.get(&at).into_iter().flatten().map(|peer| (*peer, by, hops.saturating_add(1))));
        }
        ways
    }
}

impl Router for Compass {
    fn name(&self) -> &str {
        "virtual"
    }

    fn link_up(&mut self, _now_ms: u64, link: LinkId, peer: PeerId, out: &mut RouterOutput) {
        self.links.insert(link, peer);
        out.changed = Changed::All;
    }

    fn link_measured(&mut self, _: u64, _: LinkId, _: u64, _: u32, _: &mut RouterOutput) {}

    fn link_down(&mut self, _now_ms: u64, link: LinkId, out: &mut RouterOutput) {
        self.links.remove(&link);
        out.changed = Changed::All;
    }

    fn control(&mut self, _: u64, _: LinkId, _: &[u8], _: &mut RouterOutput) {}

    fn seen(&mut self, _: u64, _: PeerId, _: LinkId, _: u8, _: &mut RouterOutput) {}

    fn learns(&self) -> bool {
        false
    }

    fn tick(&mut self, _now_ms: u64, _out: &mut RouterOutput) -> Option<u64> {
        None
    }

    fn route(&mut self, _now_ms: u64, query: &RouteQuery, links: &mut Vec<LinkId>) -> RouteKind {
        let way = self.ways().get(&PeerId(query.destination)).copied();
        let way = way.filter(|_| query.kind != Kind::Broadcast);
        let fits = |peer: &PeerId| way.is_none_or(|(by, _)| by == *peer);
        let chosen = self.links.iter().filter(|(link, peer)| fits(peer) && Some(**link) != query.from);
        links.extend(chosen.map(|(link, _)| *link));
        match (links.is_empty(), way) {
            (true, _) => RouteKind::Nowhere,
            (_, Some(_)) => RouteKind::Known,
            // As the bundled routing does: whoever may meet the recipient one day gets a copy.
            (_, None) => RouteKind::Flood,
        }
    }

    fn dump(&self, _now_ms: u64) -> String {
        let row = |(to, (by, hops)): (PeerId, (PeerId, u8))| {
            let link = self.links.iter().find(|(_, peer)| **peer == by).map(|(link, _)| *link);
            json!({ "destination": to, "next_hop": by, "metric": hops, "hops": hops, "link": link })
        };
        serde_json::Value::from_iter(self.ways().into_iter().map(row)).to_string()
    }
}
