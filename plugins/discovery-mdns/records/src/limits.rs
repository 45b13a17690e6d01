//! What an answer may be, whoever sends it, and how much of it all is kept.

use std::time::Duration;

/// Longest string of a TXT record with its key, in bytes (RFC 6763, section 6.1).
pub const MAX_TXT_STRING: usize = 255;
/// All strings of our own TXT record, in bytes: with the other records it fits into one Ethernet frame (RFC 6763, section 6.2).
pub const MAX_TXT: usize = 1_100;
/// Longest report of a node that the host takes, as JSON in bytes.
pub const MAX_REPORT: usize = 4_096;
/// Addresses of one node, announced or taken in. A report of them all fits into [`MAX_REPORT`].
pub const MAX_ADDRESSES: usize = 12;
/// Longest transport address, in bytes: it stands in one TXT string behind its key.
pub const MAX_URI: usize = 240;
/// Longest domain, in bytes (RFC 1035).
pub const MAX_DOMAIN: usize = 253;
/// Longest `server=` value, in bytes: a domain name, a colon and a port.
pub const MAX_SERVER: usize = 253;
/// Longest instance name, in bytes: one DNS label. Escapes double some of them.
pub const MAX_INSTANCE: usize = 2 * 63;
/// Strings of a TXT record that are looked at.
pub const MAX_STRINGS: usize = 64;
/// Found nodes that are remembered. The oldest goes when another comes.
pub const MAX_NODES: usize = 1_024;
/// Records in the responder's cache, which knows no limit itself. Beyond it, it starts afresh: about 1,000 nodes have their
/// place; at the 9,000 bytes that a record can have the rest of it costs 74 MB until the next look.
pub const MAX_CACHED: i64 = 8_192;
/// Timers of the responder, 16 bytes each. It sets two for each record that it hears, even one that it knows.
pub const MAX_TIMERS: i64 = 262_144;

/// New names since the responder's start. The cache must not grow until the responder has time to say how large it is.
pub const MAX_NAMES: usize = 4_096;
/// A responder that doesn't answer for so long drowns in packets, since it reads them all before it looks at anything else.
pub const DROWNED: Duration = Duration::from_secs(4);

/// How often housekeeping is done, and so the cache looked at.
pub const LOOK: Duration = Duration::from_millis(500);
/// How often the host is told anew of each node that is there, so that it may forget those it doesn't hear of.
pub const CONFIRM: Duration = Duration::from_secs(60);
/// A report that the host had no room for is tried again after that.
pub const RETRY: Duration = Duration::from_secs(2);
/// Reports in one round of housekeeping.
pub const MAX_REPORTS: usize = 128;
/// After a fresh start of the responder, nodes that don't answer within that are gone.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The responder rests so long after a flood of records before it starts afresh.
pub const REST: Duration = Duration::from_secs(5);
/// Warnings of one kind are at least so far apart.
pub const WARN_EVERY: Duration = Duration::from_secs(600);
/// How often the responder looks whether interfaces or addresses have come or gone, in seconds.
pub const IP_CHECK_SECS: u32 = 2;
/// How long a goodbye takes: it is said twice, the second time after 120 ms.
pub const GOODBYE: Duration = Duration::from_millis(160);
