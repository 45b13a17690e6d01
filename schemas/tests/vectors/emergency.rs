use qpq_schemas::channel::ChannelKey;
use qpq_schemas::emergency::{Notice, NoticeError};
use qpq_schemas::signature::SigningKey;
use serde_json::{Value, json};

use crate::tools::{NOW, ada, bob, hex};

fn describe(read: Result<Notice, NoticeError>) -> Value {
    match read {
        Err(error) => json!({ "refused": error.code() }),
        Ok(notice) => {
            let signatures = notice.signatures().map(|(key, good)| json!({ "key": key, "good": good }));
            json!({
                "topic": notice.topic(),
                "until_ms": notice.until_ms(),
                "text": notice.text(),
                "signatures": signatures.collect::<Vec<_>>(),
            })
        }
    }
}

fn case(name: &str, bytes: &[u8]) -> Value {
    json!({ "name": name, "bytes": hex(bytes), "outcome": describe(Notice::decode(bytes)) })
}

fn text(text: &str) -> Value {
    json!({ "text": text, "outcome": describe(Notice::from_text(text)) })
}

fn notice(signers: &[SigningKey]) -> Notice {
    let topic = ChannelKey::open("emergency").unwrap().topic_id();
    let mut notice = Notice::new(topic, NOW + 21_600_000, "Der Damm könnte brechen:\n\tverlasst das Tal").unwrap();
    signers.iter().for_each(|key| notice.sign(key).unwrap());
    notice
}

/// Where the length of the text stands.
const TEXT_AT: usize = 1 + 32 + 8;

pub(crate) fn vectors() -> Value {
    let (both, none) = (notice(&[ada(), bob()]).encode(), notice(&[]).encode());
    let changed = |at: usize| {
        let mut bytes = both.clone();
        bytes[at] ^= 1;
        bytes
    };
    // Changes the text, as one with other software could.
    let with_text = |text: &[u8]| {
        let len = (text.len() as u16).to_be_bytes();
        [&none[..TEXT_AT], &len, text, &[0]].concat()
    };
    let (head, signatures) = both.split_at(both.len() - 2 * 96);
    let (first, second) = signatures.split_at(96);
    let count = |n: u8| [&head[..head.len() - 1], &[n]].concat();
    let many: Vec<u8> = (0..17).flat_map(|n| [[n; 32].as_slice(), &[7; 64]].concat()).collect();
    let good = notice(&[ada(), bob()]).to_text();
    json!({
        "format": "qpq-emergency/1",
        "cases": [
            case("signed by two", &both),
            case("signed by nobody", &none),
            case("sixteen signatures, all bad", &[&count(16)[..], &many[..16 * 96]].concat()),
            case("a changed text", &changed(TEXT_AT + 2)),
            case("a changed time", &changed(TEXT_AT - 1)),
            case("a changed channel", &changed(1)),
            case("a changed signature", &changed(both.len() - 1)),
            case("the longest text", &with_text(&[b'x'; 2_048])),
            case("a longer text", &with_text(&[b'x'; 2_049])),
            case("no text", &with_text(b"")),
            case("a text that steers a terminal", &with_text(b"\x1b[2J")),
            case("a text that hides", &with_text("a\u{202e}b".as_bytes())),
            case("a text that is no UTF-8", &with_text(b"\xff\xfe")),
            case("another version", &changed(0)),
            case("one signer twice", &[head, first, first].concat()),
            case("signers in the other order", &[head, second, first].concat()),
            case("seventeen signatures", &[&count(17)[..], &many].concat()),
            case("cut in a signature", &both[..both.len() - 1]),
            case("cut in the text", &both[..TEXT_AT + 5]),
            case("a byte too many", &[&both[..], &[0]].concat()),
            case("nothing", b""),
        ],
        "texts": [
            text(&good),
            text(&format!(" {}-{}\n{}", good[..9].to_uppercase(), &good[9..30], &good[30..])),
            text(&good.to_uppercase().replace('0', "O").replace('1', "L")),
            text(&good.replacen('0', "2", 1)),
            text(&good[..good.len() - 1]),
            text(&good[..12]),
            text(&format!("{good}u")),
            text(&"q".repeat(8_193)),
            text("qpqinvite"),
            text(""),
        ],
    })
}
