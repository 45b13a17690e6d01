//! Two links over a path that loses, doubles and reorders, in virtual time.

mod path;

use proptest::prelude::*;
use qpq_schemas::envelope::OVERHEAD;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

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
                path.send(&packet, self.now);
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

/// The table of `host/docs/links.md`.
#[test]
#[allow(clippy::print_stdout, reason = "the figures for the table, with --nocapture")]
fn a_thousand_messages_arrive_once_whatever_the_path_does() {
    for loss_percent in [0, 1, 5, 12, 25, 30] {
        let runs: Vec<Run> = (0..2).map(|seed| run(Impairment { loss_percent, ..Impairment::BAD }, seed)).collect();
        let worst = |figure: fn(&Run) -> u64| runs.iter().map(figure).max().unwrap_or_default();
        let (took_ms, sent, loss) =
            (worst(|run| run.took_ms), worst(|run| run.sent_percent), worst(|run| run.loss_ppm.into()));
        println!("| {loss_percent} % | {MESSAGES} | {took_ms} ms | {} | {} % |", sent as f64 / 100.0, loss / 10_000);
        assert!(runs.iter().all(|run| run.sent_percent <= 200 && run.took_ms < 15_000), "{runs:?}");
    }
}

#[test]
fn a_path_that_loses_nothing_costs_little_and_is_filled() {
    let run = run(Impairment::NONE, 1);
    assert!(run.sent_percent <= 112 && run.took_ms < 1_000 && run.loss_ppm == 0, "{run:?}");
}

/// 1 MB/s, and a queue of a tenth of a second before it: what overflows is lost by the sender's own fault.
const NARROW: Option<(u64, u64)> = Some((1_000_000, 100_000));

#[test]
fn a_narrow_path_is_filled_and_not_flooded() {
    let mut world = World::linked(Impairment { rate: NARROW, ..Impairment::NONE }, 1);
    let took_ms = world.deliver(&envelopes(2_000, SIZE)).expect("all within a minute");
    // 2 MB at 1 MB/s, and what the packets add.
    assert!(took_ms < 3_500, "{took_ms} ms");
    assert!(world.bytes < 2_700_000, "{} bytes, {} dropped", world.bytes, world.there.dropped_by_queue);
}

#[test]
fn a_narrow_path_that_also_loses_a_third_still_moves() {
    let impairment = Impairment { rate: NARROW, loss_percent: 30, ..Impairment::BAD };
    let mut world = World::linked(impairment, 1);
    let took_ms = world.deliver(&envelopes(MESSAGES, SIZE)).expect("all within a minute");
    // Not below a quarter of what can go through, and not more than three times what must.
    assert!(took_ms < 4 * 1_000 * 10 / 7, "{took_ms} ms");
    assert!(world.bytes < 3_000_000, "{} bytes", world.bytes);
}

#[test]
fn large_envelopes_go_in_pieces() {
    let mut world = World::linked(Impairment { loss_percent: 12, ..Impairment::BAD }, 5);
    let sent = envelopes(5, 60_000);
    assert!(world.deliver(&sent).is_some() && received(&world.b) == sent);
}

#[test]
fn an_idle_link_lives_on_however_bad_the_path_is() {
    for seed in 0..3 {
        let mut world = World::linked(Impairment { loss_percent: 30, ..Impairment::BAD }, seed);
        let before = world.bytes;
        world.until(NOW + 300_000, |world| world.a.closed.is_some() || world.b.closed.is_some());
        assert_eq!((&world.a.closed, &world.b.closed), (&None, &None), "seed {seed}, {} ms", world.now - NOW);
        let rate = (world.bytes - before) / 300;
        assert!(rate < 2_000, "{rate} bytes a second for nothing");
    }
}

#[test]
fn a_dead_path_is_noticed_in_time_and_not_flooded() {
    let mut world = World::linked(Impairment::BAD, 3);
    let frames = envelopes(300, SIZE).into_iter().map(|one| Frame::Envelopes(vec![one])).collect();
    world.a.input(LinkInput::Send(frames), world.now);
    let (cut_at, before) = (world.now, world.bytes);
    world.there = Path::new(Impairment { loss_percent: 99, burst: 1e9, ..Impairment::BAD }, 1);
    world.back = Path::new(Impairment { loss_percent: 99, burst: 1e9, ..Impairment::BAD }, 1);
    (world.there.losing, world.back.losing) = (true, true);
    assert!(world.until(NOW + 60_000, |world| world.a.closed.is_some() && world.b.closed.is_some()));
    assert_eq!(world.a.closed, Some(CloseReason::Silent));
    let took_ms = world.now - cut_at;
    assert!((2_000..=4_000).contains(&took_ms), "{took_ms} ms");
    assert!(world.bytes - before < 100_000, "{} bytes into the void", world.bytes - before);
}

