//! Two links over pipes in memory, and a neighbour made by hand that can do everything wrong.

mod framing;
mod handshake;
mod hostile;
mod liveness;
mod lossy;

use std::collections::VecDeque;
use std::sync::Arc;

use qpq_schemas::link::{Close, CloseCode, Hello, Role, sign_auth, unpack};
use qpq_schemas::signature::SigningKey;

use super::*;
use crate::identity::{Directory, Identity, PeerSet};

/// Far from zero, so that differences that go wrong are seen.
const NOW: u64 = 1_800_000_000_000;
const MAX_FRAME: usize = 4096;
const BINDING: &[u8] = b"one connection";

fn identity(n: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[n; 32]))
}

fn setup(n: u8, role: Role) -> LinkSetup {
    LinkSetup {
        role,
        identity: identity(n),
        blocked: PeerSet::default(),
        expected: None,
        proven_by_transport: None,
        binding: BINDING.to_vec(),
        max_frame: MAX_FRAME,
        reliable: true,
    }
}

/// The block list of a directory in which that key is blocked.
fn blocking(peer: PeerId) -> PeerSet {
    let mut directory = Directory::in_memory(identity(99));
    directory.set_trust(peer, crate::api::Trust::Blocked).unwrap();
    directory.blocked()
}

/// One link with what it has put out.
struct Side {
    link: Link,
    sent: VecDeque<Bytes>,
    ready: Option<(PeerId, u32)>,
    frames: Vec<Frame>,
    not_sent: Vec<SendError>,
    closed: Option<CloseReason>,
    moving: Vec<u16>,
}

impl Side {
    fn new(setup: LinkSetup) -> Self {
        Self::with(setup, LinkConfig::default())
    }

    fn with(setup: LinkSetup, config: LinkConfig) -> Self {
        Self {
            link: Link::new(setup, config, NOW, &mut rand::rng()),
            sent: VecDeque::new(),
            ready: None,
            frames: Vec::new(),
            not_sent: Vec::new(),
            closed: None,
            moving: Vec::new(),
        }
    }

    fn input(&mut self, input: LinkInput, now: u64) {
        let mut out = Vec::new();
        self.link.handle(input, now, &mut out);
        for output in out {
            assert!(self.closed.is_none(), "something came after the end: {output:?}");
            match output {
                LinkOutput::Transmit(block) => self.sent.push_back(block),
                LinkOutput::Ready { peer, features } => {
                    assert!(self.ready.replace((peer, features)).is_none(), "ready twice");
                }
                LinkOutput::Frame(frame) => {
                    assert!(self.ready.is_some(), "a frame before the handshake was over: {frame:?}");
                    self.frames.push(frame);
                }
                LinkOutput::Pinged { .. } | LinkOutput::Ponged { .. } | LinkOutput::Measured { .. } => {}
                LinkOutput::Moving { port } => self.moving.push(port),
                LinkOutput::NotSent(error) => self.not_sent.push(error),
                LinkOutput::Closed(reason) => self.closed = Some(reason),
            }
        }
        assert_eq!(self.link.deadline().is_none(), self.closed.is_some());
    }

    fn receive(&mut self, block: impl Into<Bytes>) {
        self.input(LinkInput::Received(block.into()), NOW);
    }

    /// All frames that it has sent and nobody has taken, fragments as such.
    fn take_sent(&mut self) -> Vec<Frame> {
        self.sent.drain(..).flat_map(unpack).map(Result::unwrap).collect()
    }

    /// What it told its neighbour at the end.
    fn farewell(&mut self) -> Option<Close> {
        self.take_sent().into_iter().find_map(|frame| match frame {
            Frame::Close(close) => Some(close),
            _ => None,
        })
    }
}

/// Two links with a pipe between them.
struct Pair {
    a: Side,
    b: Side,
    now: u64,
}

impl Pair {
    /// Two fresh sides, both started.
    fn new(a: LinkSetup, b: LinkSetup) -> Self {
        let mut pair = Self { a: Side::new(a), b: Side::new(b), now: NOW };
        pair.a.input(LinkInput::Start, NOW);
        pair.b.input(LinkInput::Start, NOW);
        pair
    }

    /// Two sides that are ready.
    fn ready() -> Self {
        let mut pair = Self::new(setup(1, Role::Initiator), setup(2, Role::Responder));
        pair.run();
        assert!(pair.a.ready.is_some() && pair.b.ready.is_some());
        pair
    }

    /// Delivers everything until nothing is under way.
    fn run(&mut self) {
        while !(self.a.sent.is_empty() && self.b.sent.is_empty()) {
            if let Some(block) = self.a.sent.pop_front() {
                self.b.input(LinkInput::Received(block), self.now);
            }
            if let Some(block) = self.b.sent.pop_front() {
                self.a.input(LinkInput::Received(block), self.now);
            }
        }
    }

    /// Lets time go by up to then, delivering without delay.
    fn until(&mut self, then: u64) {
        self.run();
        loop {
            let due = [self.a.link.deadline(), self.b.link.deadline()].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= then) else { break };
            self.now = self.now.max(due);
            self.a.input(LinkInput::Tick, self.now);
            self.b.input(LinkInput::Tick, self.now);
            self.run();
        }
        self.now = then;
    }

    /// Both are ready, or both are closed.
    fn agrees(&self) -> bool {
        match (&self.a.closed, &self.b.closed) {
            (None, None) => self.a.ready.is_some() && self.b.ready.is_some(),
            (Some(_), Some(_)) => true,
            _ => false,
        }
    }
}

/// A neighbour whose every byte the test decides, as the responder.
struct Forger {
    key: SigningKey,
    hello: Hello,
}

impl Forger {
    fn new(n: u8) -> Self {
        let key = SigningKey::from_seed(&[n; 32]);
        let hello = Hello::new(key.public(), [n; 32]);
        Self { key, hello }
    }

    fn auth(&self, theirs: &Hello, binding: &[u8]) -> Frame {
        Frame::Auth(sign_auth(&self.key, Role::Responder, theirs, &self.hello, binding))
    }

    /// A link of node 1 that has dialled the forger, and its HELLO.
    fn dialled() -> (Side, Hello) {
        let mut side = Side::new(setup(1, Role::Initiator));
        side.input(LinkInput::Start, NOW);
        let Some(Frame::Hello(hello)) = side.take_sent().pop() else { panic!("no HELLO") };
        (side, hello)
    }

    /// A link of node 1 that takes the forger (node 2) for authenticated.
    fn trusted() -> Side {
        let (mut side, theirs) = Self::dialled();
        let forger = Self::new(2);
        side.receive(block(&[Frame::Hello(forger.hello.clone()), forger.auth(&theirs, BINDING)]));
        assert_eq!(side.ready, Some((forger.key.public(), 0)));
        side.sent.clear();
        side
    }
}

/// Frames in one block.
fn block(frames: &[Frame]) -> Bytes {
    let mut out = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut out).unwrap());
    out.into()
}
