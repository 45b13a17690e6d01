//! Links: who is wired to whom, what parts them, and the frames between.

use qpq_schemas::link::Frame;

use super::super::compass::Compass;
use super::{Event, Happening, World, link_id, of_link_id};
use crate::api::LinkInfo;
use crate::core::LinkId;
use crate::script::lock;
use crate::sim::travel_us;

/// One way over a link of which nothing is said, in microseconds: a good neighbourhood.
const LATENCY_US: u64 = 5_000;

/// The longest way over a link, in microseconds: a minute, more than any radio takes.
const MAX_LATENCY_US: u64 = 60_000_000;

/// A link that there can be between two nodes.
#[derive(Debug)]
pub(super) struct Wire {
    ends: [usize; 2],
    latency_us: u64,
    up: bool,
    /// A core closed it for good.
    closed: bool,
    /// Counts its connections; part of the link's number.
    life: u32,
    since_ms: u64,
    /// When the last frame towards each end arrives: later ones don't overtake it.
    arrives_us: [u64; 2],
    /// Envelopes towards each end.
    envelopes: [u64; 2],
}

impl Wire {
    fn joins(&self, a: usize, b: usize) -> bool {
        self.ends == [a, b] || self.ends == [b, a]
    }
}

impl World {
    /// Wires two nodes. Latency is one way, in microseconds.
    pub(in super::super) fn link(&mut self, a: usize, b: usize, latency_us: Option<u64>) {
        if a == b {
            return;
        }
        let known = self.wires.iter_mut().find(|wire| wire.joins(a, b));
        match (known, latency_us) {
            (Some(wire), Some(latency_us)) => wire.latency_us = latency_us.min(MAX_LATENCY_US),
            (Some(_), None) => {}
            (None, _) => self.wires.push(Wire {
                ends: [a, b],
                latency_us: latency_us.unwrap_or(LATENCY_US).min(MAX_LATENCY_US),
                up: false,
                closed: false,
                life: 0,
                since_ms: 0,
                arrives_us: [0; 2],
                envelopes: [0; 2],
            }),
        }
        if let Some(wire) = self.wires.iter_mut().find(|wire| wire.joins(a, b)) {
            wire.closed = false;
        }
        self.relink();
    }

    /// Takes the wire between two nodes away. What is under way over it is lost.
    pub(in super::super) fn unlink(&mut self, a: usize, b: usize) {
        if let Some(wire) = self.wires.iter_mut().find(|wire| wire.joins(a, b)) {
            wire.closed = true;
        }
        self.relink();
    }

    /// Breaks the mesh into parts between which nothing goes. Nodes that none names are together in one more, people are
    /// where their node is. No parts at all make it whole.
    pub(in super::super) fn part(&mut self, parts: Vec<Vec<usize>>) {
        self.parts = parts;
        self.relink();
    }

    fn part_of(&self, node: usize) -> usize {
        let named = |node: usize| self.parts.iter().position(|part| part.contains(&node));
        let home = || self.nodes.get(node).and_then(|node| node.home);
        named(node).or_else(|| home().and_then(named)).unwrap_or(usize::MAX)
    }

    /// Has the links that can be up, and no others.
    pub(super) fn relink(&mut self) {
        let mut changed = false;
        for number in 0..self.wires.len() {
            let Some(wire) = self.wires.get(number) else { continue };
            let [a, b] = wire.ends;
            let can = !wire.closed && self.is_up(a) && self.is_up(b) && self.part_of(a) == self.part_of(b);
            if can != wire.up {
                changed = true;
                self.turn(number, can);
            }
        }
        if changed {
            self.redraw_map();
        }
    }

    /// Brings a link up, or down.
    fn turn(&mut self, number: usize, up: bool) {
        let (now_us, since_ms) = (self.now_us(), self.now_ms());
        self.be_active();
        let Some(wire) = self.wires.get_mut(number) else { return };
        if up {
            (wire.life, wire.arrives_us, wire.since_ms) = (wire.life + 1, [now_us; 2], since_ms);
        }
        wire.up = up;
        let (link, [a, b], rtt_us) = (link_id(number, wire.life), wire.ends, 2 * wire.latency_us);
        for (node, far) in [(a, b), (b, a)] {
            let Some(peer) = self.peer(far) else { continue };
            if up {
                self.feed(node, Event::LinkUp { link, peer, domain: None });
                let loss_ppm = (self.loss * 1e6) as u32;
                self.feed(node, Event::LinkMeasured { link, rtt_us, loss_ppm });
            } else {
                self.feed(node, Event::LinkDown { link });
            }
        }
    }

