//! The server: one thread for both sockets.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::wire::{self, CUT_OFF};
use super::{Data, NXDOMAIN, Record, Reply, TYPE_A};
use crate::lab::inside;
use crate::{Failure, Outcome};

/// How long the thread waits for a question over UDP before it looks for one over TCP.
const LOOK: Duration = Duration::from_millis(10);
/// How long a client may take over TCP.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer over UDP to who says nothing of longer ones (RFC 1035, 4.2.1).
const MAX_UDP: usize = 512;
/// How long records count, in seconds.
const TTL: u32 = 1;

/// A name server. It ends when it is dropped.
#[derive(Debug)]
pub struct NameServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    zone: Mutex<Zone>,
}

#[derive(Debug, Default)]
struct Zone {
    replies: BTreeMap<(String, u16), Reply>,
    asked: Vec<(String, u16)>,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Records(records) => f.debug_tuple("Records").field(records).finish(),
            Self::Code(code) => f.debug_tuple("Code").field(code).finish(),
            Self::Silence => f.write_str("Silence"),
            Self::Packets(packets) => write!(f, "{} packets", packets.len()),
        }
    }
}

impl NameServer {
    /// Answers at port 53 of an address of a namespace. It knows no name yet.
    pub fn start(namespace: &str, address: &str) -> Outcome<Self> {
        let address: Ipv4Addr = address.parse().map_err(|_| Failure::new(format!("{address} is no IPv4 address")))?;
        let sockets = move || Ok((UdpSocket::bind((address, 53))?, TcpListener::bind((address, 53))?));
        let (udp, tcp) = inside(namespace, sockets)?;
        udp.set_read_timeout(Some(LOOK))?;
        tcp.set_nonblocking(true)?;
        let shared = Arc::<Shared>::default();
        let served = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !served.over.load(Ordering::Relaxed) {
                served.over_udp(&udp);
                if let Ok((stream, _)) = tcp.accept() {
                    // Who breaks off has its reasons.
                    let _ = served.over_tcp(stream);
                }
            }
        });
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What it says from now on when that name is asked for records of that type.
    pub fn set(&self, name: &str, kind: u16, reply: Reply) {
        self.shared.zone().replies.insert((name.to_owned(), kind), reply);
    }

    /// A host with an address.
    pub fn host(&self, name: &str, address: &str) {
        let records = address.parse().map(Data::A).into_iter().collect();
        self.set(name, TYPE_A, Reply::Records(records));
    }

    /// How often that name was asked for records of that type.
    pub fn asked(&self, name: &str, kind: u16) -> usize {
        self.shared.zone().asked.iter().filter(|asked| asked.0 == name && asked.1 == kind).count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over_udp(&self, socket: &UdpSocket) {
        let mut question = [0; MAX_UDP];
        let Ok((length, from)) = socket.recv_from(&mut question) else { return };
        let question = question.get(..length).unwrap_or_default();
        let honest = self.reply(question);
        for mut packet in self.packets(question, &honest) {
            if packet.len() > MAX_UDP && !matches!(honest, Reply::Packets(_)) {
                packet = wire::answer(question, 0, &[]);
                packet.get_mut(2).map(|flags| *flags |= CUT_OFF).unwrap_or_default();
            }
            // A client that is gone needs no answer.
            let _ = socket.send_to(&packet, from);
        }
    }

    fn over_tcp(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question)?;
        let reply = self.reply(&question);
        for packet in self.packets(&question, &reply) {
            let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
            stream.write_all(&length.to_be_bytes())?;
            stream.write_all(packet.get(..usize::from(length)).unwrap_or_default())?;
        }
        Ok(())
    }

    fn reply(&self, question: &[u8]) -> Reply {
        let Some((name, kind, _)) = wire::asked(question) else { return Reply::Silence };
        let mut zone = self.zone();
        zone.asked.push((name.clone(), kind));
        let exists = zone.replies.keys().any(|(known, _)| *known == name);
        let nothing = if exists { Reply::Records(Vec::new()) } else { Reply::Code(NXDOMAIN) };
        zone.replies.get(&(name, kind)).cloned().unwrap_or(nothing)
    }

    fn packets(&self, question: &[u8], reply: &Reply) -> Vec<Vec<u8>> {
        let name = wire::asked(question).map(|(name, ..)| name).unwrap_or_default();
        let record = |data: &Data| Record { name: name.clone(), ttl: TTL, data: data.clone() };
        match reply {
            Reply::Silence => Vec::new(),
            Reply::Code(code) => vec![wire::answer(question, *code, &[])],
            Reply::Records(all) => vec![wire::answer(question, 0, &all.iter().map(record).collect::<Vec<_>>())],
            Reply::Packets(makers) => makers.iter().map(|make| make(question)).collect(),
        }
    }
}
