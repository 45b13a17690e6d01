//! For transports that lose, double or reorder: blocks go as numbered, sealed packets, and come out in order and once.
//!
//! A state machine like the link above it: packets and the time go in, packets and blocks come out. What packets look like
//! stands in `schemas/spec/packet.md`, why the rules are as they are in `host/docs/links.md`.

mod backlog;
mod control;
mod flight;
mod line;
mod receiver;
mod rtt;

use bytes::Bytes;
use qpq_schemas::packet::{MAX_PACKET, Opening, PACKET_OVERHEAD, Packet, PacketKeys};
use rand::Rng;

use super::close::Violation;
use line::Line;

/// How long an ACK of a single packet waits for something to ride with, in milliseconds.
const ACK_DELAY_MS: u64 = 5;

/// An opening is repeated after so long, in milliseconds. It is small, and the handshake has a few seconds.
const OPENING_EVERY_MS: u64 = 200;

/// Openings of the neighbour that are answered on one link: more than an honest one sends in the time of a handshake.
const MAX_ANSWERS: u32 = 64;

/// How often the last word is said: nobody answers it, and each may be lost.
const LAST_WORDS: usize = 3;

/// One side of a link over a transport that isn't reliable.
pub(super) struct Reliable {
    /// The largest packet, in bytes.
    packet: usize,
    /// See [`Opening::session`].
    session: u64,
    seed: u64,
    /// The block with our HELLO, once the link was started.
    hello: Option<Bytes>,
    /// The neighbour's HELLO came, with our number in it.
    accepted: bool,
    /// When to send an opening.
    opening_at: u64,
    /// Openings of the neighbour that have yet to be answered.
    to_answer: Vec<u64>,
    answers_left: u32,
    line: Option<Box<Line>>,
}

impl Reliable {
    /// For a transport with frames of that size.
    pub(super) fn new(max_frame: usize, rng: &mut impl Rng) -> Self {
        Self {
            packet: max_frame.min(MAX_PACKET),
            session: rng.next_u64() | 1,
            seed: rng.next_u64(),
            hello: None,
            accepted: false,
            opening_at: 0,
            to_answer: Vec::new(),
            answers_left: MAX_ANSWERS,
            line: None,
        }
    }

    /// The largest block that goes over a transport with frames of that size.
    pub(super) fn largest_block(max_frame: usize) -> usize {
        max_frame.min(MAX_PACKET).saturating_sub(PACKET_OVERHEAD)
    }

    /// Begins, with the block that holds our HELLO.
    pub(super) fn begin(&mut self, hello: Bytes, now: u64) {
        self.hello = Some(hello);
        self.opening_at = now;
    }

    /// Both HELLOs are known, and the keys from them.
    pub(super) fn secure(&mut self, keys: PacketKeys) {
        self.line = Some(Box::new(Line::new(keys, self.packet, self.seed)));
    }

    /// A block to be sent, in order. Before [`secure`](Self::secure) there is none.
    pub(super) fn push(&mut self, block: Bytes) {
        if let Some(line) = &mut self.line {
            line.push(block);
        }
    }

    /// Whether more blocks are welcome.
    pub(super) fn has_room(&self) -> bool {
        self.line.as_ref().is_none_or(|line| line.has_room())
    }

    /// Takes a frame of the transport, and appends the blocks whose turn has come. Whether the neighbour made it: others
    /// may send what they like, and that changes nothing.
    ///
    /// # Errors
    /// When the neighbour breaks the protocol.
    pub(super) fn receive(&mut self, frame: &[u8], now: u64, out: &mut Vec<Bytes>) -> Result<bool, Violation> {
        match (Packet::parse(frame), &mut self.line) {
            (Ok(Packet::Sealed(number, sealed)), Some(line)) => line.receive(number, sealed, now, out),
            (Ok(Packet::Opening(opening)), _) => Ok(self.take_opening(opening, out)),
            _ => Ok(false),
        }
    }

    fn take_opening(&mut self, opening: Opening, out: &mut Vec<Bytes>) -> bool {
        // Our own, sent back; or the neighbour has long shown that it has what openings are for.
        if opening.session == self.session || self.line.as_ref().is_some_and(|line| line.was_heard()) {
            return false;
        }
        if opening.echo == self.session {
            let first = !std::mem::replace(&mut self.accepted, true);
            if first {
                out.push(opening.hello);
            }
            return first;
        }
        if opening.echo == 0 && self.answers_left > 0 {
            self.answers_left -= 1;
            self.to_answer.push(opening.session);
        }
        false
    }

    /// Appends the packets that are due.
    pub(super) fn poll(&mut self, now: u64, out: &mut Vec<Bytes>) {
        if let Some(hello) = &self.hello {
            let opening = |echo| Opening { session: self.session, echo, hello: hello.clone() }.encode();
            if !self.accepted && now >= self.opening_at {
                self.opening_at = now + OPENING_EVERY_MS;
                out.push(opening(0));
            }
            out.extend(self.to_answer.drain(..).map(opening));
        }
        if let Some(line) = &mut self.line {
            line.poll(now, out);
        }
    }

    /// When [`poll`](Self::poll) has something to do, if nothing comes before.
    pub(super) fn deadline(&self) -> Option<u64> {
        let opening = (self.hello.is_some() && !self.accepted).then_some(self.opening_at);
        opening.into_iter().chain(self.line.as_ref().and_then(|line| line.deadline())).min()
    }

    /// Says a last word, which doesn't wait for its turn. Before [`secure`](Self::secure) it can't be said.
    pub(super) fn last_word(&mut self, word: &Bytes, now: u64, out: &mut Vec<Bytes>) {
        if let Some(line) = &mut self.line {
            out.extend((0..LAST_WORDS).map(|_| line.last_word(word.clone(), now)));
        }
    }

    /// Smoothed round-trip time in microseconds, and how many of a million packets are lost.
    pub(super) fn measured(&self) -> Option<(u64, u32)> {
        self.line.as_ref().and_then(|line| line.measured())
    }
}
