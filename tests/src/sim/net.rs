//! The virtual network: what a link does to the frames that go over it.
//!
//! A link is reliable and in order, as the product's are, whatever loses packets below it: a loss costs the time of a
//! repetition. Frames over different links overtake each other freely.

use qpq_host::core::LinkId;
use qpq_host::link::{HELLO_MS, MISSED_HELLOS};
use qpq_host::sim::travel_us;
use qpq_schemas::link::Frame;

use super::topology::Edge;
use crate::Random;

/// After how long without a sign of life a neighbour is given up, in microseconds.
pub const SILENCE_US: u64 = (HELLO_MS * MISSED_HELLOS + HELLO_MS / 2) * 1_000;

/// One link.
#[derive(Debug)]
pub struct Wire {
    /// Where it leads and how far.
    pub edge: Edge,
    /// Whether frames get through.
    pub whole: bool,
    /// Counts the connections made over it; part of the link's number.
    pub life: u32,
    /// Counts what could end a silence, so that an alarm that was set before is void.
    pub silence: u32,
    /// Which ends have the connection up.
    pub up: [bool; 2],
    /// Until when the present connection's handshake takes, in microseconds.
    pub ready_us: u64,
    /// When the last frame towards each end arrives, in microseconds: later ones don't overtake it.
    arrives_us: [u64; 2],
    /// When each end last heard a frame.
    heard_us: [u64; 2],
    /// When in each second an end says hello, if it has nothing else to say.
    hello_us: [u64; 2],
    /// Frames that wait for the wire to be whole again, and the end that they are for.
    pub stalled: Vec<(usize, Frame)>,
}

impl Wire {
    /// A link that is not connected yet.
    pub fn new(edge: Edge, random: &mut Random) -> Self {
        let hello_us = [(); 2].map(|()| random.below(HELLO_MS as usize * 1_000) as u64);
        Self {
            edge,
            whole: true,
            life: 0,
            silence: 0,
            up: [false; 2],
            ready_us: 0,
            arrives_us: [0; 2],
            heard_us: [0; 2],
            hello_us,
            stalled: Vec::new(),
        }
    }

    /// The number that both ends know its present connection by.
    pub fn link_id(&self, number: u32) -> LinkId {
        (u64::from(self.life) << 32) | (u64::from(number) + 1)
    }

    /// The link's place, and its life, from that number.
    pub fn of_link_id(link: LinkId) -> (u32, u32) {
        ((link as u32).wrapping_sub(1), (link >> 32) as u32)
    }

    /// Which end a node is.
    pub fn end_of(&self, node: u32) -> usize {
        usize::from(self.edge.ends[1] == node)
    }

    /// Whether it is whole and both ends know so.
    pub fn works(&self) -> bool {
        self.whole && self.up == [true; 2]
    }

    /// A new connection begins.
    pub fn connect(&mut self, now_us: u64) {
        self.life += 1;
        self.silence += 1;
        self.stalled.clear();
        self.ready_us = now_us + u64::from(self.edge.latency_us);
        self.arrives_us = [now_us; 2];
        self.heard_us = [now_us; 2];
    }

    /// When a frame that is sent now arrives at that end.
    pub fn arrival(&mut self, end: usize, now_us: u64, loss: f64, random: &mut Random) -> u64 {
        let at = now_us + travel_us(self.edge.latency_us.into(), loss, random);
        let at = at.max(self.arrives_us[end]);
        self.arrives_us[end] = at;
        at
    }

    /// A frame came in at that end.
    pub fn hear(&mut self, end: usize, now_us: u64) {
        self.heard_us[end] = now_us;
    }

    /// When that end gives the neighbour up, if from now on nothing comes through: some time after the last frame or hello.
    pub fn dead_at(&self, end: usize, now_us: u64) -> u64 {
        let (second, latency) = (HELLO_MS * 1_000, u64::from(self.edge.latency_us));
        let hello = now_us.checked_sub(self.hello_us[1 - end] + latency);
        let hello = hello.map_or(0, |since| now_us - since % second);
        hello.max(self.heard_us[end]) + SILENCE_US
    }

    /// The smoothed round trip as a node measures it: in whole milliseconds, given in microseconds.
    pub fn rtt_us(&self) -> u64 {
        (2 * u64::from(self.edge.latency_us) + 500) / 1_000 * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> Wire {
        let mut wire = Wire::new(Edge { ends: [3, 8], latency_us: 10_000 }, &mut Random::seeded(1));
        wire.connect(0);
        wire
    }

    #[test]
    fn silence_is_noticed_one_and_a_half_to_two_and_a_half_seconds_after_the_wire_broke() {
        let wire = wire();
        for cut_us in (5_000_000..9_000_000).step_by(12_345) {
            let noticed = wire.dead_at(0, cut_us) - cut_us;
            assert!((1_500_000..=2_500_000).contains(&noticed), "{noticed}");
        }
    }

    #[test]
    fn frames_over_one_link_stay_in_order_and_none_is_lost() {
        let (mut wire, mut random) = (wire(), Random::seeded(7));
        let times: Vec<u64> = (0..1_000).map(|step| wire.arrival(1, step * 500, 0.3, &mut random)).collect();
        assert!(times.is_sorted());
        assert!(times[0] >= 10_000);
    }

    #[test]
    fn a_links_number_names_the_link_and_its_life() {
        let mut wire = wire();
        wire.connect(5);
        assert_eq!(Wire::of_link_id(wire.link_id(77)), (77, 2));
        assert_ne!(wire.link_id(0), 0);
    }
}
