//! UDP between two nodes that can be cut, like a cable.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Forwards packets between one client and one server until it is cut or dropped.
pub struct Cable {
    uri: String,
    cut: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
}

impl Cable {
    /// A cable to the node at that URI.
    pub fn to(uri: &str) -> Self {
        let server = super::direct(uri);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let key = uri.split_once('?').unwrap().0;
        let uri = format!("{key}?direct={}", socket.local_addr().unwrap());
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

    /// From now on every packet is lost, in both directions, until it is mended.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Packets pass again.
    pub fn mend(&self) {
        self.cut.store(false, Ordering::Relaxed);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}
