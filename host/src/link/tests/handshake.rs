use proptest::prelude::*;

use super::*;

fn a() -> LinkSetup {
    setup(1, Role::Initiator)
}

fn b() -> LinkSetup {
    setup(2, Role::Responder)
}

/// Runs both and returns why each closed, and with which code it told the other.
fn outcome(a: LinkSetup, b: LinkSetup) -> (Option<CloseReason>, Option<CloseReason>) {
    let mut pair = Pair::new(a, b);
    pair.run();
    assert!(pair.agrees());
    (pair.a.closed, pair.b.closed)
}

fn told(reason: Option<CloseReason>) -> CloseCode {
    match reason {
        Some(CloseReason::ByPeer(close)) => close.code,
        other => panic!("was not told: {other:?}"),
    }
}

#[test]
fn both_sides_prove_their_keys() {
    let pair = Pair::ready();
    assert_eq!(pair.a.ready, Some((identity(2).peer_id(), 0)));
    assert_eq!(pair.b.ready, Some((identity(1).peer_id(), 0)));
    assert_eq!(pair.a.link.peer(), Some(identity(2).peer_id()));
    assert!(pair.agrees());
}

#[test]
fn features_are_those_that_both_have() {
    let with = |setup, features| Side::with(setup, LinkConfig { features, ..LinkConfig::default() });
    let mut pair = Pair { a: with(a(), 0b0110), b: with(b(), 0b0011), now: NOW };
    pair.a.input(LinkInput::Start, NOW);
    pair.b.input(LinkInput::Start, NOW);
    pair.run();
    assert_eq!((pair.a.ready.unwrap().1, pair.b.ready.unwrap().1), (0b0010, 0b0010));
}

#[test]
fn bytes_that_overtake_the_start_start_the_link() {
    let mut pair = Pair { a: Side::new(a()), b: Side::new(b()), now: NOW };
    pair.a.input(LinkInput::Start, NOW);
    pair.run();
    pair.b.input(LinkInput::Start, NOW);
    pair.run();
    assert!(pair.agrees() && pair.a.ready.is_some());
}

#[test]
fn the_key_that_was_dialled_or_found_by_the_transport_is_accepted() {
    let a =
        LinkSetup { expected: Some(identity(2).peer_id()), proven_by_transport: Some(identity(2).peer_id()), ..a() };
    assert_eq!(outcome(a, b()), (None, None));
}

#[test]
fn another_key_than_the_dialled_one_is_refused() {
    let expected = identity(3).peer_id();
    let (ours, theirs) = outcome(LinkSetup { expected: Some(expected), ..a() }, b());
    assert_eq!(ours, Some(CloseReason::WrongPeer { expected, found: identity(2).peer_id() }));
    let Some(CloseReason::ByPeer(close)) = theirs else { panic!() };
    assert_eq!(close.code, CloseCode::WRONG_PEER);
    assert!(!close.reason.contains(&expected.short()), "tells a stranger whom we dialled");
}

#[test]
fn another_key_than_the_one_that_the_transport_proved_is_refused() {
    let proven = identity(3).peer_id();
    let (theirs, ours) = outcome(a(), LinkSetup { proven_by_transport: Some(proven), ..b() });
    assert_eq!(ours, Some(CloseReason::ContradictsTransport { proven, claimed: identity(1).peer_id() }));
    assert_eq!(told(theirs), CloseCode::WRONG_PEER);
}

#[test]
fn a_link_to_ourselves_is_closed() {
    let mut pair = Pair::new(a(), setup(1, Role::Responder));
    pair.run();
    assert_eq!(pair.a.closed, Some(CloseReason::Ourselves));
    assert!(pair.agrees());
}

#[test]
fn a_blocked_peer_is_refused_and_told_so() {
    let peer = identity(1).peer_id();
    let (theirs, ours) = outcome(a(), LinkSetup { blocked: blocking(peer), ..b() });
    assert_eq!(ours, Some(CloseReason::Blocked(peer)));
    assert_eq!(told(theirs), CloseCode::BLOCKED);
}

