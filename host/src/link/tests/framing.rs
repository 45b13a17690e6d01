use proptest::prelude::*;
use qpq_schemas::envelope::OVERHEAD;
use qpq_schemas::link::{Answer, Fragment, MAX_ENVELOPES, MAX_ENVELOPES_BODY, SubscriptionChange, Sync, Verdict};
use qpq_schemas::{MessageId, TopicId};

use super::*;

fn envelope(len: usize, fill: u8) -> Bytes {
    vec![fill; len.max(OVERHEAD)].into()
}

fn send(pair: &mut Pair, frames: Vec<Frame>) {
    pair.a.input(LinkInput::Send(frames), pair.now);
}

/// Two ready sides over a transport with frames of that size.
fn pair(max_frame: usize) -> Pair {
    let with = |n, role| LinkSetup { max_frame, ..setup(n, role) };
    let mut pair = Pair::new(with(1, Role::Initiator), with(2, Role::Responder));
    pair.run();
    assert!(pair.agrees());
    pair
}

/// Envelopes may come in other batches than they were sent in; all else comes as it was.
fn flat(frames: &[Frame]) -> Vec<Frame> {
    let each = |frame: &Frame| match frame {
        Frame::Envelopes(list) => list.iter().map(|one| Frame::Envelopes(vec![one.clone()])).collect(),
        other => vec![other.clone()],
    };
    frames.iter().flat_map(each).collect()
}

#[test]
fn small_frames_share_a_block() {
    let mut pair = pair(MAX_FRAME);
    let frames: Vec<_> = (0..20).map(|n| Frame::Route(vec![n; 50].into())).collect();
    send(&mut pair, frames.clone());
    assert_eq!(pair.a.sent.len(), 1);
    pair.run();
    assert_eq!(pair.b.frames, frames);
}

#[test]
fn a_batch_of_envelopes_fills_blocks_and_is_not_cut() {
    let mut pair = pair(MAX_FRAME);
    let envelopes: Vec<_> = (0..100).map(|n| envelope(400, n)).collect();
    send(&mut pair, vec![Frame::Envelopes(envelopes.clone())]);
    assert_eq!(pair.a.sent.len(), 100usize.div_ceil(MAX_FRAME / 404));
    assert!(!pair.a.sent.iter().cloned().flat_map(unpack).any(|frame| matches!(frame, Ok(Frame::Fragment(_)))));
    pair.run();
    assert_eq!(flat(&pair.b.frames), flat(&[Frame::Envelopes(envelopes)]));
    assert_eq!((pair.a.link.stats().envelopes_out, pair.b.link.stats().envelopes_in), (100, 100));
}

#[test]
fn more_envelopes_than_a_frame_may_hold_go_in_several() {
    let mut pair = pair(usize::MAX);
    let envelopes = vec![envelope(OVERHEAD, 1); 2 * MAX_ENVELOPES + 1];
    send(&mut pair, vec![Frame::Envelopes(envelopes)]);
    pair.run();
    assert_eq!(flat(&pair.b.frames).len(), 2 * MAX_ENVELOPES + 1);
    assert!(pair.agrees() && pair.a.not_sent.is_empty());
}

#[test]
fn received_envelopes_share_the_memory_of_their_block() {
    let mut pair = pair(MAX_FRAME);
    send(&mut pair, vec![Frame::Envelopes(vec![envelope(200, 1), envelope(300, 2)])]);
    let block = pair.a.sent.pop_front().unwrap();
    let memory = block.as_ptr_range();
    pair.b.input(LinkInput::Received(block.clone()), NOW);
    let Some(Frame::Envelopes(list)) = pair.b.frames.first() else { panic!() };
    assert!(list.iter().all(|one| memory.contains(&one.as_ptr())));
}

#[test]
fn the_largest_envelope_goes_through_the_smallest_frames() {
    let mut pair = pair(512);
    let frames = vec![Frame::Envelopes(vec![envelope(MAX_ENVELOPES_BODY - 4, 7)]), Frame::Route("after".into())];
    send(&mut pair, frames.clone());
    assert!(pair.a.sent.iter().all(|block| block.len() <= 512));
    pair.run();
    assert_eq!(pair.b.frames, frames);
    assert!(pair.agrees());
}

#[test]
fn what_breaks_a_limit_is_not_sent_and_the_rest_is() {
    let mut pair = pair(MAX_FRAME);
    let good = Frame::Route("good".into());
    let close = Frame::Close(Close { code: CloseCode::GOING_AWAY, reason: String::new() });
    let wrong = [
        Frame::Route(vec![0; 65_537].into()),
        Frame::Envelopes(vec![Bytes::from_static(b"short")]),
        Frame::Envelopes(vec![envelope(MAX_ENVELOPES_BODY, 1)]),
        Frame::Ping(1),
        Frame::Pong(1),
        close,
        Frame::Auth([0; 64]),
        Frame::Hello(Hello::new(PeerId([1; 32]), [1; 32])),
    ];
    let frames = wrong.iter().flat_map(|bad| [bad.clone(), good.clone()]).collect();
    send(&mut pair, frames);
    pair.run();
    assert_eq!(pair.a.not_sent.len(), wrong.len());
    assert_eq!(pair.b.frames, vec![good; wrong.len()]);
    assert!(pair.agrees());
}

#[test]
fn nothing_is_sent_before_the_neighbour_is_authenticated() {
    let (mut side, _) = Forger::dialled();
    side.input(LinkInput::Send(vec![Frame::Route("early".into())]), NOW);
    assert_eq!(side.not_sent, [SendError::NotReady]);
    assert!(side.sent.is_empty());
}