#[test]
fn a_close_is_heard_at_once_where_one_of_three_packets_arrives() {
    let mut world = World::linked(Impairment::BAD, 3);
    world.a.input(LinkInput::Close(CloseReason::going_away("enough")), world.now);
    world.collect();
    assert!(world.until(world.now + 60, |world| world.b.closed.is_some()));
    assert!(matches!(world.b.closed, Some(CloseReason::ByPeer(_))), "{:?}", world.b.closed);
}

#[test]
fn strangers_change_nothing_whatever_they_send() {
    let mut world = World::new(Impairment::BAD, 1);
    let mut others = World::linked(Impairment::NONE, 2);
    let other_packets: Vec<Bytes> = others.there.everything().chain(others.back.everything()).collect();
    let mut rng = StdRng::seed_from_u64(4);
    for round in 0..300u32 {
        let random: Vec<u8> = (0..rng.random_range(0..400)).map(|_| rng.random()).collect();
        let kinds = [[&[1][..], &random].concat(), [&[2][..], &random].concat(), random.clone()];
        for packet in kinds.into_iter().map(Bytes::from).chain(other_packets.iter().cloned()) {
            world.a.input(LinkInput::Received(packet.clone()), world.now);
            world.b.input(LinkInput::Received(packet), world.now);
        }
        world.collect();
        world.until(world.now + 5, |_| false);
        assert_eq!((&world.a.closed, &world.b.closed), (&None, &None), "round {round}");
    }
    assert!(world.until(NOW + HANDSHAKE_MS, World::ready));
    let sent = envelopes(50, SIZE);
    assert!(world.deliver(&sent).is_some() && received(&world.b) == sent);
}

#[test]
fn a_recorded_conversation_that_is_played_again_changes_nothing() {
    let mut world = World::linked(Impairment::NONE, 1);
    world.there.record = Some(Vec::new());
    let sent = envelopes(100, SIZE);
    world.deliver(&sent).expect("delivered");
    let recorded = world.there.record.take().expect("a record");
    let before = (world.b.link.stats().frames_in, world.bytes);
    for packet in recorded {
        world.b.input(LinkInput::Received(packet), world.now);
    }
    world.collect();
    assert_eq!((world.b.link.stats().frames_in, world.bytes), before);
}

#[test]
fn a_node_that_dials_itself_is_told_so() {
    let mut world = World::new(Impairment::NONE, 1);
    world.b = Side::new(LinkSetup { identity: identity(1), ..unreliable(2, Role::Responder) });
    world.b.input(LinkInput::Start, NOW);
    world.collect();
    assert!(world.until(NOW + 1_000, |world| world.a.closed.is_some() && world.b.closed.is_some()));
    assert_eq!(world.a.closed, Some(CloseReason::Ourselves));
}

#[test]
fn whom_the_admin_blocked_gets_no_further_and_is_told() {
    let mut world = World::new(Impairment::NONE, 1);
    let blocked = blocking(identity(1).peer_id());
    world.b = Side::new(LinkSetup { blocked, ..unreliable(2, Role::Responder) });
    world.b.input(LinkInput::Start, NOW);
    world.collect();
    assert!(world.until(NOW + 1_000, |world| world.a.closed.is_some() && world.b.closed.is_some()));
    assert!(matches!(world.b.closed, Some(CloseReason::Blocked(_))), "{:?}", world.b.closed);
    assert!(matches!(&world.a.closed, Some(CloseReason::ByPeer(close)) if close.code == CloseCode::BLOCKED));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// For any path that lets something through.
    #[test]
    fn everything_arrives_in_order_and_once(
        loss_percent in 0u32..=50, burst in 1.0f64..12.0, doubled_percent in 0u32..=50, reordered_percent in 0u32..=100,
        delay_ms in 0u64..300, seed in any::<u64>(), sizes in proptest::collection::vec(0usize..5_000, 1..40),
    ) {
        let impairment = Impairment { loss_percent, burst, doubled_percent, reordered_percent, delay_ms, rate: None };
        let mut world = World::new(impairment, seed);
        // A long blackout may end the handshake or the link; then nothing wrong may have come out of it.
        if world.until(NOW + HANDSHAKE_MS, World::ready) {
            let frames: Vec<Bytes> = sizes.iter().flat_map(|size| envelopes(1, *size)).collect();
            world.a.input(LinkInput::Send(frames.iter().map(|one| Frame::Envelopes(vec![one.clone()])).collect()), world.now);
            world.collect();
            let ended = |world: &mut World| world.a.closed.is_some() || received(&world.b).len() >= frames.len();
            world.until(NOW + 120_000, ended);
            let came = received(&world.b);
            prop_assert!(frames.starts_with(&came), "something else came");
            prop_assert!(came.len() == frames.len() || world.a.closed.is_some() || world.b.closed.is_some());
            let fine = |closed: &Option<CloseReason>| closed.as_ref().is_none_or(|why| why.fault() != Fault::Peer);
            prop_assert!(fine(&world.a.closed) && fine(&world.b.closed), "{:?} {:?}", world.a.closed, world.b.closed);
        }
    }
}
