//! Packets under way: which arrived, which are lost, and when to stop waiting.
//!
//! A packet counts as lost once a later one was acknowledged and it is either many numbers or a good round trip behind
//! (RFC 9002, section 6.1). Both distances grow when a packet that was given up arrives after all, so a path that
//! reorders much is learnt, and not answered with repetitions for ever.

use std::collections::VecDeque;

use qpq_schemas::packet::Ack;

use super::super::close::Violation;

/// Numbers that a packet may be overtaken by before it counts as lost; to begin with, and at most.
const REORDER: std::ops::RangeInclusive<u64> = 3..=128;

/// Most packets remembered. Without answers for so long the oldest are given up.
const MAX_SENT: usize = 8_192;

/// A number is left out about once in so many packets: who acknowledges it makes up its answers.
const SKIP_EVERY: u64 = 128;

/// One packet that was sent.
struct Sent {
    at: u64,
    bytes: usize,
    blocks: Vec<u64>,
    calm: bool,
    starved: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A number that was left out.
    Skipped,
    /// Holds nothing that would be answered.
    Quiet,
    Flying,
    Lost,
    Arrived,
}

/// A packet to be noted.
pub(super) struct Departure {
    pub(super) bytes: usize,
    pub(super) blocks: Vec<u64>,
    /// Sent while the link went slower than it could.
    pub(super) calm: bool,
    /// After it there was nothing to send.
    pub(super) starved: bool,
}

/// What an ACK, or the time, has changed.
#[derive(Debug, Default)]
pub(super) struct Landing {
    /// Blocks that arrived.
    pub(super) arrived: Vec<u64>,
    /// Blocks that were lost.
    pub(super) lost: Vec<u64>,
    /// Bytes of the packets that arrived.
    pub(super) bytes: usize,
    /// Some of them were the last that there was to send.
    pub(super) starved: bool,
    /// How long the newest of them took, in milliseconds.
    pub(super) rtt_ms: Option<u64>,
    /// For each packet whose fate is known now: whether it was sent while the link went slow, and whether it was lost.
    pub(super) fates: Vec<(bool, bool)>,
    /// Packets that had been given up and arrived.
    pub(super) revoked: usize,
}

/// All packets of one direction whose fate matters.
pub(super) struct Flight {
    /// Number of the oldest that is remembered.
    first: u64,
    sent: VecDeque<Sent>,
    in_flight: usize,
    largest_acked: Option<u64>,
    /// See [`REORDER`].
    reorder: u64,
    /// What is added to the waiting time, in eighths of a round trip.
    patience: u64,
    /// When the oldest packet that was overtaken counts as lost.
    lost_at: Option<u64>,
    last_eliciting: Option<u64>,
    skip_in: u64,
    random: u64,
}

