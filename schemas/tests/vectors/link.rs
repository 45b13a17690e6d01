use bytes::Bytes;
use qpq_schemas::link::{
    Announced, Answer, Close, CloseCode, Fragment, Frame, Hello, Home, Part, Place, Range, Reconcile, Resolve, Role,
    SubscriptionChange, Sum, Sync, Tree, Verdict, auth_message, sign_auth, unpack, verify_auth,
};
use qpq_schemas::{MessageId, PeerId, TopicId};
use serde_json::{Value, json};

use crate::tools::{ada, bob, hex};

pub(crate) fn vectors() -> Value {
    json!({ "format": "qpq-link/1", "blocks": blocks(), "auths": auths(), "fingerprints": fingerprints() })
}

fn case(name: &str, block: &[u8]) -> Value {
    let frames: Vec<Value> = unpack(Bytes::copy_from_slice(block))
        .map(|frame| frame.map_or_else(|error| json!({ "refused": error.code() }), |frame| shown(&frame)))
        .collect();
    json!({ "name": name, "block": hex(block), "frames": frames })
}

fn shown(frame: &Frame) -> Value {
    match frame {
        Frame::Hello(hello) => json!({
            "hello": { "version": hello.version, "peer": hello.peer, "features": hello.features,
                "random": hex(hello.random), "later": hex(&hello.later) }
        }),
        Frame::Auth(signature) => json!({ "auth": hex(signature) }),
        Frame::Envelopes(list) => json!({ "envelopes": list.iter().map(hex).collect::<Vec<_>>() }),
        Frame::Custody(answers) => json!({ "custody": answers.iter().map(answer).collect::<Vec<_>>() }),
        Frame::Subscriptions(change, topics) => {
            json!({ "subscriptions": { "change": *change as u8, "topics": topics } })
        }
        Frame::Route(bytes) => json!({ "route": hex(bytes) }),
        Frame::Sync(Sync::Have(ids)) => json!({ "have": ids }),
        Frame::Sync(Sync::Want(ids)) => json!({ "want": ids }),
        Frame::Records(list) => json!({ "records": list.iter().map(hex).collect::<Vec<_>>() }),
        Frame::Ping(number) => json!({ "ping": number }),
        Frame::Pong(number) => json!({ "pong": number }),
        Frame::Close(close) => json!({ "close": { "code": close.code.0, "reason": close.reason } }),
        Frame::Fragment(piece) => json!({
            "fragment": { "message": piece.message, "index": piece.index, "count": piece.count, "bytes": hex(&piece.bytes) }
        }),
        Frame::Resolve(Resolve::Ask(peers)) => json!({ "ask": peers }),
        Frame::Resolve(Resolve::Homes(homes)) => json!({ "homes": homes.iter().map(home).collect::<Vec<_>>() }),
        Frame::Moving(port) => json!({ "moving": port }),
        Frame::Tree(Tree::Announce(list)) => {
            json!({ "announce": list.iter().map(|one| json!({ "id": one.id, "hops": one.hops })).collect::<Vec<_>>() })
        }
        Frame::Tree(Tree::Graft(ids)) => json!({ "graft": ids }),
        Frame::Tree(Tree::Prune) => json!({ "prune": true }),
        Frame::Reconcile(step) => json!({
            "reconcile": { "session": step.session, "opener": step.opener, "from": place(&step.from),
                "ranges": step.ranges.iter().map(range).collect::<Vec<_>>() }
        }),
        Frame::Optional(kind, bytes) => json!({ "optional": { "type": kind, "body": hex(bytes) } }),
    }
}

fn place(place: &Place) -> Value {
    json!({ "created_ms": place.created_ms, "id": hex(place.id) })
}

fn range(range: &Range) -> Value {
    let part = match &range.part {
        Part::Skip => json!("skip"),
        Part::Fingerprint(bytes) => json!({ "fingerprint": hex(bytes) }),
        Part::Ids(ids) => json!({ "ids": ids }),
    };
    json!({ "to": place(&range.to), "part": part })
}

fn fingerprints() -> Vec<Value> {
    let sets: [Vec<MessageId>; 4] = [
        vec![],
        vec![MessageId([1; 32])],
        vec![MessageId([255; 32]), MessageId([254; 32])],
        (0..100).map(|n| MessageId([n; 32])).collect(),
    ];
    sets.iter()
        .map(|ids| json!({ "ids": ids, "fingerprint": hex(ids.iter().collect::<Sum>().fingerprint()) }))
        .collect()
}

fn home(home: &Home) -> Value {
    json!({ "peer": home.peer, "record": home.record.as_ref().map(hex) })
}

fn answer(answer: &Answer) -> Value {
    json!({ "id": answer.id, "verdict": answer.verdict.code(), "retry_after_secs": answer.retry_after_secs })
}

