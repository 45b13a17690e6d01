//! How fast to send: as fast as the path has been seen to deliver, whatever it loses.
//!
//! A rule that takes each loss for a full queue comes to a stop on a radio link that loses every third packet. So the
//! rate follows what arrives: the largest delivery rate of the last round trips is the estimate, a quarter more is tried now
//! and then, and a quarter less right after it, so that a queue which that built up can drain. What a path loses even then
//! it loses by itself; for that much the rate is raised, or it would sink a little with each round. The ideas come from BBR;
//! this is much simpler, and adds the last one.

use std::collections::VecDeque;

use super::ACK_DELAY_MS;
use super::rtt::Rtt;

/// Packets that may be under way at least, and before anything was measured.
const LEAST_PACKETS: usize = 16;
/// Packets that leave at once at most, where the rate asks for no more.
const BURST_PACKETS: usize = 16;
/// Bytes that leave at once at most, whatever the rate.
const BURST_BYTES: usize = 128 << 10;
/// For how many milliseconds of the rate a burst may make up: a timer comes late.
const BURST_MS: u64 = 4;
/// How much faster than measured to send while the rate still grows, in percent.
const GROWTH: u64 = 250;
/// How much faster or slower than measured to send, in percent, in turn.
const TURNS: [u64; 4] = [125, 75, 100, 100];
/// What may be under way, in percent of what the path holds: room for losses that are not known yet, and for late answers.
const ROOM: u64 = 250;
/// Measurements that count: so many of the last.
const MEASUREMENTS: usize = 10;
/// A measurement takes a round trip, and at least so long, in milliseconds: the clock is coarse.
const LEAST_MEASUREMENT_MS: u64 = 5;
/// Measurements without a quarter more after which the rate counts as found.
const FLAT: u32 = 3;
/// The largest loss that is made up for, in millionths: at most twice as much is sent as arrives.
const MAX_MADE_UP_PPM: u64 = 500_000;

/// The loss that is told counts about so many of the last packets.
const LOSS_OVER: u64 = 128;

/// Rate, window and pacing of one link. Rates are in bytes per second.
pub(super) struct Control {
    packet: usize,
    /// The last delivery rates.
    rates: VecDeque<u64>,
    /// Bytes that arrived since the measurement began, when that was, and whether there was too little to send.
    measuring: (usize, u64, bool),
    /// `None` once the rate was found: the rate at the last look, and how often it had not grown.
    growing: Option<(u64, u32)>,
    turn: usize,
    turn_since: u64,
    /// Lost packets among those sent slowly, and among all, smoothed, in millionths.
    own_loss_ppm: u64,
    loss_ppm: u64,
    /// Bytes that may leave now, and since when that is known.
    budget: usize,
    budget_at: u64,
}

impl Control {
    pub(super) fn new(packet: usize) -> Self {
        Self {
            packet,
            rates: VecDeque::new(),
            measuring: (0, 0, false),
            growing: Some((0, 0)),
            turn: 0,
            turn_since: 0,
            own_loss_ppm: 0,
            loss_ppm: 0,
            budget: packet * BURST_PACKETS,
            budget_at: 0,
        }
    }

    /// Lost packets of all that were sent lately, in millionths.
    pub(super) fn loss_ppm(&self) -> u32 {
        u32::try_from(self.loss_ppm).unwrap_or(u32::MAX)
    }

    /// What must be sent for the largest rate of late to arrive; `None` before the first measurement.
    fn needed(&self) -> Option<u64> {
        let delivered = *self.rates.iter().max()?;
        Some(delivered * 1_000_000 / (1_000_000 - self.own_loss_ppm.min(MAX_MADE_UP_PPM)))
    }

    fn gain(&self) -> u64 {
        match self.growing {
            Some(_) => GROWTH,
            None => TURNS.get(self.turn).copied().unwrap_or(100),
        }
    }

    /// The rate at which to send now.
    fn pace(&self, rtt: &Rtt) -> u64 {
        let start = (LEAST_PACKETS * self.packet) as u64 * 1_000 / rtt.smoothed_ms().max(1);
        let least = self.packet as u64 * 100; // a packet each 10 ms, so that no mistake stops a link for long
        (self.needed().unwrap_or(start) * self.gain() / 100).max(least)
    }

