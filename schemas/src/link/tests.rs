use bytes::Bytes;

use super::frame::kind;
use super::*;
use crate::signature::SigningKey;
use crate::{MessageId, PeerId, TopicId};

fn pack(frames: &[Frame]) -> Bytes {
    let mut block = Vec::new();
    for frame in frames {
        frame.encode(&mut block).unwrap();
    }
    block.into()
}

fn one_of_each() -> Vec<Frame> {
    let id = |n| MessageId([n; 32]);
    vec![
        Frame::Hello(Hello { later: Bytes::from_static(b"later"), ..Hello::new(PeerId([1; 32]), [2; 32]) }),
        Frame::Auth([3; 64]),
        Frame::Envelopes(vec![Bytes::from(vec![4; 157]), Bytes::from(vec![5; 200])]),
        Frame::Custody(vec![
            Answer { id: id(1), verdict: Verdict::Stored, retry_after_secs: 0 },
            Answer { id: id(2), verdict: Verdict::Refused, retry_after_secs: 300 },
        ]),
        Frame::Subscriptions(SubscriptionChange::Add, vec![TopicId([6; 32])]),
        Frame::Subscriptions(SubscriptionChange::Set, vec![]),
        Frame::Route(Bytes::from_static(b"opaque")),
        Frame::Sync(Sync::Have(vec![id(3), id(4)])),
        Frame::Sync(Sync::Want(vec![])),
        Frame::Records(vec![Bytes::from(vec![7; 65])]),
        Frame::Ping(8),
        Frame::Pong(u64::MAX),
        Frame::Close(Close { code: CloseCode::BLOCKED, reason: "you are blocked".into() }),
        Frame::Fragment(Fragment { message: 9, index: 1, count: 2, bytes: Bytes::from_static(b"piece") }),
        Frame::Resolve(Resolve::Ask(vec![PeerId([8; 32])])),
        Frame::Resolve(Resolve::Homes(vec![
            Home { peer: PeerId([8; 32]), record: None },
            Home { peer: PeerId([9; 32]), record: Some(Bytes::from_static(b"record")) },
        ])),
        Frame::Moving(7_001),
        Frame::Tree(Tree::Announce(vec![Announced { id: id(5), hops: 3 }, Announced { id: id(6), hops: 0 }])),
        Frame::Tree(Tree::Graft(vec![id(7)])),
        Frame::Tree(Tree::Graft(vec![])),
        Frame::Tree(Tree::Prune),
        Frame::Reconcile(comparison()),
        Frame::Reconcile(Reconcile { session: 0, opener: false, from: Place::START, ranges: vec![] }),
        Frame::Optional(200, Bytes::from_static(b"news")),
    ]
}

fn comparison() -> Reconcile {
    let range = |created_ms, part| Range { to: Place::at(created_ms), part };
    let mut id = [0; 32];
    id[..3].copy_from_slice(&[1, 0, 2]);
    Reconcile {
        session: 7,
        opener: true,
        from: Place { created_ms: 4, id },
        ranges: vec![
            range(5, Part::Skip),
            range(6, Part::Fingerprint([8; 16])),
            range(7, Part::Ids(vec![MessageId([9; 32]), MessageId([10; 32])])),
            range(u64::MAX, Part::Ids(vec![])),
        ],
    }
}

#[test]
fn a_block_of_all_frames_is_read_back() {
    let frames = one_of_each();
    let read: Result<Vec<_>, _> = unpack(pack(&frames)).collect();
    assert_eq!(read, Ok(frames));
}

#[test]
fn a_block_cut_anywhere_ends_in_an_error() {
    for frame in one_of_each() {
        let block = pack(&[frame]);
        for len in 1..block.len() {
            let frames: Vec<_> = unpack(block.slice(..len)).collect();
            assert!(matches!(frames[..], [Err(FrameError::Truncated)]), "{frames:?}");
        }
    }
}

