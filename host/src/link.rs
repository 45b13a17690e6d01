//! One link to a neighbour: a state machine without sockets, clock or tasks.
//!
//! A transport brings blocks of bytes in order, or packets that may be lost; [`Link::handle`] takes one [`LinkInput`] and the time, and appends
//! [`LinkOutput`]s. It proves who is on the other side before anything else is taken from it, packs frames into blocks and
//! cuts those that are too large, watches that the neighbour is alive, and closes with a typed [`CloseReason`] at the
//! first thing that breaks the protocol. The states and the reasons for the handshake's shape stand in
//! `host/docs/links.md`.

mod close;
mod framing;
mod handshake;
mod liveness;
mod ports;
mod reliable;
mod settings;
mod steady;

use bytes::Bytes;
use qpq_schemas::PeerId;
use qpq_schemas::link::{self, Frame, FrameError, MAX_BLOCK};
use rand::CryptoRng;

use framing::{Packer, Reassembly};
use handshake::Handshake;
use liveness::Liveness;
use reliable::Reliable;
use steady::Steady;

pub use close::{CloseReason, Fault, Stage, Violation};
pub use ports::{LinkInput, LinkOutput, LinkStats, SendError};
pub use settings::{BELIEVED_AFTER_MS, HANDSHAKE_MS, HELLO_MS, LinkConfig, LinkSetup, MISSED_HELLOS, REASSEMBLY_MS};

/// The state machine of one link.
pub struct Link {
    config: LinkConfig,
    state: State,
    clock: Steady,
    packer: Packer,
    /// Between the blocks and a transport that isn't reliable.
    reliable: Option<Box<Reliable>>,
    reassembly: Reassembly,
    liveness: Liveness,
    stats: LinkStats,
    peer: Option<PeerId>,
    /// The last word is said: nothing more is sent.
    leaving: bool,
    /// When the neighbour had proven its key (steady time).
    ready_at: u64,
    /// It has said that it moves.
    moving: bool,
}

enum State {
    /// Not started, or in the middle of the handshake, since when (steady time).
    Handshake { handshake: Box<Handshake>, since: u64 },
    /// Authenticated.
    Ready,
    /// Over.
    Closed,
}

impl Link {
    /// A link that has yet to be started. `now_ms` is best taken from a monotonic clock; leaps are cushioned.
    pub fn new(setup: LinkSetup, config: LinkConfig, now_ms: u64, rng: &mut impl CryptoRng) -> Self {
        let clock = Steady::new(now_ms);
        let first_ping = rng.next_u64();
        let reliable = (!setup.reliable).then(|| Box::new(Reliable::new(setup.max_frame, rng)));
        let block = if setup.reliable { setup.max_frame } else { Reliable::largest_block(setup.max_frame) };
        Self {
            packer: Packer::new(block),
            reliable,
            reassembly: Reassembly::default(),
            liveness: Liveness::new(first_ping, clock.now()),
            stats: LinkStats::default(),
            peer: None,
            leaving: false,
            ready_at: 0,
            moving: false,
            state: State::Handshake {
                handshake: Box::new(Handshake::new(setup, config.features, rng)),
                since: clock.now(),
            },
            config,
            clock,
        }
    }

    /// Takes one input and appends what is to be done, in order. Nothing comes after [`LinkOutput::Closed`].
    pub fn handle(&mut self, input: LinkInput, now_ms: u64, out: &mut Vec<LinkOutput>) {
        self.clock.advance(now_ms);
        let result = match input {
            _ if matches!(self.state, State::Closed) => return,
            LinkInput::Start => self.start(out),
            LinkInput::Received(frame) => self.received(frame, out),
            LinkInput::Send(frames) => {
                self.send(frames, out);
                Ok(())
            }
            LinkInput::Ping => {
                self.ping_for(out);
                Ok(())
            }
            LinkInput::Move(port) => {
                if matches!(self.state, State::Ready) {
                    self.transmit_one(&Frame::Moving(port), out);
                }
                Ok(())
            }
            LinkInput::Busy => {
                self.liveness.heard(self.clock.now());
                Ok(())
            }
            LinkInput::Tick => self.check_times(),
            LinkInput::Close(reason) => Err(reason),
            LinkInput::Leave(reason) => self.leave(reason, out),
        };
        match result {
            Ok(()) => {
                self.say_hello(out); // also on a link that is too busy to be ticked
                self.transmit_due(out);
            }
            Err(reason) => self.close(reason, out),
        }
    }

