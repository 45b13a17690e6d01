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

/// Over how long the CPU time of an idle node is measured; the system counts in steps of 10 ms.
const WATCH: Duration = Duration::from_secs(10);

/// A node that reaches peers in every way there is. Its mDNS keeps to a port of its own on the loopback interface: what others
/// say on the network of this machine would be measured, too.
const EVERY_WAY: &str = r#"
[plugins]
load = ["transport-quic", "transport-iroh", "discovery-mdns", "routing-babel"]
trusted_with_key = ["transport-iroh"]

[plugins.discovery-mdns]
interfaces = ["lo"]
loopback = true
port = 25399
"#;

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let scripts = binaries::bundled_scripts();
    let plan = TestNode::plan("idle").bot(scripts.join("announcements")).bot(scripts.join("bulletin-board"));
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
    drop(node);
    every_way(report)?;
    sizes(report)
}

/// The same with iroh and mDNS loaded, and listening.
fn every_way(report: &mut Report) -> Outcome {
    let plan = TestNode::plan("every way").config(EVERY_WAY).argument("--listen").argument("iroh://127.0.0.1:0");
    let node = plan.start()?;
    std::thread::sleep(SETTLE);
    let pid = node.pid()?;
    let before = procfs::cpu_time(pid).unwrap_or_default();
    std::thread::sleep(WATCH);
    let used = procfs::cpu_time(pid).unwrap_or_default().saturating_sub(before);
    let resident = mebibytes(procfs::resident(pid).unwrap_or_default());
    let percent = 100.0 * used.as_secs_f64() / WATCH.as_secs_f64();
    report.add("resident memory with iroh, QUIC and mDNS", resident, "MiB").goal(Goal::AtMost(40.0));
    report.add("the same, share of a core", percent, "%").goal(Goal::AtMost(0.5));
    Ok(())
}

fn sizes(report: &mut Report) -> Outcome {
    for (name, file) in [
        ("qpq", binaries::qpq()?),
        ("transport-quic", binaries::plugin("transport-quic")?),
        ("transport-iroh", binaries::plugin("transport-iroh")?),
        ("discovery-mdns", binaries::plugin("discovery-mdns")?),
        ("routing-babel", binaries::plugin("routing-babel")?),
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
