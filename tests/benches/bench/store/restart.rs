//! How long a node takes to know again what it holds, after kill -9.

use std::time::{Duration, Instant};

use qpq_tests::{Outcome, ensure};

use super::bulk::{self, Fill};
use crate::report::{Goal, Report};

/// Envelopes in the store, and their sizes.
const MESSAGES: u64 = 1_000_000;
const SIZES: (usize, usize) = (256, 600);
const RECIPIENTS: u64 = 10_000;
/// A start takes at most that long, in seconds.
const GOAL_SECS: f64 = 3.0;
/// Starts; the fastest counts, since others use the machine too.
const STARTS: usize = 3;

pub(super) fn measure(report: &mut Report) -> Outcome {
    let folder = tempfile::tempdir()?;
    let fill = Fill { folder: folder.path().join("store"), messages: MESSAGES, recipients: RECIPIENTS, sizes: SIZES };
    fill.run_apart()?;
    let mut fastest = Duration::MAX;
    for start in 0..STARTS {
        let began = Instant::now();
        let (store, shelf) = bulk::open(&fill.folder)?;
        let took = began.elapsed();
        ensure!(shelf.stats().waiting as u64 == MESSAGES, "{} are left", shelf.stats().waiting);
        report.add(format!("start {} with 1,000,000 envelopes after kill -9", start + 1), took.as_secs_f64(), "s");
        fastest = fastest.min(took);
        store.close();
    }
    report.add("fastest start with 1,000,000 envelopes", fastest.as_secs_f64(), "s").goal(Goal::AtMost(GOAL_SECS));
    Ok(())
}
