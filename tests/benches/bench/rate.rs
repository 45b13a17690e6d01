//! How often things can be done a second, measured in turns so that a noisy machine hits all alike.

use std::time::{Duration, Instant};

/// How long each thing is done at a stretch.
const TURN: Duration = Duration::from_millis(120);

/// Turns of each thing; the median counts.
const TURNS: usize = 5;

/// One thing to be measured: does a portion of work, and returns how many units that was.
pub(crate) type Job<'a> = &'a mut dyn FnMut() -> usize;

/// Measures several things in turns. Units a second of each, in the order given.
pub(crate) fn rates<const N: usize>(mut jobs: [Job<'_>; N]) -> [f64; N] {
    let mut seen: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..TURNS {
        for (job, seen) in jobs.iter_mut().zip(&mut seen) {
            seen.push(turn(job));
        }
    }
    seen.map(median)
}

fn turn(job: &mut Job<'_>) -> f64 {
    let began = Instant::now();
    let mut units = 0;
    while began.elapsed() < TURN {
        units += job();
    }
    units as f64 / began.elapsed().as_secs_f64()
}

/// The middle value; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The value below which that share (0 to 1) of the values lies; zero of none.
pub(crate) fn percentile(values: &mut [Duration], share: f64) -> Duration {
    values.sort();
    let place = (values.len().saturating_sub(1) as f64 * share).round() as usize;
    values.get(place).copied().unwrap_or_default()
}