#[test]
fn who_claims_a_blocked_key_without_having_it_learns_nothing() {
    let mut side = Side::new(LinkSetup { blocked: blocking(identity(2).peer_id()), ..a() });
    side.input(LinkInput::Start, NOW);
    side.receive(block(&[Frame::Hello(Forger::new(2).hello), Frame::Auth([7; 64])]));
    assert!(matches!(side.closed, Some(CloseReason::AuthFailed { .. })));
}

#[test]
fn both_sides_must_see_the_same_connection() {
    let (ours, theirs) = outcome(a(), LinkSetup { binding: b"another".to_vec(), ..b() });
    let failed = |reason| matches!(reason, Some(CloseReason::AuthFailed { .. } | CloseReason::ByPeer(_)));
    assert!(failed(ours) && failed(theirs));
}

#[test]
fn a_link_has_one_side_that_dialled() {
    for role in [Role::Initiator, Role::Responder] {
        let mut pair = Pair::new(setup(1, role), setup(2, role));
        pair.run();
        assert!(matches!(pair.a.closed, Some(CloseReason::AuthFailed { .. })));
        assert!(pair.agrees());
    }
}

#[test]
fn our_hello_sent_back_is_a_link_to_ourselves() {
    let (mut side, hello) = Forger::dialled();
    side.receive(block(&[Frame::Hello(hello)]));
    assert_eq!(side.closed, Some(CloseReason::Ourselves));
}

#[test]
fn our_auth_sent_back_proves_nothing() {
    let (mut side, _) = Forger::dialled();
    side.receive(block(&[Frame::Hello(Forger::new(2).hello)]));
    let auth = side.take_sent().pop().unwrap();
    assert!(matches!(auth, Frame::Auth(_)));
    side.receive(block(&[auth]));
    assert!(matches!(side.closed, Some(CloseReason::AuthFailed { .. })));
}

#[test]
fn an_auth_made_for_us_in_the_other_role_proves_nothing() {
    let (mut side, theirs) = Forger::dialled();
    let forger = Forger::new(2);
    let auth = sign_auth(&forger.key, Role::Initiator, &theirs, &forger.hello, BINDING);
    side.receive(block(&[Frame::Hello(forger.hello), Frame::Auth(auth)]));
    assert!(matches!(side.closed, Some(CloseReason::AuthFailed { .. })));
}

#[test]
fn a_session_recorded_from_the_wire_can_not_be_played_again() {
    let mut pair = Pair::new(a(), b());
    let mut recorded = Vec::new();
    while let Some(block) = pair.b.sent.pop_front() {
        recorded.push(block.clone());
        pair.a.input(LinkInput::Received(block), NOW);
        while let Some(block) = pair.a.sent.pop_front() {
            pair.b.input(LinkInput::Received(block), NOW);
        }
    }
    assert!(pair.agrees());
    let (mut side, _) = Forger::dialled();
    for block in recorded {
        side.receive(block);
    }
    assert!(side.ready.is_none());
    assert!(matches!(side.closed, Some(CloseReason::AuthFailed { .. })));
}

#[test]
fn one_in_the_middle_who_ends_both_connections_is_found_out() {
    // Each side has its own connection with the one in the middle, so the bindings differ.
    let a = LinkSetup { binding: b"a to m".to_vec(), ..a() };
    let (ours, theirs) = outcome(a, LinkSetup { binding: b"m to b".to_vec(), ..b() });
    assert!(ours.is_some() && theirs.is_some());
}

#[test]
fn a_signature_from_another_context_proves_nothing() {
    use qpq_schemas::link::auth_message;
    use qpq_schemas::signature::Domain;
    let (mut side, theirs) = Forger::dialled();
    let forger = Forger::new(2);
    let message = auth_message(Role::Responder, &theirs, &forger.hello, BINDING);
    let auth = Frame::Auth(forger.key.sign(Domain::RECORD, &[&message]));
    side.receive(block(&[Frame::Hello(forger.hello), auth]));
    assert!(matches!(side.closed, Some(CloseReason::AuthFailed { .. })));
}

