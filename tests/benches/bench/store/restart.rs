//! How long a store, and a whole node, take to know again what they hold, after kill -9.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use qpq_host::store::IndexPlace;
use qpq_tests::{Outcome, TestNode, ensure};

use super::bulk::{self, Fill, NOW_MS};
use crate::report::{Goal, Report};

/// Envelopes in the store, and their sizes.
const MESSAGES: u64 = 1_000_000;
const SIZES: (usize, usize) = (256, 600);
const RECIPIENTS: u64 = 10_000;
/// A start takes at most that long, in seconds.
const GOAL_SECS: f64 = 3.0;
/// Envelopes in the store of a whole node: with its default quotas there is room for them.
const NODE_MESSAGES: u64 = 100_000;
/// From exec to ready a node takes at most that long, in seconds.
const NODE_GOAL_SECS: f64 = 2.0;
/// Starts; the fastest counts, since others use the machine too.
const STARTS: usize = 3;

pub(super) fn measure(report: &mut Report) -> Outcome {
    for (index, name) in [(IndexPlace::Memory, "in memory"), (IndexPlace::Disk, "on disk")] {
        let folder = tempfile::tempdir()?;
        let folder = folder.path().join("store");
        let fill = Fill { folder, messages: MESSAGES, recipients: RECIPIENTS, sizes: SIZES, index, made_ms: NOW_MS };
        let filled = fill.run_apart()?;
        report.add(format!("1,000,000 envelopes taken in, index {name}"), filled.rate, "/s");
        let mut fastest = Duration::MAX;
        for start in 1..=STARTS {
            let began = Instant::now();
            let (store, shelf) = bulk::open(&fill.folder, index, NOW_MS)?;
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

/// The same for whole nodes.
pub(crate) fn nodes(report: &mut Report) -> Outcome {
    node(report, IndexPlace::Memory, "in memory")?;
    node(report, IndexPlace::Disk, "on disk")
}

/// A real daemon, from exec to ready. The first start finds what a filling process left that was killed; before each further
/// one the daemon itself is killed.
fn node(report: &mut Report, index: IndexPlace, place: &str) -> Outcome {
    let key = if index == IndexPlace::Disk { "disk" } else { "memory" };
    let mut node = TestNode::plan("restart").config(format!("[store]\nindex = \"{key}\"\n")).prepare()?;
    let folder = node.home().join("store");
    let made_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let fill = Fill { folder, messages: NODE_MESSAGES, recipients: RECIPIENTS, sizes: SIZES, index, made_ms };
    fill.run_apart()?;
    let mut slowest = Duration::ZERO;
    for start in 1..=STARTS {
        let took = node.start()?;
        let held = node.json(&["mesh", "store"])?;
        ensure!(held["waiting"] == NODE_MESSAGES, "{held}");
        let what = format!("node, start {start} with 100,000 envelopes after kill -9, index {place}");
        report.add(what, took.as_secs_f64(), "s");
        slowest = slowest.max(took);
        node.kill()?;
    }
    let what = format!("node, slowest start with 100,000 envelopes, from exec to ready, index {place}");
    report.add(what, slowest.as_secs_f64(), "s").goal(Goal::AtMost(NODE_GOAL_SECS));
    Ok(())
}
