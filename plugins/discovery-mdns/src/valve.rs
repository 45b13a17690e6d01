//! Shuts out the network from a responder that drowns in it.
//!
//! `mdns-sd` reads packets until there are none left before it looks at what it is told, and keeps what it reads without a
//! limit. So whoever sends faster than it reads could fill the memory, and it would not even hear that it shall end. Its
//! sockets can't be had from it, but the process can have a second handle to each descriptor of its own: connected to an
//! address where nobody is, a UDP socket gets no packets from others any more, and the responder comes to its senses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Nothing listens there (the discard service), and nobody else can send from there.
const NOWHERE: u16 = 9;

/// Shuts out the network from all UDP sockets of this process that are bound to that port. Returns how many there were; none
/// where the system doesn't offer it (Linux 5.6 does).
#[cfg(target_os = "linux")]
pub(crate) fn shut(port: u16) -> usize {
    use rustix::net::{SocketType, connect, getsockname, sockopt::socket_type};
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let Ok(me) = pidfd_open(getpid(), PidfdFlags::empty()) else { return 0 };
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return 0 };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let second = |number| pidfd_getfd(&me, number, PidfdGetfdFlags::empty()).ok();
    let mut shut = 0;
    for socket in numbers.filter_map(second) {
        let is_udp = socket_type(&socket).is_ok_and(|kind| kind == SocketType::DGRAM);
        let local = getsockname(&socket).ok().and_then(|name| SocketAddr::try_from(name).ok());
        let Some(local) = local.filter(|local| is_udp && local.port() == port) else { continue };
        shut += usize::from(connect(&socket, &nowhere(local)).is_ok());
    }
    shut
}

/// Elsewhere, a flood is only noticed when it ends.
#[cfg(not(target_os = "linux"))]
pub(crate) fn shut(_port: u16) -> usize {
    0
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
        if shut(port(&drowning)) == 0 {
            return; // a system, or a container, that doesn't offer it
        }
        sender.send_to(b"x", to_drowning).unwrap();
        sender.send_to(b"x", to_other).unwrap();
        drowning.set_nonblocking(true).unwrap();
        assert!(other.recv(&mut [0; 8]).is_ok());
        assert_eq!(drowning.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
}
