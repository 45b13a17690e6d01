//! A neighbour that lies.

use std::process::{Child, Stdio};
use std::time::Duration;

use qpq_tests::lab::{Family, House};
use qpq_tests::{Outcome, ensure, procfs, skip};

use super::{found_count, in_house, peers, plan, wait_found};

/// Announces what it is told, over and over: PTR, SRV, TXT and A records by raw UDP. Arguments: address, key to claim, count.
const LIAR: &str = r#"
import socket, struct, sys, time
address, key, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
def name(*labels):
    return b"".join(bytes([len(l)]) + l for l in labels) + b"\0"
def record(owner, kind, data, flush=True):
    return owner + struct.pack(">HHIH", kind, 0x8001 if flush else 1, 0xffffffff, len(data)) + data
def answer(instance, strings, target):
    service = name(b"_quicproquo", b"_udp", b"local")
    full, host = name(instance, b"_quicproquo", b"_udp", b"local"), name(instance[:20] + b"x", b"local")
    text = b"".join(bytes([len(s)]) + s for s in strings)
    records = [record(service, 12, full, False), record(full, 33, struct.pack(">HHH", 0, 0, 7000) + host),
               record(full, 16, text), record(host, 1, socket.inet_aton(target))]
    return struct.pack(">HHHHHH", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind((address, 5353))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
lies = [
    (b"liar", [b"ver=1", b"peer=" + key.encode(), b"addr=quic://" + address.encode() + b":7000"]),
    (b"\x1b[31mred\x07", [b"server=" + address.encode() + b":7000"]),
    (b"nul", [b"\0" * 200, b"server=\0", b"addr=\x1b]0;x\x07://y", b"domain=" + b"a" * 240]),
    (b"huge", [b"addr" + str(n).encode() + b"=quic://" + b"x" * 230 for n in range(30)]),
]
while True:
    for instance, strings in lies:
        s.sendto(answer(instance, strings, address), ("224.0.0.251", 5353))
    s.sendto(b"\xff" * 700, ("224.0.0.251", 5353))
    for n in range(count):
        fake = "%064x" % (n + 1)
        s.sendto(answer(b"fake%d" % n, [b"ver=1", b"peer=" + fake.encode(), b"addr=quic://10.88.0.250:%d" % (n % 60000 + 1)], address), ("224.0.0.251", 5353))
        if n % 20 == 0:
            time.sleep(0.005)
    time.sleep(0.3)
"#;

/// A process that is killed when it goes out of scope.
struct Liar(Child);

impl Drop for Liar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn liar(house: &House, place: usize, key: &str, count: usize) -> Outcome<Liar> {
    let mut command = house.command(place, "python3");
    command.args(["-c", LIAR, &House::address(place), key, &count.to_string()]).stdin(Stdio::null());
    Ok(Liar(command.spawn()?))
}

#[test]
fn a_spoofed_answer_costs_at_most_a_failed_handshake() -> Outcome {
    if !skip::has_program("python3", "-V") {
        return skip::skip("the liar is a Python program, and python3 is missing");
    }
    in_house("liar", 3, Family::V4, |house| {
        let a = plan(house, 0).start()?;
        let mut b = plan(house, 1).prepare()?;
        let key = super::keys(std::slice::from_mut(&mut b))?.remove(0);
        wait_found(&a, 0)?;
        // The liar claims the key of b at its own address before b is there.
        let _liar = liar(house, 2, &key, 0)?;
        wait_found(&a, 1)?;
        b.start()?;
        let id = a.send(&key, "for b alone")?;
        b.wait_id(&id)?;
        for peer in peers(&a)? {
            let shown = peer.to_string();
            ensure!(!shown.contains("\\u001b") && !shown.contains("\\u0000"), "unclean text is listed: {shown}");
        }
        let log = a.log();
        ensure!(!log.contains('\u{1b}') && !log.contains('\0'), "unclean text is in the log");
        ensure!(log.lines().count() < 200, "the log has {} lines:\n{log}", log.lines().count());
        Ok(())
    })
}

#[test]
fn ten_thousand_invented_nodes_cost_bounded_memory_and_few_log_lines() -> Outcome {
    if !skip::has_program("python3", "-V") {
        return skip::skip("the liar is a Python program, and python3 is missing");
    }
    in_house("flood", 3, Family::V4, |house| {
        let (a, b) = (plan(house, 0).start()?, plan(house, 1).start()?);
        wait_found(&a, 1)?;
        a.wait_links(1)?;
        let before = procfs::resident(a.pid()?).unwrap_or_default();
        let flood = liar(house, 2, &"ab".repeat(32), 10_000)?;
        a.wait("the flood is noticed", || Ok(a.log().contains("floods the network").then_some(())))?;
        std::thread::sleep(Duration::from_secs(5));
        let id = b.send(&a.peer_id()?, "through the flood")?;
        a.wait_id(&id)?;
        let grown = procfs::resident(a.pid()?).unwrap_or_default().saturating_sub(before);
        ensure!(grown <= 64 << 20, "memory has grown by {grown} bytes");
        let found = found_count(&a)?;
        ensure!(found <= 1_100, "{found} nodes are listed");
        drop(flood);
        let lines = a.log().lines().count();
        ensure!(lines < 300, "the log has {lines} lines");
        Ok(())
    })
}
