//! Nodes and links that come up, break and come back.

use qpq_host::core::{Event, LinkId};

use super::{Happening, World};
use crate::Outcome;
use crate::sim::net::Wire;
use crate::sim::options::Detection;

impl World {
    /// Starts a node, and has it dial its neighbours that run within so much time.
    ///
    /// # Errors
    /// When its routing plugin doesn't start.
    pub fn start(&mut self, node: u32, dial_within_us: u64) -> Outcome {
        let library = if self.nodes[node as usize].announces { &self.announcing } else { &self.silent };
        self.nodes[node as usize].start(library, self.now_us)?;
        self.read_receipts(node);
        self.read_inbox(node); // what was on the disk when its client had not yet heard of it
        self.plan_tick(node);
        let life = self.nodes[node as usize].life;
        if self.nodes[node as usize].announces {
            self.queue.push(self.now_us, Happening::Record { node, life });
        }
        for wire in self.links[node as usize].clone() {
            self.dial_within(wire, dial_within_us);
        }
        Ok(())
    }

    /// kill -9, or power is lost: frames that left the node still arrive, the rest is gone.
    pub fn crash(&mut self, node: u32) {
        self.nodes[node as usize].crash(&mut self.random);
        self.audit.forget(node);
        for number in self.links[node as usize].clone() {
            let wire = &mut self.wires[number as usize];
            let end = wire.end_of(node);
            wire.up[end] = false;
            self.fall_silent(number);
        }
    }

    /// A wire breaks. Whether and when its ends notice depends on [`Detection`].
    pub fn cut(&mut self, number: u32) {
        if std::mem::replace(&mut self.wires[number as usize].whole, false) {
            self.audit.links_changed();
            self.fall_silent(number);
        }
    }

    /// Nothing comes through from now on: both ends that are up will notice.
    fn fall_silent(&mut self, number: u32) {
        let now_us = self.now_us;
        let wire = &mut self.wires[number as usize];
        wire.silence += 1;
        let silence = wire.silence;
        let noticed = |end: usize| match self.options.detection {
            Detection::Hello => wire.dead_at(end, now_us),
            Detection::AtOnce => now_us + u64::from(wire.edge.latency_us),
        };
        let due: Vec<(usize, u64)> =
            [0, 1].into_iter().filter(|end| wire.up[*end]).map(|end| (end, noticed(end))).collect();
        for (end, at_us) in due {
            self.queue.push(at_us.max(now_us), Happening::Silent { wire: number, end: end as u8, silence });
        }
    }

    pub(super) fn silent(&mut self, number: u32, end: usize, silence: u32) {
        if self.wires[number as usize].silence == silence {
            self.down(number, end);
        }
    }

    /// An end gives the connection up.
    fn down(&mut self, number: u32, end: usize) {
        let wire = &mut self.wires[number as usize];
        if std::mem::replace(&mut wire.up[end], false) {
            let (link, node) = (wire.link_id(number), wire.edge.ends[end]);
            self.audit.links_changed();
            self.feed(node, Event::LinkDown { link });
        }
    }

    /// A core closes a link: the neighbour is told at once.
    pub(super) fn close(&mut self, node: u32, link: LinkId) {
        let (number, life) = Wire::of_link_id(link);
        if self.wires.get(number as usize).is_some_and(|wire| wire.life == life) {
            let end = self.wires[number as usize].end_of(node);
            self.wires[number as usize].life += 1; // what is under way is void, also its coming up
            self.down(number, end);
            self.down(number, 1 - end);
        }
    }

    /// A broken wire is whole again. What its ends still hold for up goes on; else they connect anew within so much time.
    pub fn mend(&mut self, number: u32, dial_within_us: u64) {
        let wire = &mut self.wires[number as usize];
        if std::mem::replace(&mut wire.whole, true) {
            return;
        }
        self.audit.links_changed();
        if wire.up == [true; 2] {
            wire.silence += 1;
            let life = wire.life;
            for (end, frame) in std::mem::take(&mut wire.stalled) {
                let at_us = self.wires[number as usize].arrival(end, self.now_us, self.options.loss, &mut self.random);
                self.queue.push(at_us, Happening::Frame { wire: number, end: end as u8, life, frame });
            }
        } else {
            self.dial_within(number, dial_within_us);
        }
    }

    fn dial_within(&mut self, wire: u32, within_us: u64) {
        let at_us = self.now_us + self.random.below(within_us as usize + 1) as u64;
        self.queue.push(at_us, Happening::Dial { wire });
    }

    /// The handshake succeeds, unless there is nobody, or nothing to do. An end that still holds an old connection for up
    /// gives it up for the new one.
    pub(super) fn dial(&mut self, number: u32) {
        let wire = &self.wires[number as usize];
        let both_live = wire.edge.ends.iter().all(|node| self.nodes[*node as usize].lives());
        let under_way = wire.up[0] && self.now_us <= wire.ready_us;
        if !wire.whole || !both_live || under_way || wire.up == [true; 2] {
            return;
        }
        self.down(number, 0);
        self.down(number, 1);
        let wire = &mut self.wires[number as usize];
        wire.connect(self.now_us);
        let (life, latency) = (wire.life, u64::from(wire.edge.latency_us));
        // Before anything that the other side says once it is up.
        self.queue.push(self.now_us + latency, Happening::Up { wire: number, end: 1, life });
        self.up(number, 0, life);
        for (end, at_us) in [(0, self.now_us + 2 * latency), (1, self.now_us + 3 * latency)] {
            self.queue.push(at_us, Happening::Measured { wire: number, end, life });
        }
    }

    pub(super) fn up(&mut self, number: u32, end: usize, life: u32) {
        let wire = &mut self.wires[number as usize];
        let (node, far) = (wire.edge.ends[end], wire.edge.ends[1 - end]);
        if wire.life != life || wire.up[end] || !wire.whole || !self.nodes[node as usize].lives() {
            return;
        }
        wire.up[end] = true;
        let link = wire.link_id(number);
        let peer = self.nodes[far as usize].peer();
        self.audit.links_changed();
        self.feed(node, Event::LinkUp { link, peer, domain: None });
        if end == 1 && !self.wires[number as usize].up[0] {
            self.fall_silent(number); // the side that dialled fell away meanwhile
        }
    }

    pub(super) fn measured(&mut self, number: u32, end: usize, life: u32) {
        let wire = &self.wires[number as usize];
        if wire.life != life || !wire.works() {
            return;
        }
        let (link, rtt_us, node) = (wire.link_id(number), wire.rtt_us(), wire.edge.ends[end]);
        let loss_ppm = (self.options.loss * 1e6) as u32;
        self.feed(node, Event::LinkMeasured { link, rtt_us, loss_ppm });
    }

    /// A node spreads a new record of itself, and will again.
    pub(super) fn speak_of_oneself(&mut self, node: u32, life: u32) {
        if self.nodes[node as usize].life != life || !self.nodes[node as usize].lives() {
            return;
        }
        match self.nodes[node as usize].record(node, self.now_us) {
            Ok(wire) => self.feed(node, Event::OwnRecord(wire)),
            Err(failure) => self.failure = Some(failure),
        }
        let again_us = self.now_us + self.options.record_s() * 1_000_000;
        self.queue.push(again_us, Happening::Record { node, life });
    }
}
