//! Where a domain's federation listens, as its DNS says: SRV records (RFC 2782) of `_quicproquo-federation._udp.DOMAIN`.
//!
//! The name servers of the system are asked over UDP, and over TCP for what is too long for that. What comes back only says
//! where to dial; who answers there is proven by TLS. So no more than the form of an answer is checked.

mod lot;
pub(crate) mod message;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use crate::limits::DEFAULT_PORT;
use message::{Answer, Record, TYPE_A, TYPE_AAAA, TYPE_SRV};
use qpq_quic_common::HostPort;

/// In front of the domain.
const SERVICE: &str = "_quicproquo-federation._udp";
/// Addresses of one host, at most.
const MAX_ADDRESSES_OF_HOST: usize = 16;
/// Where the system lists its name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Name servers that are asked, at most.
const MAX_SERVERS: usize = 3;
/// How often each of them is asked, at most: a packet may get lost.
const ROUNDS: usize = 2;
/// How long one of them may take each time, over UDP and over TCP.
const PATIENCE: Duration = Duration::from_millis(800);
/// The largest answer over UDP in bytes. Honest ones have 512, as nothing else was agreed on; what is cut off here is no answer.
const MAX_ANSWER: usize = 4_096;

/// What the DNS says of a domain's federation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Services {
    /// It is there, best first.
    At(Vec<HostPort>),
    /// There is none.
    NotOffered,
    /// There are no such records; the domain's own address may do.
    Unsaid,
}

/// Asks for the federation of a domain. The error says why no name server could tell.
pub(crate) async fn services(domain: &str, deadline: Instant) -> Result<Services, String> {
    let name = format!("{SERVICE}.{domain}");
    Ok(choose(ask_all(&system_servers(), &name, TYPE_SRV, deadline).await?))
}

/// Asks for the addresses of a host. The error says why no name server could tell.
pub(crate) async fn hosts(name: &str, deadline: Instant) -> Result<Vec<IpAddr>, String> {
    let servers = system_servers();
    let (v6, v4) =
        tokio::join!(ask_all(&servers, name, TYPE_AAAA, deadline), ask_all(&servers, name, TYPE_A, deadline));
    let address = |record| if let Record::Host(address) = record { Some(address) } else { None };
    let mut addresses: Vec<_> = v6.iter().chain(&v4).flatten().cloned().filter_map(address).collect();
    // Those to which no way leads come last.
    addresses.sort_by_cached_key(|address| !has_route(*address));
    addresses.truncate(MAX_ADDRESSES_OF_HOST);
    if addresses.is_empty() { v6.and(v4).map(|_| addresses) } else { Ok(addresses) }
}

/// Whether the system knows a way there. Nothing is sent.
fn has_route(address: IpAddr) -> bool {
    let socket = std::net::UdpSocket::bind(any(address));
    socket.is_ok_and(|socket| socket.connect((address, DEFAULT_PORT)).is_ok())
}

/// The address to bind for packets to that one.
fn any(to: IpAddr) -> SocketAddr {
    if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() }
}

/// The name servers of the system, as they are now. The file is small and local.
fn system_servers() -> Vec<SocketAddr> {
    servers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default())
}

/// The name servers of a resolv.conf.
fn servers(conf: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let ip: IpAddr = words.next().filter(|word| *word == "nameserver").and(words.next())?.parse().ok()?;
        Some(SocketAddr::new(ip, 53))
    };
    conf.lines().filter_map(address).take(MAX_SERVERS).collect()
}

/// The first answer that any of these servers gives.
async fn ask_all(servers: &[SocketAddr], name: &str, kind: u16, deadline: Instant) -> Result<Vec<Record>, String> {
    let mut failed = Ok(Vec::new()); // without a server there may be other ways, such as a file
    for server in std::iter::repeat_n(servers, ROUNDS).flatten() {
        if failed.is_err() && Instant::now() >= deadline {
            break;
        }
        let question = message::question(rand::random(), name, kind).ok_or("the name is too long for a question")?;
        match ask(*server, &question, deadline.min(Instant::now() + PATIENCE)).await {
            Ok(Answer::Records(records)) => return Ok(records),
            Ok(Answer::Trouble(code)) => failed = Err(format!("the name server {} has trouble: {code}", server.ip())),
            Ok(Answer::CutOff) => failed = Err(format!("the name server {} cuts off its answer", server.ip())),
            Err(why) => failed = Err(format!("the name server {} {why}", server.ip())),
        }
    }
    failed
}

fn choose(records: Vec<Record>) -> Services {
    let service = |record| if let Record::Service(service) = record { Some(service) } else { None };
    let services: Vec<_> = records.into_iter().filter_map(service).collect();
    if services.is_empty() {
        return Services::Unsaid;
    }
    match lot::draw(services, &mut rand::rng()) {
        addresses if addresses.is_empty() => Services::NotOffered,
        addresses => Services::At(addresses),
    }
}

/// Asks one server. The error goes on from "the name server".
async fn ask(server: SocketAddr, question: &[u8], deadline: Instant) -> Result<Answer, String> {
    match over_udp(server, question, deadline).await? {
        Answer::CutOff => {
            let whole = timeout_at(Instant::now() + PATIENCE, over_tcp(server, question)).await;
            let whole = whole.map_err(|_| "does not answer over TCP what is too long for UDP".to_owned())?;
            whole.map_err(|error| format!("does not answer over TCP what is too long for UDP: {error}"))
        }
        answer => Ok(answer),
    }
}

async fn over_udp(server: SocketAddr, question: &[u8], deadline: Instant) -> Result<Answer, String> {
    let failed = |error: std::io::Error| format!("can't be reached: {error}");
    let socket = UdpSocket::bind(any(server.ip())).await.map_err(failed)?;
    // Connected, so that only this server is heard.
    socket.connect(server).await.map_err(failed)?;
    let mut why = "does not answer";
    let exchange = async {
        socket.send(question).await.map_err(failed)?;
        let mut answer = vec![0; MAX_ANSWER];
        loop {
            let len = socket.recv(&mut answer).await.map_err(failed)?;
            if let Some(answer) = answer.get(..len).and_then(|answer| message::parse(answer, question)) {
                return Ok(answer);
            }
            why = "answers something else than it was asked";
        }
    };
    timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(why.to_owned()))
}

/// The same question in a stream, where a length of two bytes stands in front of each message (RFC 1035, 4.2.2).
async fn over_tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let len = u16::try_from(question.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), question].concat()).await?;
    let len = stream.read_u16().await?;
    let mut answer = vec![0; len.into()];
    stream.read_exact(&mut answer).await?;
    message::parse(&answer, question).ok_or_else(|| std::io::Error::other("this is another answer"))
}

#[cfg(test)]
mod tests;
