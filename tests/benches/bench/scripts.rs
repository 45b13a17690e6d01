//! An event of a bot against a raw call of the same machine with the same table.

use qpq_host::script::bench;
use qpq_tests::{Failure, Outcome, binaries};

use crate::rate::median;
use crate::report::{Goal, Report};

/// Events in each turn.
const EVENTS: u32 = 20_000;

/// What an event may take: 200,000 a second on one core.
const EVENT_NS: f64 = 5_000.0;

/// What a bot at rest may take: 30 MiB for 100 of them.
const IDLE_KIB: f64 = 307.2;

/// Machines whose memory is measured together.
const MACHINES: usize = 50;

/// Reloads; the median counts.
const RELOADS: u32 = 50;

/// Times that each hostile bot does its worst.
const ATTACKS: u32 = 3;

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
    entry.ratio_to(raw, "of the raw call").goal(Goal::AtMost(EVENT_NS));
    let resident = bench::resident_each(MACHINES).map_err(Failure::new)?;
    let entry = report.add("a small bot's machine at rest, resident", resident as f64 / 1024.0, "KiB");
    entry.goal(Goal::AtMost(IDLE_KIB));
    report.add("the same, as Luau counts pages that it has not touched too", memory as f64 / 1024.0, "KiB");
    let entry = report.add("a reload with state, from the order until the new version runs", reload()?, "ms");
    entry.goal(Goal::AtMost(5.0));
    places(report)?;
    crowd(report)
}

fn reload() -> Outcome<f64> {
    Ok(median(bench::reload(RELOADS).map_err(Failure::new)?))
}

/// Twenty bots that answer beside each of those that mean harm.
fn crowd(report: &mut Report) -> Outcome {
    let crowd = bench::crowd(ATTACKS).map_err(Failure::new)?;
    let (stop, whose) = crowd.slowest_stop;
    report
        .add(format!("the slowest stop of {} attacks (\"{whose}\")", crowd.attacks), stop, "ms")
        .goal(Goal::AtMost(150.0));
    let memory = crowd.most_memory_bytes as f64 / f64::from(1 << 20);
    report.add("the most memory that one of them had", memory, "MiB").goal(Goal::AtMost(16.0));
    report.add("p99 of 20 honest bots' answers, nobody else at work", crowd.alone_p99_ms, "ms");
    report.add("p99 of their answers beside the attacks", crowd.honest_p99_ms, "ms").goal(Goal::AtMost(200.0));
    Ok(())
}

/// A bot on a thread of the node, and in a process of its own.
fn places(report: &mut Report) -> Outcome {
    let qpq = binaries::qpq()?;
    let mut starts = (Vec::new(), Vec::new());
    let mut events = (Vec::new(), Vec::new());
    let mut memory = None;
    for _ in 0..TURNS {
        let thread = bench::place(None, EVENTS.into()).map_err(Failure::new)?;
        let process = bench::place(Some(&qpq), EVENTS.into()).map_err(Failure::new)?;
        starts.0.push(thread.start_ms);
        starts.1.push(process.start_ms);
        events.0.push(thread.event_us);
        events.1.push(process.event_us);
        memory = memory.max(process.own_bytes);
    }
    report.add("a bot starts on a thread", median(starts.0), "ms");
    report.add("a bot starts in a process", median(starts.1), "ms");
    let thread = median(events.0);
    report.add("an event on a thread, with the inbox", thread, "us");
    report.add("an event in a process, with the inbox", median(events.1), "us").ratio_to(thread, "of a thread's");
    if let Some(bytes) = memory {
        report.add("a bot's process at rest, beside the program's file", bytes as f64 / 1024.0, "KiB");
    }
    Ok(())
}
