//! Bounds and times of the protocol.

/// Links that a path may have, as many as an envelope may cross. The feasibility condition alone keeps loops out; this bounds what a
/// liar can claim.
pub const MAX_HOPS: u8 = 255;

/// Neighbours with whom tables are exchanged. Each costs 10 bytes for each destination. Further ones are still reached, as
/// direct neighbours.
pub const MAX_NEIGHBOURS: usize = 1_024;

/// The longest control frame, in bytes: what the host takes.
pub const MAX_FRAME: usize = 16 * 1024;

/// The highest number of a destination that a neighbour may use; a table of them costs two bytes each.
pub const MAX_ROW: u16 = 65_000;

/// The longest time that a new instance waits for its neighbours to forget what they knew of the one before it, in milliseconds.
pub const SETTLE_MS: u64 = 2_000;

/// A node that isn't older than this, in milliseconds, chooses no way where others are older: it may have lived before, and until
/// then somebody may not have noticed that the links of that life are dead. The host's links notice it within 2.5 s.
pub const LIVED_MS: u64 = 3_000;

/// Nodes that start within so many milliseconds start together: none of them has lived before.
pub const SAME_AGE_MS: u64 = 200;

/// Whatever happens, ways are chosen so long after the start, in milliseconds: nobody can put it off for ever.
pub const MAX_SETTLE_MS: u64 = 10_000;

/// A further link to a neighbour may come from its next life: until it says that it doesn't, nothing goes there, but for so
/// long at most, in milliseconds.
pub const SUSPECT_MS: u64 = 2_000;

/// Updates that somebody waits for (a loss, a first way, a sequence number that was asked for) gather for so long, in milliseconds.
pub const URGENT_MS: (u64, u64) = (2, 6);

/// Updates that make a way better or worse gather for so long, in milliseconds.
pub const PROMPT_MS: (u64, u64) = (50, 150);

/// Updates that change nothing but the sequence number gather for so long, in milliseconds.
pub const LAZY_MS: (u64, u64) = (2_000, 6_000);

/// A destination may have the neighbours told of a new or changed way so often in a burst without waiting. In a mesh of 1,000 nodes
/// that starts, loses links, is cut in two and heals, none has to wait …
pub const UPDATE_BURST: u16 = 16;

/// … and once in so many seconds for long. Beyond it, it waits as one whose sequence number alone has changed ([`LAZY_MS`]). That there
/// is no way any more never waits.
pub const UPDATE_SECS: u16 = 5;

/// A sequence number that was asked for may be told at once so often beyond that …
pub const ASKED_BURST: u16 = RAISE_BURST as u16;

/// … and once in so many seconds for long, as often as an honest origin raises it.
pub const ASKED_SECS: u16 = (RAISE_EVERY_MS / 1_000) as u16;

/// After so long without a feasible way, a node asks for a new sequence number, in milliseconds.
pub const ASK_MS: (u64, u64) = (50, 100);

/// The first pause between two times of asking, in milliseconds; it doubles each time.
pub const ASK_AGAIN_MS: u64 = 200;

/// The doublings of [`ASK_AGAIN_MS`]: the longest pause is 6.4 s.
pub const ASK_DOUBLINGS: u32 = 5;

/// Requests are looked at in steps of so many milliseconds, so that many destinations share a frame.
pub const ASK_STEP_MS: u64 = 16;

/// A request for one destination is forwarded once in so many milliseconds.
pub const FORWARD_MS: u64 = 50;

/// Links that a request may cross.
pub const REQUEST_TTL: u8 = 255;

/// Requests of others are remembered for so long, so that the answer isn't delayed, in milliseconds.
pub const WANTED_MS: u64 = 10_000;

/// On request, an origin raises its sequence number so often in a burst …
pub const RAISE_BURST: u64 = 8;

/// … and once in so many milliseconds for long, so that a hostile neighbour can't make it flood the network.
pub const RAISE_EVERY_MS: u64 = 1_000;

/// A neighbour may have so many rows of whole tables in a burst …
pub const TABLE_BURST: u64 = 65_536;

/// … and one in so many milliseconds for long: HELLO is short, and a table isn't. Whoever asks for more gets it later.
pub const TABLE_ROW_MS: u64 = 1;

/// The least that a table counts, in rows.
pub const TABLE_MIN_ROWS: u64 = 64;

/// What a neighbour may make this node do in a burst beyond what its words are worth: rows of the table looked at for nothing …
pub const WORK_BURST: u64 = 20_000_000;

/// … and so many in a millisecond for long: some 2 % of a core.
pub const WORK_PER_MS: u64 = 10_000;

/// What a bad signature counts, in rows looked at.
pub const BAD_SIGNATURE_WORK: u64 = 30_000;

/// How often neighbours compare digests, in milliseconds.
pub const DIGEST_MS: u64 = 60_000;

/// The longest pause between two repairs with one neighbour, in milliseconds; it doubles from [`DIGEST_MS`].
pub const MAX_REPAIR_MS: u64 = 3_600_000;

/// How often old destinations are looked for, in milliseconds, and how many are looked at each time.
pub const SWEEP_MS: u64 = 5_000;
/// See [`SWEEP_MS`].
pub const SWEEP_ROWS: usize = 512;

/// A destination without any way is remembered for so long, in milliseconds: by then nobody's way leads through here any more.
pub const FORGET_MS: u64 = 600_000;

/// Destinations that had to give way and whose feasibility distances are still remembered. At some 70 bytes each, 1 MB.
pub const MAX_GRAVES: usize = 16_384;

/// In a full table a neighbour may have a place looked for so often in a burst …
pub const ROOM_BURST: u64 = 64;

/// … and once in so many milliseconds for long. Each may make one destination give way.
pub const ROOM_EVERY_MS: u64 = 250;

/// Where no place was found, none is looked for again for so long, in milliseconds.
pub const NO_ROOM_MS: u64 = 1_000;

/// A record is good for so many times the origin's refresh time …
pub const LIFETIME_REFRESHES: u64 = 4;

/// … and for so much more, in seconds, since clocks differ.
pub const CLOCK_SKEW_SECS: u64 = 7_200;

/// A clock before this (2024-01-01, Unix seconds) was never set: then records have no end.
pub const CLOCK_SET_SECS: u64 = 1_704_067_200;

/// Links in an answer when no way is known.
pub const MAX_SPRAY: usize = 8;

/// A link counts as new for so long, in milliseconds; and then the order of the rest changes as often.
pub const SPRAY_TURN_MS: u64 = 60_000;
