//! A path in virtual time.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// What a path does to packets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Impairment {
    /// Lost packets of a hundred.
    pub(super) loss_percent: u32,
    /// How many are lost in a row, on average.
    pub(super) burst: f64,
    /// Doubled packets of a hundred.
    pub(super) doubled_percent: u32,
    /// Packets of a hundred that are overtaken.
    pub(super) reordered_percent: u32,
    /// One way, in milliseconds.
    pub(super) delay_ms: u64,
    /// What the bottleneck lets through, in bytes per second, and how many bytes wait before it.
    pub(super) rate: Option<(u64, u64)>,
}

impl Impairment {
    /// A radio link at its worst, but for losses.
    pub(super) const BAD: Self =
        Self { loss_percent: 0, burst: 4.0, doubled_percent: 10, reordered_percent: 25, delay_ms: 20, rate: None };
    /// A good one.
    pub(super) const NONE: Self = Self { doubled_percent: 0, reordered_percent: 0, ..Self::BAD };
}

/// One direction.
pub(super) struct Path {
    impairment: Impairment,
    rng: StdRng,
    pub(super) losing: bool,
    /// By the time of arrival, and a number that keeps the order.
    under_way: BTreeMap<(u64, u64), Bytes>,
    count: u64,
    /// When the bottleneck is free, in microseconds.
    free_us: u64,
    pub(super) dropped_by_queue: u64,
    /// All that was sent, where somebody listens.
    pub(super) record: Option<Vec<Bytes>>,
}

impl Path {
    pub(super) fn new(impairment: Impairment, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let under_way = BTreeMap::new();
        Self { impairment, rng, losing: false, under_way, count: 0, free_us: 0, dropped_by_queue: 0, record: None }
    }

    /// Two states: one in which everything is lost, and one in which nothing is (Gilbert's model).
    fn loses(&mut self) -> bool {
        let Impairment { loss_percent, burst, .. } = self.impairment;
        let (loss, leave) = (f64::from(loss_percent) / 100.0, 1.0 / burst);
        let change = if self.losing { leave } else { leave * loss / (1.0 - loss) };
        self.losing ^= self.rng.random_bool(change.min(1.0));
        self.losing
    }

    fn is(&mut self, percent: u32) -> bool {
        self.rng.random_ratio(percent, 100)
    }

    pub(super) fn send(&mut self, packet: &Bytes, now: u64) {
        if let Some(record) = &mut self.record {
            record.push(packet.clone());
        }
        let Some(queued_ms) = self.queued(packet.len() as u64, now) else {
            self.dropped_by_queue += 1;
            return;
        };
        if self.loses() {
            return;
        }
        let copies = if self.is(self.impairment.doubled_percent) { 2 } else { 1 };
        for _ in 0..copies {
            let late = if self.is(self.impairment.reordered_percent) { self.rng.random_range(1..=30) } else { 0 };
            self.count += 1;
            self.under_way.insert((now + queued_ms + self.impairment.delay_ms + late, self.count), packet.clone());
        }
    }

    /// How long the packet waits before the bottleneck; `None` when there is no room.
    fn queued(&mut self, len: u64, now: u64) -> Option<u64> {
        let Some((rate, room)) = self.impairment.rate else { return Some(0) };
        let waits_us = self.free_us.saturating_sub(now * 1_000);
        if waits_us * rate / 1_000_000 > room {
            return None;
        }
        self.free_us = self.free_us.max(now * 1_000) + len * 1_000_000 / rate;
        Some((self.free_us - now * 1_000) / 1_000)
    }

    /// When the next packet arrives.
    pub(super) fn next(&self) -> Option<u64> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes all that is under way.
    pub(super) fn everything(&mut self) -> impl Iterator<Item = Bytes> {
        std::mem::take(&mut self.under_way).into_values()
    }

    pub(super) fn arrived(&mut self, now: u64) -> Vec<Bytes> {
        let later = self.under_way.split_off(&(now + 1, 0));
        std::mem::replace(&mut self.under_way, later).into_values().collect()
    }
}
