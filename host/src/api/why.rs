//! What became of a message.

use qpq_schemas::PeerId;
use serde::{Deserialize, Serialize};

/// What became of a message, as far as this node knows.
///
/// Of a message that is gone, keys are remembered by their first 16 digits; they are given in full where the directory has the
/// peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyReport {
    /// The message.
    pub id: String,
    /// `writing`, `waiting`, `inbox`, `history`; or where it went: `custody`, `delivered`, `expired`, `evicted`, `used` (a receipt
    /// for this node), `gone` (when it is not known how); or `refused`, or `unknown`.
    pub state: String,
    /// `direct`, `broadcast` or `receipt`, while it is held.
    pub kind: Option<String>,
    /// Whether it was handed in here.
    pub own: bool,
    /// Who signed it, while it is held.
    pub from: Option<PeerId>,
    /// The sender's nickname.
    pub from_name: Option<String>,
    /// Its recipient.
    pub to: Option<String>,
    /// The recipient's nickname.
    pub to_name: Option<String>,
    /// The channel's name, or the topic id.
    pub topic: Option<String>,
    /// The neighbour that brought it. This node itself when it came out of a file.
    pub source: Option<String>,
    /// That neighbour's nickname.
    pub source_name: Option<String>,
    /// When its sender made it, Unix time in milliseconds.
    pub created_ms: Option<u64>,
    /// When it arrived here.
    pub received_ms: Option<u64>,
    /// When it dies.
    pub expires_ms: Option<u64>,
    /// Until when its id is remembered.
    pub remembered_ms: Option<u64>,
    /// How it waits.
    pub wait: Option<WaitInfo>,
    /// `read` or `unread`, while it stands in the inbox.
    pub inbox: Option<String>,
    /// When it went.
    pub at_ms: Option<u64>,
    /// Who has it, or had it when it was dropped here.
    pub by: Option<String>,
    /// That peer's nickname.
    pub by_name: Option<String>,
    /// For `delivered`: `link` (its recipient took it from us), `receipt` (its recipient has signed that it arrived), `mailbox`
    /// (the holder of a mailbox here fetched it), `inbox` (it was for this node) or `unknown`.
    pub how: Option<String>,
    /// For `evicted`: the bound that was met.
    pub quota: Option<String>,
    /// That something of this id was refused, if that is still known.
    pub refused: Option<RefusedInfo>,
}

/// How a message waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitInfo {
    /// Its place in its recipient's queue, counted from 1.
    pub place: u64,
    /// Messages in that queue.
    pub queue: u64,
    /// Its recipient has a mailbox here, and fetches it.
    pub mailbox: bool,
    /// Whether the routing plugin knows a way.
    pub known: bool,
    /// How it stands with each neighbour that is a way, holds a copy, or was offered it.
    pub hops: Vec<HopInfo>,
    /// When it is offered next, Unix time in milliseconds. Not set while there is no way at all.
    pub next_ms: Option<u64>,
}

/// How a waiting message stands with one neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopInfo {
    /// The neighbour.
    pub peer: PeerId,
    /// Its nickname.
    pub nickname: Option<String>,
    /// `offered`, `declined`, `copied`, `brought` (it came from there), `full`, `elsewhere`, `kept` (it must not leave this domain)
    /// or `next`.
    pub state: String,
    /// Since when.
    pub since_ms: Option<u64>,
    /// Until when.
    pub until_ms: Option<u64>,
    /// The neighbour's word, where it declined.
    pub verdict: Option<String>,
}

/// That an envelope was not taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedInfo {
    /// The reason's name.
    pub code: String,
    /// When.
    pub at_ms: u64,
    /// The neighbour that brought it, if one did.
    pub source: Option<PeerId>,
    /// That neighbour's nickname.
    pub source_name: Option<String>,
}
