use super::*;

/// After how long a silent neighbour counts as dead.
const DEAD_MS: u64 = HELLO_MS * MISSED_HELLOS + HELLO_MS / 2;

/// Ticks one side alone until that time, and drops what it sends.
fn alone(side: &mut Side, from: u64, until: u64) -> u64 {
    let mut now = from;
    while let Some(due) = side.link.deadline().filter(|due| *due <= until) {
        now = now.max(due);
        side.input(LinkInput::Tick, now);
    }
    now
}

#[test]
fn a_neighbour_that_says_nothing_is_given_up_after_five_seconds() {
    let (mut side, _) = Forger::dialled();
    let ended = alone(&mut side, NOW, NOW + 60_000);
    assert_eq!(side.closed, Some(CloseReason::HandshakeTimeout { stage: Stage::Hello }));
    assert_eq!(ended, NOW + HANDSHAKE_MS);
    assert_eq!(side.farewell().unwrap().code, CloseCode::TIMEOUT);
}

#[test]
fn a_handshake_that_stalls_half_way_is_given_up_too() {
    let (mut side, _) = Forger::dialled();
    side.input(LinkInput::Received(block(&[Frame::Hello(Forger::new(2).hello)])), NOW + 700);
    let ended = alone(&mut side, NOW + 700, NOW + 60_000);
    assert_eq!(side.closed, Some(CloseReason::HandshakeTimeout { stage: Stage::Auth }));
    assert_eq!(ended, NOW + HANDSHAKE_MS);
}

#[test]
fn an_idle_link_lives_on_a_hello_a_second() {
    let mut pair = Pair::ready();
    let before = pair.a.link.stats().frames_out;
    pair.until(NOW + 3_600_000);
    assert!(pair.agrees() && pair.a.closed.is_none());
    let sent = pair.a.link.stats().frames_out - before;
    assert!((3_000..=7_300).contains(&sent), "{sent} frames in an hour");
}

#[test]
fn a_neighbour_that_falls_silent_is_dead_after_three_hellos() {
    let mut side = Forger::trusted();
    let ended = alone(&mut side, NOW, NOW + 60_000);
    assert_eq!((side.closed.clone(), ended), (Some(CloseReason::Silent), NOW + DEAD_MS));
    assert_eq!(CloseReason::Silent.fault(), Fault::Network);
}

#[test]
fn anything_heard_is_a_sign_of_life() {
    let mut side = Forger::trusted();
    let mut now = NOW;
    for _ in 0..30 {
        now = alone(&mut side, now, now + DEAD_MS - 1);
        assert!(side.closed.is_none());
        side.input(LinkInput::Received(block(&[Frame::Route("busy".into())])), now);
    }
}

#[test]
fn a_busy_sender_needs_no_hellos_but_measures_now_and_then() {
    let mut pair = Pair::ready();
    let before = pair.b.link.stats().frames_in;
    for step in 1..=600 {
        pair.until(NOW + 100 * step);
        pair.a.input(LinkInput::Send(vec![Frame::Route("busy".into())]), pair.now);
    }
    pair.run();
    let pings = pair.b.link.stats().frames_in - before - 600;
    // Its own PINGs, every five seconds, and its answers to the idle side's, every second.
    assert!((60..=90).contains(&pings), "{pings}");
    assert!(pair.agrees() && pair.a.closed.is_none());
}

#[test]
fn the_round_trip_is_measured_and_smoothed() {
    let mut pair = Pair::ready();
    assert_eq!(pair.a.link.rtt_us(), Some(0));
    let mut side = Forger::trusted();
    let mut now = NOW;
    for _ in 0..60 {
        now = alone(&mut side, now, now + HELLO_MS);
        let Some(Frame::Ping(number)) = side.take_sent().pop() else { panic!("no PING") };
        now += 80;
        side.input(LinkInput::Received(block(&[Frame::Pong(number)])), now);
    }
    let rtt = side.link.rtt_us().unwrap();
    assert!((78_000..=80_000).contains(&rtt), "{rtt}");
    pair.run();
}

#[test]
fn the_first_measurement_counts_whole_and_later_ones_an_eighth() {
    let (mut side, theirs) = Forger::dialled();
    let forger = Forger::new(2);
    side.receive(block(&[Frame::Hello(forger.hello.clone()), forger.auth(&theirs, BINDING)]));
    let Some(Frame::Ping(number)) = side.take_sent().pop() else { panic!("no PING right after the handshake") };
    side.input(LinkInput::Received(block(&[Frame::Pong(number)])), NOW + 160);
    assert_eq!(side.link.rtt_us(), Some(160_000));
    alone(&mut side, NOW + 160, NOW + HELLO_MS);
    let Some(Frame::Ping(number)) = side.take_sent().pop() else { panic!("no PING") };
    side.input(LinkInput::Received(block(&[Frame::Pong(number)])), NOW + HELLO_MS + 80);
    assert_eq!(side.link.rtt_us(), Some(150_000));
}

