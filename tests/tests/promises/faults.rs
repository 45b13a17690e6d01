//! The disk fails in the middle of the work, at the n-th operation: the store acknowledges nothing that it can't keep.
//!
//! The real store works under the recorder, which has one operation fail. Afterwards a second process starts, and the power
//! is cut as well: what a failed sync should have covered may be gone then, even though it could be read until that moment.

use std::collections::{BTreeMap, BTreeSet};

use qpq_tests::power::Cut;
use qpq_tests::recorder::{self, Event, Fault};
use qpq_tests::skip::{rounds, skip};
use qpq_tests::{Outcome, Random, ensure};

use crate::workload::{self, Life, acknowledged};

/// Batches of the process whose disk fails.
const BATCHES: u64 = 40;

/// It closes the store and opens it again after so many.
const REOPEN_EVERY: u64 = 15;

/// Batches of the process after it.
const AFTERWARDS: u64 = 3;

/// Cuts of the power after each fault.
const CUTS: usize = 2;

/// What a process said, line by line.
fn said(events: &[Event]) -> impl Iterator<Item = &str> {
    events.iter().filter_map(|event| if let Event::Said(text) = event { Some(text.lines()) } else { None }).flatten()
}

/// What happened around the fault, for a failure's text.
fn around(events: &[Event]) -> String {
    let at = events.iter().position(|event| matches!(event, Event::Fault { .. })).unwrap_or(0);
    let short = |event: &Event| match event {
        Event::Written { inode, at, bytes } => format!("  {} bytes at {at} of {inode}\n", bytes.len()),
        other => format!("  {other:?}\n"),
    };
    events.iter().skip(at.saturating_sub(6)).take(40).map(short).collect()
}

/// Where a sync of a journal failed that had something to sync (at a close, it has not), and not for lack of room: then the
/// store writes the journal afresh and goes on.
fn failed_journal_sync(events: &[Event]) -> Option<usize> {
    let is_of_journal = |event: &Event| {
        let Event::Fault { what, .. } = event else { return false };
        what.starts_with("sync ") && what.contains(".jnl: Input/output")
    };
    let mut unsynced = BTreeSet::new();
    for (n, event) in events.iter().enumerate() {
        match event {
            Event::Written { inode, .. } | Event::Cut { inode, .. } => _ = unsynced.insert(*inode),
            Event::SyncEnded { inode, .. } => _ = unsynced.remove(inode),
            Event::SyncFailed { inode, .. }
                if unsynced.contains(inode) && n.checked_sub(1).is_some_and(|n| is_of_journal(&events[n])) =>
            {
                return Some(n);
            }
            _ => {}
        }
    }
    None
}

/// What must hold of a process whose disk failed.
fn check_promises(fault: Fault, events: &[Event]) -> Outcome {
    let after = failed_journal_sync(events).and_then(|at| events.get(at..)).unwrap_or_default();
    ensure!(after.iter().find_map(acknowledged).is_none(), "acknowledged after a failed sync of the journal");
    let after_the_end = said(events).skip_while(|line| *line != "refused store-read-only");
    ensure!(
        after_the_end.filter(|line| line.starts_with("acknowledged")).count() == 0,
        "acknowledged though read-only"
    );
    let last = said(events).last().unwrap_or_default();
    let passes = matches!(fault, Fault::Short | Fault::NoSpace | Fault::Full);
    ensure!(
        !passes || last == format!("acknowledged {BATCHES}") || last.starts_with("unopened"),
        "it did not go on: {last}"
    );
    Ok(())
}

/// One fault, what the store makes of it, the next start, and power cuts after that.
fn fail(fault: (Fault, u64), random: &mut Random) -> Outcome<String> {
    let life = Life::new(random.next_u64())?;
    let mut disk = life.disk()?;
    let (code, events) = life.work(fault, BATCHES, REOPEN_EVERY)?;
    ensure!(code == 0, "the process ended with {code}: {:?}", said(&events).last());
    check_promises(fault.0, &events).map_err(|failure| failure.during(&around(&events)))?;
    let fate = said(&events).find(|line| line.starts_with("refused") || line.starts_with("unopened"));
    let fate = fate.unwrap_or("goes on").to_owned();
    let count = events.len();
    let (code, events) = life.work((Fault::None, 0), AFTERWARDS, AFTERWARDS)?;
    ensure!(code == 0, "the next start ended with {code}");
    let last = said(&events).last().unwrap_or_default();
    ensure!(last.starts_with("acknowledged"), "the next start took nothing: {last} (before: {fate})");
    let mut cuts: Vec<usize> = (0..CUTS).map(|_| count + random.below(events.len() - count + 1)).collect();
    cuts.sort_unstable();
    let (mut done, mut safe) = (0, 0);
    for at in cuts {
        for event in events.get(done..at).unwrap_or_default() {
            disk.follow(event)?;
            safe = acknowledged(event).unwrap_or(safe).max(safe);
        }
        done = at;
        let found = Life::new(life.seed)?;
        disk.cut(Cut::Any, random, &found.folder())?;
        let (store, ..) = workload::open(&found.store(), found.seed, safe).map_err(|failure| {
            failure.during(&format!("power cut after the fault ({fate}), at {at} of {}", events.len()))
        })?;
        store.close();
    }
    Ok(fate)
}

/// Operations of a process whose disk is sound: until it acknowledges the first batch, and in all.
fn operations(random: &mut Random) -> Outcome<(u64, u64)> {
    let (_, events) = Life::new(random.next_u64())?.worked(BATCHES, REOPEN_EVERY)?;
    let count = |events: &[Event]| {
        let counts = |event: &&Event| !matches!(event, Event::Said(_) | Event::SyncEnded { .. });
        events.iter().filter(counts).count() as u64
    };
    let first = events.iter().position(|event| acknowledged(event).is_some()).unwrap_or(0);
    Ok((count(events.get(..first).unwrap_or_default()), count(&events)))
}

#[test]
fn a_disk_that_fails_at_any_operation_loses_nothing_that_was_acknowledged() -> Outcome {
    if let Some(why) = recorder::missing() {
        return skip(why);
    }
    let mut random = Random::announced("a_disk_that_fails");
    let (making, operations) = operations(&mut random)?;
    let mut fates: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..rounds(200, 5_000) {
        let fault = Fault::ALL[round % Fault::ALL.len()];
        // Two of three while it works, the rest while it is made or later.
        let from = if random.below(3) == 0 { 0 } else { making };
        let at = from + 1 + random.below((operations - from) as usize) as u64;
        let fate = fail((fault, at), &mut random)
            .map_err(|failure| failure.during(&format!("{fault:?} at operation {at} of {operations}")))?;
        *fates.entry(format!("{fault:?}: {fate}")).or_default() += 1;
    }
    let told = format!("a fault at one of {operations} operations: {fates:?}\n");
    _ = std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes());
    Ok(())
}
