//! `node.capnp` over QUIC: for admins from afar, and for people who have no node of their own.
//!
//! TLS 1.3 with raw public keys (RFC 7250), both proven: the client shows its identity key, the server the node's. No
//! resumption and no early data, so each connection proves the keys anew. Who may come in is decided after the handshake, so
//! that a client that is turned away hears why, in the text of the close.

mod dial;
mod places;
mod server;
mod target;
#[cfg(test)]
mod tests;
mod tls;

pub use dial::DialError;
pub use server::{ClientServer, ClientsError, Network, serve_clients};
pub use target::{Target, TargetError};

pub(super) use dial::{Dialled, dial, explain};

use std::time::Duration;

/// Application protocol of TLS (ALPN, RFC 7301). A client that speaks another one is refused in the handshake.
const ALPN: &[u8] = b"capnp";

/// How long a handshake, and the opening of the stream after it, may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A connection over which nothing comes for so long is dead.
const IDLE: Duration = Duration::from_secs(20);

/// Why a connection was closed, as the code of the QUIC close. Its text says the same as `code: message`.
mod code {
    use quinn::VarInt;

    /// The client has gone, or all is said.
    pub(super) const DONE: VarInt = VarInt::from_u32(0);
    /// The key is not let in.
    pub(super) const NOT_PERMITTED: VarInt = VarInt::from_u32(1);
    /// There is no place.
    pub(super) const BUSY: VarInt = VarInt::from_u32(2);
    /// The client broke a rule or a limit of the protocol.
    pub(super) const PROTOCOL: VarInt = VarInt::from_u32(3);
    /// The node stops.
    pub(super) const STOPPING: VarInt = VarInt::from_u32(4);
}
