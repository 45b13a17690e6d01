//! A stretch of network in user space: it passes UDP packets on until it is cut.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Outcome;

/// The largest packet.
const MAX_PACKET: usize = 65_535;

/// How long a thread waits before it looks whether it shall end.
const LOOK: Duration = Duration::from_millis(20);

/// Passes UDP packets between whoever sends to its address and one target. While it is cut it swallows them, as a broken
/// cable does: no end is told.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Switches>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Switches {
    cut: AtomicBool,
    stop: AtomicBool,
}

impl Switches {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn passes(&self) -> bool {
        !self.cut.load(Ordering::Relaxed)
    }
}

impl Wire {
    /// A wire from a free port of the loopback interface to `target`.
    pub fn to(target: &str) -> Outcome<Self> {
        let near = UdpSocket::bind("127.0.0.1:0")?;
        near.set_read_timeout(Some(LOOK))?;
        let (address, shared, target) = (near.local_addr()?, Arc::<Switches>::default(), target.parse()?);
        let switches = Arc::clone(&shared);
        let thread = std::thread::spawn(move || carry(&near, target, &switches));
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where to send to.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts it, or mends it.
    pub fn set_cut(&self, cut: bool) {
        self.shared.cut.store(cut, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic in it has been shown already
        }
    }
}

/// Carries packets there, with one thread for the way back to each sender.
fn carry(near: &UdpSocket, target: SocketAddr, switches: &Switches) {
    let mut packet = vec![0; MAX_PACKET];
    std::thread::scope(|scope| {
        let mut senders: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        while !switches.stopped() {
            let Ok((length, sender)) = near.recv_from(&mut packet) else { continue };
            if let Entry::Vacant(place) = senders.entry(sender) {
                let Ok(far) = far_end(target) else { continue };
                let (far, back) = (Arc::new(far), near.try_clone());
                place.insert(Arc::clone(&far));
                scope.spawn(move || back.into_iter().for_each(|near| carry_back(&far, &near, sender, switches)));
            }
            if switches.passes()
                && let Some(far) = senders.get(&sender)
            {
                let _ = far.send(packet.get(..length).unwrap_or_default()); // lost, as packets are
            }
        }
    });
}

fn far_end(target: SocketAddr) -> std::io::Result<UdpSocket> {
    let far = UdpSocket::bind("127.0.0.1:0")?;
    far.connect(target)?;
    far.set_read_timeout(Some(LOOK))?;
    Ok(far)
}

fn carry_back(far: &UdpSocket, near: &UdpSocket, sender: SocketAddr, switches: &Switches) {
    let mut packet = vec![0; MAX_PACKET];
    while !switches.stopped() {
        if let Ok(length) = far.recv(&mut packet)
            && switches.passes()
        {
            let _ = near.send_to(packet.get(..length).unwrap_or_default(), sender); // lost, as packets are
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_carries_both_ways_until_it_is_cut() -> Outcome {
        let target = UdpSocket::bind("127.0.0.1:0")?;
        let wire = Wire::to(&target.local_addr()?.to_string())?;
        let sender = UdpSocket::bind("127.0.0.1:0")?;
        target.set_read_timeout(Some(Duration::from_millis(200)))?;
        sender.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut packet = [0; 16];
        sender.send_to(b"ping", wire.address())?;
        let (_, back) = crate::poll::until("the packet arrives", || Ok(target.recv_from(&mut packet).ok()))?;
        target.send_to(b"pong", back)?;
        assert_eq!(sender.recv(&mut packet)?, 4);
        wire.set_cut(true);
        sender.send_to(b"ping", wire.address())?;
        assert!(target.recv_from(&mut packet).is_err());
        Ok(())
    }
}
