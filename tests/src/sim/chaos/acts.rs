//! What may happen.

use super::{Chaos, LONG_LIFE_SECS, SECOND_US, Sent, TOPICS, To};
use crate::Outcome;
use crate::sim::world::Message;

/// Within what time links come back, in microseconds.
const DIAL_US: u64 = SECOND_US;

/// Longest time that passes between two things, in microseconds.
const LONGEST_PAUSE_US: usize = 15_000_000;

impl Chaos {
    pub(super) fn act(&mut self) -> Outcome {
        let node = self.random.below(self.world.nodes.len()) as u32;
        let wire = self.random.below(self.world.wires.len()) as u32;
        match self.random.below(24) {
            0..=5 => self.send_direct(node)?,
            6..=8 => self.send_broadcast(node)?,
            9 => self.subscribe(node),
            10..=11 => self.cut(wire),
            12..=13 => self.mend(wire),
            14 => self.crash(node),
            15 => self.restart(node)?,
            16 => self.part(),
            17 => self.join(),
            18 => self.break_disk(node),
            19 => self.slow_disk(node),
            20 => self.flap(wire)?,
            _ => {
                let us = self.random.below(LONGEST_PAUSE_US) as u64;
                self.tell(&format!("{us} us pass"));
                return self.world.run_for(us);
            }
        }
        // Some things happen at once, others a little later.
        let us = self.random.below(3) as u64 * self.random.below(200_000) as u64;
        self.world.run_for(us)
    }

    fn tell(&mut self, what: &str) {
        let line = format!("{:10} us: {what}", self.world.now_us);
        self.story.push(line);
    }

    fn send_direct(&mut self, from: u32) -> Outcome {
        let to = self.random.below(self.world.nodes.len()) as u32;
        let short = self.random.chance(0.2);
        let ttl_secs = if short { 5 + self.random.below(200) as u32 } else { LONG_LIFE_SECS };
        let receipt = self.random.chance(0.3);
        let message = Message { ttl_secs, receipt, ..Message::direct(self.world.nodes[to as usize].peer()) };
        if from != to {
            self.send(from, To::Node(to), short, message)?;
        }
        Ok(())
    }

    fn send_broadcast(&mut self, from: u32) -> Outcome {
        let topic = self.random.below(TOPICS.len());
        let message = Message { ttl_secs: LONG_LIFE_SECS, ..Message::broadcast(TOPICS[topic]) };
        self.send(from, To::Topic(topic), false, message)
    }

    fn send(&mut self, from: u32, to: To, short: bool, message: Message) -> Outcome {
        if self.world.nodes[from as usize].lives() {
            let (token, id) = self.world.submit(from, message)?;
            self.tell(&format!("{from} sends {} to {to:?}, lives {} s", id.short(), message.ttl_secs));
            self.sent.push(Sent { token, id, from, to, short });
        }
        Ok(())
    }

    pub(super) fn subscribe(&mut self, node: u32) {
        let topic = self.random.below(TOPICS.len());
        if self.world.nodes[node as usize].lives() && !self.subscribers[topic].contains(&node) {
            self.tell(&format!("{node} subscribes topic {topic}"));
            self.subscribers[topic].push(node);
            self.world.subscribe(node, TOPICS[topic]);
        }
    }

    fn cut(&mut self, wire: u32) {
        self.tell(&format!("the wire between {:?} breaks", self.world.graph.edges[wire as usize].ends));
        self.world.cut(wire);
    }

    fn mend(&mut self, wire: u32) {
        self.tell(&format!("the wire between {:?} is whole", self.world.graph.edges[wire as usize].ends));
        self.world.mend(wire, DIAL_US);
    }

    /// A wire breaks for so short a time that perhaps nobody, perhaps one side notices.
    fn flap(&mut self, wire: u32) -> Outcome {
        self.cut(wire);
        let us = self.random.below(3_000_000) as u64;
        self.world.run_for(us)?;
        self.mend(wire);
        Ok(())
    }

    fn crash(&mut self, node: u32) {
        if self.world.nodes[node as usize].lives() {
            self.tell(&format!("{node} crashes"));
            self.world.crash(node);
        }
    }

    fn restart(&mut self, node: u32) -> Outcome {
        if self.world.nodes[node as usize].lives() {
            self.crash(node);
            let us = self.random.below(4_000_000) as u64;
            self.world.run_for(us)?;
        }
        self.tell(&format!("{node} starts"));
        self.world.start(node, DIAL_US)
    }

    fn part(&mut self) {
        let inside = self.world.graph.half(&mut self.random);
        self.tell("the network is parted");
        for (wire, edge) in (0..).zip(self.world.graph.edges.clone()) {
            if inside[edge.ends[0] as usize] != inside[edge.ends[1] as usize] {
                self.world.cut(wire);
            }
        }
    }

    fn join(&mut self) {
        self.tell("all wires are whole");
        (0..self.world.wires.len() as u32).for_each(|wire| self.world.mend(wire, DIAL_US));
    }

    fn break_disk(&mut self, node: u32) {
        let disk = &mut self.world.nodes[node as usize].disk;
        disk.broken = !disk.broken;
        let broken = disk.broken;
        self.tell(&format!("the disk of {node} {}", if broken { "fails" } else { "works" }));
    }

    fn slow_disk(&mut self, node: u32) {
        let us = [1_000, 10_000, 500_000, 3_000_000][self.random.below(4)];
        self.tell(&format!("the disk of {node} takes {us} us"));
        self.world.nodes[node as usize].sync_us = us;
    }

    /// From now on everything works.
    pub(super) fn mend_all(&mut self) -> Outcome {
        self.world.options.loss = 0.0;
        for node in 0..self.world.nodes.len() as u32 {
            let place = &mut self.world.nodes[node as usize];
            place.disk.broken = false;
            place.sync_us = place.sync_us.min(10_000);
            if !place.lives() {
                self.world.start(node, DIAL_US)?;
            }
        }
        self.join();
        Ok(())
    }
}
