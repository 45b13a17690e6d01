//! Ten thousand recipients with a thousand messages each on one node. Takes minutes and about 8 GB of disk, so it is
//! measured only when it is asked for by name.

use qpq_tests::{Failure, Outcome};

use super::bulk::Fill;
use crate::report::{Goal, Report};

const RECIPIENTS: u64 = 10_000;
const EACH: u64 = 1_000;
/// Bytes of an envelope.
const SIZE: usize = 256;
/// Memory that it may take with the index in memory: 4 GiB.
const GOAL_BYTES: f64 = (4_u64 << 30) as f64;
const MIB: f64 = (1 << 20) as f64;

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let folder = tempfile::tempdir()?;
    let messages = RECIPIENTS * EACH;
    let fill = Fill { folder: folder.path().join("store"), messages, recipients: RECIPIENTS, sizes: (SIZE, SIZE) };
    let printed = fill.run_apart()?;
    let resident = printed.split_whitespace().last().and_then(|text| text.parse::<f64>().ok());
    let resident = resident.ok_or_else(|| Failure::new("the writing process told no figure"))?;
    report
        .add("10,000 recipients × 1,000 envelopes: resident memory", resident / MIB, "MiB")
        .goal(Goal::AtMost(GOAL_BYTES / MIB));
    report.add("memory for each message", resident / messages as f64, "B");
    Ok(())
}