fn pack(frames: &[Frame]) -> Vec<u8> {
    let mut block = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut block).unwrap());
    block
}

fn hello() -> Hello {
    Hello { features: 5, later: Bytes::from_static(b"later"), ..Hello::new(ada().public(), [9; 32]) }
}

fn blocks() -> Vec<Value> {
    let id = |n| MessageId([n; 32]);
    let verdicts: Vec<Answer> = (0..=8)
        .map(|n| Answer { id: id(n), verdict: Verdict::from_byte(n).unwrap(), retry_after_secs: u16::from(n) * 300 })
        .collect();
    let reason = "a\u{1b}[2Jb\n\u{202e}ü".to_owned();
    let mut cases = vec![
        case("nothing", b""),
        case("the handshake", &pack(&[Frame::Hello(hello()), Frame::Auth([3; 64])])),
        case("envelopes", &pack(&[Frame::Envelopes(vec![vec![4; 157].into(), vec![5; 160].into()])])),
        case("no envelopes", &pack(&[Frame::Envelopes(vec![])])),
        case("custody, every verdict", &pack(&[Frame::Custody(verdicts)])),
        case(
            "subscriptions",
            &pack(&[
                Frame::Subscriptions(SubscriptionChange::Set, vec![TopicId([1; 32]), TopicId([2; 32])]),
                Frame::Subscriptions(SubscriptionChange::Add, vec![TopicId([3; 32])]),
                Frame::Subscriptions(SubscriptionChange::Remove, vec![]),
            ]),
        ),
        case(
            "route, sync, records",
            &pack(&[
                Frame::Route(Bytes::from_static(b"opaque")),
                Frame::Sync(Sync::Have(vec![id(1), id(2)])),
                Frame::Sync(Sync::Want(vec![])),
                Frame::Records(vec![vec![7; 65].into(), vec![8; 1_024].into()]),
            ]),
        ),
        case("ping and pong", &pack(&[Frame::Ping(1), Frame::Pong(u64::MAX)])),
        case("close with a hostile reason", &pack(&[Frame::Close(Close { code: CloseCode::LIMIT, reason })])),
        case(
            "a fragment",
            &pack(&[Frame::Fragment(Fragment { message: 7, index: 1, count: 2, bytes: Bytes::from_static(b"piece") })]),
        ),
        case(
            "who lives where",
            &pack(&[
                Frame::Resolve(Resolve::Ask(vec![PeerId([1; 32]), PeerId([2; 32])])),
                Frame::Resolve(Resolve::Homes(vec![
                    Home { peer: PeerId([1; 32]), record: Some(Bytes::from_static(b"record")) },
                    Home { peer: PeerId([2; 32]), record: None },
                ])),
            ]),
        ),
        case("a transport that moves to another port", &pack(&[Frame::Moving(7_001)])),
        case(
            "the tree",
            &pack(&[
                Frame::Tree(Tree::Announce(vec![Announced { id: id(1), hops: 0 }, Announced { id: id(2), hops: 9 }])),
                Frame::Tree(Tree::Graft(vec![id(3)])),
                Frame::Tree(Tree::Prune),
            ]),
        ),
        case("a comparison", &pack(&comparison())),
        case(
            "an optional frame of the future, then a known one",
            &pack(&[Frame::Optional(200, Bytes::from_static(b"news")), Frame::Ping(1)]),
        ),
    ];
    cases.extend(refused());
    cases
}

fn comparison() -> Vec<Frame> {
    let mut prefix = [0; 32];
    prefix[..3].copy_from_slice(&[1, 0, 2]);
    let to = |created_ms, part| Range { to: Place::at(created_ms), part };
    let ranges = vec![
        to(1_800_000_000_000, Part::Fingerprint([8; 16])),
        to(1_800_000_000_001, Part::Skip),
        Range { to: Place { created_ms: 1_800_000_000_001, id: prefix }, part: Part::Ids(vec![MessageId([9; 32])]) },
        Range { to: Place::END, part: Part::Ids(vec![]) },
    ];
    vec![
        Frame::Reconcile(Reconcile { session: 5, opener: true, from: Place::START, ranges }),
        Frame::Reconcile(Reconcile { session: 5, opener: false, from: Place::at(3), ranges: vec![] }),
    ]
}

