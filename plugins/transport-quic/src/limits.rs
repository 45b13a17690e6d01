//! The limits that are part of the protocol or of the contract with the host, so that no configuration changes them.

use std::time::Duration;

/// Application protocol of TLS (ALPN, RFC 7301). A peer that speaks another one is refused in the handshake.
pub const ALPN: &[u8] = b"quicproquo/link/1";

/// Label of the TLS exporter (RFC 8446, 7.5) that yields the channel binding.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-qpq-link-v1";

/// Length of the channel binding in bytes.
pub const BINDING_LEN: usize = 32;

/// The largest frame in bytes: four envelopes of the largest size, well below the receive window.
pub const MAX_FRAME: usize = 256 * 1024;

/// Length of the number before each frame: its length in bytes, big-endian.
pub const HEADER_LEN: usize = 4;

/// Frames that wait for sending on one link, at most.
pub const QUEUE_FRAMES: usize = 1_024;

/// Bytes that wait for sending on one link, at most.
pub const QUEUE_BYTES: usize = 8 << 20;

/// Frames handed to the host in one call, at most.
pub const BATCH_FRAMES: usize = 256;

/// Bytes taken from the queue for one write, at most (one frame more, if it is larger).
pub const BATCH_BYTES: usize = 64 * 1024;

/// Frames up to this length in bytes are gathered into one buffer before they are written.
pub const COPY_LEN: usize = 1_024;

/// How long `close`, and a peer that takes its leave, waits for the queue to be flushed.
pub const LINGER: Duration = Duration::from_secs(1);

/// Addresses of one DNS name that are tried, at most.
pub const MAX_ADDRESSES: usize = 4;

/// Head start of one address over the next (RFC 8305, 5: 250 ms).
pub const ADDRESS_STAGGER: Duration = Duration::from_millis(250);

/// How long binding waits for a port that is just being given up, as in a live swap.
pub const BIND_PATIENCE: Duration = Duration::from_secs(1);

/// How often links are looked at for a changed remote address.
pub const SWEEP: Duration = Duration::from_secs(2);

/// Text of a peer (its reason for closing) is cut to so many characters.
pub const PEER_TEXT: usize = 120;
