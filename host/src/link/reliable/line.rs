//! The sealed part of a link: when which packet goes, and what the neighbour's packets mean.

use bytes::Bytes;
use qpq_schemas::packet::{Ack, BLOCK_HEAD_LEN, Block, Body, MAX_ACK_LEN, PACKET_OVERHEAD, PacketKeys, SealedPacket};

use super::super::close::Violation;
use super::ACK_DELAY_MS;
use super::backlog::Backlog;
use super::control::Control;
use super::flight::{Departure, Flight, Landing};
use super::receiver::{Fate, Receiver};
use super::rtt::Rtt;

/// Bytes that a packet has beside its ACK and its blocks.
const FIXED: usize = PACKET_OVERHEAD - BLOCK_HEAD_LEN;

/// The longest pause between two probes of a neighbour that says nothing, in milliseconds, where the round trip is no longer.
/// So many fit into the time after which it counts as dead that a burst of losses doesn't end an idle link.
const PROBE_EVERY_MS: u64 = 50;

/// Bytes that may wait without having been sent once. More would only delay what comes after them.
const MAX_WAITING: usize = 64 << 10;

/// Bytes kept until the neighbour has them: what a path of 100 Mbit/s and 80 ms holds.
const MAX_KEPT: usize = 1 << 20;

/// Both halves of a link's sealed traffic.
pub(super) struct Line {
    keys: PacketKeys,
    packet: usize,
    backlog: Backlog,
    flight: Flight,
    receiver: Receiver,
    rtt: Rtt,
    control: Control,
    /// Probes since the last answer.
    probes: u32,
    heard: bool,
}

impl Line {
    pub(super) fn new(keys: PacketKeys, packet: usize, seed: u64) -> Self {
        Self {
            keys,
            packet,
            backlog: Backlog::new(),
            flight: Flight::new(seed),
            receiver: Receiver::new(packet),
            rtt: Rtt::new(),
            control: Control::new(packet),
            probes: 0,
            heard: false,
        }
    }

    pub(super) fn push(&mut self, block: Bytes) {
        self.backlog.push(block);
    }

    pub(super) fn has_room(&self) -> bool {
        self.backlog.waiting() < MAX_WAITING && self.backlog.bytes() < MAX_KEPT
    }

    /// Whether the neighbour has sent anything sealed.
    pub(super) fn was_heard(&self) -> bool {
        self.heard
    }

    pub(super) fn measured(&self) -> Option<(u64, u32)> {
        Some((self.rtt.smoothed_us()?, self.control.loss_ppm()))
    }

    /// See [`super::Reliable::receive`].
    pub(super) fn receive(
        &mut self,
        number: u64,
        sealed: SealedPacket<'_>,
        now: u64,
        out: &mut Vec<Bytes>,
    ) -> Result<bool, Violation> {
        if self.receiver.knows(number) {
            return Ok(false);
        }
        let Ok(body) = self.keys.theirs.open(number, sealed) else { return Ok(false) };
        self.heard = true;
        let body = Body::decode(body).map_err(Violation::Packet)?;
        if let Some(ack) = &body.ack {
            self.take_ack(ack, now)?;
        }
        if self.receiver.take(number, body.blocks, now, out)? == Fate::Taken {
            out.extend(body.last_word);
        }
        Ok(true)
    }

    fn take_ack(&mut self, ack: &Ack, now: u64) -> Result<(), Violation> {
        let mut landing = self.flight.acked(ack, now)?;
        self.backlog.allow(ack.limit);
        if let Some(rtt_ms) = landing.rtt_ms {
            self.rtt.measured(rtt_ms, ack.delay_ms.into(), now);
        }
        self.flight.give_up(self.rtt.likely_ms(), now, &mut landing);
        self.apply(&landing, now);
        Ok(())
    }

    fn apply(&mut self, landing: &Landing, now: u64) {
        self.backlog.arrived(&landing.arrived);
        self.backlog.lost(&landing.lost);
        landing.fates.iter().for_each(|(calm, lost)| self.control.learnt(*calm, *lost));
        (0..landing.revoked).for_each(|_| self.control.was_not_lost());
        if landing.bytes > 0 {
            self.probes = 0;
            self.control.arrived(landing.bytes, landing.starved, &self.rtt, now);
        }
    }