fn piece(message: u32, index: u16, count: u16, bytes: Bytes) -> Bytes {
    block(&[Frame::Fragment(Fragment { message, index, count, bytes })])
}

#[test]
fn pieces_out_of_place_close_the_link() {
    let wrong = [
        vec![(1, 1, 3)],
        vec![(1, 0, 3), (1, 2, 3)],
        vec![(1, 0, 3), (1, 0, 3)],
        vec![(1, 0, 3), (2, 1, 3)],
        vec![(1, 0, 3), (2, 0, 3)],
        vec![(1, 0, 3), (1, 1, 4)],
    ];
    for pieces in wrong {
        let mut side = Forger::trusted();
        pieces.iter().for_each(|(message, index, count)| side.receive(piece(*message, *index, *count, "xy".into())));
        assert!(matches!(side.closed, Some(CloseReason::Violation(Violation::Fragments(_)))), "{pieces:?}");
    }
}

#[test]
fn pieces_inside_pieces_close_the_link() {
    let mut side = Forger::trusted();
    side.receive(piece(1, 0, 1, piece(2, 0, 1, "xy".into())));
    assert!(matches!(side.closed, Some(CloseReason::Violation(Violation::Fragments(_)))));
}

#[test]
fn pieces_of_more_than_a_block_close_the_link() {
    let mut side = Forger::trusted();
    for index in 0..20 {
        side.receive(piece(1, index, 4096, vec![0; MAX_BLOCK / 16].into()));
    }
    assert_eq!(side.closed, Some(CloseReason::Violation(Violation::TooManyPieces)));
    assert_eq!(side.farewell().unwrap().code, CloseCode::LIMIT);
}

#[test]
fn a_whole_block_of_garbage_in_pieces_closes_the_link() {
    let mut side = Forger::trusted();
    side.receive(piece(1, 0, 2, "garb".into()));
    side.receive(piece(1, 1, 2, "age".into()));
    assert!(matches!(side.closed, Some(CloseReason::Violation(Violation::Frame(_)))));
}

#[test]
fn frames_between_pieces_are_taken_at_once() {
    let mut side = Forger::trusted();
    let inner = block(&[Frame::Route("inner".into())]);
    side.receive(piece(1, 0, 2, inner.slice(..4)));
    side.receive(block(&[Frame::Route("between".into())]));
    side.receive(piece(1, 1, 2, inner.slice(4..)));
    assert_eq!(side.frames, [Frame::Route("between".into()), Frame::Route("inner".into())]);
}

#[test]
fn the_last_words_are_transmitted_before_the_end() {
    let mut pair = Pair::ready();
    pair.a.input(LinkInput::Close(CloseReason::going_away("x".repeat(1000))), NOW);
    pair.run();
    let Some(CloseReason::ByPeer(close)) = &pair.b.closed else { panic!() };
    assert_eq!((close.code, close.reason.len()), (CloseCode::GOING_AWAY, 256));
    assert_eq!(pair.a.link.stats().errors + pair.b.link.stats().errors, 0);
}

#[test]
fn the_figures_of_both_sides_agree() {
    let mut pair = pair(600);
    send(&mut pair, vec![Frame::Envelopes((0..9).map(|n| envelope(500, n)).collect()), Frame::Route("r".into())]);
    pair.run();
    let (out, into) = (pair.a.link.stats(), pair.b.link.stats());
    assert_eq!((out.envelopes_out, out.bytes_out), (into.envelopes_in, into.bytes_in));
    assert_eq!(out.frames_out, into.frames_in);
}

fn ids(n: usize) -> impl Strategy<Value = Vec<[u8; 32]>> {
    prop::collection::vec(any::<[u8; 32]>(), 0..n)
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let answer = (any::<[u8; 32]>(), 0u8..9, any::<u16>()).prop_map(|(id, verdict, retry_after_secs)| Answer {
        id: MessageId(id),
        verdict: Verdict::from_byte(verdict).unwrap(),
        retry_after_secs,
    });
    prop_oneof![
        prop::collection::vec((OVERHEAD..3000usize, any::<u8>()), 1..20)
            .prop_map(|list| Frame::Envelopes(list.into_iter().map(|(len, fill)| envelope(len, fill)).collect())),
        prop::collection::vec(answer, 0..50).prop_map(Frame::Custody),
        ids(50)
            .prop_map(|ids| { Frame::Subscriptions(SubscriptionChange::Add, ids.into_iter().map(TopicId).collect()) }),
        prop::collection::vec(any::<u8>(), 0..5000).prop_map(|bytes| Frame::Route(bytes.into())),
        ids(50).prop_map(|ids| Frame::Sync(Sync::Want(ids.into_iter().map(MessageId).collect()))),
        prop::collection::vec(65..1024usize, 0..10)
            .prop_map(|list| Frame::Records(list.into_iter().map(|len| vec![9; len].into()).collect())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is sent, over frames of whatever size, in whatever portions: it arrives whole and in order, and no block is too large.
    #[test]
    fn everything_arrives_whole_and_in_order(
        portions in prop::collection::vec(prop::collection::vec(any_frame(), 0..6), 1..5),
        max_frame in prop_oneof![512usize..700, 512usize..70_000],
    ) {
        let mut pair = pair(max_frame);
        for frames in &portions {
            send(&mut pair, frames.clone());
            prop_assert!(pair.a.sent.iter().all(|block| !block.is_empty() && block.len() <= max_frame));
            pair.run();
        }
        prop_assert!(pair.a.not_sent.is_empty() && pair.agrees());
        prop_assert_eq!(flat(&pair.b.frames), flat(&portions.concat()));
    }
}
