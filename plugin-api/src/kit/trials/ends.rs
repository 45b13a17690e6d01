use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::abi::Str;
use crate::kit::actor::STOP_MS;
use crate::kit::case::{Case, Stop, ensure};
use crate::kit::links::{Pair, Sender, check_arrivals, dial, feeder, listen};
use crate::kit::parcel::{Offer, number};
use crate::kit::process;
use crate::kit::stage::Stage;
use crate::kit::state::Appetite;

/// How long nothing more may come after `stop`.
const SILENCE: Duration = Duration::from_millis(300);

/// How long the other host takes nothing while a plugin begins to quiesce.
const HUNGER: Duration = Duration::from_millis(50);

/// Waits until a link is down.
fn down(stage: &Stage, link: u64) -> Result<String, Stop> {
    stage.wait("DOWN of the link", |state| state.links.get(&link)?.down.clone())
}

pub(in crate::kit) fn close(case: &Case) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    let mut sender = Sender::new(&pair.dialler, pair.outbound);
    sender.send_all(&[700; 200])?;
    pair.dialler.close(pair.outbound, Str::new("enough"));
    down(pair.dialler.stage, pair.outbound)?;
    down(pair.listener.stage, pair.inbound)?;
    check_arrivals(&pair.note_in().frames, sender.next, pair.reliable())?;
    ensure(sender.offer(&[100; 3], Offer::Rules) == 3, || "frames for a link that is down were not taken".to_owned())?;
    // Ten links come and go, some closed by the one, some by the other.
    for round in 0..10 {
        let (out, inbound) = dial(&pair.dialler, &pair.listener, &pair.uri)?;
        if round % 2 == 0 {
            pair.dialler.close(out, Str::new("by the dialler"));
            pair.dialler.close(out, Str::new("twice"));
        } else {
            pair.listener.close(inbound, Str::EMPTY);
        }
        down(pair.dialler.stage, out)?;
        down(pair.listener.stage, inbound)?;
    }
    pair.end();
    Ok(())
}

pub(in crate::kit) fn refused_link(case: &Case) -> Result<(), Stop> {
    let listener = case.started("listener")?;
    let dialler = case.started("dialler")?;
    let uri = listen(case, &listener)?;
    listener.stage.change(|state| state.refuse = true);
    let key = listener.stage.identity.public_key();
    let (status, _) = dialler.dial(Str::new(&uri), Some(&key))?;
    if status.is_ok() {
        let link = dialler.stage.state().links.keys().next().copied();
        let link = link.ok_or_else(|| Stop::failed("the dial was answered with OK and no link came up"))?;
        let mut sender = Sender::new(&dialler, link);
        sender.offer(&[100; 4], Offer::Rules);
        down(dialler.stage, link).map_err(|_| {
            Stop::failed("the host refused a link, and the node at the other end never heard that it is gone")
        })?;
    }
    listener.stage.change(|state| state.refuse = false);
    dialler.stage.change(|state| state.refuse = true);
    // Nothing but an answer is asked for: the dialler's own host refused.
    dialler.dial(Str::new(&uri), Some(&key))?;
    dialler.end();
    listener.end();
    Ok(())
}

pub(in crate::kit) fn quiesce(case: &Case) -> Result<(), Stop> {
    for round in 0..3 {
        quiesce_once(case, round)?;
    }
    Ok(())
}

fn quiesce_once(case: &Case, round: u64) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    let mut random = case.random(40 + round);
    let lengths: Vec<usize> = (0..32).map(|_| 8 + random.below(pair.max_frame().min(8_000) - 7)).collect();
    let done = AtomicBool::new(false);
    let mut sender = Sender::new(&pair.dialler, pair.outbound);
    // All queues are full when the gate closes, and the other host takes again a moment later.
    pair.listener.stage.change(|state| state.appetite = Appetite::None);
    let filled = sender.fill(&lengths);
    ensure(filled.is_ok() || !pair.reliable(), || "the queues have no bound".to_owned())?;
    std::thread::scope(|scope| {
        feeder(scope, &pair.listener, &done);
        scope.spawn(|| {
            std::thread::sleep(HUNGER);
            pair.listener.stage.change(|state| state.appetite = Appetite::All);
        });
        let status = pair.dialler.quiesce(STOP_MS);
        let result = status.and_then(|status| match status {
            None => Err(Stop::skipped("the plugin has no quiesce: a swap may lose what was under way")),
            Some(status) => ensure(status.is_ok(), || format!("quiesce ended with {status}")),
        });
        let result = result.and_then(|()| down(pair.listener.stage, pair.inbound).map(drop));
        done.store(true, Ordering::Release);
        result
    })?;
    let (sent, came) = (pair.note_out().unsent, pair.note_in().frames);
    let unsent = numbers(&sent)?;
    let arrived = numbers(&came)?;
    ensure(unsent.is_sorted(), || "frames were handed back in another order than they were taken in".to_owned())?;
    let both = arrived.iter().collect::<HashSet<_>>();
    let twice = unsent.iter().filter(|number| both.contains(number)).count();
    ensure(twice == 0, || format!("{twice} frames were delivered and handed back as well"))?;
    if pair.reliable() {
        check_arrivals(&came, arrived.len() as u64, true)?;
        let (all, taken) = (arrived.len() + unsent.len(), sender.next);
        ensure(all as u64 == taken, || {
            format!("{taken} frames were taken; {} arrived and {} were handed back", arrived.len(), unsent.len())
        })?;
    }
    pair.end();
    sender.wrong_releases().map_or(Ok(()), |why| Err(Stop::failed(why)))
}

fn numbers(frames: &[Vec<u8>]) -> Result<Vec<u64>, Stop> {
    let numbers = frames.iter().map(|frame| number(frame).map_err(Stop::failed));
    numbers.filter(|number| *number != Ok(crate::kit::links::NUDGE)).collect()
}

pub(in crate::kit) fn stop_under_load(case: &Case) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    let mut sender = Sender::new(&pair.dialler, pair.outbound);
    for _ in 0..200 {
        sender.offer(&[900; 32], Offer::Rules);
    }
    let status = pair.dialler.stop();
    ensure(status.is_ok(), || format!("stop answered {status}"))?;
    std::thread::sleep(SILENCE);
    down(pair.listener.stage, pair.inbound)
        .map_err(|_| Stop::failed("the other end never heard that the link is gone"))?;
    pair.end();
    std::thread::sleep(SILENCE);
    if let Some(before) = case.threads {
        let now = process::settle(process::threads, before);
        ensure(now <= before, || {
            format!("{} threads still run after stop: {:?}", now - before, process::thread_names())
        })?;
    }
    sender.wrong_releases().map_or(Ok(()), |why| Err(Stop::failed(why)))
}

pub(in crate::kit) fn stop_answers(case: &Case) -> Result<(), Stop> {
    let dialler = case.started("dialler")?;
    // Addresses for documentation (RFC 5737): nobody answers there.
    for host in ["192.0.2.1", "198.51.100.7", "203.0.113.9"] {
        let uri = format!("{}://{host}:4433", case.scheme());
        let _ = dialler.begin_dial(&case.dial_uri(&uri, &[9; 32]), Some(&[9; 32]))?;
    }
    let status = dialler.stop();
    ensure(status.is_ok(), || format!("stop answered {status}"))?;
    dialler.end();
    std::thread::sleep(SILENCE);
    Ok(())
}
