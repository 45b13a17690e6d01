//! How long a node takes to know again what it holds, after kill -9.

use std::time::{Duration, Instant};

use qpq_host::store::IndexPlace;
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
    for (index, name) in [(IndexPlace::Memory, "in memory"), (IndexPlace::Disk, "on disk")] {
        let folder = tempfile::tempdir()?;
        let folder = folder.path().join("store");
        let fill = Fill { folder, messages: MESSAGES, recipients: RECIPIENTS, sizes: SIZES, index };
        let filled = fill.run_apart()?;
        report.add(format!("1,000,000 envelopes taken in, index {name}"), filled.rate, "/s");
        let mut fastest = Duration::MAX;
        for start in 1..=STARTS {
            let began = Instant::now();
            let (store, shelf) = bulk::open(&fill.folder, index)?;
            let took = began.elapsed();
            ensure!(shelf.held() as u64 == MESSAGES, "{} are left", shelf.held());
            let what = format!("start {start} with 1,000,000 envelopes after kill -9, index {name}");
            report.add(what, took.as_secs_f64(), "s");
            fastest = fastest.min(took);
            store.close();
        }
        let what = format!("fastest start with 1,000,000 envelopes, index {name}");
        report.add(what, fastest.as_secs_f64(), "s").goal(Goal::AtMost(GOAL_SECS));
    }
    Ok(())
}
