//! Packets of a transport that loses frames: the parser, and a neighbour who has the keys and says what he likes.

use std::sync::Arc;

use bytes::Bytes;
use qpq_host::identity::{Identity, PeerSet};
use qpq_host::link::{Link, LinkConfig, LinkInput, LinkOutput, LinkSetup};
use qpq_schemas::link::{Frame, Hello, Role, sign_auth, unpack};
use qpq_schemas::packet::{Ack, Block, Body, Ephemeral, Opening, Packet, PacketKeys};
use qpq_schemas::signature::SigningKey;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{Seeds, Target};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "packet", feed: feed_packet, seeds: packets },
    Target { name: "packet-neighbour", feed: feed_neighbour, seeds: bodies },
];

/// Frames that the transport of the link takes.
const MAX_FRAME: usize = 1_200;

/// What a link may say without being asked, in bytes: openings, AUTH, probes, CLOSE.
const OWN_WORDS: usize = 16 * 1_024;

fn packets() -> Seeds {
    let opening = Opening { session: 1, echo: 2, hello: Bytes::from_static(b"a HELLO") }.encode().to_vec();
    let keys = Neighbour::new().1;
    let sealed = keys.ours.seal(9, &body(1).encode()).to_vec();
    vec![opening, sealed, body(3).encode()]
}

fn body(number: u64) -> Body {
    let ack = Ack { largest: number, delay_ms: 3, limit: 64, seen: vec![1] };
    let blocks = vec![Block { number, bytes: Bytes::from_static(b"\0\0\0\x09\x09\0\0\0\0\0\0\0\x01") }];
    Body { ack: Some(ack), last_word: None, blocks }
}

/// No bytes break the parser; what it accepts comes back as it was; an ACK names no packet twice.
fn feed_packet(bytes: &[u8]) {
    if let Ok(Packet::Opening(opening)) = Packet::parse(bytes) {
        assert_eq!(opening.encode(), bytes);
    }
    let Ok(body) = Body::decode(Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(body.encode(), bytes);
    let numbers: Vec<u64> = body.ack.iter().flat_map(Ack::numbers).collect();
    assert!(numbers.is_sorted_by(|a, b| a > b), "{numbers:?}");
    assert!(numbers.len() <= 257, "{} numbers", numbers.len());
}

/// A neighbour that has shaken hands with a link of this node, and all that it needs to seal what it likes.
struct Neighbour {
    link: Link,
    outputs: Vec<LinkOutput>,
    now: u64,
    heard: usize,
}

impl Neighbour {
    /// Always with the same random numbers, so that an input can be replayed.
    fn new() -> (Self, PacketKeys) {
        let mut rng = StdRng::from_seed([3; 32]);
        let setup = LinkSetup {
            role: Role::Responder,
            identity: Arc::new(Identity::from_seed(&[1; 32])),
            blocked: PeerSet::default(),
            expected: None,
            proven_by_transport: None,
            binding: Vec::new(),
            max_frame: MAX_FRAME,
            reliable: false,
        };
        let link = Link::new(setup, LinkConfig::default(), 0, &mut rng);
        let mut neighbour = Self { link, outputs: Vec::new(), now: 0, heard: 0 };
        neighbour.input(LinkInput::Start);
        let (session, theirs) = neighbour.opening();
        let (key, pair) = (SigningKey::from_seed(&[2; 32]), Ephemeral::generate(&mut rng));
        let ours = Hello::new(key.public(), pair.public());
        let keys = pair.keys(Role::Initiator, &ours, &theirs).expect("a good key");
        let hello = block(&Frame::Hello(ours.clone()));
        neighbour.receive(&Opening { session: 5, echo: session, hello }.encode());
        let auth = Frame::Auth(sign_auth(&key, Role::Initiator, &ours, &theirs, b""));
        let body = Body { blocks: vec![Block { number: 0, bytes: block(&auth) }], ..Body::default() };
        neighbour.receive(&keys.ours.seal(0, &body.encode()));
        assert!(neighbour.link.peer().is_some(), "no handshake: {:?}", neighbour.outputs);
        (neighbour, keys)
    }

    /// What the link has opened with.
    fn opening(&self) -> (u64, Hello) {
        let opening = self.transmitted().find_map(|packet| match Packet::parse(packet) {
            Ok(Packet::Opening(opening)) => Some(opening),
            _ => None,
        });
        let opening = opening.expect("an opening");
        match unpack(opening.hello).next() {
            Some(Ok(Frame::Hello(hello))) => (opening.session, hello),
            other => panic!("no HELLO: {other:?}"),
        }
    }

    fn transmitted(&self) -> impl Iterator<Item = &Bytes> {
        self.outputs.iter().filter_map(|output| match output {
            LinkOutput::Transmit(packet) => Some(packet),
            _ => None,
        })
    }

    fn input(&mut self, input: LinkInput) {
        self.link.handle(input, self.now, &mut self.outputs);
    }

    fn receive(&mut self, packet: &Bytes) {
        self.heard += packet.len();
        self.input(LinkInput::Received(packet.clone()));
    }
}

fn block(frame: &Frame) -> Bytes {
    let mut out = Vec::new();
    frame.encode(&mut out).expect("within its limits");
    out.into()
}

/// Bodies one after another, each with its length in two bytes and a byte of milliseconds before it.
fn bodies() -> Seeds {
    let join = |numbers: &[u64]| -> Vec<u8> {
        let one = |number: &u64| {
            let body = body(*number).encode();
            [&(body.len() as u16).to_be_bytes()[..], &[10], &body].concat()
        };
        numbers.iter().flat_map(one).collect()
    };
    vec![join(&[1, 2, 3]), join(&[3, 1, 2, 40]), join(&[0])]
}

/// Whatever a neighbour seals: no panic, nothing after the end, no endless timers, and no flood as an answer.
fn feed_neighbour(mut bytes: &[u8]) {
    let (mut neighbour, keys) = Neighbour::new();
    neighbour.input(LinkInput::Send(vec![Frame::Route(vec![7; 5_000].into()); 4]));
    let mut number = 1;
    while let Some(([high, low, pause], tail)) = bytes.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (body, tail) = tail.split_at(length);
        bytes = tail;
        neighbour.now += u64::from(*pause);
        neighbour.receive(&keys.ours.seal(number, body));
        number += 1;
        if let Some(due) = neighbour.link.deadline().filter(|due| *due <= neighbour.now) {
            let _ = due;
            neighbour.input(LinkInput::Tick);
            assert!(neighbour.link.deadline().is_none_or(|due| due > neighbour.now), "timers without end");
        }
    }
    let end = neighbour.outputs.iter().position(|output| matches!(output, LinkOutput::Closed(_)));
    assert!(end.is_none_or(|end| end + 1 == neighbour.outputs.len()), "something follows the end");
    assert!(neighbour.transmitted().all(|packet| packet.len() <= MAX_FRAME), "a packet is too large");
    let said: usize = neighbour.transmitted().map(Bytes::len).sum();
    // 20,000 bytes are to be sent, and the neighbour may have some of it again.
    let elapsed = neighbour.now as usize;
    let bound = OWN_WORDS + 20_000 + 4 * neighbour.heard + 300 * elapsed;
    assert!(said <= bound, "{} bytes were answered with {said}", neighbour.heard);
}
