use bytes::Bytes;
use qpq_schemas::link::{Hello, Role};
use qpq_schemas::packet::{Ack, Block, Body, Ephemeral, Opening, Packet};
use serde_json::{Value, json};

use crate::tools::{FixedBytes, ada, bob, hex};

pub(crate) fn vectors() -> Value {
    json!({ "format": "qpq-packet/1", "openings": openings(), "links": [link()], "bodies": bodies() })
}

fn opening(name: &str, packet: &[u8]) -> Value {
    let outcome = match Packet::parse(packet) {
        Ok(Packet::Opening(Opening { session, echo, hello })) => {
            json!({ "opening": { "session": session, "echo": echo, "hello": hex(hello) } })
        }
        Ok(Packet::Sealed(number, _)) => json!({ "sealed": number }),
        Err(error) => json!({ "refused": error.code() }),
    };
    json!({ "name": name, "packet": hex(packet), "outcome": outcome })
}

fn openings() -> Vec<Value> {
    let good = Opening { session: 7, echo: 0, hello: Bytes::from_static(b"a block with HELLO") }.encode();
    vec![
        opening("an opening", &good),
        opening("an answer", &Opening { session: 8, echo: 7, hello: Bytes::from_static(b"block") }.encode()),
        opening("a session of 0", &[&[1; 1][..], &[0; 8], &good[9..]].concat()),
        opening("a block that is too short", &good[..17 + 4]),
        opening("a block that is too long", &[&good[..17], &[0; 262]].concat()),
        opening("cut in the echo", &good[..16]),
        opening("a sealed packet", &[&[2][..], &[0; 7], &[9], &[0; 16]].concat()),
        opening("a sealed packet without a whole tag", &[&[2][..], &[0; 23]].concat()),
        opening("of another kind", &[3; 30]),
        opening("nothing", b""),
    ]
}

/// One handshake, and what both sides sealed under its keys.
fn link() -> Value {
    let (ours, theirs) = (Ephemeral::generate(&mut FixedBytes::new(5)), Ephemeral::generate(&mut FixedBytes::new(6)));
    let initiator = Hello::new(ada().public(), ours.public());
    let responder = Hello::new(bob().public(), theirs.public());
    let at_ada = ours.keys(Role::Initiator, &initiator, &responder).unwrap();
    let at_bob = theirs.keys(Role::Responder, &initiator, &responder).unwrap();
    let first = at_ada.ours.seal(0, b"\0first");
    let far = at_ada.ours.seal(u64::MAX, &[0; 300]);
    let back = at_bob.ours.seal(3, b"");
    let mut altered = first.to_vec();
    altered[12] ^= 1;
    let mut renumbered = first.to_vec();
    renumbered[8] = 1;
    let case = |name: &str, from: Role, packet: &[u8]| {
        let key = if from == Role::Initiator { &at_bob.theirs } else { &at_ada.theirs };
        let Ok(Packet::Sealed(number, sealed)) = Packet::parse(packet) else { panic!("{name}") };
        let outcome = match key.open(number, sealed) {
            Ok(body) => json!({ "number": number, "body": hex(body) }),
            Err(error) => json!({ "refused": error.code() }),
        };
        json!({ "name": name, "from": from as u8, "packet": hex(packet), "outcome": outcome })
    };
    json!({
        // The secret of the side that dialled.
        "secret": hex(secret(5)), "initiator": hex(initiator.body()), "responder": hex(responder.body()),
        "packets": [
            case("the dialler's first", Role::Initiator, &first),
            case("the largest number", Role::Initiator, &far),
            case("the other side's, empty", Role::Responder, &back),
            case("altered", Role::Initiator, &altered),
            case("under another number", Role::Initiator, &renumbered),
            case("sent back to its maker", Role::Responder, &first),
        ],
    })
}

fn secret(start: u64) -> [u8; 32] {
    let mut secret = [0; 32];
    rand::Rng::fill_bytes(&mut FixedBytes::new(start), &mut secret);
    secret
}

fn body(name: &str, bytes: &[u8]) -> Value {
    let outcome = match Body::decode(Bytes::copy_from_slice(bytes)) {
        Ok(body) => json!({
            "ack": body.ack.map(|ack| json!({
                "numbers": ack.numbers().collect::<Vec<_>>(), "delay_ms": ack.delay_ms, "limit": ack.limit,
            })),
            "last_word": body.last_word.map(hex),
            "blocks": body.blocks.iter().map(|block| json!({ "number": block.number, "bytes": hex(&block.bytes) }))
                .collect::<Vec<_>>(),
        }),
        Err(error) => json!({ "refused": error.code() }),
    };
    json!({ "name": name, "body": hex(bytes), "outcome": outcome })
}

fn bodies() -> Vec<Value> {
    let ack = Ack { largest: 1_000, delay_ms: 5, limit: 40, seen: vec![0b1000_0011, 0, 1] };
    let blocks = vec![
        Block { number: 4, bytes: Bytes::from_static(b"four") },
        Block { number: 9, bytes: Bytes::from_static(b"nine") },
    ];
    let whole = Body { ack: Some(ack), last_word: Some(Bytes::from_static(b"bye")), blocks }.encode();
    let ack_of =
        |largest, seen| Body { ack: Some(Ack { largest, delay_ms: 0, limit: 1, seen }), ..Body::default() }.encode();
    vec![
        body("everything", &whole),
        body("nothing but flags", &[0]),
        body("not even flags", b""),
        body("an unknown flag", &[4]),
        body("an ACK of the first packet", &ack_of(0, vec![])),
        body("an ACK of a packet below the first", &ack_of(0, vec![1])),
        body("an ACK with a bit map that is too long", &ack_of(9_000, vec![1; 33])),
        body("cut in the bit map", &whole[..21]),
        body("cut in a block", &whole[..whole.len() - 1]),
        body("cut in a block's number", &whole[..whole.len() - 11]),
        body("an empty block", &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]),
        body("an empty last word", &[2, 0, 0]),
    ]
}
