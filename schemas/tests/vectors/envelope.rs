use qpq_schemas::content::Content;
use qpq_schemas::envelope::{DEFAULT_MAX_PAYLOAD, Draft, EnvelopeRef, Flags, Kind, Priority, Refusal};
use qpq_schemas::receipt::Receipt;
use qpq_schemas::signature::Verifier;
use qpq_schemas::{MessageId, PeerId};
use serde_json::{Value, json};

use crate::tools::{NOW, ada, draft, hex};

/// In this order, as a node does, but for blocked senders and known ids.
fn check(wire: &[u8], now_ms: u64) -> Result<EnvelopeRef<'_>, Refusal> {
    let envelope = EnvelopeRef::parse(wire, DEFAULT_MAX_PAYLOAD)?;
    envelope.check_times(now_ms)?;
    envelope.check_hops()?;
    Verifier::new(0).check(envelope)?;
    Ok(envelope)
}

fn case(name: &str, wire: &[u8], now_ms: u64) -> Value {
    let outcome = match check(wire, now_ms) {
        Err(refusal) => json!({ "refused": refusal.code() }),
        Ok(envelope) => json!({
            "id": envelope.id(),
            "kind": envelope.kind() as u8,
            "sealed": envelope.flags().sealed,
            "receipt_wanted": envelope.flags().receipt_wanted,
            "priority": envelope.flags().priority as u8,
            "max_hops": envelope.max_hops(),
            "ttl_secs": envelope.ttl_secs(),
            "created_ms": envelope.created_ms(),
            "expires_ms": envelope.expires_ms(),
            "nonce": hex(envelope.nonce()),
            "sender": envelope.sender(),
            "destination": hex(envelope.destination()),
            "payload": hex(envelope.payload()),
            "hop_count": envelope.hop_count(),
            "content": Content::decode(envelope.payload()).ok().map(|content| json!({
                "automatic": content.automatic, "kind": content.kind, "reply_to": content.reply_to, "body": hex(content.body),
            })),
            "receipt": Receipt::decode(envelope.payload()).ok().map(|receipt| json!({
                "id": receipt.id, "received_ms": receipt.received_ms,
            })),
        }),
    };
    json!({ "name": name, "wire": hex(wire), "now_ms": now_ms, "outcome": outcome })
}

fn wire(draft: &Draft) -> Vec<u8> {
    draft.sign(&ada()).unwrap().wire().to_vec()
}

pub(crate) fn vectors() -> Value {
    let mut cases = accepted();
    cases.extend(refused_by_form());
    cases.extend(refused_by_rule());
    json!({
        "format": "qpq-envelope/1",
        "max_payload": DEFAULT_MAX_PAYLOAD,
        "order_of_checks": ["parse", "times", "hops", "signature"],
        "cases": cases,
    })
}

fn accepted() -> Vec<Value> {
    let text = Content::text("hello mesh").encode();
    let automatic = Content { automatic: true, kind: 1, reply_to: None, body: vec![0, 255] }.encode();
    let answer = Content { reply_to: Some(MessageId([9; 32])), ..Content::text("yes") }.encode();
    let receipt = Receipt { id: MessageId([7; 32]), received_ms: NOW + 5 };
    let urgent = Flags { sealed: true, receipt_wanted: true, priority: Priority::Emergency };
    let full = Draft { flags: urgent, max_hops: 255, ..draft(Kind::Direct, b"sealed, so not read here") };
    let mut relayed = wire(&draft(Kind::Broadcast, &automatic));
    *relayed.last_mut().unwrap() = 15;
    let early = Draft { created_ms: NOW + 300_000, ..draft(Kind::Direct, &text) };
    vec![
        case("a plain direct text", &wire(&draft(Kind::Direct, &text)), NOW),
        case("a broadcast from a program, relayed 15 times", &relayed, NOW),
        case("an answer", &wire(&draft(Kind::Direct, &answer)), NOW),
        case("an answer that is cut off", &wire(&draft(Kind::Direct, &answer[..34])), NOW),
        case("a delivery receipt", &wire(&draft(Kind::Receipt, &receipt.encode())), NOW),
        case("an empty payload", &wire(&draft(Kind::Direct, b"")), NOW),
        case("all flags set", &wire(&full), NOW),
        case("created five minutes ahead", &wire(&early), NOW),
        case("in the last millisecond of its life", &wire(&draft(Kind::Direct, &text)), NOW + 86_399_999),
    ]
}

fn refused_by_form() -> Vec<Value> {
    let good = wire(&draft(Kind::Direct, &Content::text("hello mesh").encode()));
    let changed = |name: &str, at: usize, byte: u8| {
        let mut wire = good.clone();
        wire[at] = byte;
        case(name, &wire, NOW)
    };
    let cut = |name: &str, len: usize| case(name, &good[..len], NOW);
    vec![
        case("nothing", b"", NOW),
        cut("cut inside the header", 91),
        cut("cut inside the payload", 95),
        cut("cut inside the signature", good.len() - 2),
        cut("without its hop count", good.len() - 1),
        case("one byte too long", &[&good[..], &[0]].concat(), NOW),
        changed("version 0", 0, 0),
        changed("version 2", 0, 2),
        changed("kind 3", 1, 3),
        changed("reserved bit 4", 2, 0b1_0000),
        changed("reserved bit 7", 2, 0b1000_0000),
        changed("a payload length beyond the end", 91, 14),
        changed("a payload length before the end", 91, 12),
        changed("a payload length of 65,549", 89, 1),
        changed("a payload length of 4 GiB", 88, 255),
    ]
}

fn refused_by_rule() -> Vec<Value> {
    let good = draft(Kind::Direct, &Content::text("hello mesh").encode());
    let signed = wire(&good);
    let changed = |name: &str, at: usize| {
        let mut wire = signed.clone();
        wire[at] ^= 1;
        case(name, &wire, NOW)
    };
    let early = Draft { created_ms: NOW + 300_001, ..good.clone() };
    let eternal = Draft { ttl_secs: 2_592_001, ..good.clone() };
    let no_life = Draft { ttl_secs: 0, ..good.clone() };
    let no_hops = Draft { max_hops: 0, ..good.clone() };
    let mut tired = signed.clone();
    *tired.last_mut().unwrap() = 16;
    let mut neutral = PeerId::default();
    neutral.0[0] = 1;
    let mut small = signed.clone();
    small[24..56].copy_from_slice(&neutral.0);
    let mut no_point = signed.clone();
    no_point[24..56].fill(2);
    vec![
        case("five minutes and a millisecond ahead", &wire(&early), NOW),
        case("at the end of its life", &signed, NOW + 86_400_000),
        case("without any life", &wire(&no_life), NOW),
        case("a life of 30 days and a second", &wire(&eternal), NOW),
        case("as many hops as allowed", &tired, NOW),
        case("no hops allowed", &wire(&no_hops), NOW),
        changed("a changed recipient", 60),
        changed("a changed payload", 96),
        changed("a changed signature", signed.len() - 40),
        case("a sender key of small order", &small, NOW),
        case("a sender key that is no point", &no_point, NOW),
    ]
}
