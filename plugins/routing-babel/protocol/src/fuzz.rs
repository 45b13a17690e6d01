//! Control frames from outside, for the project's fuzz targets: a node with two neighbours takes what one of them sends.

use qpq_schemas::signature::{Domain, SigningKey};
use serde_json::json;

use crate::babel::{Babel, Output};
use crate::config::Settings;
use crate::record::{Key, NO_END, PLUGIN_ID, Record, message};
use crate::table::Told;
use crate::wire::{About, Message, Reader, Writer};

const START_MS: u64 = 1_768_435_200_000;
/// The links to the two neighbours: the honest one, and the one that the bytes come from.
const LINKS: [u64; 2] = [1, 2];
/// Destinations that the node holds at most.
const MAX_DESTINATIONS: usize = 16;
/// Milliseconds that pass after the bytes.
const AFTER_MS: u64 = 20_000;
/// State that the node may have: rows, cells, and a table of the neighbour's numbers.
const MAX_STATE: usize = 200_000;

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn sign(n: u8, message: &[u8]) -> [u8; 64] {
    key(n).sign(Domain::PLUGIN, &[&[PLUGIN_ID.len() as u8], PLUGIN_ID.as_bytes(), message])
}

fn way(n: u8, seqno: u64, metric: u32) -> Message {
    let record = Record { seqno, not_after: NO_END, signature: sign(n, &message(seqno, NO_END)) };
    let about = About { number: n.into(), key: Some(key(n).public().0), record: Some(record) };
    Message::Way(about, Told { seqno, metric, hops: 1 })
}

fn frames(messages: &[Message]) -> Vec<Vec<u8>> {
    let mut writer = Writer::default();
    messages.iter().for_each(|message| writer.push(message));
    writer.frames()
}

/// A node that has shaken hands with both, and the seed makes its instance known beforehand.
fn node() -> Option<Babel> {
    let config = json!({ "max_destinations": MAX_DESTINATIONS });
    let signer = Box::new(|message: &[u8]| Some(sign(0, message)));
    let mut babel = Babel::new(Settings::read(&config).ok()?, key(0).public().0, signer, 1, START_MS);
    let mut out = Output::default();
    for link in LINKS {
        let peer: Key = key(link as u8).public().0;
        babel.link_up(START_MS, link, peer, &mut out);
        let greeting = frames(&[hello(&babel, link), Message::Begin, way(100, 5, 300), Message::End]);
        greeting.iter().for_each(|frame| babel.control(START_MS, link, frame, &mut out));
    }
    Some(babel)
}

fn hello(babel: &Babel, link: u64) -> Message {
    Message::Hello { instance: link, yours: babel.instance(), want: true, further: false, swapped: false, age_ms: 0 }
}

/// Takes the bytes as a control frame. What is read is written the same again; whatever was said, the node stays within its
/// bounds, sends a bounded number of bytes, and the honest neighbour's word still counts.
///
/// # Panics
/// When a rule is broken.
pub fn control(bytes: &[u8]) {
    if let Ok(reader) = Reader::new(bytes) {
        let read: Vec<Message> = reader.map_while(Result::ok).collect();
        let again: Vec<Message> =
            frames(&read).iter().filter_map(|frame| Reader::new(frame).ok()).flatten().filter_map(Result::ok).collect();
        assert_eq!(read, again, "what is written is what was read");
    }
    let Some(mut babel) = node() else { return };
    let mut out = Output::default();
    babel.control(START_MS + 1, 2, bytes, &mut out);
    let mut now = START_MS + 1;
    while now < START_MS + AFTER_MS {
        now = babel.tick(now, &mut out).max(now + 1);
    }
    let sent: usize = out.control.iter().map(|(_, frame)| frame.len()).sum();
    assert!(sent <= 20_000 + 400 * bytes.len(), "{sent} bytes for {}", bytes.len());
    assert!(babel.state_bytes() <= MAX_STATE, "{} bytes of state", babel.state_bytes());
    for frame in frames(&[way(101, 9, 100)]) {
        babel.control(now, 1, &frame, &mut out);
    }
    let reached = |n: u8| {
        let hex: String = key(n).public().0.iter().map(|byte| format!("{byte:02x}")).collect();
        babel.dump()["routes"].as_array().is_some_and(|all| all.iter().any(|row| row["destination"] == hex))
    };
    assert!(reached(100), "a destination that another neighbour reaches is kept");
}

/// Well-formed frames.
pub fn control_seeds() -> Vec<Vec<u8>> {
    let Some(babel) = node() else { return Vec::new() };
    let about = About { number: 100, key: Some(key(100).public().0), record: None };
    let known = About { number: 100, key: None, record: None };
    let all = [
        vec![hello(&babel, 2), Message::Begin, Message::End],
        vec![way(100, 6, 10), way(102, u64::MAX, 0), Message::Digest(7)],
        vec![Message::Retraction(100), Message::Request { about, seqno: 6, ttl: 9 }],
        vec![
            Message::Way(known, Told { seqno: 5, metric: 1, hops: 3 }),
            Message::Request { about: known, seqno: 6, ttl: 255 },
        ],
        vec![
            Message::Hello { instance: 99, yours: 0, want: true, further: true, swapped: false, age_ms: 0 },
            Message::Begin,
            way(100, 5, 1),
        ],
    ];
    all.iter().flat_map(|messages| frames(messages)).collect()
}