impl Flight {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            first: 0,
            sent: VecDeque::new(),
            in_flight: 0,
            largest_acked: None,
            reorder: *REORDER.start(),
            patience: 1,
            lost_at: None,
            last_eliciting: None,
            skip_in: 1 + seed % SKIP_EVERY,
            random: seed,
        }
    }

    /// Bytes under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The number for the next packet. Never the same twice.
    pub(super) fn next_number(&mut self) -> u64 {
        if self.skip_in == 0 {
            // Any generator will do that the neighbour can't guess from a few numbers left out (Knuth's constants).
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.skip_in = SKIP_EVERY / 2 + (self.random >> 33) % SKIP_EVERY;
            let nothing = Departure { bytes: 0, blocks: Vec::new(), calm: false, starved: false };
            self.remember(nothing, 0, State::Skipped);
        }
        self.skip_in -= 1;
        self.first + self.sent.len() as u64
    }

    /// The packet with the last [`next_number`](Self::next_number) leaves.
    pub(super) fn sent(&mut self, departure: Departure, now: u64) {
        let state = if departure.blocks.is_empty() { State::Quiet } else { State::Flying };
        if state == State::Flying {
            self.in_flight += departure.bytes;
            self.last_eliciting = Some(now);
        }
        self.remember(departure, now, state);
    }

    fn remember(&mut self, departure: Departure, at: u64, state: State) {
        let Departure { bytes, blocks, calm, starved } = departure;
        self.sent.push_back(Sent { at, bytes, blocks, calm, starved, state });
    }

    /// Takes an ACK.
    ///
    /// # Errors
    /// When it speaks of packets that were never sent.
    pub(super) fn acked(&mut self, ack: &Ack, now: u64) -> Result<Landing, Violation> {
        let mut landing = Landing::default();
        if ack.largest >= self.first + self.sent.len() as u64 {
            return Err(Violation::AckOfNothing);
        }
        for number in ack.numbers() {
            let Some(at) = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else { break };
            let newest = number == ack.largest;
            self.arrived(at, newest, now, &mut landing)?;
        }
        self.largest_acked = self.largest_acked.max(Some(ack.largest));
        Ok(landing)
    }

    fn arrived(&mut self, at: usize, newest: bool, now: u64, landing: &mut Landing) -> Result<(), Violation> {
        let behind = self.largest_acked.map_or(0, |largest| largest.saturating_sub(self.first + at as u64));
        let Some(sent) = self.sent.get_mut(at) else { return Err(Violation::AckOfNothing) };
        match sent.state {
            State::Skipped => return Err(Violation::AckOfNothing),
            State::Quiet | State::Arrived => return Ok(()),
            State::Lost => {
                self.reorder = self.reorder.max(behind + 1).min(*REORDER.end());
                self.patience = (self.patience + 1).min(8);
                landing.revoked += 1;
            }
            State::Flying => {
                self.in_flight -= sent.bytes;
                landing.fates.push((sent.calm, false));
            }
        }
        landing.bytes += sent.bytes;
        landing.starved |= sent.starved;
        if newest {
            landing.rtt_ms = Some(now.saturating_sub(sent.at));
        }
        landing.arrived.append(&mut sent.blocks);
        sent.state = State::Arrived;
        Ok(())
    }

    /// Gives up what was overtaken by too much or for too long. `rtt_ms` is the likely round trip.
    pub(super) fn give_up(&mut self, rtt_ms: u64, now: u64, landing: &mut Landing) {
        let wait = rtt_ms + (rtt_ms * self.patience / 8).max(2);
        self.lost_at = None;
        if let Some(largest) = self.largest_acked {
            for (number, sent) in (self.first..largest).zip(&mut self.sent) {
                if sent.state != State::Flying {
                    continue;
                }
                if now < sent.at + wait && largest - number < self.reorder {
                    self.lost_at = Some(sent.at + wait); // whatever was sent later is lost later
                    break;
                }
                self.in_flight -= sent.bytes;
                sent.lose(landing);
            }
        }
        self.forget(now, wait, landing);
    }

    /// Forgets packets from the oldest on, as far as nothing more is to be heard of them.
    fn forget(&mut self, now: u64, wait: u64, landing: &mut Landing) {
        while let Some(sent) = self.sent.front_mut() {
            let over = match sent.state {
                State::Flying => false,
                State::Lost => now >= sent.at + 4 * wait, // it may still arrive, and then teaches us
                State::Skipped => self.largest_acked.is_some_and(|largest| largest > self.first + 8 * SKIP_EVERY),
                State::Quiet | State::Arrived => true,
            };
            if !over && self.sent.len() <= MAX_SENT {
                return;
            }
            if let Some(mut sent) = self.sent.pop_front().filter(|sent| sent.state == State::Flying) {
                self.in_flight -= sent.bytes;
                sent.lose(landing);
            }
            self.first += 1;
        }
    }

    /// Waits for no packet any more: what they carried has arrived.
    pub(super) fn abandon(&mut self) {
        let flying = self.sent.iter_mut().filter(|sent| sent.state == State::Flying);
        flying.for_each(|sent| sent.state = State::Lost);
        self.in_flight = 0;
        self.lost_at = None;
    }

    /// When [`give_up`](Self::give_up) has something to do.
    pub(super) fn lost_at(&self) -> Option<u64> {
        self.lost_at
    }

    /// When the last packet left that wants an answer, as long as one is due.
    pub(super) fn waiting_since(&self) -> Option<u64> {
        self.last_eliciting.filter(|_| self.in_flight > 0)
    }

    /// Packets remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.sent.len()
    }
}

