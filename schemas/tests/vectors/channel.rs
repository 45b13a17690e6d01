use qpq_schemas::channel::{ChannelKey, normalise};
use qpq_schemas::envelope::{Aad, Draft, Flags, Kind};
use serde_json::{Value, json};

use crate::tools::{FixedBytes, ada, draft, hex};

pub(crate) fn vectors() -> Value {
    json!({
        "format": "qpq-channel/1",
        "names": names(),
        "channels": [
            channel(&ChannelKey::open("announcements").unwrap()),
            channel(&ChannelKey::open("Freies WLAN für alle").unwrap()),
            channel(&private()),
            channel(&private().rotated(&mut FixedBytes::new(2))),
        ],
        "payloads": payloads(),
        "invites": invites(),
    })
}

fn private() -> ChannelKey {
    ChannelKey::private("crew", &mut FixedBytes::new(1)).unwrap()
}

fn names() -> Vec<Value> {
    let longest = "x".repeat(64);
    let too_long = "ü".repeat(33);
    let texts = [
        "announcements",
        "  ##Free   Wifi ",
        "ÄÖÜ",
        "日本",
        "a#b",
        "",
        " # ",
        "a\tb",
        "a\u{1b}b",
        "a\u{85}b",
        "a\u{200b}b",
        "a\u{202e}b",
        "e\u{301}",
        &longest,
        &too_long,
    ];
    let name = |text: &&str| json!({ "text": text, "normal": normalise(text).ok() });
    texts.iter().map(name).collect()
}

fn channel(key: &ChannelKey) -> Value {
    json!({
        "name": key.name(),
        "secret": hex(**key.secret()),
        "epoch": key.epoch(),
        "private": key.is_private(),
        "topic_id": key.topic_id(),
        "invite": *key.invite(),
    })
}

fn header(channel: &ChannelKey) -> Aad {
    let flags = Flags { sealed: true, ..Flags::default() };
    let draft = Draft { flags, destination: channel.topic_id().0, ..draft(Kind::Broadcast, b"") };
    draft.aad(ada().public())
}

fn payload(name: &str, key: &ChannelKey, aad: &Aad, payload: &[u8]) -> Value {
    let outcome = match key.open_bytes(aad, payload) {
        Ok(plaintext) => json!({ "plaintext": hex(plaintext) }),
        Err(error) => json!({ "refused": error.code() }),
    };
    json!({
        "name": name, "secret": hex(**key.secret()), "epoch": key.epoch(), "aad": hex(aad), "payload": hex(payload),
        "outcome": outcome,
    })
}

fn payloads() -> Vec<Value> {
    let (old, open) = (private(), ChannelKey::open("announcements").unwrap());
    let new = old.rotated(&mut FixedBytes::new(2));
    let text = b"the river is rising";
    let sealed = new.seal(&header(&new), text);
    let changed = |at: usize| {
        let mut bytes = sealed.clone();
        bytes[at] ^= 1;
        bytes
    };
    vec![
        payload("an open channel", &open, &header(&open), &open.seal(&header(&open), text)),
        payload("a private channel", &old, &header(&old), &old.seal(&header(&old), text)),
        payload("after the key was rotated", &new, &header(&new), &sealed),
        payload("an empty text", &old, &header(&old), &old.seal(&header(&old), b"")),
        payload("more than one cipher block", &open, &header(&open), &open.seal(&header(&open), &[b'x'; 150])),
        payload("with the key of the epoch before", &old, &header(&new), &sealed),
        payload("under another header", &new, &header(&old), &sealed),
        payload("a changed version", &new, &header(&new), &changed(0)),
        payload("a changed epoch", &new, &header(&new), &changed(4)),
        payload("a changed text", &new, &header(&new), &changed(7)),
        payload("a changed tag", &new, &header(&new), &changed(sealed.len() - 1)),
        payload("cut in the tag", &new, &header(&new), &sealed[..20]),
        payload("cut in the epoch", &new, &header(&new), &sealed[..4]),
        payload("nothing", &new, &header(&new), b""),
    ]
}

fn invites() -> Vec<Value> {
    let good = private().invite().to_string();
    let mistyped = good.replacen("c", "d", 1);
    let spoken = good.to_uppercase().replace('0', "O").replace('1', "I");
    let folded = format!(" {}-{}\n{}", &good[..12], &good[12..30], &good[30..]);
    let texts = [
        good.clone(),
        spoken,
        folded,
        mistyped,
        good[..good.len() - 1].to_owned(),
        good[..20].to_owned(),
        format!("{good}0"),
        format!("{good}!"),
        format!("{good}u"),
        String::new(),
        "qpqinvite".into(),
        "https://example.org".into(),
        "q".repeat(513),
    ];
    texts.iter().map(|text| invite(text)).collect()
}

fn invite(text: &str) -> Value {
    let outcome = match ChannelKey::from_invite(text) {
        Ok(key) => channel(&key),
        Err(error) => json!({ "refused": error.code() }),
    };
    json!({ "text": text, "outcome": outcome })
}
