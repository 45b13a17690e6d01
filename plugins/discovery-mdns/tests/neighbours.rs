//! Engines that find each other over the loopback interface, each test on a port of its own.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qpq_discovery_mdns::engine::{Engine, Outside};
use qpq_discovery_mdns::record::Own;
use qpq_discovery_mdns::{Config, limits};
use qpq_plugin_api::PeerEvent;
use serde_json::{Value, json};

/// How long a test waits for what takes well under a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Notes what is reported.
#[derive(Clone, Default)]
struct Notes {
    events: Arc<Mutex<Vec<(PeerEvent, u64, Value)>>>,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Outside for Notes {
    fn peer(&self, event: PeerEvent, op: u64, record: &Value) -> bool {
        self.events.lock().unwrap().push((event, op, record.clone()));
        true
    }

    fn warn(&self, text: &str) {
        self.warnings.lock().unwrap().push(text.to_owned());
    }
}

impl Notes {
    fn wait(&self, what: &str, wanted: impl Fn(PeerEvent, &Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            if let Some((_, _, record)) = self.events.lock().unwrap().iter().find(|(event, _, r)| wanted(*event, r)) {
                return record.clone();
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain: {what}; {:?}", self.events.lock().unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn count(&self) -> usize {
        self.events.lock().unwrap().len()
    }
}

fn config(port: u16) -> Config {
    Config { port, loopback: true, ipv6: false, interfaces: vec!["lo".to_owned()], ..Config::default() }
}

fn own(letter: char, addresses: &[&str]) -> Own {
    let record = json!({
        "peer": letter.to_string().repeat(64), "addresses": addresses, "server": "192.0.2.1:7000", "domain": "x.mesh.local",
    });
    Own::from_json(record).unwrap()
}

/// A running engine that announces, and looks for others as operation 2.
fn engine(port: u16, letter: char) -> (Engine, Notes) {
    let notes = Notes::default();
    let engine = Engine::new(config(port), Box::new(notes.clone()));
    engine.start().unwrap();
    engine.browse(2, "_quicproquo._udp.local.");
    engine.advertise(1, own(letter, &["quic://192.0.2.1:7000"]));
    (engine, notes)
}

fn of(letter: char) -> impl Fn(PeerEvent, &Value) -> bool {
    let peer = letter.to_string().repeat(64);
    move |event, record| event == PeerEvent::Found && record["peer"] == peer.as_str()
}

#[test]
fn two_find_each_other_and_not_themselves() {
    let (_a, seen_by_a) = engine(25_301, 'a');
    let (_b, seen_by_b) = engine(25_301, 'b');
    let b = seen_by_a.wait("a finds b", of('b'));
    assert_eq!(b["addresses"], json!(["quic://192.0.2.1:7000"]));
    assert_eq!(
        (&b["server"], &b["domain"], &b["interface"]),
        (&json!("192.0.2.1:7000"), &json!("x.mesh.local"), &json!("lo"))
    );
    seen_by_b.wait("b finds a", of('a'));
    for (notes, me) in [(seen_by_a, 'a'), (seen_by_b, 'b')] {
        let events = notes.events.lock().unwrap();
        assert!(events.iter().all(|(_, op, record)| *op == 2 && record["peer"] != me.to_string().repeat(64)));
    }
}

#[test]
fn a_changed_record_replaces_the_old_one_and_cancelling_that_says_no_goodbye() {
    let (_a, seen) = engine(25_302, 'a');
    let (b, _) = engine(25_302, 'b');
    seen.wait("a finds b", of('b'));
    b.advertise(3, own('b', &["quic://192.0.2.9:7000"]));
    b.cancel(1);
    let changed =
        |event, record: &Value| event == PeerEvent::Changed && record["addresses"] == json!(["quic://192.0.2.9:7000"]);
    seen.wait("a hears of the new address", changed);
    let events = seen.events.lock().unwrap();
    assert!(events.iter().all(|(event, ..)| *event != PeerEvent::Lost), "{events:?}");
}

#[test]
fn who_stops_says_goodbye_and_all_its_threads_are_gone() {
    let (_a, seen) = engine(25_303, 'a');
    let (b, _) = engine(25_303, 'b');
    seen.wait("a finds b", of('b'));
    let began = Instant::now();
    b.stop(Duration::from_secs(2));
    assert!(began.elapsed() < PATIENCE);
    seen.wait("a hears the goodbye", |event, record| event == PeerEvent::Lost && record["peer"] == "b".repeat(64));
    b.stop(Duration::from_secs(2)); // again does nothing
}

#[test]
fn a_second_instance_of_a_node_outlives_the_first() {
    let (_a, seen) = engine(25_304, 'a');
    let (old, _) = engine(25_304, 'b');
    let first = seen.wait("a finds the old instance", of('b'));
    let (_new, of_new) = engine(25_304, 'b');
    let other = |event, record: &Value| of('b')(event, record) && record["id"] != first["id"];
    let second = seen.wait("a finds the new instance", other);
    old.stop(Duration::from_secs(2));
    seen.wait("the old instance goes", |event, record| event == PeerEvent::Lost && record["id"] == first["id"]);
    let lost_second =
        |(event, _, record): &(PeerEvent, u64, Value)| *event == PeerEvent::Lost && record["id"] == second["id"];
    assert!(!seen.events.lock().unwrap().iter().any(lost_second));
    of_new.wait("the new instance finds a", of('a'));
    assert!(of_new.events.lock().unwrap().iter().all(|(.., record)| record["peer"] != "b".repeat(64)));
}

#[test]
fn a_new_browse_hears_of_all_that_are_known() {
    let (a, seen) = engine(25_305, 'a');
    let (_b, _) = engine(25_305, 'b');
    seen.wait("a finds b", of('b'));
    a.cancel(2);
    a.browse(7, "_quicproquo._udp.local.");
    let began = Instant::now();
    while !seen.events.lock().unwrap().iter().any(|(event, op, _)| *op == 7 && *event == PeerEvent::Found) {
        assert!(began.elapsed() < PATIENCE, "the new browse heard nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes of a DNS name.
fn name(labels: &[&[u8]]) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        labels.iter().flat_map(|label| std::iter::once(label.len() as u8).chain(label.iter().copied())).collect();
    bytes.push(0);
    bytes
}

fn record(name: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let class: u16 = if kind == 12 { 1 } else { 0x8001 };
    [name, &kind.to_be_bytes(), &class.to_be_bytes(), &ttl.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data]
        .concat()
}

/// An unasked answer: PTR, SRV, TXT and A of an instance.
fn announcement(instance: &[u8], host: &[u8], strings: &[&[u8]]) -> Vec<u8> {
    let service = name(&[b"_quicproquo", b"_udp", b"local"]);
    let full = name(&[instance, b"_quicproquo", b"_udp", b"local"]);
    let host = name(&[host, b"local"]);
    let text: Vec<u8> = strings.iter().flat_map(|s| std::iter::once(s.len() as u8).chain(s.iter().copied())).collect();
    let ttl = u32::MAX;
    let records = [
        record(&service, 12, ttl, &full),
        record(&full, 33, ttl, &[&[0, 0, 0, 0, 0x1b, 0x58][..], &host].concat()),
        record(&full, 16, ttl, &text),
        record(&host, 1, ttl, &[127, 0, 0, 1]),
    ];
    [&[0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0][..], &records.concat()].concat()
}

fn liar() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_multicast_loop_v4(true).unwrap();
    socket
}

#[test]
fn lies_are_cleaned_or_ignored() {
    let port = 25_306;
    let (_a, seen) = engine(port, 'a');
    let to = (Ipv4Addr::new(224, 0, 0, 251), port);
    let liar = liar();
    let own_key = format!("peer={}", "a".repeat(64));
    let big = [b"addr=quic://".as_slice(), &[b'x'; 243]].concat();
    let lies: [(&[u8], Vec<&[u8]>); 6] = [
        (b"\x1b[31mred", vec![b"server=a:1"]),
        (b"nul\0inside", vec![b"server=a:1"]),
        (b"own", vec![own_key.as_bytes(), b"addr=quic://192.0.2.66:1"]),
        (b"empty", vec![b"", b"=", b"server=", b"peer=zz"]),
        (b"big", vec![&big; 5]),
        (b"binary", vec![b"server=\xff\xfe:1", b"\0\0\0", b"addr=quic://\x1b[2J:1"]),
    ];
    let began = Instant::now();
    while began.elapsed() < PATIENCE && seen.count() == 0 {
        for (instance, strings) in &lies {
            liar.send_to(&announcement(instance, b"liar", strings), to).unwrap();
        }
        // Truncated and senseless packets.
        let whole = announcement(b"cut", b"liar", &[b"server=a:1"]);
        for length in 0..whole.len() {
            liar.send_to(&whole[..length], to).unwrap();
        }
        // Behind them, an honest one: when it is heard, the others have been.
        liar.send_to(&announcement(b"honest", b"honest", &[b"ver=1", b"server=127.0.0.1:7000"]), to).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    let honest = seen.wait("the honest node is found", |_, record| record["id"] == "honest");
    assert_eq!(honest["server"], "127.0.0.1:7000");
    let events = seen.events.lock().unwrap();
    assert!(events.iter().all(|(.., record)| record["id"] == "honest"), "{events:?}");
}

#[test]
fn ten_thousand_lies_cost_bounded_memory_and_one_line() {
    let port = 25_307;
    let (a, seen) = engine(port, 'a');
    let to = (Ipv4Addr::new(224, 0, 0, 251), port);
    let liar = liar();
    let filler = [b'x'; 200];
    // A busy machine drops packets, so the liar goes on until it was noticed.
    let (began, mut n) = (Instant::now(), 0);
    while n < 10_000 || seen.warnings.lock().unwrap().is_empty() {
        assert!(began.elapsed() < PATIENCE, "the flood was not noticed: {}", a.stats());
        n += 1;
        let (instance, server) = (format!("fake{n}"), format!("server=192.0.2.1:{}", n % 65_535 + 1));
        let text: [&[u8]; 3] = [server.as_bytes(), &filler, &filler];
        liar.send_to(&announcement(instance.as_bytes(), instance.as_bytes(), &text), to).unwrap();
        if n % 50 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let stats = a.stats();
    assert!(stats["nodes"].as_u64().unwrap() <= limits::MAX_NODES as u64);
    assert_eq!(seen.warnings.lock().unwrap().len(), 1);
    // It starts afresh, and neighbours are found again.
    let (_b, _) = engine(port, 'b');
    seen.wait("a finds b after the flood", of('b'));
    a.stop(Duration::from_secs(2));
}
