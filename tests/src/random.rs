//! Randomness that can be replayed, from a seed that is printed and can be given again.

use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::time::{SystemTime, UNIX_EPOCH};

/// Set to replay a failing run.
pub const SEED_ENV: &str = "QPQ_SEED";

/// A seeded source of random numbers. Not for keys.
#[derive(Debug, Clone)]
pub struct Random(qpq_host::sim::Random);

impl Random {
    /// From a given seed.
    pub fn seeded(seed: u64) -> Self {
        Self(qpq_host::sim::Random::seeded(seed))
    }

    /// From [`SEED_ENV`] or else the clock. Prints the seed, so that a failure can be replayed.
    pub fn announced(test: &str) -> Self {
        let given = std::env::var(SEED_ENV).ok().and_then(|text| text.parse().ok());
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos() as u64);
        let seed = given.unwrap_or_else(clock);
        // A terminal that is gone is no reason to fail a test.
        let _ = writeln!(std::io::stderr(), "{test}: {SEED_ENV}={seed}");
        Self::seeded(seed)
    }
}

impl Deref for Random {
    type Target = qpq_host::sim::Random;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Random {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}