#[test]
fn a_key_of_small_order_proves_nothing() {
    for key in [[0; 32], std::array::from_fn(|i| u8::from(i == 0))] {
        let (mut side, _) = Forger::dialled();
        let hello = Hello::new(PeerId(key), [1; 32]);
        side.receive(block(&[Frame::Hello(hello), Frame::Auth([0; 64])]));
        assert!(matches!(side.closed, Some(CloseReason::AuthFailed { .. })), "{:?}", side.closed);
    }
}

#[test]
fn version_zero_is_refused_by_name() {
    let (mut side, _) = Forger::dialled();
    let mut bytes = block(&[Frame::Hello(Forger::new(2).hello)]).to_vec();
    bytes[5] = 0;
    side.receive(bytes);
    assert!(side.closed.is_some());
    assert_eq!(side.farewell().unwrap().code, CloseCode::VERSION);
}

#[test]
fn a_later_version_with_more_fields_is_spoken_to_in_ours() {
    let (mut side, theirs) = Forger::dialled();
    let mut forger = Forger::new(2);
    forger.hello = Hello { version: 9, features: u32::MAX, later: Bytes::from_static(b"more"), ..forger.hello };
    side.receive(block(&[Frame::Hello(forger.hello.clone())]));
    side.receive(block(&[forger.auth(&theirs, BINDING)]));
    assert_eq!(side.ready, Some((forger.key.public(), 0)));
}

#[test]
fn a_transport_with_tiny_frames_is_refused() {
    let tiny = LinkSetup { max_frame: 511, ..a() };
    let mut side = Side::new(tiny);
    side.input(LinkInput::Start, NOW);
    assert_eq!(side.closed, Some(CloseReason::FrameTooSmall { max_frame: 511 }));
    assert!(side.sent.is_empty());
}

#[test]
fn the_smallest_frames_are_enough() {
    let small = |setup| LinkSetup { max_frame: link::MIN_TRANSPORT_FRAME, ..setup };
    assert_eq!(outcome(small(a()), small(b())), (None, None));
}

proptest! {
    /// Whatever one bit is changed on the way, in whichever block of the handshake: nobody is ready with an altered handshake, and in
    /// the end both are ready or both have closed.
    #[test]
    fn an_altered_handshake_never_succeeds_on_one_side_only(which in 0usize..4, byte in 0usize..100, bit in 0u8..8) {
        let mut pair = Pair::new(a(), b());
        let mut count = 0;
        while !(pair.a.sent.is_empty() && pair.b.sent.is_empty()) {
            for from_a in [true, false] {
                let (from, to) = if from_a { (&mut pair.a, &mut pair.b) } else { (&mut pair.b, &mut pair.a) };
                let Some(block) = from.sent.pop_front() else { continue };
                let mut bytes = block.to_vec();
                if count == which {
                    let place = byte % bytes.len();
                    bytes[place] ^= 1 << bit;
                }
                count += 1;
                to.input(LinkInput::Received(bytes.into()), NOW);
            }
        }
        pair.until(NOW + 10 * HANDSHAKE_MS);
        prop_assert!(pair.agrees());
        prop_assert!(pair.a.closed.is_some() && pair.b.closed.is_some());
    }

    /// The same with a block lost, doubled, or cut off.
    #[test]
    fn a_lost_doubled_or_cut_block_never_leaves_one_side_alone(which in 0usize..6, cut in 0usize..100, fate in 0u8..3) {
        let mut pair = Pair::new(a(), b());
        let mut count = 0;
        while !(pair.a.sent.is_empty() && pair.b.sent.is_empty()) {
            for from_a in [true, false] {
                let (from, to) = if from_a { (&mut pair.a, &mut pair.b) } else { (&mut pair.b, &mut pair.a) };
                let Some(block) = from.sent.pop_front() else { continue };
                let copies = match fate {
                    _ if count != which => vec![block],
                    0 => vec![],
                    1 => vec![block.clone(), block],
                    _ => vec![block.slice(..cut % block.len())],
                };
                count += 1;
                copies.into_iter().for_each(|copy| to.input(LinkInput::Received(copy), NOW));
            }
        }
        pair.until(NOW + 10 * HANDSHAKE_MS);
        prop_assert!(pair.agrees());
    }
}
