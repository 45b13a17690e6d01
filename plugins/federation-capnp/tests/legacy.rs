//! Servers of the older kind, which know `FederationService` alone: envelopes go there and come from there, over a link
//! that the host takes for one to a node.

mod support;

use std::time::{Duration, Instant};

use qpq_plugin_api::Bytes;
use qpq_schemas::PeerId;
use qpq_schemas::content::{Content, KIND_BYTES};
use qpq_schemas::envelope::{Draft, Envelope, Flags, Kind, LARGEST_PAYLOAD};
use qpq_schemas::link::{Answer, Close, CloseCode, Frame, Hello, Role, Verdict, sign_auth, unpack, verify_auth};
use qpq_schemas::signature::SigningKey;
use serde_json::json;
use support::pki::{Ca, Files};
use support::server::{OldServer, Relayed};
use support::stranger::{Caller, Stranger, run};
use support::{Node, SOON};

/// The link protocol of the host, as far as these tests need it.
struct HostLink<'a> {
    node: &'a Node,
    link: u64,
    read: usize,
    far: PeerId,
}

impl<'a> HostLink<'a> {
    /// Shakes hands over a link.
    fn up(node: &'a Node, link: u64) -> Self {
        let up = node.told().up[&link].clone();
        let role = if up.outbound { Role::Initiator } else { Role::Responder };
        let key = SigningKey::from_seed(&[77; 32]);
        let ours = Hello::new(key.public(), [7; 32]);
        let mut host = Self { node, link, read: 0, far: PeerId([0; 32]) };
        host.say(&Frame::Hello(ours.clone()));
        let Frame::Hello(theirs) = host.next() else { panic!("no HELLO") };
        let (first, second) = if up.outbound { (&ours, &theirs) } else { (&theirs, &ours) };
        host.say(&Frame::Auth(sign_auth(&key, role, first, second, &up.channel_binding)));
        let Frame::Auth(signature) = host.next() else { panic!("no AUTH") };
        verify_auth(role.other(), first, second, &up.channel_binding, &signature).expect("the far end proves its key");
        host.far = theirs.peer;
        host
    }

    fn say(&self, frame: &Frame) {
        let mut block = Vec::new();
        frame.encode(&mut block).unwrap();
        assert_eq!(self.node.send(self.link, &[block]), 1);
    }

    /// The next frame of the far end.
    fn next(&mut self) -> Frame {
        let frames = self.node.frames(self.link, self.read + 1);
        let mut all = frames.into_iter().flat_map(|block| unpack(Bytes::from(block)));
        let frame = all.nth(self.read).unwrap().unwrap();
        self.read += 1;
        frame
    }

