//! A destination, in 128 bytes.

use super::cell::MAX_LAG;
use super::{NO_SLOT, SELF_SLOT, Slot};
use crate::cost::INFINITE;
use crate::record::{Key, Record};

/// A unit of [`Row::changed`], in milliseconds.
pub const CHANGED_UNIT_MS: u64 = 64;

/// What a neighbour is told of a destination, or tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The origin's sequence number that the way rests on.
    pub seqno: u64,
    /// The cost of the way.
    pub metric: u32,
    /// Its links.
    pub hops: u8,
}

impl Told {
    /// No way.
    pub const NOTHING: Self = Self { seqno: 0, metric: INFINITE, hops: 0 };

    /// Whether there is a way.
    pub fn is_finite(&self) -> bool {
        self.metric < INFINITE
    }
}

/// What is true of a row, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Flag {
    /// The row stands for a destination.
    Used = 1,
    /// The selected neighbour is the next hop; else it was, last.
    Active = 2,
    /// It has a feasibility distance.
    Feasibility = 4,
    /// It waits in the queue of prompt updates.
    Prompt = 8,
    /// It waits in the queue of lazy updates.
    Lazy = 16,
    /// There are ways, but none is feasible.
    Starved = 32,
}

/// A destination: its origin's newest record, the way chosen, and what the neighbours were told.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its public key.
    pub key: Key,
    /// The origin's signature of the newest sequence number.
    signature: [u8; 64],
    /// The newest sequence number that the origin has signed, as far as is known here.
    pub newest: u64,
    /// The end of that record, see [`Record::not_after`].
    pub not_after: u32,
    /// When the next hop changed last, in units of [`CHANGED_UNIT_MS`].
    pub changed: u32,
    /// The metric of the feasibility distance in the upper three bytes, and the flags.
    distance: u32,
    /// What the neighbours were told: metric in the upper three bytes, hops in the lowest.
    told: u32,
    /// How far the sequence number of the feasibility distance lies behind the newest.
    distance_lag: u16,
    /// The same of what the neighbours were told.
    told_lag: u16,
    /// The neighbour chosen, now or last.
    selected: Slot,
    /// The neighbour that was told infinity when the others were told [`Self::told`].
    pub poisoned: Slot,
}

impl Row {
    pub(super) fn new(key: Key, record: &Record, at: u32) -> Self {
        Self {
            key,
            signature: record.signature,
            newest: record.seqno,
            not_after: record.not_after,
            changed: at,
            distance: INFINITE << 8 | Flag::Used as u32,
            told: INFINITE << 8,
            distance_lag: 0,
            told_lag: 0,
            selected: NO_SLOT,
            poisoned: NO_SLOT,
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new([0; 32], &Record { seqno: 0, not_after: 0, signature: [0; 64] }, 0);
        self.set(Flag::Used, false);
    }

    /// The origin's newest record.
    pub fn record(&self) -> Record {
        Record { seqno: self.newest, not_after: self.not_after, signature: self.signature }
    }

    pub(super) fn raise(&mut self, record: &Record, by: u64) {
        (self.newest, self.not_after, self.signature) = (record.seqno, record.not_after, record.signature);
        // Too far back to be held, a feasibility distance counts as newer than it is: that only forbids more.
        self.distance_lag = further(self.distance_lag, by);
        self.told_lag = further(self.told_lag, by);
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: Flag) -> bool {
        self.distance & flag as u32 != 0
    }

    /// Sets or clears a flag.
    pub fn set(&mut self, flag: Flag, on: bool) {
        if on { self.distance |= flag as u32 } else { self.distance &= !(flag as u32) }
    }

    /// The feasibility distance: how far its sequence number lies behind the newest, and its metric.
    pub fn feasibility(&self) -> Option<(u16, u32)> {
        self.has(Flag::Feasibility).then_some((self.distance_lag, self.distance >> 8))
    }

    /// Whether a way that a neighbour offers can't lead through this node: the condition of RFC 8966, 3.5.1.
    pub fn is_feasible(&self, lag: u16, metric: u32) -> bool {
        lag <= MAX_LAG
            && self.feasibility().is_none_or(|distance| lag < distance.0 || (lag == distance.0 && metric < distance.1))
    }

    /// Lowers the feasibility distance to what is told now.
    pub fn lower(&mut self, told: &Told) {
        let lag = self.lag_of(told.seqno);
        if told.is_finite() && self.is_feasible(lag, told.metric) {
            self.distance = told.metric << 8 | self.distance & 0xff | Flag::Feasibility as u32;
            self.distance_lag = lag;
        }
    }

    /// The neighbour that is the next hop now.
    pub fn next_hop(&self) -> Option<Slot> {
        self.has(Flag::Active).then_some(self.selected)
    }

    /// The neighbour that is the next hop, or was it last.
    pub fn last_hop(&self) -> Slot {
        self.selected
    }

    /// Whether the row is the node's own.
    pub fn is_own(&self) -> bool {
        self.selected == SELF_SLOT
    }

    /// Chooses another next hop, or none.
    pub fn select(&mut self, next_hop: Option<Slot>, now_ms: u64) {
        self.set(Flag::Active, next_hop.is_some());
        self.selected = next_hop.unwrap_or(self.selected);
        self.changed = (now_ms / CHANGED_UNIT_MS) as u32;
    }

    /// How long the next hop has been what it is, in milliseconds.
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        u64::from(((now_ms / CHANGED_UNIT_MS) as u32).wrapping_sub(self.changed)) * CHANGED_UNIT_MS
    }

    /// What the neighbours were told last.
    pub fn told(&self) -> Told {
        match self.told >> 8 {
            INFINITE => Told::NOTHING,
            metric => Told { seqno: self.newest - u64::from(self.told_lag), metric, hops: self.told as u8 },
        }
    }

    /// Whether what the neighbours were told can't be held any more when the newest sequence number rises by that.
    pub fn forgets_told(&self, by: u64) -> bool {
        self.told().is_finite() && u64::from(self.told_lag).saturating_add(by) > u64::from(MAX_LAG)
    }

    /// See [`Self::told`].
    pub fn tell(&mut self, told: &Told) {
        self.told = told.metric.min(INFINITE) << 8 | u32::from(told.hops);
        self.told_lag = if told.is_finite() { self.lag_of(told.seqno) } else { 0 };
    }

    fn lag_of(&self, seqno: u64) -> u16 {
        further(0, self.newest.saturating_sub(seqno))
    }
}

fn further(lag: u16, by: u64) -> u16 {
    u64::from(lag).saturating_add(by).min(u64::from(MAX_LAG)) as u16
}
