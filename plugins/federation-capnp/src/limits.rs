//! The limits that are part of the protocol or of the contract with the host, so that no configuration changes them.

use std::time::Duration;

use qpq_plugin_api::QueueLimits;

/// Application protocol of TLS (ALPN, RFC 7301). A peer that speaks another one is refused in the handshake.
pub const ALPN: &[u8] = b"quicproquo/federation/1";

/// Label of the TLS exporter (RFC 8446, 7.5) that yields the channel binding.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-qpq-federation-v1";

/// The port where a domain is looked for when nothing else is said.
pub const DEFAULT_PORT: u16 = 7001;

/// The version that `relayEnqueue` states.
pub const RELAY_VERSION: u16 = 1;

/// Length of the channel binding in bytes.
pub(crate) const BINDING_LEN: usize = 32;

/// The largest frame in bytes: four envelopes of the largest default size.
pub const MAX_FRAME: usize = 256 * 1024;

/// Frames in one `carry`, at most.
pub(crate) const BATCH_FRAMES: usize = 1_024;

/// Bytes of frames in one `carry`, at most; a frame of the largest size fits alone.
pub(crate) const BATCH_BYTES: usize = MAX_FRAME;

/// The largest message in words of 8 bytes (512 KiB): a full `carry` with room to spare. A larger one ends its connection.
pub(crate) const MAX_MESSAGE_WORDS: usize = 64 * 1024;

/// The deepest nesting of a message.
pub(crate) const MAX_NESTING: i32 = 8;

/// Bytes of `carry` that are sent and not yet answered.
pub(crate) const SEND_WINDOW: usize = 1 << 20;

/// Bytes of messages of one connection that are read and still in use. Above [`SEND_WINDOW`], so that a peer that keeps to
/// its window is never held up here, and answers never wait behind its frames.
pub(crate) const INBOUND_BYTES: usize = 2 << 20;

/// Messages of one connection that are read and still in use.
pub(crate) const INBOUND_MESSAGES: usize = 256;

/// Calls of one connection that the peer has not finished. One more ends the connection. Answers without capabilities are
/// finished as they are sent; of others an honest peer says so when it has them, but behind all calls that it has sent before.
pub(crate) const UNFINISHED_CALLS: usize = 16_384;

/// After so many messages the other connections have their turn.
pub(crate) const MESSAGES_PER_TURN: u32 = 16;

/// What waits at the boundary for one link. With [`SEND_WINDOW`], [`INBOUND_BYTES`], one message that is being read and the
/// windows of QUIC (1 MiB each) a link holds less than 8 MiB.
pub(crate) const OUTBOX: QueueLimits = QueueLimits { frames: 1_024, bytes: 2 << 20 };

/// How long a link that makes way for another instance's still takes in what has arrived, after its own queue is flushed.
pub(crate) const LAST_READ: Duration = Duration::from_millis(2);

/// How long the reason for the end of a connection is waited for after a call on it has failed.
pub(crate) const WHY: Duration = Duration::from_millis(500);

/// How long the packet that says why a connection is closed may take to leave, before its streams are dropped.
pub(crate) const LAST_WORD: Duration = Duration::from_millis(20);

/// How often the certificate files are looked at.
pub(crate) const RELOAD: Duration = Duration::from_secs(1);

/// The largest certificate or key file in bytes.
pub(crate) const MAX_FILE: u64 = 1 << 20;

/// Certificates of a peer beside its own, at most: each costs a signature check.
pub const MAX_INTERMEDIATES: usize = 4;

/// DNS names of a peer's certificate that count, at most.
pub(crate) const MAX_NAMES: usize = 16;

/// Longest domain name in bytes (RFC 1035, 2.3.4).
pub(crate) const MAX_DOMAIN: usize = 253;

/// Text of a peer is cut to so many characters.
pub(crate) const PEER_TEXT: usize = 300;

/// Longest text of a QUIC close in bytes: it must fit one packet.
pub(crate) const CLOSE_TEXT: usize = 400;

/// Refusals that `stats` remembers.
pub(crate) const REFUSALS: usize = 64;

/// The same refusal of the same address is logged once in this time.
pub(crate) const LOG_EVERY: Duration = Duration::from_secs(60);

/// Domains that `stats` knows of.
pub(crate) const PEERS: usize = 1_024;

/// Links that `stats` lists one by one, at most.
pub(crate) const STATS_LINKS: usize = 64;

/// Stack of a worker thread in bytes.
pub(crate) const STACK: usize = 512 * 1024;

/// Threads for name look-ups and reading files, at most. They exist only while there is something to do.
pub(crate) const BLOCKING_THREADS: usize = 8;

/// Name look-ups at the same time: one thread is kept for files.
pub(crate) const MAX_LOOKUPS: usize = BLOCKING_THREADS - 1;

/// Orders that wait for the RPC thread.
pub(crate) const RPC_ORDERS: usize = 256;

/// The largest payload of `relayEnqueue` in bytes.
pub(crate) const MAX_RELAY_PAYLOAD: usize = 256 * 1024;

/// Recipients of one `relayBatchEnqueue`, at most.
pub(crate) const MAX_RECIPIENTS: usize = 256;

/// Envelopes of a bridged domain that were offered to the host and not answered for, in KiB of payload.
pub(crate) const OFFERED_KIB: usize = 1_024;

/// `relayEnqueue` calls to one bridged domain that are not answered yet.
pub(crate) const RELAYS_IN_FLIGHT: usize = 64;

/// How long the node may take to answer for an envelope that a server of the older kind has sent.
pub(crate) const CUSTODY_PATIENCE: Duration = Duration::from_secs(20);

/// How long a server of the older kind may take to answer `relayEnqueue`.
pub(crate) const RELAY_PATIENCE: Duration = Duration::from_secs(20);

/// When a node is asked to try an envelope again that such a server did not take, in seconds.
pub(crate) const RELAY_RETRY_SECS: u16 = 60;

/// How long a bridged link may take to come up.
pub(crate) const BRIDGE_PATIENCE: Duration = Duration::from_secs(5);

/// How long an opaque payload that is stored waits for its recipient, in seconds: 7 days.
pub(crate) const OPAQUE_TTL_SECS: u32 = 7 * 24 * 60 * 60;

/// How many links an opaque payload may cross.
pub(crate) const OPAQUE_HOPS: u8 = 16;
