//! The limits that are part of the protocol or of the contract with the host, so that no configuration changes them.

use std::time::Duration;

use qpq_plugin_api::stream::HEADER_LEN;
use qpq_plugin_api::{MAX_QUEUED_FRAMES, QueueLimits};

/// Application protocol of TLS (ALPN, RFC 7301). A peer that speaks another one is refused in the handshake.
pub const ALPN: &[u8] = b"quicproquo/link/1";

/// Label of the TLS exporter (RFC 8446, 7.5) that yields the channel binding.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-qpq-link-v1";

/// Length of the channel binding in bytes.
pub(crate) const BINDING_LEN: usize = 32;

/// The largest frame in bytes: four envelopes of the largest size, well below the receive window.
pub const MAX_FRAME: usize = 256 * 1024;

/// The opening of a stream: each side sends it first. Nothing follows it, so it reads like a frame without content.
pub(crate) const OPENING: [u8; HEADER_LEN] = [0; HEADER_LEN];

/// What may wait in a link's outgoing queue: as much as the boundary permits, but fewer bytes. What waits longer has left the
/// processor's cache when it is sent, and only delays what comes after it; all that waits has to be flushed in a live swap.
pub(crate) const QUEUE: QueueLimits = QueueLimits { frames: MAX_QUEUED_FRAMES, bytes: 1 << 20 };

/// Bytes taken from the queue for one write, at most (one frame more, if it is larger). A quarter of the queue, so that
/// the host is told seldom that there is room, and fills it again while this is being sent.
pub(crate) const BATCH_BYTES: usize = 256 * 1024;

/// How long a link that makes way for another instance's still takes in what has arrived, after its own queue is flushed.
pub(crate) const LAST_READ: Duration = Duration::from_millis(2);

/// How often links are looked at for a changed remote address.
pub(crate) const SWEEP: Duration = Duration::from_secs(2);

/// Text of a peer (its reason for closing) is cut to so many characters.
pub(crate) const PEER_TEXT: usize = 120;

/// Links that `stats` lists one by one, at most.
pub(crate) const STATS_LINKS: usize = 64;

/// Chunks of a stream (one packet's worth each) that are read at once, at most: some 90 KiB. What is read together is handed
/// to the host together, which saves waking its threads, and most frames have arrived whole and are copied once.
pub(crate) const READ_CHUNKS: usize = 64;

/// Stack of a worker thread in bytes: the deepest calls are TLS handshakes and name look-ups.
pub(crate) const STACK: usize = 512 * 1024;

/// Threads for name look-ups, and for waiting for a port, at most. They exist only while they are needed.
pub(crate) const LOOKUP_THREADS: usize = 4;

/// Name look-ups at the same time: one thread is kept for a port.
pub(crate) const MAX_LOOKUPS: usize = LOOKUP_THREADS - 1;
