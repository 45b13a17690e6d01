//! What a link costs, from its measured round-trip time and loss.

/// No way: a metric of so much or more. The highest that three bytes hold, so that a table entry stays at 8 bytes.
pub const INFINITE: u32 = 0xff_ffff;

/// The cost of a perfect link. A path's metric is mostly its number of links, with the slow ones counting up to double.
pub const LEAST_COST: u32 = 96;

/// The highest cost of a link: [`crate::limits::MAX_HOPS`] of them are still no infinite metric.
pub const MOST_COST: u32 = 65_535;

/// Until the first measurement: a link of about 50 ms.
pub const NEUTRAL_COST: u32 = 128;

/// Round-trip time up to which a link costs the least, in microseconds.
const FAST_US: u64 = 10_000;

/// Beyond [`FAST_US`], the round-trip time that doubles the cost; more doesn't cost more. In microseconds.
const SLOW_US: u64 = 110_000;

/// One, as a rate of loss.
const MILLION: u64 = 1_000_000;

/// The cost of a link: 96 to 192 by its round-trip time, divided by the square of the share that arrives, since a frame and
/// its acknowledgement both have to (De Couto et al. 2003, ETX).
pub fn link_cost(rtt_us: u64, loss_ppm: u32) -> u32 {
    let slow = rtt_us.saturating_sub(FAST_US).min(SLOW_US);
    let cost = u64::from(LEAST_COST) + u64::from(LEAST_COST) * slow / SLOW_US;
    let arrives = MILLION.saturating_sub(u64::from(loss_ppm)).max(1);
    let cost = cost * MILLION / arrives * MILLION / arrives;
    cost.min(u64::from(MOST_COST)) as u32
}

/// Whether `new` differs from `old` by more than an eighth of it. Less isn't worth a message, and would flap with each
/// measurement.
pub fn differs(old: u32, new: u32) -> bool {
    old.abs_diff(new) > old / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_link_costs_up_to_double() {
        assert_eq!(link_cost(0, 0), 96);
        assert_eq!(link_cost(10_000, 0), 96);
        assert_eq!(link_cost(65_000, 0), 144);
        assert_eq!(link_cost(120_000, 0), 192);
        assert_eq!(link_cost(u64::MAX, 0), 192);
    }

    #[test]
    fn loss_counts_in_both_directions() {
        assert_eq!(link_cost(0, 500_000), 4 * 96);
        assert_eq!(link_cost(0, 990_000), MOST_COST);
        assert_eq!(link_cost(u64::MAX, u32::MAX), MOST_COST);
    }

    #[test]
    fn the_longest_path_of_the_worst_links_is_no_infinite_metric() {
        assert!(MOST_COST * u32::from(crate::limits::MAX_HOPS) < INFINITE);
    }
}
