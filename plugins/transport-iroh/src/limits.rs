//! The limits that are part of the protocol or of the contract with the host, so that no configuration changes them.

use std::time::Duration;

use qpq_plugin_api::stream::HEADER_LEN;
use qpq_plugin_api::{MAX_QUEUED_FRAMES, QueueLimits};

/// Application protocol of TLS (ALPN, RFC 7301). A peer that speaks another one is refused in the handshake.
pub const ALPN: &[u8] = b"quicproquo/p2p/1";

/// Label of the TLS exporter (RFC 8446, 7.5) that yields the channel binding.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-qpq-link-v1";

/// Length of the channel binding in bytes.
pub(crate) const BINDING_LEN: usize = 32;

/// The largest frame in bytes: four envelopes of the largest size, well below the receive window.
pub const MAX_FRAME: usize = 256 * 1024;

/// The opening of a stream: each side sends it first. Nothing follows it, so it reads like a frame without content.
pub(crate) const OPENING: [u8; HEADER_LEN] = [0; HEADER_LEN];

/// What may wait in a link's outgoing queue: fewer bytes than the boundary permits. What waits longer has left the processor's
/// cache when it is sent, and only delays what comes after it.
pub(crate) const QUEUE: QueueLimits = QueueLimits { frames: MAX_QUEUED_FRAMES, bytes: 1 << 20 };

/// Bytes taken from the queue for one write, at most (one frame more, if it is larger). A quarter of the queue, so that the
/// host is told seldom that there is room.
pub(crate) const BATCH_BYTES: usize = 256 * 1024;

/// Chunks of a stream (one packet's worth each) that are read at once, at most: some 90 KiB. What is read together is handed
/// to the host together, which saves waking its threads, and most frames have arrived whole and are copied once.
pub(crate) const READ_CHUNKS: usize = 64;

/// How long a link that makes way for another instance's still takes in what arrives, after its own queue is flushed: as long
/// as the deadline of the whole permits, since the sockets are closed next and can't be handed on.
pub(crate) const LAST_READ: Duration = Duration::MAX;

/// Addresses, direct ones and relays, that one URI may name.
pub(crate) const MAX_URI_ADDRESSES: usize = 16;

/// The longest URI in bytes.
pub(crate) const MAX_URI: usize = 2_048;

/// Addresses to listen at, at most.
pub(crate) const MAX_LISTEN: usize = 8;

/// Relays that may be configured. One is enough; a few more keep the nodes linked when it fails.
pub(crate) const MAX_RELAYS: usize = 8;

/// Certificates of authorities that the `relay_ca` files may hold together.
pub(crate) const MAX_ROOTS: usize = 64;

/// Peers whose direct addresses are remembered. The one that was noted first is forgotten first.
pub(crate) const BOOK_PEERS: usize = 1_024;

/// Direct addresses that are remembered for one peer.
pub(crate) const BOOK_ADDRESSES: usize = 8;

/// How long binding waits for a port that is just being given up, as in a live swap.
pub(crate) const BIND_PATIENCE: Duration = Duration::from_secs(1);

/// How long one attempt to bind is apart from the next.
pub(crate) const BIND_RETRY: Duration = Duration::from_millis(50);

/// How long the links have for flushing when the sockets are bound anew, because another address is listened at.
pub(crate) const REBIND_PATIENCE: Duration = Duration::from_secs(1);

/// How long closing the endpoint may take: the peers are told, and acknowledge it.
pub(crate) const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// With relays configured the endpoint goes online so long after the start even if nothing listens or dials: it can be reached
/// through them.
pub(crate) const ONLINE_AFTER: Duration = Duration::from_millis(300);

/// How often links are looked at for another path, and relays for their state.
pub(crate) const SWEEP: Duration = Duration::from_millis(500);

/// A relay that isn't connected after this time is reported in the log.
pub(crate) const RELAY_PATIENCE: Duration = Duration::from_secs(10);

/// A link that went over to a relay is tried directly again after this time, then after twice that, and so on.
pub(crate) const UPGRADE_FIRST: Duration = Duration::from_secs(2);

/// The longest pause between two such tries. iroh itself tries once a minute.
pub(crate) const UPGRADE_LAST: Duration = Duration::from_secs(60);

/// How long one such try may take.
pub(crate) const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);

/// Text of a peer (its reason for closing) is cut to so many characters.
pub(crate) const PEER_TEXT: usize = 120;

/// Links that `stats` lists one by one, at most.
pub(crate) const STATS_LINKS: usize = 64;

/// Stack of a worker thread in bytes: the deepest calls are TLS handshakes. Without optimisation iroh's futures are large.
pub(crate) const STACK: usize = 2 * 1024 * 1024;

/// Threads for blocking calls (name look-ups of relays), at most. They exist only while there are such calls.
pub(crate) const BLOCKING_THREADS: usize = 4;
