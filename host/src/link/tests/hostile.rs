use proptest::prelude::*;
use qpq_schemas::link::{Fragment, Place, Reconcile, SubscriptionChange, Sync, Tree};

use super::*;

/// A link of node 1 in each stage that a neighbour can find it in.
fn at_every_stage() -> [Side; 3] {
    let (hello, _) = Forger::dialled();
    let (mut auth, _) = Forger::dialled();
    auth.receive(block(&[Frame::Hello(Forger::new(2).hello)]));
    auth.sent.clear();
    [hello, auth, Forger::trusted()]
}

fn one_of_each() -> Vec<Frame> {
    vec![
        Frame::Hello(Forger::new(2).hello),
        Frame::Auth([1; 64]),
        Frame::Envelopes(vec![vec![1; 200].into()]),
        Frame::Custody(Vec::new()),
        Frame::Subscriptions(SubscriptionChange::Set, Vec::new()),
        Frame::Route("r".into()),
        Frame::Sync(Sync::Have(Vec::new())),
        Frame::Records(Vec::new()),
        Frame::Ping(1),
        Frame::Pong(1),
        Frame::Fragment(Fragment { message: 0, index: 0, count: 1, bytes: "x".into() }),
        Frame::Moving(7_001),
        Frame::Tree(Tree::Prune),
        Frame::Reconcile(Reconcile { session: 1, opener: true, from: Place::START, ranges: Vec::new() }),
        Frame::Optional(200, "later".into()),
    ]
}

#[test]
fn nothing_but_hello_and_auth_is_taken_from_a_stranger() {
    for (index, frame) in one_of_each().into_iter().enumerate() {
        let [mut hello, mut auth, _] = at_every_stage();
        hello.receive(block(std::slice::from_ref(&frame)));
        auth.receive(block(std::slice::from_ref(&frame)));
        let refused = |side: &Side| matches!(side.closed, Some(CloseReason::Violation(Violation::Unexpected { .. })));
        assert_eq!(refused(&hello), index != 0, "{frame:?}: {:?}", hello.closed);
        assert_eq!(refused(&auth), index != 1, "{frame:?}: {:?}", auth.closed);
        assert!(hello.ready.is_none() && auth.ready.is_none());
    }
}

#[test]
fn the_key_can_not_be_changed_in_mid_session() {
    for frame in [Frame::Hello(Forger::new(3).hello), Frame::Auth([1; 64])] {
        let mut side = Forger::trusted();
        side.receive(block(&[frame]));
        let stage = Stage::Ready;
        assert!(
            matches!(side.closed, Some(CloseReason::Violation(Violation::Unexpected { stage: s, .. })) if s == stage)
        );
    }
}

#[test]
fn frames_behind_a_bad_auth_are_not_looked_at() {
    let (mut side, _) = Forger::dialled();
    side.receive(block(&[Frame::Hello(Forger::new(2).hello), Frame::Auth([1; 64]), Frame::Route("r".into())]));
    assert!(side.frames.is_empty() && side.ready.is_none());
    assert!(matches!(side.closed, Some(CloseReason::AuthFailed { .. })));
}

#[test]
fn what_was_good_before_the_garbage_counts_and_what_comes_after_does_not() {
    let mut side = Forger::trusted();
    let good = block(&[Frame::Route("good".into())]);
    side.receive([&good[..], b"\0\0\0\x01\x7f", &good].concat());
    assert_eq!(side.frames, [Frame::Route("good".into())]);
    assert_eq!(side.farewell().unwrap().code, CloseCode::PROTOCOL);
}

#[test]
fn lengths_that_lie_close_the_link_at_every_stage() {
    let lies: [&[u8]; 8] = [
        b"",
        b"\0",
        b"\0\0\0\0\x01",
        b"\xff\xff\xff\xff\x01",
        b"\xff\xff\xff\xff\x03",
        b"\x7f\xff\xff\xff\x06abc",
        b"\0\0\0\x09\x09\0",
        b"\0\0\0\x02\0\0",
    ];
    for lie in lies {
        for mut side in at_every_stage() {
            side.receive(Bytes::from_static(lie));
            assert!(matches!(side.closed, Some(CloseReason::Violation(_))), "{lie:?}: {:?}", side.closed);
            assert_eq!(side.closed.as_ref().unwrap().fault(), Fault::Peer);
        }
    }
}

#[test]
fn a_block_over_the_limit_closes_the_link() {
    for mut side in at_every_stage() {
        side.receive(vec![0; MAX_BLOCK + 1]);
        assert_eq!(side.closed, Some(CloseReason::Violation(Violation::BlockTooLarge { len: MAX_BLOCK + 1 })));
    }
}

