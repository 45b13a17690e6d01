//! The path that a connection uses now.

use std::time::Duration;

use iroh::TransportAddr;
use iroh::endpoint::Connection;
use qpq_quic_common::canonical;

use crate::address::uri_of;

/// Where a connection's packets go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// The address of the other end, or of the relay. `None` before the first path is known, and between two.
    pub(crate) addr: Option<TransportAddr>,
    /// Round-trip time over it.
    pub(crate) rtt: Option<Duration>,
}

impl Path {
    /// The path of that connection: the one that iroh has selected, else a direct one, else any.
    pub(crate) fn of(connection: &Connection) -> Self {
        let paths = connection.paths();
        let chosen = paths
            .iter()
            .find(iroh::endpoint::Path::is_selected)
            .or_else(|| paths.iter().find(iroh::endpoint::Path::is_ip))
            .or_else(|| paths.iter().next());
        let addr = chosen.as_ref().map(|path| match path.remote_addr() {
            TransportAddr::Ip(addr) => TransportAddr::Ip(canonical(*addr)),
            other => other.clone(),
        });
        let rtt = chosen.map(|path| path.rtt()).filter(|rtt| !rtt.is_zero());
        Self { addr, rtt }
    }

    /// Whether a relay forwards the packets.
    pub(crate) fn is_relayed(&self) -> bool {
        self.addr.as_ref().is_some_and(TransportAddr::is_relay)
    }

    /// The peer's address by this path, as a URI.
    pub(crate) fn uri(&self, connection: &Connection) -> String {
        uri_of(&connection.remote_id(), &self.addr)
    }
}
