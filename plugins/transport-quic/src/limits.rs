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

/// Bytes of packets that a socket keeps until its thread comes to read them. The usual 208 KiB run over when that thread has
/// to wait for a processor, and each time the peer takes it for congestion. As much as a link's default `receive_window`.
pub(crate) const RECEIVE_BUFFER: usize = 1 << 20;

/// How long `close`, and a peer that takes its leave, waits for the queue to be flushed; and how long a host without room may
/// take in what had arrived when the connection ended.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// How long a link that makes way for another instance's still takes in what has arrived, after its own queue is flushed.
pub(crate) const LAST_READ: Duration = Duration::from_millis(2);

/// Addresses of one DNS name that are tried, at most.
pub(crate) const MAX_ADDRESSES: usize = 4;

/// Head start of one address over the next (RFC 8305, 5: 250 ms).
pub(crate) const ADDRESS_STAGGER: Duration = Duration::from_millis(250);

/// How long binding waits for a port that is just being given up. In a live swap the new instance waits for it while the one
/// before drains, which may take half a second.
pub(crate) const BIND_PATIENCE: Duration = Duration::from_millis(600);

/// How long the packets that tell the peers of the end may take to leave this machine.
pub(crate) const GOODBYE: Duration = Duration::from_millis(50);

/// How often links are looked at for a changed remote address.
pub(crate) const SWEEP: Duration = Duration::from_secs(2);

/// Text of a peer (its reason for closing) is cut to so many characters.
pub(crate) const PEER_TEXT: usize = 120;

/// Links that `stats` lists one by one, at most.
pub(crate) const STATS_LINKS: usize = 64;

/// Chunks of a stream (one packet's worth each) that are read at once, at most: some 90 KiB. What is read together is handed
/// to the host together, which saves waking its threads, and most frames have arrived whole and are copied once.
pub(crate) const READ_CHUNKS: usize = 64;

/// Packets of connections that are not accepted yet are kept up to so many bytes, for one and for all together.
pub(crate) const INCOMING_BUFFER: (u64, u64) = (32 * 1024, 1 << 20);

/// Round-trip time that is assumed before it was measured. Lower than the 333 ms of RFC 9002 (6.2.2), so that a lost first
/// packet is sent again twice within the default idle timeout.
pub(crate) const INITIAL_RTT: Duration = Duration::from_millis(150);

/// Stack of a worker thread in bytes: the deepest calls are TLS handshakes and name look-ups.
pub(crate) const STACK: usize = 512 * 1024;

/// Threads for name look-ups, and for waiting for a port, at most. They exist only while they are needed.
pub(crate) const LOOKUP_THREADS: usize = 4;
