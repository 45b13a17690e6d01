use qpq_schemas::record::NodeRecord;
use qpq_schemas::sealing::SealingPublic;
use qpq_schemas::signature::Domain;
use serde_json::{Value, json};

use crate::tools::{NOW, ada, hex};

fn case(name: &str, bytes: &[u8], now_ms: u64) -> Value {
    let outcome = match NodeRecord::verify(bytes).and_then(|record| record.check_times(now_ms).map(|()| record)) {
        Err(error) => json!({ "refused": error.code() }),
        Ok(record) => json!({
            "peer": record.peer,
            "seq_ms": record.seq_ms,
            "expires_ms": record.expires_ms,
            "sealing": hex(record.sealing.0),
            "sealing_id": hex(record.sealing.id()),
            "nickname": record.nickname,
            "domain": record.domain,
            "addresses": record.addresses,
        }),
    };
    json!({ "name": name, "bytes": hex(bytes), "now_ms": now_ms, "outcome": outcome })
}

fn record() -> NodeRecord {
    NodeRecord {
        peer: ada().public(),
        seq_ms: NOW,
        expires_ms: NOW + 86_400_000,
        sealing: SealingPublic([5; 32]),
        nickname: "Ada".into(),
        domain: "mesh.example".into(),
        addresses: vec!["quic://192.0.2.7:4433".into(), "quic://[2001:db8::7]:4433".into()],
    }
}

/// Changes the bytes before they are signed, as a peer with other software could.
fn forged(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = record().sign(&ada()).unwrap();
    bytes.truncate(bytes.len() - 64);
    change(&mut bytes);
    let signature = ada().sign(Domain::RECORD, &[&bytes]);
    [&bytes[..], &signature].concat()
}

/// Where the nickname's length stands.
const NICKNAME_AT: usize = 1 + 32 + 8 + 8 + 32;

pub(crate) fn vectors() -> Value {
    let good = record().sign(&ada()).unwrap();
    let bare = NodeRecord { nickname: String::new(), domain: String::new(), addresses: vec![], ..record() };
    let mut changed = good.clone();
    changed[NICKNAME_AT + 1] ^= 1;
    let at = |bytes: &mut Vec<u8>, place: usize, byte| bytes[place] = byte;
    let cases = vec![
        case("all fields", &good, NOW),
        case("no nickname, domain and addresses", &bare.sign(&ada()).unwrap(), NOW),
        case("in its last millisecond", &good, NOW + 86_399_999),
        case("expired", &good, NOW + 86_400_000),
        case("from the future", &good, NOW - 300_001),
        case("changed after signing", &changed, NOW),
        case("nothing", b"", NOW),
        case("cut", &good[..good.len() - 1], NOW),
        case("one byte too long", &[&good[..], &[0]].concat(), NOW),
        case("over 1,024 bytes", &[1; 1_025], NOW),
        case("version 2", &forged(|bytes| at(bytes, 0, 2)), NOW),
        case("a terminal code in the nickname", &forged(|bytes| at(bytes, NICKNAME_AT + 1, 0x1b)), NOW),
        case("a nickname that is no UTF-8", &forged(|bytes| at(bytes, NICKNAME_AT + 1, 0xff)), NOW),
        case("a nickname that goes beyond the end", &forged(|bytes| at(bytes, NICKNAME_AT, 255)), NOW),
        case("a capital in the domain", &forged(|bytes| at(bytes, NICKNAME_AT + 5, b'M')), NOW),
        case("a blank in an address", &forged(|bytes| at(bytes, NICKNAME_AT + 25, b' ')), NOW),
        case(
            "nine addresses",
            &forged(|bytes| {
                bytes.truncate(NICKNAME_AT + 17);
                bytes.push(9);
                bytes.extend_from_slice(&[1, b'a'].repeat(9));
            }),
            NOW,
        ),
        case("more bytes than fields", &forged(|bytes| bytes.push(0)), NOW),
        case("expires before it was made", &forged(|bytes| bytes[41..49].fill(0)), NOW),
    ];
    json!({ "format": "qpq-record/1", "cases": cases })
}
