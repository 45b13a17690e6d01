//! An event of a bot against a raw call of the same machine with the same table.

use qpq_host::script::bench;
use qpq_tests::{Failure, Outcome};

use crate::rate::median;
use crate::report::{Goal, Report};

/// Events in each turn.
const EVENTS: u32 = 20_000;

/// Machines whose memory is measured together.
const MACHINES: usize = 50;

/// Turns; the median counts.
const TURNS: usize = 5;

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let mut figures = Vec::new();
    for _ in 0..TURNS {
        figures.push(bench::run(EVENTS).map_err(Failure::new)?);
    }
    let raw = median(figures.iter().map(|f| f.raw_ns).collect());
    let event = median(figures.iter().map(|f| f.event_ns).collect());
    let memory = figures.iter().map(|f| f.memory_bytes).max().unwrap_or_default();
    report.add("raw call with a fresh table of the same fields", raw, "ns");
    let entry = report.add("event: dispatch, table, budget, handler, accounts", event, "ns");
    entry.ratio_to(raw, "of the raw call").goal(Goal::RatioAtMost(2.0));
    let resident = bench::resident_each(MACHINES).map_err(Failure::new)?;
    let entry = report.add("a small bot's machine at rest, resident", resident as f64 / 1024.0, "KiB");
    entry.goal(Goal::AtMost(300.0));
    report.add("the same, as Luau counts pages that it has not touched too", memory as f64 / 1024.0, "KiB");
    Ok(())
}
