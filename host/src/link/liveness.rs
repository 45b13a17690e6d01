//! Is the neighbour alive, and how far away is it?
//!
//! Each side says something at least once in [`HELLO_MS`](super::HELLO_MS): a PING where it has nothing else to say. Whoever hears nothing for
//! two such times and a half takes the link for dead. Anything that arrives is a sign of life, so a PONG that waits
//! behind a large batch kills nobody.

use std::collections::VecDeque;

use super::LinkConfig;
use super::close::{CloseReason, Violation};

/// How old the last measurement may get on a busy link before a PING goes between the frames, in hellos.
const MEASURE_EVERY: u64 = 5;

/// PINGs remembered without their PONG.
const MAX_OUTSTANDING: usize = 8;

/// PINGs that a neighbour may send at once; it earns one more each [`PING_EVERY_MS`].
const PING_BURST: u64 = 20;

/// See [`PING_BURST`], in milliseconds.
const PING_EVERY_MS: u64 = 100;

/// The signs of life of one link. All times are steady, in milliseconds.
pub(super) struct Liveness {
    last_heard: u64,
    last_spoken: u64,
    last_ping: u64,
    next_number: u64,
    outstanding: VecDeque<(u64, u64)>,
    rtt_us: Option<u64>,
    pings_allowed: u64,
    pings_since: u64,
}

impl Liveness {
    pub(super) fn new(first_number: u64, now: u64) -> Self {
        Self {
            last_heard: now,
            last_spoken: now,
            last_ping: now,
            next_number: first_number,
            outstanding: VecDeque::new(),
            rtt_us: None,
            pings_allowed: PING_BURST,
            pings_since: now,
        }
    }

    pub(super) fn heard(&mut self, now: u64) {
        self.last_heard = now;
    }

    pub(super) fn spoke(&mut self, now: u64) {
        self.last_spoken = now;
    }

    pub(super) fn rtt_us(&self) -> Option<u64> {
        self.rtt_us
    }

    fn dead_at(&self, config: &LinkConfig) -> u64 {
        self.last_heard + config.hello_ms * config.missed_hellos + config.hello_ms / 2
    }

    pub(super) fn is_dead(&self, now: u64, config: &LinkConfig) -> bool {
        now >= self.dead_at(config)
    }

    fn ping_at(&self, config: &LinkConfig) -> u64 {
        (self.last_spoken + config.hello_ms).min(self.last_ping + MEASURE_EVERY * config.hello_ms)
    }

    /// When to look again.
    pub(super) fn deadline(&self, config: &LinkConfig) -> u64 {
        self.ping_at(config).min(self.dead_at(config))
    }

    pub(super) fn ping_is_due(&self, now: u64, config: &LinkConfig) -> bool {
        now >= self.ping_at(config)
    }

    /// The number of a PING that is sent now.
    pub(super) fn ping(&mut self, now: u64) -> u64 {
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        self.last_ping = now;
        self.outstanding.push_back((number, now));
        if self.outstanding.len() > MAX_OUTSTANDING {
            self.outstanding.pop_front();
        }
        number
    }

    /// Takes a PONG, and returns the smoothed round-trip time in microseconds; `None` where it answers no PING of ours.
    ///
    /// The weight of a new measurement is 1/8 (RFC 6298, section 2.3). The clock's steps are milliseconds, but a PING falls anywhere
    /// inside of one, so the mean is right below that, too.
    pub(super) fn pong(&mut self, number: u64, now: u64) -> Option<u64> {
        let place = self.outstanding.iter().position(|(sent, _)| *sent == number)?;
        let (_, sent_at) = self.outstanding.drain(..=place).next_back()?;
        let measured = now.saturating_sub(sent_at) * 1_000;
        let smoothed = self.rtt_us.map_or(measured, |rtt| rtt - rtt / 8 + measured / 8);
        self.rtt_us = Some(smoothed);
        Some(smoothed)
    }

    /// Counts a PING of the neighbour; each costs us an answer.
    pub(super) fn allow_ping(&mut self, now: u64) -> Result<(), CloseReason> {
        let earned = now.saturating_sub(self.pings_since) / PING_EVERY_MS;
        self.pings_since += earned * PING_EVERY_MS;
        self.pings_allowed = (self.pings_allowed + earned).min(PING_BURST);
        self.pings_allowed = self.pings_allowed.checked_sub(1).ok_or(Violation::PingFlood)?;
        Ok(())
    }
}
