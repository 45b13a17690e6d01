//! What a node costs that does nothing: memory, time to be ready, size of its files.

use std::fs;
use std::time::Duration;

use qpq_tests::{Outcome, TestNode, binaries, procfs};

use crate::rate::percentile;
use crate::report::{Goal, Report};

/// Starts that are timed.
const STARTS: usize = 7;

/// How long a node may settle before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let scripts = binaries::bundled_scripts();
    let plan = TestNode::plan("idle").bot(scripts.join("announcements.lua")).bot(scripts.join("bulletin-board"));
    let mut node = plan.prepare()?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(node.start()?);
        node.terminate()?;
    }
    let first = starts.remove(0);
    report.add("from exec to ready, first start (keys are made)", millis(first), "ms").goal(Goal::AtMost(300.0));
    let ready = millis(percentile(&mut starts, 0.5));
    report.add("from exec to ready, later starts, median", ready, "ms").goal(Goal::AtMost(300.0));
    node.start()?;
    std::thread::sleep(SETTLE);
    let resident = procfs::resident(node.pid()?).unwrap_or_default();
    report.add("resident memory, two plugins and two bots", mebibytes(resident), "MiB").goal(Goal::AtMost(25.0));
    let bots = node.json(&["script", "list"])?;
    for bot in bots["scripts"].as_array().into_iter().flatten() {
        let bytes = bot["memory_bytes"].as_f64().unwrap_or(f64::NAN);
        // With pages that it has not touched; what is resident stands in the section on scripts.
        report.add(format!("machine of the bot {}, as Luau counts", bot["name"]), bytes / 1024.0, "KiB");
    }
    sizes(report)
}

fn sizes(report: &mut Report) -> Outcome {
    for (name, file) in [
        ("qpq", binaries::qpq()?),
        ("transport-quic", binaries::plugin("transport-quic")?),
        ("routing-flood", binaries::plugin("routing-flood")?),
    ] {
        let _ = report.add(format!("size of {name}"), mebibytes(fs::metadata(file)?.len()), "MiB");
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