    /// When [`LinkInput::Tick`] is due, in the time that [`handle`](Self::handle) is told; `None` once the link is closed.
    pub fn deadline(&self) -> Option<u64> {
        let at = match &self.state {
            State::Closed => return None,
            State::Handshake { since, .. } => since + self.config.handshake_ms,
            State::Ready => {
                let alive = self.liveness.deadline(&self.config);
                self.reassembly.since().map_or(alive, |since| alive.min(since + self.config.reassembly_ms))
            }
        };
        let packets = self.reliable.as_ref().and_then(|reliable| reliable.deadline());
        Some(self.clock.outside(packets.map_or(at, |packets| at.min(packets))))
    }

    /// Whether [`LinkInput::Send`] is welcome. What is given all the same is kept, and waits.
    pub fn has_room(&self) -> bool {
        self.reliable.as_ref().is_none_or(|reliable| reliable.has_room())
    }

    /// The neighbour's proven key, once it is.
    pub fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// The smoothed round-trip time in microseconds, once it was measured.
    pub fn rtt_us(&self) -> Option<u64> {
        match &self.reliable {
            Some(reliable) => reliable.measured().map(|(rtt_us, _)| rtt_us),
            None => self.liveness.rtt_us(),
        }
    }

    /// What went over the link so far.
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    fn start(&mut self, out: &mut Vec<LinkOutput>) -> Result<(), CloseReason> {
        let State::Handshake { handshake, .. } = &mut self.state else { return Ok(()) };
        let Some(hello) = handshake.start()? else { return Ok(()) };
        match &mut self.reliable {
            Some(reliable) => {
                self.packer.push(&hello)?;
                self.packer.take().into_iter().for_each(|block| reliable.begin(block, self.clock.now()));
            }
            None => self.transmit_one(&hello, out),
        }
        Ok(())
    }

    fn received(&mut self, frame: Bytes, out: &mut Vec<LinkOutput>) -> Result<(), CloseReason> {
        self.start(out)?; // where the transport's first bytes overtook its own announcement
        self.stats.bytes_in += frame.len() as u64;
        let now = self.clock.now();
        let Some(reliable) = &mut self.reliable else {
            self.liveness.heard(now);
            return self.block(frame, out);
        };
        let mut blocks = Vec::new();
        let authentic = reliable.receive(&frame, now, &mut blocks)?;
        if authentic {
            self.liveness.heard(now);
        }
        blocks.into_iter().try_for_each(|block| self.block(block, out))
    }

    fn block(&mut self, block: Bytes, out: &mut Vec<LinkOutput>) -> Result<(), CloseReason> {
        if block.is_empty() {
            return Err(Violation::EmptyBlock.into());
        }
        if block.len() > MAX_BLOCK {
            return Err(Violation::BlockTooLarge { len: block.len() }.into());
        }
        for frame in link::unpack(block) {
            self.stats.frames_in += 1;
            match frame? {
                Frame::Fragment(fragment) if matches!(self.state, State::Ready) => {
                    if let Some(whole) = self.reassembly.take(&fragment, self.clock.now())? {
                        self.reassembled(whole, out)?;
                    }
                }
                frame => self.frame(frame, out)?,
            }
        }
        Ok(())
    }

