//! Whether packets get through between two namespaces.

use std::net::UdpSocket;
use std::time::Duration;

use super::inside;
use crate::Outcome;

/// How often a probe is sent, and how long each is waited for. The first ones may be lost while addresses are resolved.
const PROBES: usize = 5;
const WAIT: Duration = Duration::from_millis(100);

/// A socket inside a namespace. It stays there whichever thread uses it.
pub(super) fn socket_in(namespace: &str, address: &str) -> Outcome<UdpSocket> {
    let address = address.to_owned();
    inside(namespace, move || UdpSocket::bind(address))
}

/// Whether a UDP packet from one namespace comes to an address in another.
pub(super) fn reaches(from: &str, to: &str, address: &str) -> Outcome<bool> {
    let receiver = socket_in(to, &format!("{address}:0"))?;
    receiver.set_read_timeout(Some(WAIT))?;
    let sender = socket_in(from, "0.0.0.0:0")?;
    let mut buffer = [0; 8];
    for _ in 0..PROBES {
        // An unreachable network is an answer too.
        let _ = sender.send_to(b"probe", receiver.local_addr()?);
        if receiver.recv(&mut buffer).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}
