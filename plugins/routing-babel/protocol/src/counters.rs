//! What is counted, for the dump.

use serde_json::{Value, json};

/// Events since the start.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Frames of another protocol or version.
    pub foreign: u64,
    /// Frames that could not be read to their end.
    pub malformed: u64,
    /// Records whose signature isn't the origin's.
    pub bad_signature: u64,
    /// Records past their end.
    pub expired: u64,
    /// Statements with a sequence number that nobody proved.
    pub unproven: u64,
    /// Statements under a number that stands for nothing.
    pub unknown: u64,
    /// Statements before the neighbour knew this instance.
    pub early: u64,
    /// Statements that were not looked at, since the neighbour had cost too much.
    pub too_much: u64,
    /// New destinations for which there was no room.
    pub full: u64,
    /// Destinations that gave way to others in a full table.
    pub gave_way: u64,
    /// Updates that had to wait, since their destinations change all the time.
    pub put_off: u64,
    /// Statements about ways.
    pub ways: u64,
    /// Next hops that changed.
    pub moves: u64,
    /// Times that a destination was starved.
    pub starved: u64,
    /// Requests sent for this node's own needs.
    pub asked: u64,
    /// Requests of others passed on.
    pub forwarded: u64,
    /// Times that this node's sequence number rose.
    pub raised: u64,
    /// Digests that differed.
    pub differed: u64,
}

impl Counters {
    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "foreign_frames": self.foreign,
            "malformed_frames": self.malformed,
            "bad_signatures": self.bad_signature,
            "expired_records": self.expired,
            "unproven_seqnos": self.unproven,
            "unknown_numbers": self.unknown,
            "early_statements": self.early,
            "costly_statements": self.too_much,
            "refused_full": self.full,
            "gave_way": self.gave_way,
            "put_off": self.put_off,
            "ways_heard": self.ways,
            "moves": self.moves,
            "starvations": self.starved,
            "requests_made": self.asked,
            "requests_forwarded": self.forwarded,
            "own_raises": self.raised,
            "digests_differed": self.differed,
        })
    }
}
