use qpq_schemas::envelope::Kind;
use qpq_schemas::parcel::{Item, MAGIC, ParcelError, ParcelReader, ParcelWriter};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::tools::{NOW, ada, draft, hex};

/// What a reader makes of a file.
fn case(name: &str, file: &[u8]) -> Value {
    let (mut reader, mut items) = (ParcelReader::new(), Vec::new());
    reader.push(file);
    let end = loop {
        match reader.next() {
            Ok(Some(item)) => items.push(shown(&item)),
            Ok(None) => break reader.finish().err(),
            Err(error) => break Some(error),
        }
    };
    json!({ "name": name, "file": hex(file), "items": items, "end": end.map(ParcelError::code) })
}

fn shown(item: &Item) -> Value {
    match item {
        Item::Header { made_ms, by } => json!({ "made_ms": made_ms, "by": by }),
        Item::Envelope(wire) => json!({ "envelope": hex(wire) }),
        Item::Damaged { number, .. } => json!({ "damaged": number }),
        Item::Missing { from, to } => json!({ "missing": [from, to] }),
        Item::End { count } => json!({ "count": count }),
    }
}

fn file(texts: &[&[u8]]) -> Vec<u8> {
    let mut file = ParcelWriter::header(NOW, &ada().public());
    let mut writer = ParcelWriter::default();
    for text in texts {
        let envelope = draft(Kind::Direct, text).sign(&ada()).unwrap();
        writer.envelope(envelope.wire(), &mut file);
    }
    writer.end(&mut file);
    file
}

/// A head whose check fits, whatever it says.
fn head(len: u32, number: u64) -> Vec<u8> {
    let head = [&len.to_be_bytes()[..], &number.to_be_bytes()].concat();
    let check = Sha256::digest([&MAGIC[..], &head].concat());
    [&head[..], &check[..4]].concat()
}

pub(crate) fn vectors() -> Value {
    let whole = file(&[b"one", b"two", b"three"]);
    let piece = |text: &[u8]| 16 + 157 + text.len() + 8;
    let (first, second) = (64, 64 + piece(b"one"));
    let third = second + piece(b"two");
    let with = |place: usize, byte: u8| {
        let mut changed = whole.clone();
        changed[place] ^= byte;
        changed
    };
    let without = |from: usize, to: usize| [&whole[..from], &whole[to..]].concat();
    let cases = vec![
        case("three envelopes", &whole),
        case("none", &file(&[])),
        case("an empty file", &[]),
        case("a script", b"#!/bin/sh\n"),
        case("another version", &with(8, 3)),
        case("a damaged header", &with(20, 1)),
        case("a damaged envelope", &with(second + 30, 1)),
        case("a damaged sum", &with(third - 1, 1)),
        case("a damaged length", &with(second + 3, 1)),
        case("the second is missing", &without(second, third)),
        case("the first comes twice", &[&whole[..second], &whole[first..]].concat()),
        case("cut off in a head", &whole[..second + 9]),
        case("cut off in an envelope", &whole[..third - 20]),
        case("cut off before the end mark", &whole[..whole.len() - 24]),
        case("something behind the end mark", &[&whole[..], b"\n"].concat()),
        case("an envelope that is too long", &[&whole[..64], &head(157 + (1 << 20) + 1, 0)].concat()),
        case("the longest envelope, cut off", &[&whole[..64], &head(157 + (1 << 20), 0)].concat()),
    ];
    json!({ "spec": "schemas/spec/parcel.md", "cases": cases })
}
