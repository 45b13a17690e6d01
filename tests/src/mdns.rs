//! Announcements by multicast DNS of what isn't there.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::dns::{self, Data, Record};
use crate::lab::inside;
use crate::{Failure, Outcome};

/// Where multicast DNS is spoken (RFC 6762, section 3).
const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);
/// How often everything is said again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a record counts, in seconds.
const TTL: u32 = 120;
/// What nodes look for.
const SERVICE: &str = "_quicproquo._udp.local";

/// A node, as it is announced.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// The name of the service's instance.
    pub instance: String,
    /// The strings of the TXT record, KEY=VALUE.
    pub strings: Vec<String>,
}

/// Announces over and over, until it is dropped.
#[derive(Debug)]
pub struct Liar {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// Speaks in a namespace, at an address that it has there.
    pub fn start(namespace: &str, address: &str, lies: &[Announcement]) -> Outcome<Self> {
        let address: Ipv4Addr = address.parse().map_err(|_| Failure::new(format!("{address} is no IPv4 address")))?;
        let socket = inside(namespace, move || UdpSocket::bind((address, GROUP.1)))?;
        socket.set_multicast_ttl_v4(255)?;
        let packets: Vec<_> = lies.iter().map(|lie| packet(lie, address)).collect();
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                // Who doesn't hear this one hears the next.
                packets.iter().for_each(|packet| _ = socket.send_to(packet, GROUP));
                std::thread::sleep(AGAIN);
            }
        });
        Ok(Self { over, thread: Some(thread) })
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// All that a node says of itself (RFC 6763, section 12.1).
fn packet(lie: &Announcement, address: Ipv4Addr) -> Vec<u8> {
    let (instance, host) = (format!("{}.{SERVICE}", lie.instance), format!("{}-host.local", lie.instance));
    let target = |data| Record { name: instance.clone(), ttl: TTL, data };
    let records = [
        Record { name: SERVICE.to_owned(), ttl: TTL, data: Data::Ptr(instance.clone()) },
        target(Data::Srv { priority: 0, weight: 0, port: 7000, target: host.clone() }),
        target(Data::Txt(lie.strings.clone())),
        Record { name: host, ttl: TTL, data: Data::A(address) },
    ];
    dns::announcement(&records)
}
