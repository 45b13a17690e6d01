//! How long a frame is under way.

use super::Random;

/// Beside the round trip, what a repetition waits for, in microseconds: the time that QUIC allows an acknowledgement to be
/// put off (RFC 9002, section 6.2.1).
const REPEAT_US: u64 = 25_000;

/// Repetitions of one frame at most; past that the link would have been given up.
const MAX_REPEATS: u32 = 8;

/// How long a frame is under way over a reliable link with that latency, in microseconds. Where packets are lost, with
/// this probability, a loss costs the time of a repetition.
pub fn travel_us(latency_us: u64, loss: f64, random: &mut Random) -> u64 {
    let mut time_us = latency_us;
    let mut wait_us = 2 * latency_us + REPEAT_US;
    for _ in 0..MAX_REPEATS {
        if loss <= 0.0 || !random.chance(loss) {
            break;
        }
        time_us += wait_us;
        wait_us *= 2;
    }
    time_us
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_costs_the_time_of_a_repetition_and_the_seed_says_when() {
        assert_eq!(travel_us(10_000, 0.0, &mut Random::seeded(1)), 10_000);
        let times = |seed| {
            let mut random = Random::seeded(seed);
            (0..1_000).map(|_| travel_us(10_000, 0.3, &mut random)).collect::<Vec<u64>>()
        };
        assert_eq!(times(7), times(7));
        assert!(times(7).contains(&55_000) && times(7).iter().all(|time| *time >= 10_000));
    }
}