fn refused() -> Vec<Value> {
    let raw = |kind: u8, body: &[u8]| {
        let length = u32::try_from(body.len() + 1).unwrap().to_be_bytes();
        [&length[..], &[kind], body].concat()
    };
    let ping = pack(&[Frame::Ping(1)]);
    let mut then_unknown = ping.clone();
    then_unknown.extend(raw(99, b""));
    then_unknown.extend(&ping);
    let fragment =
        |index: u8, count: u8, piece: &[u8]| raw(12, &[&[0, 0, 0, 1, 0, index, 0, count][..], piece].concat());
    vec![
        case("an unknown type ends the block", &then_unknown),
        case("type 0", &raw(0, b"")),
        case("a length of zero", &[0, 0, 0, 0, 9]),
        case("a length of 4 GiB", &[255, 255, 255, 255, 3]),
        case("cut in the length", &ping[..3]),
        case("cut in the body", &ping[..ping.len() - 1]),
        case("a short hello", &raw(1, &[1; 68])),
        case("a hello of version 0", &raw(1, &[0; 69])),
        case("a hello over its limit", &raw(1, &[1; 257])),
        case("a short auth", &raw(2, &[1; 63])),
        case("a long auth", &raw(2, &[1; 65])),
        case("an envelope shorter than any", &raw(3, &[&[0, 0, 0, 156][..], &[1; 156]].concat())),
        case("an envelope longer than its frame", &raw(3, &[&[0, 0, 0, 158][..], &[1; 157]].concat())),
        case("half an envelope length", &raw(3, &[0, 0])),
        case("custody cut in an answer", &raw(4, &[0; 34])),
        case("an unknown verdict", &raw(4, &[9; 35])),
        case("subscriptions without a change", &raw(5, b"")),
        case("subscriptions with an unknown change", &raw(5, &[3])),
        case("half a topic", &raw(5, &[0; 17])),
        case("sync of an unknown form", &raw(7, &[2])),
        case("half an id", &raw(7, &[0; 17])),
        case("a record that is too short", &raw(8, &[&[0, 64][..], &[1; 64]].concat())),
        case("a record that is too long", &raw(8, &[&[4, 1][..], &[1; 1_025]].concat())),
        case("a record that is cut", &raw(8, &[&[0, 66][..], &[1; 65]].concat())),
        case("a short ping", &raw(9, &[0; 7])),
        case("a long pong", &raw(10, &[0; 9])),
        case("close without a code", &raw(11, &[0])),
        case("a reason that is no UTF-8", &raw(11, &[0, 1, 255])),
        case("a reason over its limit", &raw(11, &[b'x'; 259])),
        case("tree without a form", &raw(130, b"")),
        case("tree of an unknown form", &raw(130, &[3])),
        case("half an announcement", &raw(130, &[0; 17])),
        case("a prune with more", &raw(130, &[2, 0])),
        case("a comparison cut in its start", &raw(131, &[0, 0, 0, 1, 1, 0, 0])),
        case("a comparison by nobody", &raw(131, &[0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        case("a place that ends in a zero", &raw(131, &[0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0])),
        case(
            "a place longer than an id",
            &raw(131, &[&[0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 33][..], &[1; 33]].concat()),
        ),
        case("stretches out of order", &raw(131, &[&[0, 0, 0, 1, 1][..], &[0; 9], &[0; 9], &[0]].concat())),
        case("a stretch of an unknown form", &raw(131, &[&[0, 0, 0, 1, 1][..], &[0; 9], &[1; 8], &[0, 3]].concat())),
        case(
            "fewer ids than stated",
            &raw(131, &[&[0, 0, 0, 1, 1][..], &[0; 9], &[1; 8], &[0, 2, 0, 2], &[5; 32]].concat()),
        ),
        case("a fragment of none", &fragment(0, 0, b"x")),
        case("a fragment beyond the last", &fragment(2, 2, b"x")),
        case("an empty fragment", &fragment(0, 1, b"")),
        case("a fragment cut in its header", &raw(12, &[0; 7])),
    ]
}

fn auths() -> Vec<Value> {
    let (initiator, responder) = (hello(), Hello::new(bob().public(), [8; 32]));
    let by_ada = sign_auth(&ada(), Role::Initiator, &initiator, &responder, b"binding");
    let by_bob = sign_auth(&bob(), Role::Responder, &initiator, &responder, b"binding");
    let unbound = sign_auth(&ada(), Role::Initiator, &initiator, &responder, b"");
    let auth = |name: &str, role: Role, binding: &[u8], signature: &[u8; 64]| {
        json!({
            "name": name, "role": role as u8, "initiator": hex(initiator.body()), "responder": hex(responder.body()),
            "channel_binding": hex(binding), "message": hex(auth_message(role, &initiator, &responder, binding)),
            "signature": hex(signature),
            "good": verify_auth(role, &initiator, &responder, binding, signature).is_ok(),
        })
    };
    vec![
        auth("the dialler's", Role::Initiator, b"binding", &by_ada),
        auth("the dialled one's", Role::Responder, b"binding", &by_bob),
        auth("without a channel binding", Role::Initiator, b"", &unbound),
        auth("sent back to its maker", Role::Responder, b"binding", &by_ada),
        auth("carried to another connection", Role::Initiator, b"other", &by_ada),
    ]
}
