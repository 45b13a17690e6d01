//! Where a domain's federation listens, as its DNS says: SRV records (RFC 2782) of `_quicproquo-federation._udp.DOMAIN`.
//!
//! One question over UDP to the name servers of the system. What comes back only says where to dial; who answers there is
//! proven by TLS. So no more than the form of an answer is checked.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use qpq_quic_common::{HostPort, MAX_ADDRESSES};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout, timeout_at};

use crate::address::domain_of;

/// In front of the domain.
const SERVICE: &str = "_quicproquo-federation._udp";
/// Where the system lists its name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Name servers that are asked, at most.
const MAX_SERVERS: usize = 3;
/// How long one of them may take.
const PATIENCE: Duration = Duration::from_millis(800);
/// The largest answer in bytes; one that was cut off is not asked for again over TCP.
const MAX_ANSWER: usize = 4_096;
/// Records of an answer that are looked at, at most.
const MAX_RECORDS: usize = 64;
/// Labels and jumps of one name, at most (RFC 1035, 4.1.4: names may jump back).
const MAX_STEPS: usize = 128;

const HEADER: usize = 12;
const TYPE_SRV: u16 = 33;
const CLASS_IN: u16 = 1;

/// Where the service is, best first; none when nobody knows.
pub(crate) async fn services(domain: &str) -> Vec<HostPort> {
    let conf = tokio::task::spawn_blocking(|| std::fs::read_to_string(RESOLV_CONF)).await;
    let conf = conf.ok().and_then(Result::ok).unwrap_or_default();
    for server in servers(&conf) {
        if let Some(found) = ask(server, domain).await {
            return found;
        }
    }
    Vec::new()
}

/// The name servers of a resolv.conf.
fn servers(conf: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let ip: IpAddr = line.strip_prefix("nameserver")?.trim().parse().ok()?;
        Some(SocketAddr::new(ip, 53))
    };
    conf.lines().filter_map(address).take(MAX_SERVERS).collect()
}

/// Asks one server; `None` when it doesn't answer.
async fn ask(server: SocketAddr, domain: &str) -> Option<Vec<HostPort>> {
    let id = rand::random::<u16>();
    let question = question(id, domain)?;
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() };
    let socket = UdpSocket::bind(any).await.ok()?;
    // Connected, so that only this server is heard.
    socket.connect(server).await.ok()?;
    let deadline = Instant::now() + PATIENCE;
    timeout(PATIENCE, socket.send(&question)).await.ok()?.ok()?;
    let mut answer = vec![0; MAX_ANSWER];
    loop {
        let len = timeout_at(deadline, socket.recv(&mut answer)).await.ok()?.ok()?;
        if let Some(found) = answer.get(..len).and_then(|answer| parse(answer, &question)) {
            return Some(found);
        }
    }
}

