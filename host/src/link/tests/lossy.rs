//! Two links over a path that loses, doubles and reorders, in virtual time.

mod path;

use qpq_schemas::envelope::OVERHEAD;

use super::*;
use path::{Impairment, Path};

/// The frames of the transport, as those of UDP over any path.
const FRAME: usize = 1_200;

/// Envelopes of each run, and their size in bytes.
const MESSAGES: usize = 1_000;
const SIZE: usize = 1_000;

fn unreliable(n: u8, role: Role) -> LinkSetup {
    LinkSetup { reliable: false, max_frame: FRAME, binding: Vec::new(), ..setup(n, role) }
}

/// What a run came to.
#[derive(Debug)]
struct Run {
    /// Milliseconds until all had arrived.
    took_ms: u64,
    /// Bytes that both sides gave to their transports, to those of the envelopes, in percent.
    sent_percent: u64,
    loss_ppm: u32,
}

/// Two links with a path in each direction.
struct World {
    a: Side,
    b: Side,
    there: Path,
    back: Path,
    now: u64,
    bytes: u64,
}

impl World {
    fn new(impairment: Impairment, seed: u64) -> Self {
        let mut world = Self {
            a: Side::new(unreliable(1, Role::Initiator)),
            b: Side::new(unreliable(2, Role::Responder)),
            there: Path::new(impairment, seed),
            back: Path::new(impairment, !seed),
            now: NOW,
            bytes: 0,
        };
        world.a.input(LinkInput::Start, NOW);
        world.b.input(LinkInput::Start, NOW);
        world.collect();
        world
    }

    /// Puts what both have sent onto the path.
    fn collect(&mut self) {
        for (side, path) in [(&mut self.a, &mut self.there), (&mut self.b, &mut self.back)] {
            for packet in side.sent.drain(..) {
                assert!(packet.len() <= FRAME, "a frame of {} bytes", packet.len());
                self.bytes += packet.len() as u64;
                path.send(packet, self.now);
            }
        }
    }

    /// Goes on to the next thing that happens; `false` when that is after `until`.
    fn step(&mut self, until: u64) -> bool {
        let timers = [self.a.link.deadline(), self.b.link.deadline(), self.there.next(), self.back.next()];
        let Some(next) = timers.into_iter().flatten().min().filter(|next| *next <= until) else { return false };
        self.now = self.now.max(next);
        let (now, there, back) = (self.now, self.there.arrived(self.now), self.back.arrived(self.now));
        for (side, packets) in [(&mut self.b, there), (&mut self.a, back)] {
            for packet in packets {
                side.input(LinkInput::Received(packet), now);
            }
            if side.link.deadline().is_some_and(|due| due <= now) {
                side.input(LinkInput::Tick, now);
                assert!(side.link.deadline().is_none_or(|due| due > now), "it wants to be ticked without end");
            }
        }
        self.collect();
        true
    }

    fn until(&mut self, until: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        while !done(self) {
            if !self.step(until) {
                return false;
            }
        }
        true
    }

    fn ready(&mut self) -> bool {
        self.a.ready.is_some() && self.b.ready.is_some()
    }

    /// Both ends of a link that is up.
    fn linked(impairment: Impairment, seed: u64) -> Self {
        let mut world = Self::new(impairment, seed);
        assert!(world.until(NOW + HANDSHAKE_MS, Self::ready), "no handshake with seed {seed}");
        world
    }

    /// Has A send all envelopes as fast as its link takes them, until B has them.
    fn deliver(&mut self, envelopes: &[Bytes]) -> Option<u64> {
        let (mut queue, began) = (envelopes.iter().cloned(), self.now);
        let arrived = self.until(began + 60_000, |world| {
            while world.a.link.has_room() {
                let Some(one) = queue.next() else { break };
                world.a.input(LinkInput::Send(vec![Frame::Envelopes(vec![one])]), world.now);
                world.collect();
            }
            assert_eq!((&world.a.closed, &world.b.closed), (&None, &None), "at {} ms", world.now - NOW);
            received(&world.b).len() >= envelopes.len()
        });
        arrived.then(|| self.now - began)
    }
}

fn received(side: &Side) -> Vec<Bytes> {
    let each = |frame: &Frame| match frame {
        Frame::Envelopes(list) => list.clone(),
        _ => Vec::new(),
    };
    side.frames.iter().flat_map(each).collect()
}

fn envelopes(count: usize, size: usize) -> Vec<Bytes> {
    (0..count).map(|n| Bytes::from([&n.to_be_bytes()[..], &vec![7; size.max(OVERHEAD) - 8]].concat())).collect()
}

fn run(impairment: Impairment, seed: u64) -> Run {
    let mut world = World::linked(impairment, seed);
    let sent = envelopes(MESSAGES, SIZE);
    let took_ms = world.deliver(&sent).unwrap_or_else(|| {
        panic!("{} of {MESSAGES} in a minute, seed {seed}, {impairment:?}", received(&world.b).len())
    });
    let later = world.now + 2_000;
    world.until(later, |_| false); // nothing comes twice, either
    assert!(received(&world.b) == sent, "not the same, in order and once: seed {seed}, {impairment:?}");
    let loss_ppm = world.a.link.reliable.as_ref().and_then(|reliable| reliable.measured()).map_or(0, |(_, loss)| loss);
    Run { took_ms, sent_percent: world.bytes * 100 / (MESSAGES * SIZE) as u64, loss_ppm }
}

#[test]
fn a_thousand_messages_arrive_once_whatever_the_path_does() {
    for loss_percent in [0, 1, 5, 12, 25, 30] {
        for seed in 0..4 {
            let run = run(Impairment { loss_percent, ..Impairment::BAD }, seed);
            println!("{loss_percent:>3} % lost: {run:?}");
            assert!(run.sent_percent <= 300, "{run:?}");
        }
    }
}