    /// Shows all nodes the new ways.
    fn redraw_map(&mut self) {
        let up: Vec<_> = self.wires.iter().filter(|wire| wire.up).map(|wire| wire.ends).collect();
        {
            let mut map = lock(&self.map);
            map.clear();
            for [a, b] in up {
                let (Some(a), Some(b)) = (self.peer(a), self.peer(b)) else { continue };
                map.entry(a).or_default().insert(b);
                map.entry(b).or_default().insert(a);
            }
        }
        let now_ms = self.now_ms();
        for number in 0..self.nodes.len() {
            let Some(node) = self.nodes.get_mut(number) else { continue };
            let compass = Box::new(Compass::new(self.map.clone(), node.peer()));
            let Some(core) = &mut node.core else { continue };
            core.time_went_on(now_ms);
            let effects = core.replace_router(compass, now_ms);
            self.perform_all(number, effects);
        }
    }

    /// A core wants no more of a link.
    pub(super) fn close(&mut self, link: LinkId) {
        let (number, life) = of_link_id(link);
        if let Some(wire) = self.wires.get_mut(number).filter(|wire| wire.life == life) {
            wire.closed = true;
            self.relink();
        }
    }

    pub(super) fn send_frame(&mut self, node: usize, link: LinkId, frame: Frame) {
        let (number, life) = of_link_id(link);
        let now_us = self.now_us();
        let Some(wire) = self.wires.get_mut(number).filter(|wire| wire.up && wire.life == life) else { return };
        let end = usize::from(wire.ends.first() == Some(&node));
        let at_us = now_us + travel_us(wire.latency_us, self.loss, &mut self.random);
        let at_us = wire.arrives_us.get(end).map_or(at_us, |last| at_us.max(*last));
        if let Some(last) = wire.arrives_us.get_mut(end) {
            *last = at_us;
        }
        if let (Frame::Envelopes(wires), Some(count)) = (&frame, wire.envelopes.get_mut(end)) {
            *count += wires.len() as u64;
        }
        self.plan(at_us, Happening::Frame { wire: number, end, life, frame });
    }

    pub(super) fn arrive(&mut self, number: usize, end: usize, life: u32, frame: Frame) {
        let Some(wire) = self.wires.get(number).filter(|wire| wire.up && wire.life == life) else { return };
        let Some(node) = wire.ends.get(end).copied() else { return };
        if matches!(frame, Frame::Envelopes(_) | Frame::Custody(_)) {
            self.be_active();
        }
        self.feed(node, Event::Frame { link: link_id(number, life), frame });
    }

    /// The links of a node that are up, with the neighbour's place.
    pub(in super::super) fn links_of(&self, node: usize) -> Vec<(usize, LinkInfo)> {
        let up = self.wires.iter().enumerate().filter(|(_, wire)| wire.up && wire.ends.contains(&node));
        let info = |(number, wire): (usize, &Wire)| {
            let [a, b] = wire.ends;
            let (far, [to_a, to_b]) = (if a == node { b } else { a }, wire.envelopes);
            let (sent, received) = if a == node { (to_b, to_a) } else { (to_a, to_b) };
            let link = LinkInfo {
                link: link_id(number, wire.life),
                transport: "virtual".to_owned(),
                remote: format!("virtual://{}", self.nodes.get(far).map_or("", |far| far.name.as_str())),
                outbound: a == node,
                rtt_us: Some(2 * wire.latency_us),
                since_ms: wire.since_ms,
                in_flight: 0,
                sent,
                received,
                relayed: false,
                loss_ppm: Some((self.loss * 1e6) as u32),
                preferred: true,
            };
            (far, link)
        };
        up.map(info).collect()
    }
}
