//! Ten thousand recipients with a thousand messages each on one node. Takes a quarter of an hour and about 16 GB of disk, so it is
//! measured only when it is asked for by name.

use qpq_host::store::IndexPlace;
use qpq_tests::Outcome;

use super::bulk::{Fill, NOW_MS};
use crate::report::{Goal, Report};

const RECIPIENTS: u64 = 10_000;
const EACH: u64 = 1_000;
/// Bytes of an envelope.
const SIZE: usize = 256;
/// Memory that it may take with the index in memory: 4 GiB; and with the index on disk: 256 MiB.
const GOALS: [(IndexPlace, &str, f64); 2] = [
    (IndexPlace::Memory, "index in memory", (4_u64 << 30) as f64),
    (IndexPlace::Disk, "index on disk", (256_u64 << 20) as f64),
];
const MIB: f64 = (1 << 20) as f64;

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let messages = RECIPIENTS * EACH;
    let mut in_memory = None;
    for (index, name, goal) in GOALS {
        let folder = tempfile::tempdir()?;
        let folder = folder.path().join("store");
        let fill = Fill { folder, messages, recipients: RECIPIENTS, sizes: (SIZE, SIZE), index, made_ms: NOW_MS };
        let filled = fill.run_apart()?;
        report
            .add(format!("10,000 recipients × 1,000 envelopes, {name}: resident memory"), filled.resident / MIB, "MiB")
            .ratio_to(goal / MIB, "of the goal")
            .goal(Goal::AtMost(goal / MIB));
        report.add(format!("{name}: most memory meanwhile"), filled.peak / MIB, "MiB");
        report.add(format!("{name}: memory for each message"), filled.resident / messages as f64, "B");
        let base = *in_memory.get_or_insert(filled.rate);
        report.add(format!("{name}: taken in, durable"), filled.rate, "/s").ratio_to(base, "of the index in memory");
    }
    Ok(())
}