#[test]
fn hello_and_auth_cut_off_at_every_byte_are_refused() {
    let (_, theirs) = Forger::dialled();
    let forger = Forger::new(2);
    let hello = block(&[Frame::Hello(forger.hello.clone())]);
    let auth = block(&[forger.auth(&theirs, BINDING)]);
    for end in 1..hello.len() {
        let (mut side, _) = Forger::dialled();
        side.receive(hello.slice(..end));
        assert!(matches!(side.closed, Some(CloseReason::Violation(_))), "HELLO cut at {end}");
    }
    for end in 1..auth.len() {
        let [_, mut side, _] = at_every_stage();
        side.receive(auth.slice(..end));
        assert!(matches!(side.closed, Some(CloseReason::Violation(_))), "AUTH cut at {end}");
    }
}

#[test]
fn every_frame_cut_off_at_every_byte_is_refused() {
    for frame in one_of_each() {
        let whole = block(&[frame]);
        for end in 1..whole.len() {
            let mut side = Forger::trusted();
            side.receive(whole.slice(..end));
            assert!(side.closed.is_some() && side.frames.is_empty());
        }
    }
}

#[test]
fn a_good_signature_of_another_key_proves_nothing() {
    let (mut side, theirs) = Forger::dialled();
    let claimed = Forger::new(2);
    let forger = Forger { key: SigningKey::from_seed(&[3; 32]), hello: claimed.hello.clone() };
    side.receive(block(&[Frame::Hello(claimed.hello), forger.auth(&theirs, BINDING)]));
    assert!(matches!(side.closed, Some(CloseReason::AuthFailed { claimed, .. }) if claimed == identity(2).peer_id()));
    assert_eq!(side.farewell().unwrap().code, CloseCode::AUTH_FAILED);
}

#[test]
fn frames_of_every_type_without_a_body_do_no_harm() {
    for kind in 0..=255u8 {
        for mut side in at_every_stage() {
            let stranger = side.ready.is_none();
            side.receive(vec![0, 0, 0, 1, kind]);
            assert!(side.closed.is_some() || !stranger, "type {kind} was taken from a stranger");
            let empty = |frame: &Frame| match frame {
                Frame::Envelopes(list) | Frame::Records(list) => list.is_empty(),
                Frame::Custody(list) => list.is_empty(),
                Frame::Route(bytes) => bytes.is_empty(),
                _ => false,
            };
            assert!(side.frames.iter().all(empty), "type {kind}: {:?}", side.frames);
        }
    }
}

#[test]
fn fifty_thousand_ids_in_one_frame_close_the_link() {
    for (kind, head, item) in [(4u8, 0usize, 35usize), (5, 1, 32), (7, 1, 32)] {
        let body = vec![0; head + 50_000 * item];
        let len = u32::try_from(body.len() + 1).unwrap().to_be_bytes();
        // In one block where it fits, and in pieces.
        let whole = Bytes::from([&len[..], &[kind], &body].concat());
        let mut side = Forger::trusted();
        let pieces = whole.chunks(MAX_BLOCK / 4);
        let count = u16::try_from(pieces.len()).unwrap();
        for (index, bytes) in (0..count).zip(pieces) {
            side.receive(block(&[Frame::Fragment(Fragment {
                message: 1,
                index,
                count,
                bytes: whole.slice_ref(bytes),
            })]));
        }
        let mut at_once = Forger::trusted();
        at_once.receive(whole.clone());
        for side in [side, at_once] {
            assert!(side.frames.is_empty() && matches!(side.closed, Some(CloseReason::Violation(_))), "type {kind}");
        }
    }
}

#[test]
fn envelopes_with_lengths_that_lie_close_the_link() {
    for len in [0u32, 1, 156, 158, u32::MAX] {
        let body = [&len.to_be_bytes()[..], &[1; 157]].concat();
        let frame_len = u32::try_from(body.len() + 1).unwrap().to_be_bytes();
        let mut side = Forger::trusted();
        side.receive([&frame_len[..], &[3], &body].concat());
        assert!(side.frames.is_empty() && matches!(side.closed, Some(CloseReason::Violation(_))), "length {len}");
    }
}

#[test]
fn a_stranger_gets_little_more_than_it_gives() {
    let hello = block(&[Frame::Hello(Forger::new(2).hello)]);
    let auth = block(&[Frame::Auth([1; 64])]);
    let (mut side, _) = Forger::dialled();
    side.receive(hello.clone());
    side.receive(auth.clone());
    assert!(side.closed.is_some());
    let sent = side.link.stats().bytes_out;
    assert!(sent <= 3 * (hello.len() + auth.len()) as u64, "{sent} bytes to a stranger");
}

#[test]
fn an_announced_size_takes_no_memory() {
    let mut side = Forger::trusted();
    side.receive(block(&[Frame::Fragment(Fragment { message: 0, index: 0, count: 4096, bytes: "x".into() })]));
    assert!(side.link.reassembly.held() <= 64, "{} bytes held for one", side.link.reassembly.held());
}

#[test]
fn an_unknown_optional_frame_is_skipped_and_an_unknown_other_one_is_not() {
    let mut side = Forger::trusted();
    side.receive(block(&[Frame::Optional(255, "later".into()), Frame::Route("r".into())]));
    assert_eq!(side.frames, [Frame::Route("r".into())]);
    side.receive(Bytes::from_static(b"\0\0\0\x01\x50"));
    assert!(matches!(side.closed, Some(CloseReason::Violation(Violation::Frame(FrameError::UnknownType(0x50))))));
}

