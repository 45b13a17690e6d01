use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::abi::Str;
use crate::kit::actor::Actor;
use crate::kit::case::{Case, Stop, ensure};
use crate::kit::links::{MOST_BYTES, Pair, Sender, await_frames, check_arrivals, feeder};
use crate::kit::parcel::{Loan, Offer, number, parcel};
use crate::kit::stage::{PATIENCE, Stage};
use crate::kit::state::{Appetite, State};

/// For so long a full link is offered more before it counts as full.
const FULL: Duration = Duration::from_millis(600);

/// Sends frames of these lengths both ways, and checks what arrives.
pub(in crate::kit) fn exchange(pair: &Pair, lengths: &[usize]) -> Result<(), Stop> {
    one_way(&pair.dialler, pair.outbound, pair.listener.stage, pair.inbound, pair.reliable(), lengths)?;
    one_way(&pair.listener, pair.inbound, pair.dialler.stage, pair.outbound, pair.reliable(), lengths)
}

fn one_way(from: &Actor, link: u64, to: &Stage, at: u64, reliable: bool, lengths: &[usize]) -> Result<(), Stop> {
    let mut sender = Sender::new(from, link);
    for some in lengths.chunks(16) {
        sender.send_all(some)?;
        if !reliable {
            // What may be lost is lost when it comes too fast.
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let frames = await_frames(to, at, sender.next, reliable)?;
    check_arrivals(&frames, sender.next, reliable)
}

pub(in crate::kit) fn borrowed_frames(case: &Case) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    let mut random = case.random(1);
    let most = pair.max_frame().min(60_000);
    let mut sender = Sender::new(&pair.dialler, pair.outbound);
    for _ in 0..100 {
        sender.offer(&[8 + random.below(most - 7), 200], Offer::Borrowed);
        std::thread::sleep(Duration::from_micros(500));
    }
    let frames = await_frames(pair.listener.stage, pair.inbound, sender.next, pair.reliable())?;
    check_arrivals(&frames, sender.next, pair.reliable())?;
    pair.end();
    Ok(())
}

pub(in crate::kit) fn releases(case: &Case) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    let mut random = case.random(2);
    let most = pair.max_frame();
    let mut sender = Sender::new(&pair.dialler, pair.outbound);
    for _ in 0..60 {
        let lengths: Vec<usize> = (0..8).map(|_| 8 + random.below(most - 7)).collect();
        sender.offer(&lengths, Offer::Given);
        std::thread::sleep(Duration::from_micros(500));
    }
    await_frames(pair.listener.stage, pair.inbound, sender.next, pair.reliable())?;
    // Some for a link that is gone, and some that are still queued when it ends: they are released all the same.
    pair.listener.stage.change(|state| state.appetite = Appetite::None);
    sender.offer(&[4000.min(most); 32], Offer::Given);
    let mut stray = Loan::new(9_999_999, vec![parcel(1, 2000); 3], Offer::Given);
    let taken = pair.dialler.send(&mut stray);
    ensure(taken == 3, || {
        format!("of 3 frames for a link that doesn't exist {taken} were taken; all must be, or the host waits for ever")
    })?;
    pair.end();
    let wrong = sender.wrong_releases().or_else(|| stray.wrong_releases());
    wrong.map_or(Ok(()), |why| Err(Stop::failed(why)))
}