#[test]
fn after_an_error_nothing_more_is_read() {
    let mut block = pack(&[Frame::Ping(1)]).to_vec();
    block.extend_from_slice(&[0, 0, 0, 1, 99]);
    block.extend_from_slice(&pack(&[Frame::Ping(2)]));
    let frames: Vec<_> = unpack(block.into()).collect();
    assert_eq!(frames, [Ok(Frame::Ping(1)), Err(FrameError::UnknownType(99))]);
}

#[test]
fn a_length_is_refused_before_its_bytes_have_come() {
    let giant = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, kind::ENVELOPES]);
    assert_eq!(unpack(giant).next().unwrap().unwrap_err().code(), "frame-too-large");
    let empty = Bytes::from_static(&[0, 0, 0, 0, kind::PING]);
    assert_eq!(unpack(empty).next(), Some(Err(FrameError::Empty)));
}

#[test]
fn what_no_neighbour_would_take_is_not_written() {
    let mut out = vec![42];
    let too_much = [
        Frame::Envelopes(vec![Bytes::from(vec![0; 157]); MAX_ENVELOPES + 1]),
        Frame::Envelopes(vec![Bytes::from(vec![0; 156])]),
        Frame::Custody(vec![
            Answer { id: MessageId([0; 32]), verdict: Verdict::Seen, retry_after_secs: 0 };
            MAX_ANSWERS + 1
        ]),
        Frame::Subscriptions(SubscriptionChange::Set, vec![TopicId([0; 32]); MAX_TOPICS + 1]),
        Frame::Sync(Sync::Have(vec![MessageId([0; 32]); MAX_SYNC_IDS + 1])),
        Frame::Route(Bytes::from(vec![0; MAX_ROUTE_BODY + 1])),
        Frame::Records(vec![Bytes::from(vec![0; 1_025])]),
        Frame::Close(Close { code: CloseCode::LIMIT, reason: "x".repeat(MAX_REASON_LEN + 1) }),
        Frame::Resolve(Resolve::Ask(vec![PeerId([0; 32]); MAX_RESOLVED + 1])),
        Frame::Resolve(Resolve::Homes(vec![Home { peer: PeerId([0; 32]), record: Some(Bytes::from(vec![0; 1_025])) }])),
        Frame::Optional(12, Bytes::new()),
        Frame::Optional(kind::RESOLVE, Bytes::new()),
        Frame::Optional(kind::MOVING, Bytes::new()),
        Frame::Moving(0),
        Frame::Tree(Tree::Graft(vec![MessageId([0; 32]); MAX_ANNOUNCED + 1])),
        Frame::Tree(Tree::Announce(vec![Announced { id: MessageId([0; 32]), hops: 0 }; MAX_ANNOUNCED + 1])),
        Frame::Reconcile(Reconcile { from: Place::at(5), ..comparison() }),
        Frame::Reconcile(Reconcile {
            ranges: vec![Range { to: Place::END, part: Part::Ids(vec![MessageId([0; 32]); MAX_RECONCILE_IDS + 1]) }],
            ..comparison()
        }),
        Frame::Reconcile(Reconcile {
            ranges: (5..).take(MAX_RANGES + 1).map(|n| Range { to: Place::at(n), part: Part::Skip }).collect(),
            ..comparison()
        }),
    ];
    for frame in too_much {
        assert!(frame.encode(&mut out).is_err());
        assert_eq!(out, [42], "nothing was appended");
    }
}

#[test]
fn the_largest_envelope_fits_one_frame_and_one_block() {
    let largest = Bytes::from(vec![0; OVERHEAD + LARGEST_PAYLOAD]);
    assert_eq!(pack(&[Frame::Envelopes(vec![largest])]).len(), MAX_BLOCK);
}

#[test]
fn a_reason_brings_no_terminal_codes() {
    let block = pack(&[Frame::Close(Close { code: CloseCode(77), reason: "a\u{1b}[2Jb\n".into() })]);
    let Some(Ok(Frame::Close(close))) = unpack(block).next() else { panic!("no CLOSE") };
    assert_eq!(close, Close { code: CloseCode(77), reason: "a?[2Jb?".into() });
}