impl Sent {
    fn lose(&mut self, landing: &mut Landing) {
        self.state = State::Lost;
        // Kept as well, so that a late arrival spares the repetition.
        landing.lost.extend_from_slice(&self.blocks);
        landing.fates.push((self.calm, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(count: u64) -> Flight {
        let mut flight = Flight::new(127); // leaves out no number before the 128th
        (0..count).for_each(|n| send(&mut flight, n, n));
        flight
    }

    fn send(flight: &mut Flight, block: u64, now: u64) {
        flight.next_number();
        flight.sent(Departure { bytes: 100, blocks: vec![block], calm: false, starved: false }, now);
    }

    fn ack(largest: u64, seen: &[u8]) -> Ack {
        Ack { largest, delay_ms: 0, limit: 0, seen: seen.to_vec() }
    }

    #[test]
    fn packets_arrive_once_and_the_newest_tells_the_time() {
        let mut flight = flight(5);
        let landing = flight.acked(&ack(3, &[0b11]), 50).unwrap();
        assert_eq!((landing.arrived, landing.bytes, landing.rtt_ms), (vec![3, 2, 1], 300, Some(47)));
        assert_eq!(flight.in_flight(), 200);
        let landing = flight.acked(&ack(3, &[0b11]), 60).unwrap();
        assert_eq!((landing.arrived, landing.bytes, landing.rtt_ms), (vec![], 0, None));
    }

    #[test]
    fn three_numbers_or_a_round_trip_behind_is_lost() {
        let mut flight = flight(6);
        let mut landing = flight.acked(&ack(4, &[]), 10).unwrap();
        flight.give_up(1_000, 10, &mut landing);
        assert_eq!(landing.lost, [0, 1]);
        let mut later = Landing::default();
        assert_eq!(flight.lost_at(), Some(2 + 1_125));
        flight.give_up(1_000, 2 + 1_125, &mut later);
        assert_eq!(later.lost, [2]);
    }

    #[test]
    fn a_loss_that_was_none_makes_patient() {
        let mut flight = flight(40);
        let mut landing = flight.acked(&ack(30, &[]), 40).unwrap();
        flight.give_up(1_000, 40, &mut landing);
        assert_eq!(landing.lost.len(), 28);
        let landing = flight.acked(&ack(20, &[]), 41).unwrap();
        assert_eq!(landing.arrived, [20]);
        (40..80).for_each(|n| send(&mut flight, n, 42));
        let mut landing = flight.acked(&ack(75, &[]), 60).unwrap();
        flight.give_up(1_000, 60, &mut landing);
        // Ten numbers were no loss; eleven and more are.
        assert_eq!(landing.lost.last(), Some(&64));
    }

    #[test]
    fn an_ack_of_what_was_never_sent_is_a_violation() {
        assert_eq!(flight(5).acked(&ack(5, &[]), 9).unwrap_err(), Violation::AckOfNothing);
        assert_eq!(flight(5).acked(&ack(u64::MAX, &[]), 9).unwrap_err(), Violation::AckOfNothing);
        assert_eq!(Flight::new(1).acked(&ack(0, &[]), 9).unwrap_err(), Violation::AckOfNothing);
    }

    #[test]
    fn an_ack_of_a_number_that_was_left_out_is_a_violation() {
        let mut flight = flight(400);
        let all = vec![0xff; 32];
        let sent = flight.first + flight.remembered() as u64;
        assert!(sent > 400, "some numbers were left out");
        assert_eq!(flight.acked(&ack(sent - 1, &all), 500).unwrap_err(), Violation::AckOfNothing);
    }

    #[test]
    fn memory_is_bounded_when_nothing_is_ever_answered() {
        let mut flight = flight(1);
        let mut landing = Landing::default();
        for n in 0..20_000 {
            flight.next_number();
            flight.sent(Departure { bytes: 50, blocks: Vec::new(), calm: false, starved: false }, n);
            flight.give_up(100, n, &mut landing);
        }
        assert_eq!((flight.remembered() <= MAX_SENT, landing.lost.len(), flight.in_flight()), (true, 1, 0));
    }
}
