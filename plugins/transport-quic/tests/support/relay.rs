//! A UDP relay between two nodes that can be cut, like a cable.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Forwards packets between one client and one server until it is cut or dropped.
pub struct Relay {
    uri: String,
    cut: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
}

impl Relay {
    /// A relay to the node at that URI.
    pub fn to(uri: &str) -> Self {
        let server: SocketAddr = uri.strip_prefix("quic://").unwrap().parse().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let uri = format!("quic://{}", socket.local_addr().unwrap());
        let (cut, gone) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let flags = (cut.clone(), gone.clone());
        std::thread::spawn(move || {
            let (mut client, mut packet) = (None, [0; 65_536]);
            while !flags.1.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut packet) else { continue };
                if flags.0.load(Ordering::Relaxed) {
                    continue;
                }
                if from != server {
                    client = Some(from);
                }
                let to = if from == server { client } else { Some(server) };
                if let Some(to) = to {
                    let _ = socket.send_to(&packet[..len], to);
                }
            }
        });
        Self { uri, cut, gone }
    }

    /// Where to dial.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// From now on every packet is lost, in both directions.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}