#[test]
fn a_clock_that_leaps_kills_no_link() {
    let mut pair = Pair::ready();
    let year = 365 * 24 * 3_600_000;
    for now in [NOW + year, NOW, 5, u64::MAX, NOW] {
        pair.now = now;
        pair.a.input(LinkInput::Tick, now);
        pair.b.input(LinkInput::Tick, now);
        pair.run();
        assert!(pair.a.closed.is_none() && pair.b.closed.is_none(), "at {now}");
    }
    pair.until(NOW + 20_000);
    assert!(pair.agrees() && pair.a.closed.is_none());
}

#[test]
fn a_block_that_is_begun_and_not_finished_closes_the_link() {
    use qpq_schemas::link::Fragment;
    let mut side = Forger::trusted();
    let piece = |index| block(&[Frame::Fragment(Fragment { message: 1, index, count: 4096, bytes: "x".into() })]);
    let mut now = NOW;
    for index in 0..4000 {
        side.input(LinkInput::Received(piece(index)), now);
        now = alone(&mut side, now, now + 1_000);
        side.sent.clear();
        if side.closed.is_some() {
            break;
        }
    }
    assert_eq!(side.closed, Some(CloseReason::Stalled));
    assert!(now <= NOW + REASSEMBLY_MS + 1_000);
}

#[test]
fn every_ping_is_answered_with_its_number() {
    let mut side = Forger::trusted();
    side.receive(block(&[Frame::Ping(7), Frame::Ping(u64::MAX)]));
    assert_eq!(side.take_sent(), [Frame::Pong(7), Frame::Pong(u64::MAX)]);
}

#[test]
fn too_many_pings_close_the_link() {
    let mut side = Forger::trusted();
    for number in 0..1000 {
        side.receive(block(&[Frame::Ping(number)]));
    }
    assert_eq!(side.closed, Some(CloseReason::Violation(Violation::PingFlood)));
    assert_eq!(side.take_sent().len(), 21);
}

#[test]
fn five_pings_a_second_are_fine() {
    let mut side = Forger::trusted();
    for number in 0..1000 {
        side.input(LinkInput::Received(block(&[Frame::Ping(number)])), NOW + 200 * number);
        side.sent.clear();
    }
    assert_eq!(side.closed, None);
}

#[test]
fn a_pong_to_no_ping_changes_nothing() {
    let mut side = Forger::trusted();
    let before = side.link.rtt_us();
    side.receive(block(&[Frame::Pong(12345)]));
    assert_eq!((side.link.rtt_us(), side.closed.clone()), (before, None));
    assert_eq!(side.link.stats().errors, 1);
}

#[test]
fn a_neighbour_that_moves_is_believed_once_and_not_at_once() {
    let mut pair = Pair::ready();
    let say = |pair: &mut Pair, port| {
        let now = pair.now;
        pair.a.input(LinkInput::Move(port), now);
        pair.run();
    };
    say(&mut pair, 7_001);
    assert!(pair.b.moving.is_empty(), "else it could have itself dialled without end");
    pair.until(NOW + BELIEVED_AFTER_MS);
    say(&mut pair, 7_002);
    say(&mut pair, 7_003);
    assert_eq!(pair.b.moving, [7_002]);
    assert!(pair.agrees() && pair.b.closed.is_none());
}

#[test]
fn a_link_that_is_not_up_moves_nowhere() {
    let (mut side, _) = Forger::dialled();
    side.input(LinkInput::Move(7_001), NOW);
    assert!(side.take_sent().is_empty());
}

#[test]
fn a_node_that_is_busy_is_heard_and_holds_nobody_for_dead() {
    let (mut busy, mut other) = (Pair::ready().a, Pair::ready().b);
    busy.take_sent();
    for now in (NOW..NOW + 10 * DEAD_MS).step_by(100) {
        busy.input(LinkInput::Busy, now);
        busy.sent.drain(..).for_each(|block| other.input(LinkInput::Received(block), now));
        other.input(LinkInput::Tick, now);
    }
    assert!(busy.closed.is_none() && other.closed.is_none(), "{:?}, {:?}", busy.closed, other.closed);
    alone(&mut busy, NOW + 10 * DEAD_MS, NOW + 12 * DEAD_MS);
    assert_eq!(busy.closed, Some(CloseReason::Silent), "a neighbour that sends nothing is dead all the same");
}