    /// See [`super::Reliable::poll`].
    pub(super) fn poll(&mut self, now: u64, out: &mut Vec<Bytes>) {
        self.control.advance(&self.rtt, now);
        let mut landing = Landing::default();
        self.flight.give_up(self.rtt.likely_ms(), now, &mut landing);
        self.apply(&landing, now);
        if self.probe_at().is_some_and(|at| now >= at) {
            self.probe(now, out);
        }
        while self.may_fly() && self.control.may_send() {
            let blocks = self.load();
            out.push(self.packet_with(blocks, now));
        }
        if self.receiver.deadline().is_some_and(|at| now >= at) {
            out.push(self.packet_with(Vec::new(), now));
        }
    }

    /// Whether there is something to send, and room for it on the way.
    fn may_fly(&self) -> bool {
        self.backlog.has_work() && self.flight.in_flight() < self.control.window(&self.rtt)
    }

    /// Blocks for one packet.
    fn load(&mut self) -> Vec<Block> {
        let mut room = self.packet.saturating_sub(FIXED);
        let mut blocks = Vec::new();
        while let Some(block) = self.backlog.next(room) {
            room = room.saturating_sub(block.wire_len());
            blocks.push(block);
        }
        blocks
    }

    fn packet_with(&mut self, blocks: Vec<Block>, now: u64) -> Bytes {
        let loaded: usize = FIXED + blocks.iter().map(Block::wire_len).sum::<usize>();
        let rides = blocks.is_empty() || (self.receiver.has_news() && loaded + MAX_ACK_LEN <= self.packet);
        let ack = if rides { self.receiver.ack(now) } else { None };
        let numbers: Vec<u64> = blocks.iter().map(|block| block.number).collect();
        let number = self.flight.next_number();
        let packet = self.keys.ours.seal(number, &Body { ack, last_word: None, blocks }.encode());
        if self.flight.in_flight() == 0 && !numbers.is_empty() {
            self.control.restart(now);
        }
        if !numbers.is_empty() {
            self.control.spend(packet.len());
        }
        let (calm, starved) = (self.control.is_calm(), !self.backlog.has_work());
        self.flight.sent(Departure { bytes: packet.len(), blocks: numbers, calm, starved }, now);
        packet
    }

    /// Sends the oldest blocks again, though nothing says that they are lost: any answer tells what is.
    fn probe(&mut self, now: u64, out: &mut Vec<Bytes>) {
        self.probes = self.probes.saturating_add(1);
        let mut room = self.packet.saturating_sub(FIXED);
        let fits = |block: &Block| {
            let fits = block.wire_len() <= room;
            room = room.saturating_sub(block.wire_len());
            fits
        };
        let blocks: Vec<Block> = self.backlog.oldest().take_while(fits).collect();
        match blocks.is_empty() {
            // All that was sent arrived, by other packets than those that are still waited for.
            true => self.flight.abandon(),
            false => out.push(self.packet_with(blocks, now)),
        }
    }

    fn probe_at(&self) -> Option<u64> {
        let first = self.rtt.patience_ms(ACK_DELAY_MS);
        let later = (first << self.probes.min(8)).min(first.max(PROBE_EVERY_MS));
        Some(self.flight.waiting_since()? + later)
    }

    /// See [`super::Reliable::deadline`].
    pub(super) fn deadline(&self) -> Option<u64> {
        let paced = self.may_fly().then(|| self.control.ready_at(&self.rtt));
        [self.receiver.deadline(), self.flight.lost_at(), self.probe_at(), paced].into_iter().flatten().min()
    }

    /// See [`super::Reliable::last_word`].
    pub(super) fn last_word(&mut self, word: Bytes, now: u64) -> Bytes {
        let ack = self.receiver.ack(now);
        let body = Body { ack, last_word: Some(word), blocks: Vec::new() };
        let number = self.flight.next_number();
        let packet = self.keys.ours.seal(number, &body.encode());
        let departure = Departure { bytes: packet.len(), blocks: Vec::new(), calm: false, starved: true };
        self.flight.sent(departure, now);
        packet
    }
}