pub(in crate::kit) fn sizes(case: &Case) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    let most = pair.max_frame();
    exchange(&pair, &[8, 9, 511, 512, 1023, 1024, 1025, most - 1, most])?;
    let before = pair.note_in().frames.len();
    let mut empty = Loan::new(pair.outbound, vec![Vec::new()], Offer::Rules);
    ensure(pair.dialler.send(&mut empty) == 1, || "an empty frame was not taken".to_owned())?;
    if pair.reliable() {
        let stage = pair.listener.stage;
        let came = stage.wait("an empty frame", |state| state.links.get(&pair.inbound)?.frames.get(before).cloned())?;
        ensure(came.is_empty(), || format!("an empty frame arrived with {} bytes", came.len()))?;
    }
    pair.dialler.send_raw(std::ptr::null(), 0);
    // A host never sends these; a mistake of it must not take the plugin along.
    let mut large = Loan::new(pair.outbound, vec![parcel(5, most + 1), parcel(6, most * 2 + 100_000)], Offer::Rules);
    pair.dialler.send(&mut large);
    std::thread::sleep(Duration::from_millis(100));
    let note = pair.note_in();
    let cut = note.frames.iter().skip(before + 1).any(|frame| !frame.is_empty() && frame.len() < most + 1);
    ensure(!cut, || "a frame that was too large arrived as another one".to_owned())?;
    pair.end();
    large.wrong_releases().map_or(Ok(()), |why| Err(Stop::failed(format!("oversize: {why}"))))
}

pub(in crate::kit) fn backpressure(case: &Case) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    pair.listener.stage.change(|state| state.appetite = Appetite::None);
    let len = pair.max_frame().min(16 * 1024);
    let mut sender = Sender::new(&pair.dialler, pair.outbound);
    let mut full_since = None;
    while full_since.is_none_or(|since: Instant| since.elapsed() < FULL) {
        if sender.offer(&[len; 32], Offer::Rules) < 32 {
            full_since.get_or_insert_with(Instant::now);
            std::thread::sleep(Duration::from_millis(2));
        } else {
            full_since = None;
        }
        let under_way = sender.next as usize * len;
        if under_way > MOST_BYTES {
            ensure(!pair.reliable(), || {
                format!("{} MiB were taken although the other host takes nothing", under_way >> 20)
            })?;
            break;
        }
    }
    pair.listener.stage.change(|state| state.appetite = Appetite::All);
    let owed = std::mem::take(&mut pair.listener.stage.state().owed);
    ensure(!owed.is_empty(), || "the frames were never offered to the other host".to_owned())?;
    pair.listener.resume(pair.inbound);
    let frames = await_frames(pair.listener.stage, pair.inbound, sender.next, pair.reliable())?;
    check_arrivals(&frames, sender.next, pair.reliable())?;
    if pair.reliable() {
        let link = pair.outbound;
        let woken = |state: &mut State| state.writable.get(&link).filter(|count| **count > 0).map(|_| ());
        pair.dialler.stage.wait("on_writable, owed since send returned short,", woken)?;
    }
    pair.end();
    sender.wrong_releases().map_or(Ok(()), |why| Err(Stop::failed(why)))
}

pub(in crate::kit) fn lost_wakeup(case: &Case) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    if !pair.reliable() {
        return short_takes(case, &pair);
    }
    let mut random = case.random(3);
    let most = pair.max_frame().min(20_000);
    let lengths: Vec<usize> =
        (0..6_000).map(|_| if random.below(8) == 0 { 8 + random.below(most) } else { 40 }).collect();
    pair.listener.stage.change(|state| state.appetite = Appetite::None);
    let mut sender = Sender::new(&pair.dialler, pair.outbound);
    let seen = sender.wakeups();
    sender.fill(&[most; 32])?;
    pair.listener.stage.change(|state| state.appetite = Appetite::Short(random));
    let done = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        feeder(scope, &pair.listener, &done);
        let result = sender.await_room(seen).and_then(|()| sender.send_all(&lengths)).and_then(|()| {
            let frames = await_frames(pair.listener.stage, pair.inbound, sender.next, true)?;
            check_arrivals(&frames, sender.next, true)
        });
        done.store(true, Ordering::Release);
        result
    });
    if let Err(Stop::Failed(why)) = result {
        let (came, sent, time) = (pair.note_in().frames.len(), sender.next, PATIENCE.as_secs());
        return Err(Stop::failed(format!("after {came} of {sent} frames the link stands still for {time} s: {why}")));
    }
    pair.end();
    Ok(())
}