    fn reassembled(&mut self, block: Bytes, out: &mut Vec<LinkOutput>) -> Result<(), CloseReason> {
        for frame in link::unpack(block) {
            match frame? {
                Frame::Fragment(_) => return Err(Violation::Fragments("pieces inside a piece").into()),
                frame => self.frame(frame, out)?,
            }
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame, out: &mut Vec<LinkOutput>) -> Result<(), CloseReason> {
        if let Frame::Close(close) = frame {
            return Err(CloseReason::ByPeer(close));
        }
        match self.state {
            State::Handshake { .. } => self.shake_hands(frame, out),
            State::Ready => self.take_in(frame, out),
            State::Closed => Ok(()),
        }
    }

    /// A frame before the neighbour is authenticated: HELLO, then AUTH, and nothing else.
    fn shake_hands(&mut self, frame: Frame, out: &mut Vec<LinkOutput>) -> Result<(), CloseReason> {
        let State::Handshake { handshake, .. } = &mut self.state else { return Ok(()) };
        match frame {
            Frame::Hello(hello) => {
                let auth = handshake.take_hello(hello)?;
                if let Some(reliable) = &mut self.reliable {
                    reliable.secure(handshake.packet_keys()?);
                }
                self.transmit_one(&auth, out);
            }
            Frame::Auth(signature) => {
                let (peer, features) = handshake.take_auth(&signature)?;
                self.peer = Some(peer);
                self.ready_at = self.clock.now();
                self.state = State::Ready;
                out.push(LinkOutput::Ready { peer, features });
                self.ping(out); // at once, so that routing soon knows how far away the neighbour is
            }
            other => return Err(Violation::unexpected(&other, handshake.stage()).into()),
        }
        Ok(())
    }

    /// A frame of an authenticated neighbour.
    fn take_in(&mut self, frame: Frame, out: &mut Vec<LinkOutput>) -> Result<(), CloseReason> {
        match frame {
            Frame::Ping(number) => {
                self.liveness.allow_ping(self.clock.now())?;
                self.transmit_one(&Frame::Pong(number), out);
            }
            Frame::Pong(number) => match self.liveness.pong(number, self.clock.now()) {
                Some(rtt_us) => {
                    let measured = self.measured(rtt_us);
                    out.extend([LinkOutput::Ponged { number }, measured]);
                }
                None => self.stats.errors += 1,
            },
            Frame::Hello(_) | Frame::Auth(_) | Frame::Fragment(_) | Frame::Close(_) => {
                return Err(Violation::unexpected(&frame, Stage::Ready).into());
            }
            Frame::Moving(port) => {
                let lived = self.clock.now().saturating_sub(self.ready_at);
                if lived >= BELIEVED_AFTER_MS && !std::mem::replace(&mut self.moving, true) {
                    out.push(LinkOutput::Moving { port });
                }
            }
            Frame::Optional(..) => {} // of a later version, and meant to be skipped
            frame => {
                if let Frame::Envelopes(envelopes) = &frame {
                    self.stats.envelopes_in += envelopes.len() as u64;
                }
                out.push(LinkOutput::Frame(frame));
            }
        }
        Ok(())
    }

    /// On a transport that loses frames a PONG may have been sent again, so its packets tell the time.
    fn measured(&self, by_pong_us: u64) -> LinkOutput {
        let by_packets = self.reliable.as_ref().and_then(|reliable| reliable.measured());
        let (rtt_us, loss_ppm) = by_packets.unwrap_or((by_pong_us, 0));
        LinkOutput::Measured { rtt_us, loss_ppm }
    }

    fn send(&mut self, frames: Vec<Frame>, out: &mut Vec<LinkOutput>) {
        if self.leaving {
            return; // custody offers them again over the next link
        }
        for frame in frames {
            let ready = matches!(self.state, State::Ready);
            let result = match frame {
                _ if !ready => Err(SendError::NotReady),
                Frame::Hello(_)
                | Frame::Auth(_)
                | Frame::Ping(_)
                | Frame::Pong(_)
                | Frame::Close(_)
                | Frame::Moving(_)
                | Frame::Fragment(_) => Err(SendError::Reserved),
                Frame::Envelopes(envelopes) => self.pack_envelopes(envelopes),
                frame => self.pack(&frame).map_err(SendError::Frame),
            };
            if let Err(error) = result {
                self.stats.errors += 1;
                out.push(LinkOutput::NotSent(error));
            }
        }
        self.flush(out);
    }

    /// Packs envelopes so that a batch fills blocks instead of being cut; only an envelope that is too large alone is.
    fn pack_envelopes(&mut self, envelopes: Vec<Bytes>) -> Result<(), SendError> {
        let mut result = Ok(());
        for batch in self.packer.batches(envelopes) {
            let count = batch.len() as u64;
            match self.pack(&Frame::Envelopes(batch)) {
                Ok(()) => self.stats.envelopes_out += count,
                Err(error) => result = Err(SendError::Frame(error)),
            }
        }
        result
    }

    fn pack(&mut self, frame: &Frame) -> Result<(), FrameError> {
        self.packer.push(frame)?;
        self.stats.frames_out += 1;
        Ok(())
    }

    /// Sends one of the link's own frames, which always fit.
    fn transmit_one(&mut self, frame: &Frame, out: &mut Vec<LinkOutput>) {
        if self.leaving {
            return;
        }
        if self.pack(frame).is_err() {
            self.stats.errors += 1;
        }
        self.flush(out);
    }

    fn flush(&mut self, out: &mut Vec<LinkOutput>) {
        for block in self.packer.take() {
            self.liveness.spoke(self.clock.now());
            match &mut self.reliable {
                Some(reliable) => reliable.push(block),
                None => self.transmit(block, out),
            }
        }
    }

    /// Hands over the packets that are due, where the transport isn't reliable.
    fn transmit_due(&mut self, out: &mut Vec<LinkOutput>) {
        let Some(reliable) = &mut self.reliable else { return };
        let mut packets = Vec::new();
        reliable.poll(self.clock.now(), &mut packets);
        packets.into_iter().for_each(|packet| self.transmit(packet, out));
    }

    fn transmit(&mut self, frame: Bytes, out: &mut Vec<LinkOutput>) {
        self.stats.bytes_out += frame.len() as u64;
        out.push(LinkOutput::Transmit(frame));
    }

    fn check_times(&self) -> Result<(), CloseReason> {
        let now = self.clock.now();
        match &self.state {
            State::Handshake { handshake, since } if now >= since + self.config.handshake_ms => {
                Err(CloseReason::HandshakeTimeout { stage: handshake.stage() })
            }
            State::Ready if self.liveness.is_dead(now, &self.config) => Err(CloseReason::Silent),
            State::Ready if self.reassembly.since().is_some_and(|since| now >= since + self.config.reassembly_ms) => {
                Err(CloseReason::Stalled)
            }
            _ => Ok(()),
        }
    }

    fn say_hello(&mut self, out: &mut Vec<LinkOutput>) {
        if matches!(self.state, State::Ready) && self.liveness.ping_is_due(self.clock.now(), &self.config) {
            self.ping(out);
        }
    }

    fn ping_for(&mut self, out: &mut Vec<LinkOutput>) {
        if matches!(self.state, State::Ready) {
            let number = self.ping(out);
            out.push(LinkOutput::Pinged { number });
        }
    }

    fn ping(&mut self, out: &mut Vec<LinkOutput>) -> u64 {
        let number = self.liveness.ping(self.clock.now());
        self.transmit_one(&Frame::Ping(number), out);
        number
    }

    fn leave(&mut self, reason: CloseReason, out: &mut Vec<LinkOutput>) -> Result<(), CloseReason> {
        match (&self.state, reason.to_neighbour()) {
            (State::Ready, Some(close)) if self.reliable.is_none() => {
                self.transmit_one(&Frame::Close(close), out);
                self.leaving = true;
                Ok(())
            }
            // One that isn't up has nothing to finish, and over a transport that loses frames nothing comes after the last word.
            _ => Err(reason),
        }
    }

    fn close(&mut self, reason: CloseReason, out: &mut Vec<LinkOutput>) {
        if reason.fault() != Fault::Nobody {
            self.stats.errors += 1;
        }
        if let Some(close) = reason.to_neighbour() {
            self.say_close(&Frame::Close(close), out);
        }
        self.state = State::Closed;
        self.reassembly = Reassembly::default();
        out.push(LinkOutput::Closed(reason));
    }

    fn say_close(&mut self, close: &Frame, out: &mut Vec<LinkOutput>) {
        let Some(mut reliable) = self.reliable.take() else { return self.transmit_one(close, out) };
        let mut packets = Vec::new();
        let mut word = Vec::new();
        if close.encode(&mut word).is_ok() {
            reliable.last_word(&word.into(), self.clock.now(), &mut packets);
        }
        packets.into_iter().for_each(|packet| self.transmit(packet, out));
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("peer", &self.peer).field("stats", &self.stats).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