/// A question for the SRV records; `None` when the name gets too long.
fn question(id: u16, domain: &str) -> Option<Vec<u8>> {
    let mut out = id.to_be_bytes().to_vec();
    // Recursion desired; one question.
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in format!("{SERVICE}.{domain}").split('.') {
        out.push(u8::try_from(label.len()).ok().filter(|len| (1..64).contains(len))?);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    if out.len() > HEADER + 255 {
        return None;
    }
    out.extend_from_slice(&TYPE_SRV.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    Some(out)
}

/// The services of an answer to that question; `None` when it is no such answer.
fn parse(answer: &[u8], question: &[u8]) -> Option<Vec<HostPort>> {
    let number = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let asked = question.get(HEADER..)?;
    let is_answer = answer.get(..2)? == question.get(..2)? && answer.get(2)? & 0x80 != 0 && number(4)? == 1;
    let same = answer.get(HEADER..HEADER + asked.len()).is_some_and(|given| given.eq_ignore_ascii_case(asked));
    if !is_answer || !same {
        return None;
    }
    let mut at = HEADER + asked.len();
    let mut found = Vec::new();
    for _ in 0..usize::from(number(6)?).min(MAX_RECORDS) {
        at = skip_name(answer, at)?;
        let (kind, class, len) = (number(at)?, number(at + 2)?, usize::from(number(at + 8)?));
        let data = at + 10;
        at = data + len;
        if (kind, class) != (TYPE_SRV, CLASS_IN) {
            continue;
        }
        let (priority, weight, port) = (number(data)?, number(data + 2)?, number(data + 4)?);
        // A dot alone says that there is no such service.
        if let Some(host) = name(answer, data + 6).and_then(|host| domain_of(&host).ok()).filter(|_| port != 0) {
            found.push((priority, Reverse(weight), HostPort { host, port }));
        }
    }
    found.sort_by_key(|(priority, weight, _)| (*priority, *weight));
    Some(found.into_iter().map(|(_, _, address)| address).take(MAX_ADDRESSES).collect())
}

fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..MAX_STEPS {
        match *message.get(at)? {
            0 => return Some(at + 1),
            len @ 1..64 => at += 1 + usize::from(len),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
    None
}

fn name(message: &[u8], mut at: usize) -> Option<String> {
    let mut labels = Vec::new();
    for _ in 0..MAX_STEPS {
        match *message.get(at)? {
            0 => return Some(labels.join(".")),
            len @ 1..64 => {
                let end = at + 1 + usize::from(len);
                labels.push(std::str::from_utf8(message.get(at + 1..end)?).ok()?.to_owned());
                at = end;
            }
            high @ 0xc0.. => at = usize::from(high & 0x3f) << 8 | usize::from(*message.get(at + 1)?),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with those records: priority, weight, port, host.
    fn answer(question: &[u8], records: &[(u16, u16, u16, &str)]) -> Vec<u8> {
        let mut out = question.to_vec();
        out[2] = 0x81;
        out[7] = records.len() as u8;
        for (priority, weight, port, host) in records {
            out.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
            let mut data: Vec<u8> = [priority, weight, port].iter().flat_map(|n| n.to_be_bytes()).collect();
            for label in host.split('.').filter(|label| !label.is_empty()) {
                data.push(label.len() as u8);
                data.extend_from_slice(label.as_bytes());
            }
            data.push(0);
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(&data);
        }
        out
    }

    #[test]
    fn services_come_by_priority_and_weight() {
        let question = question(7, "b.example").unwrap();
        let records = [(20, 0, 1, "c.b.example"), (10, 1, 2, "a.b.example"), (10, 9, 3, "B.b.example"), (0, 0, 4, "")];
        let found = parse(&answer(&question, &records), &question).unwrap();
        let found: Vec<_> = found.iter().map(|address| (address.host.as_str(), address.port)).collect();
        assert_eq!(found, [("b.b.example", 3), ("a.b.example", 2), ("c.b.example", 1)]);
    }

    #[test]
    fn answers_to_other_questions_are_not_heard() {
        let asked = question(7, "b.example").unwrap();
        let good = answer(&asked, &[(0, 0, 1, "h.b.example")]);
        assert!(parse(&good, &asked).is_some());
        assert!(parse(&good, &question(8, "b.example").unwrap()).is_none());
        assert!(parse(&good, &question(7, "c.example").unwrap()).is_none());
        assert!(parse(&asked, &asked).is_none(), "a question is no answer");
    }

    #[test]
    fn damaged_answers_and_endless_names_harm_nobody() {
        let asked = question(7, "b.example").unwrap();
        let good = answer(&asked, &[(0, 0, 1, "h.b.example"), (1, 1, 2, "i.b.example")]);
        for len in 0..good.len() {
            let _ = parse(&good[..len], &asked);
        }
        for place in 0..good.len() {
            for value in [0, 0xc0, 0xff, good[place] ^ 1] {
                let mut damaged = good.clone();
                damaged[place] = value;
                let _ = parse(&damaged, &asked);
            }
        }
        assert_eq!(name(&[0xc0, 0], 0), None);
        assert_eq!(name(&[1, b'a', 0xc0, 0], 0), None);
    }

    #[test]
    fn the_systems_name_servers_are_read() {
        let conf = "# x\nsearch a\nnameserver 10.0.0.1\nnameserver ::1\nnameserver bad\n";
        assert_eq!(servers(conf), ["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
    }

    #[test]
    fn a_server_is_asked() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let at = server.local_addr().unwrap();
            let answering = async {
                let mut asked = [0; 512];
                let (len, from) = server.recv_from(&mut asked).await.unwrap();
                server.send_to(b"rubbish", from).await.unwrap();
                server.send_to(&answer(&asked[..len], &[(0, 0, 7, "h.b.example")]), from).await.unwrap();
            };
            let (found, ()) = tokio::join!(ask(at, "b.example"), answering);
            assert_eq!(found, Some(vec![HostPort { host: "h.b.example".into(), port: 7 }]));
        });
    }
}
