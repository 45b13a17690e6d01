use qpq_schemas::envelope::{Aad, Draft, Flags, Kind};
use qpq_schemas::sealing::{KeySource, RecipientKey, SealingKeyPair, open, seal};
use serde_json::{Value, json};

use crate::tools::{FixedBytes, ada, bob, draft, hex};

fn case(name: &str, pair: &SealingKeyPair, aad: &Aad, payload: &[u8]) -> Value {
    let outcome = match open([pair], aad, payload) {
        Ok(plaintext) => json!({ "plaintext": hex(plaintext) }),
        Err(error) => json!({ "refused": error.code() }),
    };
    let source = match pair.source() {
        KeySource::Record => "record",
        KeySource::Identity => "identity",
    };
    json!({
        "name": name, "source": source, "secret": hex(**pair.secret()), "public": hex(pair.public().0),
        "key_id": hex(pair.id()), "aad": hex(aad), "payload": hex(payload), "outcome": outcome,
    })
}

pub(crate) fn vectors() -> Value {
    json!({ "format": "qpq-sealing/1", "identities": [identity(&[1; 32]), identity(&[2; 32])], "cases": cases() })
}

/// How an identity is converted to a sealing key.
fn identity(seed: &[u8; 32]) -> Value {
    let key = qpq_schemas::signature::SigningKey::from_seed(seed);
    let pair = SealingKeyPair::of_identity(&key);
    json!({ "seed": hex(seed), "peer": key.public(), "public": hex(pair.public().0), "key_id": hex(pair.id()) })
}

fn cases() -> Vec<Value> {
    let record = SealingKeyPair::generate(&mut FixedBytes::new(3));
    let identity = SealingKeyPair::of_identity(&bob());
    let flags = Flags { sealed: true, ..Flags::default() };
    let aad = Draft { flags, ..draft(Kind::Direct, b"") }.aad(ada().public());
    let text = b"meet at the old mill";
    let to = |recipient, text: &[u8]| seal(&recipient, &aad, text, &mut FixedBytes::new(4)).unwrap();
    let to_record = to(RecipientKey::Record(record.public()), text);
    let to_identity = to(RecipientKey::Identity(bob().public()), text);
    let changed = |at: usize| {
        let mut bytes = to_record.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut other_header = aad;
    other_header[8] ^= 1;
    let mut dead_point = to_record.clone();
    dead_point[9..41].fill(0);
    vec![
        case("to the key of a record", &record, &aad, &to_record),
        case("to a converted identity", &identity, &aad, &to_identity),
        case("an empty text", &record, &aad, &to(RecipientKey::Record(record.public()), b"")),
        case("more than one cipher block", &record, &aad, &to(RecipientKey::Record(record.public()), &[b'x'; 150])),
        case("opened with the wrong key", &identity, &aad, &to_record),
        case("under another header", &record, &other_header, &to_record),
        case("an unknown key source", &record, &aad, &changed(0)),
        case("another key's id", &record, &aad, &changed(1)),
        case("a changed encapsulated key", &record, &aad, &changed(12)),
        case("an encapsulated key of small order", &record, &aad, &dead_point),
        case("a changed text", &record, &aad, &changed(45)),
        case("a changed tag", &record, &aad, &changed(to_record.len() - 1)),
        case("cut in the tag", &record, &aad, &to_record[..56]),
        case("cut in the key", &record, &aad, &to_record[..30]),
        case("nothing", &record, &aad, b""),
    ]
}
