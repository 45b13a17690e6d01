//! Short texts from others: addresses, entries of boards, and moments that a bot asks for.

use qpq_federation_capnp::fuzz as federation;
use qpq_host::control::quic;
use qpq_host::fuzz;
use qpq_quic_common::HostPort;

use super::{Seeds, Target};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "address", feed: feed_address, seeds: addresses },
    Target { name: "board-entry", feed: feed_board_entry, seeds: board_entries },
    Target { name: "schedule", feed: feed_schedule, seeds: schedules },
];

fn addresses() -> Seeds {
    let key = "ab".repeat(32);
    let with_key = format!("{key}@[2001:db8::1]:7002");
    let by_key = format!("iroh://{key}?direct=192.0.2.1:9&relay=https://relay.example:3340/");
    [
        "quic://192.168.1.42:7000",
        "quic://[fe80::1%eth0]:7000",
        "quic://node.example:7000/x",
        "udp://0.0.0.0:7000",
        "federation://b.example",
        "federation://B.example.@host.b.example:7001",
        "federation://b.mesh@[::ffff:192.0.2.1]:7001",
        "mesh.example.org:7002",
        &with_key,
        &by_key,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Whoever reads an address takes only what is fit for a log; what is read is read again from what it is written as.
fn feed_address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    fuzz::address(text);
    federation::address(text);
    for part in [Some(text), text.split_once("://").map(|(_, place)| place)].into_iter().flatten() {
        feed_place(part);
    }
}

fn feed_place(text: &str) {
    if let Ok(place) = HostPort::parse(text) {
        assert!(place.host.bytes().all(|byte| byte.is_ascii_graphic()), "{place:?} would reach a terminal");
        let again = place.socket_addr().map(|socket| HostPort::parse(&socket.to_string()).ok()?.socket_addr());
        assert!(again.is_none_or(|again| again == place.socket_addr()), "{text:?} is read as {place:?}");
    }
    match text.parse::<quic::Target>() {
        Ok(target) => {
            assert!(target.host_and_port().is_some_and(|(host, port)| !host.is_empty() && port != 0));
            assert_eq!(target.to_string().parse().ok(), Some(quic::Target { key: None, ..target }));
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error}"),
    }
}

fn board_entries() -> Seeds {
    let key = "ab".repeat(32);
    let all = [
        "!post Lost: one cat",
        "!post for:KEY two\nlines",
        "!reply #ab12cd yes",
        "!reply for:KEY KEY no",
        "!EDIT ab12cd better",
        "!delete for:KEY ab12cd",
        "!pin ab12cd",
        "!hide ab12cd off topic",
        "!ban KEY",
    ];
    all.map(|text| text.replace("KEY", &key).into_bytes()).to_vec()
}

/// An entry reads the same once it was written.
fn feed_board_entry(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        fuzz::board_entry(text);
    }
}

fn schedules() -> Seeds {
    ["08:00", "*/15 * * * *", "0 9 1,15 2-5 1-5/2", "0 0 29 2 *", "1h30m", "0.5s"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

/// Moments lie ahead, durations are not endless.
fn feed_schedule(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        fuzz::schedule(text);
    }
}
