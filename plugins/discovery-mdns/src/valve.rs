//! Shuts out the network from a responder that drowns in it.
//!
//! `mdns-sd` reads packets until there are none left before it looks at what it is told, and keeps what it reads without a
//! limit. So whoever sends faster than it reads could fill the memory, and it would not even hear that it shall end. Its
//! sockets can't be had from it, but the process can have a second handle to each descriptor of its own: connected to an
//! address where nobody is, a UDP socket gets no packets from others any more, and the responder comes to its senses.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use rustix::net::connect;

/// Nothing listens there (the discard service), and nobody else can send from there.
const NOWHERE: u16 = 9;

/// The sockets of one responder. Another one of this process, as during a live swap, has the same port and sockets of its own.
pub(crate) struct Sockets {
    port: u16,
    /// What others had before it started, by the number that the system gives each socket.
    before: HashSet<u64>,
    /// What came with it; empty until that is known.
    own: OnceLock<HashSet<u64>>,
}

impl Sockets {
    /// Call it before the responder starts.
    pub(crate) fn before(port: u16) -> Self {
        Self { port, before: open(port).map(|(number, ..)| number).collect(), own: OnceLock::new() }
    }

    /// Call it once the responder has opened its sockets, before another one starts. Later calls do nothing.
    pub(crate) fn opened(&self) {
        self.own.get_or_init(|| open(self.port).map(|(n, ..)| n).filter(|n| !self.before.contains(n)).collect());
    }

    fn has(&self, number: u64) -> bool {
        self.own.get().map_or_else(|| !self.before.contains(&number), |own| own.contains(&number))
    }

    /// Shuts out the network from them. Returns how many there were; none where the system doesn't offer it (Linux 5.6 does).
    pub(crate) fn shut(&self) -> usize {
        let own = open(self.port).filter(|(number, ..)| self.has(*number));
        own.filter(|(_, socket, local)| connect(socket, &nowhere(*local)).is_ok()).count()
    }
}

/// The UDP sockets of this process that are bound to that port: number, a second handle, address.
#[cfg(target_os = "linux")]
fn open(port: u16) -> impl Iterator<Item = (u64, OwnedFd, SocketAddr)> {
    use rustix::net::{SocketType, getsockname, sockopt::socket_type};
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let handles = || {
        let me = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
        let entries = std::fs::read_dir("/proc/self/fd").ok()?;
        let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Some(numbers.filter_map(|fd| pidfd_getfd(&me, fd, PidfdGetfdFlags::empty()).ok()).collect::<Vec<_>>())
    };
    handles().unwrap_or_default().into_iter().filter_map(move |socket| {
        let is_udp = socket_type(&socket).is_ok_and(|kind| kind == SocketType::DGRAM);
        let local = getsockname(&socket).ok().and_then(|name| SocketAddr::try_from(name).ok())?;
        let number = rustix::fs::fstat(&socket).ok()?.st_ino;
        (is_udp && local.port() == port).then_some((number, socket, local))
    })
}

/// Elsewhere, a flood is only noticed when it ends.
#[cfg(not(target_os = "linux"))]
fn open(_port: u16) -> impl Iterator<Item = (u64, OwnedFd, SocketAddr)> {
    std::iter::empty()
}

fn nowhere(local: SocketAddr) -> SocketAddr {
    let ip = if local.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
    SocketAddr::new(ip, NOWHERE)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::ErrorKind;
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn nothing_comes_in_any_more_and_other_sockets_are_left_alone() {
        let bind = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let (drowning, other, sender) = (bind(), bind(), bind());
        let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
        let to = |socket: &UdpSocket| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port(socket));
        let (to_drowning, to_other) = (to(&drowning), to(&other));
        let sockets = Sockets { port: port(&drowning), before: HashSet::new(), own: OnceLock::new() };
        if sockets.shut() == 0 {
            return; // a system, or a container, that doesn't offer it
        }
        sender.send_to(b"x", to_drowning).unwrap();
        sender.send_to(b"x", to_other).unwrap();
        drowning.set_nonblocking(true).unwrap();
        assert!(other.recv(&mut [0; 8]).is_ok());
        assert_eq!(drowning.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    /// Opens a socket beside others on the same port.
    fn beside(port: u16) -> OwnedFd {
        use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt::set_socket_reuseaddr};
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        set_socket_reuseaddr(&socket, true).unwrap();
        bind(&socket, &SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).unwrap();
        socket
    }

    #[test]
    fn those_of_the_responder_before_and_of_the_one_after_are_left_alone() {
        let before = beside(0);
        let port = SocketAddr::try_from(rustix::net::getsockname(&before).unwrap()).unwrap().port();
        let sockets = Sockets::before(port);
        let own = beside(port);
        sockets.opened();
        let after = beside(port);
        sockets.opened();
        if sockets.shut() == 0 {
            return; // a system, or a container, that doesn't offer it
        }
        let is_shut = |socket| rustix::net::getpeername(socket).is_ok();
        assert_eq!((is_shut(&before), is_shut(&own), is_shut(&after)), (false, true, false));
    }
}