#[test]
fn a_farewell_is_not_answered_and_its_text_is_harmless() {
    for mut side in at_every_stage() {
        let reason = "\x1b[2Jbye\r\n\u{202e}".to_owned();
        side.receive(block(&[Frame::Close(Close { code: CloseCode(999), reason })]));
        let text = side.closed.as_ref().unwrap().to_string();
        assert!(text.contains("bye") && !text.chars().any(char::is_control) && !text.contains('\u{202e}'));
        assert!(side.sent.is_empty());
    }
}

#[test]
fn after_the_end_there_is_nothing_more() {
    for mut side in at_every_stage() {
        side.input(LinkInput::Close(CloseReason::going_away("done")), NOW);
        side.sent.clear();
        for frame in one_of_each() {
            side.receive(block(std::slice::from_ref(&frame)));
            side.input(LinkInput::Send(vec![frame]), NOW);
        }
        side.input(LinkInput::Start, NOW);
        side.input(LinkInput::Tick, NOW + 60_000);
        side.input(LinkInput::Close(CloseReason::going_away("again")), NOW);
        assert!(side.sent.is_empty() && side.frames.is_empty());
    }
}

#[test]
fn five_thousand_half_open_links_are_small_and_all_end() {
    let mut sides: Vec<_> = (0..5_000)
        .map(|_| Link::new(setup(1, Role::Responder), LinkConfig::default(), NOW, &mut rand::rng()))
        .collect();
    assert!(size_of::<Link>() + size_of::<Handshake>() < 2_048);
    let mut out = Vec::new();
    for second in 0..6 {
        out.clear();
        sides.iter_mut().for_each(|link| link.handle(LinkInput::Tick, NOW + 1_000 * second, &mut out));
    }
    assert!(sides.iter().all(|link| link.deadline().is_none()));
}

#[test]
fn every_reason_has_a_code_and_a_text_that_fits_a_frame() {
    let peer = PeerId([0xab; 32]);
    let reasons = [
        CloseReason::Ourselves,
        CloseReason::Blocked(peer),
        CloseReason::Version { theirs: 0, ours: 1 },
        CloseReason::WrongPeer { expected: peer, found: peer },
        CloseReason::ContradictsTransport { proven: peer, claimed: peer },
        CloseReason::AuthFailed { claimed: peer, error: qpq_schemas::signature::SignatureError::Invalid },
        CloseReason::HandshakeTimeout { stage: Stage::Hello },
        CloseReason::Silent,
        CloseReason::Stalled,
        Violation::PingFlood.into(),
        Violation::EmptyBlock.into(),
        CloseReason::going_away("ä".repeat(400)),
    ];
    for reason in reasons {
        let mut side = Forger::trusted();
        side.input(LinkInput::Close(reason.clone()), NOW);
        let close = side.farewell().unwrap_or_else(|| panic!("{reason:?} was not told"));
        assert!(!close.reason.is_empty() && !reason.code().is_empty());
    }
}

proptest! {
    /// Arbitrary bytes at any stage, in any order with time going by: no panic, and a stranger never becomes a neighbour.
    #[test]
    fn arbitrary_bytes_do_no_harm(
        stage in 0usize..3,
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
    ) {
        let mut side = at_every_stage().into_iter().nth(stage).unwrap();
        for (now, bytes) in blocks.into_iter().enumerate() {
            side.input(LinkInput::Received(bytes.into()), NOW + 100 * now as u64);
            side.input(LinkInput::Tick, NOW + 100 * now as u64);
        }
        prop_assert_eq!(side.ready.is_some(), stage == 2);
    }

    /// The same with frames that are whole but for their bodies, so that the bytes come further in.
    #[test]
    fn arbitrary_bodies_do_no_harm(
        stage in 0usize..3,
        frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..200)), 0..20),
    ) {
        let mut side = at_every_stage().into_iter().nth(stage).unwrap();
        for (kind, body) in frames {
            let len = u32::try_from(body.len() + 1).unwrap().to_be_bytes();
            side.receive([&len[..], &[kind % 14], &body].concat());
        }
        prop_assert_eq!(side.ready.is_some(), stage == 2);
    }

    /// Any frames in any order with any clock.
    #[test]
    fn any_order_of_inputs_does_no_harm(
        stage in 0usize..3,
        steps in prop::collection::vec((0usize..16, any::<u64>()), 0..40),
    ) {
        let mut side = at_every_stage().into_iter().nth(stage).unwrap();
        let frames = one_of_each();
        for (step, now) in steps {
            let input = match frames.get(step) {
                Some(frame) => LinkInput::Received(block(std::slice::from_ref(frame))),
                None if step == 12 => LinkInput::Start,
                None if step == 13 => LinkInput::Send(frames.clone()),
                None => LinkInput::Tick,
            };
            side.input(input, now);
        }
        prop_assert_eq!(side.ready.is_some(), stage == 2);
    }
}
