//! A router that floods.

use std::collections::{BTreeMap, HashMap};

use qpq_schemas::PeerId;
use qpq_schemas::envelope::Kind;

use super::super::super::{Changed, LinkId, RouteKind, RouteQuery, Router, RouterOutput};

/// How long a way counts that was learned from what came in.
const STALE_MS: u64 = 60_000;

/// Floods until it has seen something of the recipient, then knows the way.
#[derive(Default)]
pub(in crate::core) struct Toy {
    links: BTreeMap<LinkId, PeerId>,
    ways: HashMap<PeerId, (LinkId, u64)>,
}

impl Toy {
    /// One that takes a link for the way to a peer, until that time.
    pub(super) fn knowing(to: PeerId, link: LinkId, until_ms: u64) -> Self {
        Self { ways: HashMap::from([(to, (link, until_ms))]), ..Self::default() }
    }
}

impl Router for Toy {
    fn name(&self) -> &str {
        "toy"
    }
    fn link_up(&mut self, _: u64, link: LinkId, peer: PeerId, _: &mut RouterOutput) {
        self.links.insert(link, peer);
        self.ways.insert(peer, (link, u64::MAX));
    }
    fn link_measured(&mut self, _: u64, _: LinkId, _: u64, _: u32, _: &mut RouterOutput) {}
    fn link_down(&mut self, _: u64, link: LinkId, out: &mut RouterOutput) {
        self.links.remove(&link);
        self.ways.retain(|_, way| way.0 != link);
        out.changed = Changed::All;
    }
    fn control(&mut self, _: u64, _: LinkId, _: &[u8], _: &mut RouterOutput) {}
    fn seen(&mut self, now: u64, origin: PeerId, link: LinkId, _: u8, out: &mut RouterOutput) {
        let far = !self.links.values().any(|peer| *peer == origin);
        if far && self.ways.insert(origin, (link, now + STALE_MS)).map(|way| way.0) != Some(link) {
            out.changed.add(origin.0);
        }
    }
    fn tick(&mut self, now: u64, out: &mut RouterOutput) -> Option<u64> {
        let before = self.ways.len();
        self.ways.retain(|_, (_, until)| *until > now);
        if self.ways.len() != before {
            out.changed = Changed::All;
        }
        Some(now + 1_000)
    }
    fn route(&mut self, _: u64, query: &RouteQuery, links: &mut Vec<LinkId>) -> RouteKind {
        let way = self.ways.get(&PeerId(query.destination)).filter(|_| query.kind != Kind::Broadcast);
        let all = self.links.keys().copied();
        links.extend(
            way.map_or_else(|| all.collect(), |way| vec![way.0]).into_iter().filter(|l| Some(*l) != query.from),
        );
        match (links.is_empty(), way) {
            (true, _) => RouteKind::Nowhere,
            (_, Some(_)) => RouteKind::Known,
            (_, None) => RouteKind::Flood,
        }
    }
    fn dump(&self, _: u64) -> String {
        "[]".to_owned()
    }
}