    fn envelopes(&mut self) -> Vec<Envelope> {
        match self.next() {
            Frame::Envelopes(wires) => {
                wires.into_iter().map(|wire| Envelope::from_wire(wire, LARGEST_PAYLOAD).unwrap()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn answer(&self, envelope: &Envelope, verdict: Verdict) {
        self.say(&Frame::Custody(vec![Answer { id: envelope.id(), verdict, retry_after_secs: 3 }]));
    }

    fn answers(&mut self) -> Vec<Answer> {
        match self.next() {
            Frame::Custody(answers) => answers,
            other => panic!("{other:?}"),
        }
    }
}

fn envelope(kind: Kind, destination: [u8; 32], text: &str) -> Envelope {
    let draft = Draft {
        kind,
        flags: Flags::default(),
        max_hops: 3,
        ttl_secs: 60,
        created_ms: 1_700_000_000_000,
        nonce: [4; 8],
        destination,
        payload: Content::text(text).encode(),
    };
    draft.sign(&SigningKey::from_seed(&[5; 32])).unwrap()
}

/// A node, and a server of the older kind that it has a link to.
fn dialled(ca: &Ca) -> (Node, OldServer, u64) {
    let node = Node::with(1, &Files::good("a.example", ca));
    let server = OldServer::start("old.example", &ca.issue("old.example"), ca);
    let link = node.dial(&server.uri).unwrap();
    (node, server, link)
}

/// Lets the host play its part on a thread while `work` calls from the other domain.
fn with_host<T>(node: &Node, host: impl FnOnce(HostLink<'_>) + Send, work: impl Future<Output = T>) -> T {
    std::thread::scope(|scope| {
        let playing = scope.spawn(|| host(HostLink::up(node, node.link_from("old.example"))));
        let worked = run(work);
        playing.join().unwrap();
        worked
    })
}

#[test]
fn direct_envelopes_are_relayed_and_answered_for() {
    let ca = Ca::new("ca");
    let (node, server, link) = dialled(&ca);
    assert_eq!(node.peer("old.example")["legacy"], true);
    let mut host = HostLink::up(&node, link);
    let sent: Vec<Envelope> = (0..200).map(|i| envelope(Kind::Direct, [i as u8; 32], &format!("text {i}"))).collect();
    for some in sent.chunks(50) {
        host.say(&Frame::Envelopes(some.iter().map(|envelope| envelope.wire().clone()).collect()));
    }
    let mut stored = Vec::new();
    while stored.len() < sent.len() {
        stored.extend(host.answers());
    }
    assert!(stored.iter().all(|answer| answer.verdict == Verdict::Stored));
    assert!(sent.iter().all(|envelope| stored.iter().any(|answer| answer.id == envelope.id())));
    let relayed = server.memory.lock().unwrap().relayed.clone();
    let expected: Vec<Relayed> = sent
        .iter()
        .map(|envelope| Relayed {
            key: envelope.view().destination().to_vec(),
            payload: envelope.wire().to_vec(),
            channel: Vec::new(),
            version: 1,
            origin: "a.example".into(),
        })
        .collect();
    assert!(relayed == expected, "all came, once, in order");
    assert_eq!(node.stats()["counters"]["relayed_out"], 200);
}

#[test]
fn broadcasts_and_what_else_nodes_say_stay_here() {
    let ca = Ca::new("ca");
    let (node, server, link) = dialled(&ca);
    let mut host = HostLink::up(&node, link);
    host.say(&Frame::Subscriptions(qpq_schemas::link::SubscriptionChange::Set, Vec::new()));
    host.say(&Frame::Sync(qpq_schemas::link::Sync::Have(Vec::new())));
    host.say(&Frame::Route(Bytes::from_static(&[1])));
    let broadcast = envelope(Kind::Broadcast, [1; 32], "to all");
    host.say(&Frame::Envelopes(vec![broadcast.wire().clone()]));
    assert_eq!(host.answers(), [Answer { id: broadcast.id(), verdict: Verdict::Refused, retry_after_secs: 0 }]);
    host.say(&Frame::Ping(9));
    assert_eq!(host.next(), Frame::Pong(9));
    assert!(server.memory.lock().unwrap().relayed.is_empty());
}

#[test]
fn what_the_other_server_refuses_is_offered_again_later() {
    let ca = Ca::new("ca");
    let (node, server, link) = dialled(&ca);
    let mut host = HostLink::up(&node, link);
    let sent = envelope(Kind::Direct, [1; 32], "hello");
    for (fault, verdict) in [
        (capnp::Error::failed("no such user".into()), Verdict::RelayFull),
        (capnp::Error::failed("refused: no such user".into()), Verdict::Refused),
        (capnp::Error::overloaded("later".into()), Verdict::RelayFull),
        (capnp::Error::overloaded("recipient-full: no room".into()), Verdict::RecipientFull),
    ] {
        server.memory.lock().unwrap().fault = Some(fault);
        host.say(&Frame::Envelopes(vec![sent.wire().clone()]));
        assert_eq!(host.answers(), [Answer { id: sent.id(), verdict, retry_after_secs: 60 }]);
    }
    server.memory.lock().unwrap().fault = None;
    host.say(&Frame::Envelopes(vec![sent.wire().clone()]));
    assert_eq!(host.answers()[0].verdict, Verdict::Stored);
}

#[test]
fn when_the_other_server_goes_the_link_goes_and_a_new_one_has_the_same_key() {
    let ca = Ca::new("ca");
    let (node, server, link) = dialled(&ca);
    let key = HostLink::up(&node, link).far;
    drop(server);
    node.end_of(link);
    let server = OldServer::start("old.example", &ca.issue("old.example"), &ca);
    let again = node.dial(&server.uri).unwrap();
    assert_eq!(HostLink::up(&node, again).far, key);
    let other = OldServer::start("older.example", &ca.issue("older.example"), &ca);
    assert_ne!(HostLink::up(&node, node.dial(&other.uri).unwrap()).far, key);
}

#[test]
fn a_host_that_closes_a_bridged_link_ends_it() {
    let ca = Ca::new("ca");
    let (node, _server, link) = dialled(&ca);
    let host = HostLink::up(&node, link);
    host.say(&Frame::Close(Close { code: CloseCode::DUPLICATE, reason: "another link".into() }));
    assert!(node.end_of(link).contains("another link"));
}

#[test]
fn an_envelope_that_comes_is_answered_when_the_host_has_stored_it() {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    let sent = envelope(Kind::Direct, [1; 32], "hello");
    let receipt = envelope(Kind::Receipt, [1; 32], "got it");
    let offered = [sent.clone(), receipt.clone()];
    let host = |mut host: HostLink<'_>| {
        for (expected, verdict) in offered.iter().zip([Verdict::Stored, Verdict::Seen]) {
            assert_eq!(host.envelopes(), std::slice::from_ref(expected));
            host.answer(expected, verdict);
        }
    };
    let seqs = with_host(&node, host, async {
        let caller = Caller::connect(&Stranger::with(ca.issue("old.example")), &uri).await;
        let first = caller.relay(&[1; 32], sent.wire(), 1, "old.example").await.unwrap();
        let second = caller.relay(&[1; 32], receipt.wire(), 1, "OLD.example").await.unwrap();
        (first, second)
    });
    assert!(seqs.0 < seqs.1, "{seqs:?}");
    assert_eq!(node.peer("old.example")["legacy"], true);
    assert_eq!(node.stats()["counters"]["relayed_in"], 2);
}

#[test]
fn what_the_host_does_not_take_fails_with_the_reason() {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    let sent = envelope(Kind::Direct, [1; 32], "hello");
    let verdicts = [Verdict::RecipientFull, Verdict::TooOld, Verdict::Refused];
    let host = |mut host: HostLink<'_>| {
        for verdict in verdicts {
            let envelopes = host.envelopes();
            host.answer(&envelopes[0], verdict);
        }
    };
    let errors = with_host(&node, host, async {
        let caller = Caller::connect(&Stranger::with(ca.issue("old.example")), &uri).await;
        let mut errors = Vec::new();
        for _ in verdicts {
            errors.push(caller.relay(&[1; 32], sent.wire(), 1, "old.example").await.unwrap_err());
        }
        errors
    });
    assert_eq!(errors[0].kind, capnp::ErrorKind::Overloaded);
    assert!(errors[0].extra.contains("recipient-full: ") && errors[0].extra.contains("3 seconds"), "{}", errors[0]);
    assert!(errors[1].extra.contains("too-old: "), "{}", errors[1]);
    assert!(errors[2].extra.contains("refused: "), "{}", errors[2]);
}

#[test]
fn payloads_that_are_no_envelope_for_the_recipient_are_refused() {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    let sent = envelope(Kind::Direct, [1; 32], "hello");
    let broadcast = envelope(Kind::Broadcast, [1; 32], "to all");
    let errors = run(async {
        let caller = Caller::connect(&Stranger::with(ca.issue("old.example")), &uri).await;
        let mut errors = Vec::new();
        for (key, payload) in [([1; 32], &b"opaque"[..]), ([2; 32], sent.wire()), ([1; 32], broadcast.wire())] {
            errors.push(caller.relay(&key, payload, 1, "old.example").await.unwrap_err().extra);
        }
        errors.push(caller.relay(&[1; 32], &vec![0; 300_000], 1, "old.example").await.unwrap_err().extra);
        errors
    });
    for (error, code) in errors.iter().zip(["opaque-payload: ", "wrong-recipient: ", "not-direct: ", "too-large: "]) {
        assert!(error.contains(code), "{error}");
    }
    assert!(node.told().up.is_empty(), "nothing was said to the host");
}

#[test]
fn opaque_payloads_are_stored_where_the_operator_wants_it_also_for_many() {
    let ca = Ca::new("ca");
    let node = Node::new(1, &Files::good("a.example", &ca), &json!({"legacy_payloads": "store"}));
    let uri = node.listen_anywhere();
    let keys = [[1; 32], [2; 32], [3; 32]];
    let host = |mut host: HostLink<'_>| {
        for key in keys {
            let envelopes = host.envelopes();
            let view = envelopes[0].view();
            assert_eq!((view.kind(), view.destination(), view.sender()), (Kind::Direct, key, host.far));
            let content = Content::decode(view.payload()).unwrap();
            assert!(content.automatic && content.kind == KIND_BYTES);
            let text = String::from_utf8(content.body).unwrap();
            assert_eq!(text, "opaque payload from old.example, channel \"\", 7 bytes\nsecrets");
            host.answer(&envelopes[0], Verdict::Stored);
        }
    };
    let seqs = with_host(&node, host, async {
        let caller = Caller::connect(&Stranger::with(ca.issue("old.example")), &uri).await;
        caller.relay_batch(&keys, b"secrets", "old.example").await.unwrap()
    });
    assert!(seqs.len() == 3 && seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
}

#[test]
fn a_batch_with_an_envelope_fits_only_the_recipient_it_is_made_for() {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    let sent = envelope(Kind::Direct, [1; 32], "hello");
    let host = |mut host: HostLink<'_>| {
        let envelopes = host.envelopes();
        host.answer(&envelopes[0], Verdict::Stored);
    };
    with_host(&node, host, async {
        let caller = Caller::connect(&Stranger::with(ca.issue("old.example")), &uri).await;
        let error = caller.relay_batch(&[[1; 32], [2; 32]], sent.wire(), "old.example").await.unwrap_err();
        assert!(error.extra.contains("wrong-recipient: "), "{error}");
        assert_eq!(caller.relay_batch(&[[1; 32]], sent.wire(), "old.example").await.unwrap().len(), 1);
    });
}

#[test]
fn a_dialled_bridge_takes_the_place_of_an_inbound_one() {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    let sent = envelope(Kind::Direct, [1; 32], "hello");
    let server = OldServer::start("old.example", &ca.issue("old.example"), &ca);
    run(async {
        let caller = Caller::connect(&Stranger::with(ca.issue("old.example")), &uri).await;
        // The host doesn't shake hands, so the call hangs; the link is there.
        let hanging = caller.relay(&[1; 32], sent.wire(), 1, "old.example");
        let _ = tokio::time::timeout(Duration::from_millis(300), hanging).await;
    });
    let inbound = node.wait("a link", |told| told.up.keys().next().copied());
    let outbound = node.dial(&server.uri).unwrap();
    node.end_of(inbound);
    let mut host = HostLink::up(&node, outbound);
    host.say(&Frame::Envelopes(vec![sent.wire().clone()]));
    assert_eq!(host.answers()[0].verdict, Verdict::Stored);
}

#[test]
fn thousands_of_calls_in_flight_are_bounded_and_all_answered() {
    const CALLS: u8 = 250;
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    let sent: Vec<Envelope> =
        (0..4 * u32::from(CALLS)).map(|i| envelope(Kind::Direct, [1; 32], &format!("text {i}"))).collect();
    let begun = Instant::now();
    let host = |mut host: HostLink<'_>| {
        let mut seen = 0;
        while seen < 4 * usize::from(CALLS) {
            for envelope in host.envelopes() {
                host.answer(&envelope, Verdict::Stored);
                seen += 1;
            }
            assert!(begun.elapsed() < 6 * SOON, "{seen} were answered");
        }
    };
    let mut seqs = with_host(&node, host, async {
        let caller = Caller::connect(&Stranger::with(ca.issue("old.example")), &uri).await;
        let calls = sent.iter().map(|envelope| caller.relay(&[1; 32], envelope.wire(), 1, "old.example"));
        futures::future::try_join_all(calls).await.unwrap()
    });
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), sent.len(), "each call has a number of its own");
}
