//! How two instances change places at one port, in a live swap, with no moment in between when nobody listens.
//!
//! The old one lets another socket bind its port, and narrows its own to packets from itself, which never come. The new
//! one binds; only then does the old one tell the peers, over its own socket, that it ends. When they come back, the new
//! one is there. Without this, the first packet of a peer that is quick would be lost, and sent again half a second later.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Bytes of packets that a socket keeps until its thread comes to read them. The usual 208 KiB run over when that thread has
/// to wait for a processor, and each time the peer takes it for congestion. As much as a link's default `receive_window`.
const RECEIVE_BUFFER: usize = 1 << 20;

/// How long one attempt to bind is apart from the next: all neighbours wait meanwhile, and an attempt costs a few
/// microseconds.
const BIND_RETRY: Duration = Duration::from_micros(200);

/// Binds a socket as [`bind`] does, and tries a port that is in use again and again for so long. Blocks.
pub(crate) fn bind_within(addr: SocketAddr, patience: Duration) -> io::Result<UdpSocket> {
    let end = Instant::now() + patience;
    loop {
        match bind(addr) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                std::thread::sleep(BIND_RETRY);
            }
            outcome => return outcome,
        }
    }
}

/// Binds a socket, also beside one for which [`make_way`] was called.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match UdpSocket::bind(addr) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => beside(addr),
        bound => bound,
    }?;
    // The system cuts it to its own limit. With less, more packets are lost under load, and no harm is done otherwise.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
    Ok(socket)
}

/// The system lets two sockets share a port only when both say so, and belong to one user. No other socket of a node says
/// so, so a second node at the same port is still refused.
fn beside(addr: SocketAddr) -> io::Result<UdpSocket> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    rustix::net::bind(&socket, &addr)?;
    sockopt::set_socket_reuseport(&socket, false)?;
    Ok(UdpSocket::from(socket))
}

/// Lets another socket bind the same port. From then on this one only sends.
pub(crate) fn make_way(socket: &UdpSocket) -> io::Result<()> {
    let own = socket.local_addr()?;
    let ip = match own.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    socket.connect(SocketAddr::new(ip, own.port()))?;
    Ok(sockopt::set_socket_reuseport(socket, true)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_room_for_what_arrives_while_its_thread_waits() {
        let plain = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let _ = sockopt::set_socket_recv_buffer_size(&plain, RECEIVE_BUFFER);
        let wanted = sockopt::socket_recv_buffer_size(&plain).expect("a size");
        let own = bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        assert_eq!(sockopt::socket_recv_buffer_size(&own).expect("a size"), wanted, "what this system permits");
        make_way(&own).expect("possible");
        let after = bind(own.local_addr().expect("bound")).expect("bound beside it");
        assert_eq!(sockopt::socket_recv_buffer_size(&after).expect("a size"), wanted, "a successor has it, too");
    }

    #[test]
    fn a_successor_waits_for_the_port_and_gets_it() {
        let before = bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let at = before.local_addr().expect("bound");
        assert!(bind_within(at, Duration::ZERO).is_err(), "it is in use");
        let waiting = std::thread::spawn(move || bind_within(at, Duration::from_secs(30)));
        make_way(&before).expect("possible");
        let after = waiting.join().expect("no panic").expect("bound beside it");
        assert_eq!(after.local_addr().expect("bound"), at);
    }

    #[test]
    fn a_successor_gets_every_packet_while_the_one_before_still_sends() {
        for wildcard in ["127.0.0.1:0", "0.0.0.0:0"] {
            let before = bind(wildcard.parse().expect("an address")).expect("bound");
            let port = before.local_addr().expect("bound").port();
            let at = before.local_addr().expect("bound");
            assert!(bind(at).is_err(), "nobody binds beside one that does not make way");
            make_way(&before).expect("possible");
            let after = bind(at).expect("bound beside it");
            assert!(bind(at).is_err(), "one successor is enough");
            after.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
            for _ in 0..20 {
                let peer = UdpSocket::bind("127.0.0.1:0").expect("bound");
                peer.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
                peer.send_to(b"hello", ("127.0.0.1", port)).expect("sent");
                let mut buffer = [0; 16];
                assert_eq!(after.recv(&mut buffer).expect("the successor hears it"), 5);
                before.send_to(b"farewell", peer.local_addr().expect("bound")).expect("it still sends");
                assert_eq!(peer.recv(&mut buffer).expect("the peer hears it"), 8);
            }
        }
    }
}