/// An unreliable link may drop what the host doesn't take, but must go on afterwards.
fn short_takes(case: &Case, pair: &Pair) -> Result<(), Stop> {
    let random = case.random(3);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        feeder(scope, &pair.listener, &done);
        pair.listener.stage.change(|state| state.appetite = Appetite::Short(random));
        let mut sender = Sender::new(&pair.dialler, pair.outbound);
        for _ in 0..300 {
            sender.offer(&[100; 16], Offer::Rules);
            std::thread::sleep(Duration::from_micros(300));
        }
        pair.listener.stage.change(|state| state.appetite = Appetite::All);
        std::thread::sleep(Duration::from_millis(200));
        let before = pair.note_in().frames.len();
        for _ in 0..50 {
            sender.offer(&[100; 4], Offer::Rules);
            std::thread::sleep(Duration::from_millis(1));
        }
        let stage = pair.listener.stage;
        let more = stage.wait("any frame after the host had stood still for a while", |state| {
            (state.links.get(&pair.inbound)?.frames.len() > before).then_some(())
        });
        done.store(true, Ordering::Release);
        more
    })
}

pub(in crate::kit) fn many_threads(case: &Case) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    let (a, b, uri) = (&pair.dialler, &pair.listener, pair.uri.as_str());
    let (key, link) = (b.stage.identity.public_key(), pair.outbound);
    let taken = std::thread::scope(|scope| {
        let senders = [0, 1, 2].map(|thread| scope.spawn(move || send_some(a, link, thread)));
        scope.spawn(move || {
            for number in 0..400 {
                b.send(&mut Loan::new(pair.inbound, vec![parcel(number, 3000); 4], Offer::Rules));
                b.resume(pair.inbound);
            }
        });
        scope.spawn(move || {
            for link in 0..500 {
                a.stats();
                a.resume(link);
                b.stats();
                a.close(1_000_000 + link, Str::new("nobody"));
            }
        });
        let dials = scope.spawn(move || {
            for _ in 0..6 {
                a.dial(Str::new(uri), Some(&key))?;
                let newest = a.stage.state().links.keys().max().copied();
                if let Some(newest) = newest.filter(|link| *link != pair.outbound) {
                    a.send(&mut Loan::new(newest, vec![parcel(1, 100)], Offer::Rules));
                    a.close(newest, Str::new("done"));
                }
            }
            Ok(())
        });
        dials.join().unwrap_or_else(|_| Err(Stop::failed("the kit itself panicked")))?;
        Ok(senders.map(|sender| sender.join().unwrap_or(0)))
    })?;
    let frames = await_frames(b.stage, pair.inbound, taken.iter().sum(), pair.reliable())?;
    if pair.reliable() {
        (0..).zip(taken).try_for_each(|(thread, taken)| check_thread(&frames, thread, taken))?;
    }
    pair.end();
    Ok(())
}

/// Checks that all frames that were taken from a thread arrived, in their order.
fn check_thread(frames: &[Vec<u8>], thread: u64, taken: u64) -> Result<(), Stop> {
    let base = thread << THREAD_SHIFT;
    let mut next = base;
    for frame in frames {
        let got = number(frame).map_err(Stop::failed)?;
        if got >> THREAD_SHIFT == thread {
            let (got, due) = (got - base, next - base);
            ensure(got == due, || format!("frame {got} of thread {thread} arrived where {due} was due"))?;
            next += 1;
        }
    }
    ensure(next - base == taken, || {
        format!("of {taken} frames that were taken from thread {thread} only {} arrived", next - base)
    })
}

/// Where the number of a thread stands in the number of a parcel.
const THREAD_SHIFT: u32 = 32;

/// Sends as one of several threads; returns how many frames were taken.
fn send_some(actor: &Actor, link: u64, thread: u64) -> u64 {
    let mut next = thread << THREAD_SHIFT;
    for _ in 0..1_500 {
        let parcels = (next..next + 8).map(|number| parcel(number, 100)).collect();
        next += actor.send(&mut Loan::new(link, parcels, Offer::Rules)) as u64;
    }
    next - (thread << THREAD_SHIFT)
}
