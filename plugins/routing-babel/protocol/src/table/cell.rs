//! What one neighbour says of one destination, in 8 bytes.

use crate::cost::INFINITE;

/// The largest distance behind the newest sequence number that is told apart.
pub const MAX_LAG: u16 = u16::MAX - 1;
/// Further behind: never feasible, but somebody to ask.
const TOO_OLD: u16 = u16::MAX;

/// A unit of [`Cell::heard`] in milliseconds: the age wraps after three days, beyond the longest refresh time.
const HEARD_UNIT_MS: u64 = 16_000;
const HEARD_MASK: u16 = 0x3fff;
const KEY_TOLD: u16 = 0x8000;
const RECORD_TOLD: u16 = 0x4000;

/// The last word of a neighbour about a destination, and what it was told itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Metric in the upper three bytes, hops in the lowest.
    packed: u32,
    /// How far its sequence number lies behind the origin's newest.
    pub lag: u16,
    /// When it said so, in units of 16 s; and two flags.
    heard: u16,
}

impl Cell {
    /// The neighbour said nothing, and was told nothing.
    pub const EMPTY: Self = Self { packed: INFINITE << 8, lag: 0, heard: 0 };

    /// The metric that the neighbour told.
    pub fn metric(&self) -> u32 {
        self.packed >> 8
    }

    /// The number of links from the neighbour to the destination, as it says.
    pub fn hops(&self) -> u8 {
        self.packed as u8
    }

    /// Whether the neighbour says that it has a way.
    pub fn is_finite(&self) -> bool {
        self.metric() < INFINITE
    }

    /// Takes the neighbour's word.
    pub fn hear(&mut self, metric: u32, hops: u8, lag: u64, now_ms: u64) {
        if metric < INFINITE {
            (self.packed, self.lag) = (metric << 8 | u32::from(hops), u16::try_from(lag).unwrap_or(TOO_OLD));
        } else {
            (self.packed, self.lag) = (INFINITE << 8, 0);
        }
        self.heard = (self.heard & !HEARD_MASK) | ((now_ms / HEARD_UNIT_MS) as u16 & HEARD_MASK);
    }

    /// The age of its word, in milliseconds, to 16 s.
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        let now = (now_ms / HEARD_UNIT_MS) as u16;
        u64::from(now.wrapping_sub(self.heard) & HEARD_MASK) * HEARD_UNIT_MS
    }

    /// The origin's newest sequence number has risen by so much.
    pub fn fall_behind(&mut self, by: u64) {
        self.heard &= !RECORD_TOLD;
        if self.is_finite() {
            self.lag = u64::from(self.lag).saturating_add(by).min(u64::from(TOO_OLD)) as u16;
        }
    }

    /// Whether the neighbour knows which key our number for the destination stands for.
    pub fn key_told(&self) -> bool {
        self.heard & KEY_TOLD != 0
    }

    /// Whether the neighbour was told the origin's newest record.
    pub fn record_told(&self) -> bool {
        self.heard & RECORD_TOLD != 0
    }

    /// See [`Self::key_told`].
    pub fn tell_key(&mut self) {
        self.heard |= KEY_TOLD;
    }

    /// See [`Self::record_told`].
    pub fn tell_record(&mut self) {
        self.heard |= RECORD_TOLD;
    }

    /// The neighbour has forgotten what it was told.
    pub fn untell(&mut self) {
        self.heard &= HEARD_MASK;
    }
}
