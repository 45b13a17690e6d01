//! The power fails, at any moment: what was acknowledged is on the disk, and the store opens.
//!
//! The real store works under the recorder. Between any two of its operations the power is cut, and the disk is made as it
//! may be found then (see `qpq_tests::power` for what is allowed to be missing). One of these disks is where the next life
//! begins, so that a cut also falls into the mending of an earlier one.

use std::collections::BTreeSet;

use qpq_tests::power::Cut;
use qpq_tests::recorder::{self, Event};
use qpq_tests::skip::{rounds, skip};
use qpq_tests::{Failure, Outcome, Random, ensure};

use crate::workload::{self, Life, acknowledged};

/// Lives of a store, each beginning where a cut ended the last one.
const LIVES: usize = 5;

/// Batches of one life.
const BATCHES: u64 = 150;

/// What was tried in all lives.
#[derive(Debug, Default)]
struct Count {
    points: usize,
    syncs: usize,
    events: usize,
}

/// After which events the power is cut, and how.
type Points = dyn Fn(&[Event], &mut Random) -> Vec<(usize, Cut)>;

/// Cuts the power after some events of a life and looks at what is found. Returns a disk to go on with, and what was
/// acknowledged by then.
fn cut_everywhere(
    life: &Life,
    before: u64,
    points: &Points,
    random: &mut Random,
    count: &mut Count,
) -> Outcome<(Life, u64)> {
    let (mut disk, events) = life.worked(BATCHES, 1 + random.below(BATCHES as usize) as u64)?;
    let points = points(&events, random);
    count.events += events.len();
    count.syncs += events.iter().filter(|event| matches!(event, Event::SyncEnded { .. })).count();
    let chosen = random.below(points.len());
    let (mut done, mut safe) = (0, before);
    let mut next = None;
    for (n, (at, how)) in points.into_iter().enumerate() {
        for event in events.get(done..at).unwrap_or_default() {
            disk.follow(event)?;
            safe = acknowledged(event).unwrap_or(safe).max(safe);
        }
        done = at;
        let found = Life::new(life.seed)?;
        let told = format!("cut after {at} of {} operations ({how:?}), {} unsynced", events.len(), disk.unsynced());
        let mut checked = random.clone();
        disk.cut(how, random, &found.folder())?;
        if n == chosen {
            let kept = Life::new(life.seed)?;
            disk.cut(how, &mut checked, &kept.folder())?;
            next = Some((kept, safe));
        }
        look(&found, safe).map_err(|failure| failure.during(&told))?;
        count.points += 1;
    }
    next.ok_or_else(|| Failure::new("no cut was made"))
}

/// Opens the store that was found, checks it, has it work a little, and opens it again.
fn look(found: &Life, safe: u64) -> Outcome {
    let dir = found.store();
    let (store, mut contents, recovery) = workload::open(&dir, found.seed, safe)?;
    let sound = recovery.damaged == 0 && recovery.losses.is_empty();
    ensure!(sound, "what the cut left unfinished was taken for damage: {:?}", recovery.repairs);
    workload::put(&store, contents.next()?)??;
    store.close();
    let (store, ..) = workload::open(&dir, found.seed, contents.batches)?;
    store.close();
    Ok(())
}

/// Points at which the power is cut: the moments just before and just after syncs are the dangerous ones.
fn some_points(events: &[Event], random: &mut Random, wanted: usize) -> Vec<(usize, Cut)> {
    let sync = |event: &Event| matches!(event, Event::SyncBegan { .. } | Event::SyncEnded { .. });
    let syncs: Vec<usize> = (1..).zip(events).filter(|(_, event)| sync(event)).map(|(n, _)| n).collect();
    let mut points = BTreeSet::new();
    let most = Cut::ALL.len() * (events.len() + 1);
    while points.len() < wanted.min(most) {
        let at = match random.below(3) {
            0 => random.below(events.len() + 1),
            _ => syncs.get(random.below(syncs.len())).map_or(0, |at| at.saturating_sub(random.below(2))),
        };
        // Mostly any part of what was not synced; the others are few.
        points.insert((at, (random.below(8)).min(Cut::ALL.len() - 1)));
    }
    points.into_iter().filter_map(|(at, how)| Some((at, *Cut::ALL.get(how)?))).collect()
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_acknowledged_and_the_store_opens() -> Outcome {
    if let Some(why) = recorder::missing() {
        return skip(why);
    }
    let mut random = Random::announced("a_power_cut_at_any_moment");
    let (wanted, mut count) = (rounds(200, 20_000), Count::default());
    while count.points < wanted {
        let mut life = Life::new(random.next_u64())?;
        let mut safe = 0;
        for _ in 0..LIVES {
            let points =
                |events: &[Event], random: &mut Random| some_points(events, random, rounds(200, 2_000) / LIVES);
            (life, safe) = cut_everywhere(&life, safe, &points, &mut random, &mut count)?;
        }
    }
    let Count { points, syncs, events } = count;
    let told = format!("power cut at {points} points among {events} operations with {syncs} syncs\n");
    _ = std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes());
    Ok(())
}

#[test]
fn nothing_acknowledged_hangs_on_a_name_that_was_not_synced() -> Outcome {
    if let Some(why) = recorder::missing() {
        return skip(why);
    }
    let mut random = Random::announced("a_name_that_was_not_synced");
    let at_acknowledgements = |events: &[Event], _: &mut Random| {
        let said = (1..).zip(events).filter(|(_, event)| acknowledged(event).is_some_and(|n| n % 5 == 1));
        said.map(|(at, _)| (at, Cut::Bytes)).collect()
    };
    let life = Life::new(random.next_u64())?;
    cut_everywhere(&life, 0, &at_acknowledgements, &mut random, &mut Count::default())?;
    Ok(())
}