    /// Whether the link goes slower than it could, so that a loss says something about the path.
    pub(super) fn is_calm(&self) -> bool {
        self.growing.is_none() && self.gain() < 100
    }

    /// Bytes that may be under way.
    pub(super) fn window(&self, rtt: &Rtt) -> usize {
        let least = LEAST_PACKETS * self.packet;
        let time = rtt.min_ms() + ACK_DELAY_MS + 1;
        let holds = self.needed().map_or(0, |rate| rate.saturating_mul(time) / 1_000 * ROOM / 100);
        usize::try_from(holds).unwrap_or(usize::MAX).max(least)
    }

    /// A packet leaves after a time when nothing was under way: that time measures nothing.
    pub(super) fn restart(&mut self, now: u64) {
        self.measuring = (0, now, false);
    }

    /// Counts what arrived. `starved`: there was not always something to send, so the path may well deliver more.
    pub(super) fn arrived(&mut self, bytes: usize, starved: bool, rtt: &Rtt, now: u64) {
        self.measuring.0 += bytes;
        self.measuring.2 |= starved;
        let took = now.saturating_sub(self.measuring.1);
        if took < rtt.smoothed_ms().max(LEAST_MEASUREMENT_MS) {
            return;
        }
        let (bytes, _, starved) = std::mem::replace(&mut self.measuring, (0, now, false));
        let rate = bytes as u64 * 1_000 / took;
        let known = self.rates.iter().max().copied().unwrap_or(0);
        // A rate that was not tried to its limit says only that the limit is not below it.
        if starved && rate <= known {
            return;
        }
        self.rates.push_back(rate);
        if self.rates.len() > MEASUREMENTS {
            self.rates.pop_front();
        }
        self.look_whether_it_grows(starved);
    }

    fn look_whether_it_grows(&mut self, starved: bool) {
        let best = self.rates.iter().max().copied().unwrap_or(0);
        let Some((before, flat)) = &mut self.growing else { return };
        if best >= *before + *before / 4 {
            (*before, *flat) = (best, 0);
        } else if !starved {
            *flat += 1;
        }
        if *flat >= FLAT {
            self.growing = None;
            self.turn = 1; // slow first: the queue that the search has filled drains
        }
    }

    /// Counts the fate of a packet.
    pub(super) fn learnt(&mut self, calm: bool, lost: bool) {
        let sample = if lost { 1_000_000 } else { 0 };
        self.loss_ppm = self.loss_ppm - self.loss_ppm / LOSS_OVER + sample / LOSS_OVER;
        if calm {
            self.own_loss_ppm = self.own_loss_ppm - self.own_loss_ppm / 32 + sample / 32;
        }
    }

    /// A packet that counted as lost was only late.
    pub(super) fn was_not_lost(&mut self) {
        self.loss_ppm = self.loss_ppm.saturating_sub(1_000_000 / LOSS_OVER);
    }

    fn burst(&self, rate: u64) -> usize {
        let late = usize::try_from(rate * BURST_MS / 1_000).unwrap_or(BURST_BYTES);
        late.min(BURST_BYTES).max(BURST_PACKETS * self.packet)
    }

    /// Lets time go by.
    pub(super) fn advance(&mut self, rtt: &Rtt, now: u64) {
        if now >= self.turn_since + rtt.smoothed_ms().max(2 * LEAST_MEASUREMENT_MS) {
            self.turn = (self.turn + 1) % TURNS.len();
            self.turn_since = now;
        }
        let rate = self.pace(rtt);
        let earned = rate.saturating_mul(now.saturating_sub(self.budget_at)) / 1_000;
        if earned > 0 {
            self.budget =
                self.budget.saturating_add(usize::try_from(earned).unwrap_or(usize::MAX)).min(self.burst(rate));
            self.budget_at = now;
        }
    }

    /// Whether a packet may leave now, as far as pacing goes.
    pub(super) fn may_send(&self) -> bool {
        self.budget >= self.packet
    }

    /// So many bytes leave.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.budget = self.budget.saturating_sub(bytes);
    }

    /// When [`may_send`](Self::may_send) becomes true; at least a millisecond ahead of the last look.
    pub(super) fn ready_at(&self, rtt: &Rtt) -> u64 {
        let missing = self.packet.saturating_sub(self.budget) as u64;
        self.budget_at + (missing * 1_000).div_ceil(self.pace(rtt)).max(1)
    }
}