#[test]
fn fragments_fill_the_transports_frames_and_make_the_block_again() {
    let block = Bytes::from((0..5_000).map(|n| n as u8).collect::<Vec<_>>());
    let frames = fragments(7, &block, MIN_TRANSPORT_FRAME).unwrap();
    let mut again = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        assert!(pack(std::slice::from_ref(frame)).len() <= MIN_TRANSPORT_FRAME);
        let Frame::Fragment(fragment) = frame else { panic!("no fragment") };
        assert_eq!((fragment.message, usize::from(fragment.index)), (7, index));
        assert_eq!(usize::from(fragment.count), frames.len());
        again.extend_from_slice(&fragment.bytes);
    }
    assert_eq!(again, block);
    assert!(fragments(7, &block, 13).is_err() && fragments(7, &Bytes::new(), 512).is_err());
    let largest = Bytes::from(vec![0; MAX_BLOCK]);
    assert!(fragments(7, &largest, MIN_TRANSPORT_FRAME).is_ok(), "the smallest transport carries the largest block");
}

#[test]
fn an_auth_fits_one_role_on_one_link() {
    let (ada, bob) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
    let (to, from) = (Hello::new(ada.public(), [3; 32]), Hello::new(bob.public(), [4; 32]));
    let auth = sign_auth(&ada, Role::Initiator, &to, &from, b"binding");
    assert!(verify_auth(Role::Initiator, &to, &from, b"binding", &auth).is_ok());
    assert!(verify_auth(Role::Responder, &to, &from, b"binding", &auth).is_err(), "another role");
    assert!(verify_auth(Role::Responder, &from, &to, b"binding", &auth).is_err(), "reflected");
    assert!(verify_auth(Role::Initiator, &to, &from, b"", &auth).is_err(), "another connection");
    let later = Hello { random: [5; 32], ..from };
    assert!(verify_auth(Role::Initiator, &to, &later, b"binding", &auth).is_err(), "replayed");
    let downgraded = Hello { features: 1, ..to.clone() };
    assert!(verify_auth(Role::Initiator, &downgraded, &later, b"binding", &auth).is_err());
}

#[test]
fn sums_of_parts_make_the_sum_of_the_whole_and_know_one_set_from_another() {
    let ids: Vec<MessageId> = (0..50).map(|n| MessageId([n * 5; 32])).collect();
    let whole: Sum = ids.iter().collect();
    let (mut left, right): (Sum, Sum) = (ids[..20].iter().collect(), ids[20..].iter().collect());
    assert_ne!(left.fingerprint(), right.fingerprint());
    left.merge(&right);
    assert_eq!((left, left.count()), (whole, 50));
    for id in &ids[..49] {
        left.remove(id);
    }
    assert_eq!(left, Sum::from_iter(&ids[49..]));
    left.remove(&ids[49]);
    assert_eq!(left, Sum::default());
}

#[test]
fn a_place_between_two_is_written_with_as_few_bytes_as_will_do() {
    let place = |created_ms, first: &[u8]| {
        let mut id = [7; 32];
        id[..first.len()].copy_from_slice(first);
        Place { created_ms, id }
    };
    let between = |before: Place, behind: Place| {
        let short = behind.shortened(before);
        assert!(before < short && short <= behind, "{before:?} {short:?} {behind:?}");
        short.id.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    };
    assert_eq!(between(place(1, &[]), place(2, &[])), 0);
    assert_eq!(between(place(1, &[3]), place(1, &[4])), 1);
    assert_eq!(between(place(1, &[3, 3, 3]), place(1, &[3, 3, 4])), 3);
    let last = Place { created_ms: 1, id: [7; 32] };
    let before = Place {
        id: {
            let mut id = [7; 32];
            id[31] = 6;
            id
        },
        ..last
    };
    assert_eq!(between(before, last), 32);
}
