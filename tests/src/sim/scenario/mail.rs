//! Phases that send something: direct messages, broadcasts, and broadcasts after many nodes have died.

use qpq_schemas::MessageId;

use super::{SECOND_US, Scenario, Sent, TOPIC};
use crate::Outcome;
use crate::sim::world::Message;

/// Direct messages that are sent in peace, at most.
const MESSAGES: usize = 1_000;

/// Within what time, in microseconds.
const SENT_WITHIN_US: u64 = 10 * SECOND_US;

/// How long what was sent in peace may take, in microseconds.
const ARRIVED_WITHIN_US: u64 = 20 * SECOND_US;

/// How long what had no way for a while may take, once there is one, in microseconds: two rounds of custody's slowest
/// repetition.
const LONGEST_MAIL_US: u64 = 1_300 * SECOND_US;

/// Broadcasts of random senders, before the trees have settled and afterwards.
const BROADCASTS: [usize; 2] = [10, 20];

/// The share of nodes that die at once, in a hundred.
const DEAD_PERCENT: usize = 30;

impl Scenario<'_> {
    /// Sends direct messages between random nodes, spread over some time that begins at `since_us`.
    pub(super) fn send_some(&mut self, count: usize, since_us: u64) -> Outcome {
        for index in 0..count {
            let from = self.random.below(self.world.nodes.len()) as u32;
            let number = self.random.below(self.world.audit.count() as usize) as u32;
            let to = self.world.audit.destination(number);
            if from != to {
                self.world.run_until(since_us + index as u64 * 1_000)?;
                let peer = self.world.nodes[to as usize].peer();
                let (token, id) = self.world.submit(from, Message::direct(peer))?;
                self.sent.push(Sent { token, id, to });
            }
        }
        Ok(())
    }

    /// How many of the messages that were acknowledged have arrived, and how many that were.
    fn arrived(&self) -> (usize, usize) {
        let stored = self.sent.iter().filter(|sent| self.world.answers.is_stored(sent.token));
        let arrived = |sent: &&Sent| self.world.delivered(sent.to, &sent.id) > 0;
        (stored.clone().filter(arrived).count(), stored.count())
    }

    pub(super) fn unicast(&mut self) -> Outcome {
        let (count, begin_us) = (MESSAGES.min(10 * self.world.nodes.len()), self.world.now_us);
        for part in 0..10 {
            self.send_some(count / 10, begin_us + part * SENT_WITHIN_US / 10)?;
        }
        self.world.run_for(ARRIVED_WITHIN_US)?;
        let (arrived, sent) = self.arrived();
        self.report.delivered_at_once = arrived as f64 / sent.max(1) as f64;
        self.say(&format!("{arrived} of {sent} messages have arrived"));
        Ok(())
    }

    /// Waits for what was sent while links were broken.
    pub(super) fn settle_mail(&mut self) -> Outcome {
        let until_us = self.world.now_us + LONGEST_MAIL_US;
        loop {
            let (arrived, sent) = self.arrived();
            self.report.delivery_ratio = arrived as f64 / sent.max(1) as f64;
            self.report.messages = sent;
            if arrived == sent || self.world.now_us > until_us {
                self.say(&format!("{arrived} of {sent} messages have arrived, those of bad times included"));
                return Ok(());
            }
            self.world.run_for(SECOND_US)?;
        }
    }

    pub(super) fn broadcasts(&mut self) -> Outcome {
        for (round, count) in BROADCASTS.into_iter().enumerate() {
            let before = self.world.traffic;
            let mut ids = Vec::new();
            for _ in 0..count {
                let from = self.random.below(self.world.nodes.len()) as u32;
                ids.push(self.world.submit(from, Message::broadcast(TOPIC))?.1);
                self.world.run_for(SECOND_US)?;
            }
            self.world.run_for(5 * SECOND_US)?;
            let others = (self.world.nodes.len() - 1) as f64;
            let spent = self.world.traffic.since(&before);
            let copies = spent.copies as f64 / count as f64 / others;
            let everybody = vec![true; self.world.nodes.len()];
            let reach = ids.iter().map(|id| self.reach(*id, &everybody)).fold(1.0, f64::min);
            if round == 0 {
                self.report.copies_of_the_first_broadcasts = copies;
            } else {
                self.report.copies_per_broadcast = copies;
                self.report.control_bytes_per_broadcast_and_node = spent.others as f64 / count as f64 / others;
            }
            self.report.broadcast_reach = self.report.broadcast_reach.min(reach);
            self.say(&format!("{count} broadcasts: {copies:.4} copies a node, reach {reach:.4}"));
        }
        Ok(())
    }

    /// The share of these nodes that got a broadcast.
    fn reach(&self, id: MessageId, among: &[bool]) -> f64 {
        let nodes = (0..).zip(among).filter(|(_, is_in)| **is_in);
        let reached = nodes.clone().filter(|(node, _)| self.world.delivered(*node, &id) > 0).count();
        reached as f64 / nodes.count().max(1) as f64
    }

    /// Many nodes die at once and for good; whoever still hangs together gets each broadcast.
    pub(super) fn deaths(&mut self) -> Outcome {
        let count = self.world.nodes.len();
        let mut left = count * DEAD_PERCENT / 100;
        while left > 0 {
            let node = self.random.below(count) as u32;
            if self.world.nodes[node as usize].lives() {
                self.world.crash(node);
                left -= 1;
            }
        }
        let (from, together) = self.largest_part();
        self.report.together_after_deaths = together.iter().filter(|is_in| **is_in).count();
        for wait_us in [30 * SECOND_US, 15 * SECOND_US] {
            let id = self.world.submit(from, Message::broadcast(TOPIC))?.1;
            self.world.run_for(wait_us)?;
            let reach = self.reach(id, &together);
            self.report.reach_after_deaths = self.report.reach_after_deaths.min(reach);
        }
        let (all, reach) = (self.report.together_after_deaths, self.report.reach_after_deaths);
        self.say(&format!("a third died: broadcasts reach {reach:.4} of the {all} that hang together"));
        Ok(())
    }

    /// The largest part of what is left, and a node in it.
    fn largest_part(&self) -> (u32, Vec<bool>) {
        let world = &self.world;
        let lives =
            |link: u32| world.graph.edges[link as usize].ends.iter().all(|end| world.nodes[*end as usize].lives());
        let mut best = (0, vec![false; world.nodes.len()], 0);
        let mut done = vec![false; world.nodes.len()];
        for node in (0..world.nodes.len()).filter(|node| world.nodes[*node].lives()) {
            if !done[node] {
                let part: Vec<bool> = world.graph.hops(&world.links, node, lives).iter().map(Option::is_some).collect();
                done.iter_mut().zip(&part).for_each(|(done, is_in)| *done |= is_in);
                let size = part.iter().filter(|is_in| **is_in).count();
                if size > best.2 {
                    best = (node as u32, part, size);
                }
            }
        }
        (best.0, best.1)
    }
}
