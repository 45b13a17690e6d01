//! Two instances with a link between them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

use super::actor::Actor;
use super::case::{Case, Stop, ensure};
use super::parcel::{Loan, Offer, number, parcel};
use super::shape::Shape;
use super::stage::{PATIENCE, Stage};
use super::state::LinkNote;
use crate::abi::{Str, link_flags};

/// The listener and the dialler, and what each calls the link between them.
pub(super) struct Pair {
    pub(super) listener: Actor,
    pub(super) dialler: Actor,
    /// The link's number at the listener.
    pub(super) inbound: u64,
    /// The link's number at the dialler.
    pub(super) outbound: u64,
    /// What was dialled.
    pub(super) uri: String,
    reliable: bool,
    max_frame: usize,
}

impl Pair {
    pub(super) fn connect(case: &Case) -> Result<Self, Stop> {
        Self::connect_with(case, Shape::Today)
    }

    /// The same, with hosts of that shape.
    pub(super) fn connect_with(case: &Case, shape: Shape) -> Result<Self, Stop> {
        let listener = case.started_with("listener", shape)?;
        let dialler = case.started_with("dialler", shape)?;
        let uri = listen(case, &listener)?;
        let (outbound, inbound) = dial(&dialler, &listener, &uri)?;
        let (flags, max_frame) = {
            let state = dialler.stage.state();
            state.links.get(&outbound).map_or((0, 0), |note| (note.flags, note.max_frame as usize))
        };
        let reliable = flags & link_flags::RELIABLE != 0;
        Ok(Self { listener, dialler, inbound, outbound, uri, reliable, max_frame })
    }

    /// Whether the transport promises that frames arrive all, once and in order.
    pub(super) fn reliable(&self) -> bool {
        self.reliable
    }

    /// The largest frame that the dialler may send.
    pub(super) fn max_frame(&self) -> usize {
        self.max_frame
    }

    /// The link at the dialler.
    pub(super) fn note_out(&self) -> LinkNote {
        self.dialler.stage.state().links.get(&self.outbound).cloned().unwrap_or_default()
    }

    /// The link at the listener.
    pub(super) fn note_in(&self) -> LinkNote {
        self.listener.stage.state().links.get(&self.inbound).cloned().unwrap_or_default()
    }

    /// Stops and destroys both.
    pub(super) fn end(&self) {
        self.dialler.end();
        self.listener.end();
    }
}

/// Listens where the trial says; answers with what is to be dialled.
pub(super) fn listen(case: &Case, listener: &Actor) -> Result<String, Stop> {
    let uri = case.listen_uri();
    let (status, bound) = listener.listen(&uri)?;
    ensure(status.is_ok(), || {
        format!("listening at {uri} failed ({status}: {bound}); `--listen URI` names another address")
    })?;
    ensure(bound.contains("://"), || format!("listen answered `{bound}`, which is no URI"))?;
    Ok(case.dial_uri(&bound, &listener.stage.identity.public_key()))
}

/// Dials and waits until both ends have the link: its numbers at the dialler and at the listener.
pub(super) fn dial(dialler: &Actor, listener: &Actor, uri: &str) -> Result<(u64, u64), Stop> {
    let known: Vec<u64> = listener.stage.state().links.keys().copied().collect();
    let ups: Vec<u64> = dialler.stage.state().links.keys().copied().collect();
    let key = listener.stage.identity.public_key();
    let (status, why) = dialler.dial(Str::new(uri), Some(&key))?;
    ensure(status.is_ok(), || format!("dialling {uri} failed ({status}: {why})"))?;
    let new = |links: &std::collections::BTreeMap<u64, LinkNote>, old: &[u64]| {
        links.keys().find(|link| !old.contains(link)).copied()
    };
    let outbound = new(&dialler.stage.state().links, &ups);
    let outbound = outbound.ok_or_else(|| Stop::failed("the dial was answered with OK before its link was up"))?;
    let known_op = {
        let state = dialler.stage.state();
        state.links.get(&outbound).is_some_and(|note| state.ops.contains_key(&note.op))
    };
    ensure(known_op, || format!("link {outbound} came up without the number of the dial that made it"))?;
    // Some transports show a link to the listener only when something comes over it.
    let mut nudge = Loan::new(outbound, vec![parcel(NUDGE, 16)], Offer::Rules);
    dialler.send(&mut nudge);
    let inbound = listener.stage.wait("the link at the listener", |state| new(&state.links, &known))?;
    listener.stage.wait("the first frame of a link", |state| {
        let note = state.links.get_mut(&inbound)?;
        let lossy = note.flags & link_flags::RELIABLE == 0;
        if let Some(why) = note.frames.iter().find_map(|frame| number(frame).err()) {
            return Some(Err(Stop::failed(why)));
        }
        let came = note.frames.iter().any(|frame| is_nudge(frame));
        note.frames.retain(|frame| !is_nudge(frame));
        (lossy || came).then_some(Ok(()))
    })??;
    Ok((outbound, inbound))
}

/// The number of the parcel that opens a link.
pub(super) const NUDGE: u64 = u64::MAX;

/// Sends parcels over a link as a host does: what isn't taken is offered again after `on_writable`.
pub(super) struct Sender<'a> {
    pub(super) actor: &'a Actor,
    pub(super) link: u64,
    /// The number of the next parcel.
    pub(super) next: u64,
    /// What was lent.
    pub(super) loans: Vec<Loan>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(actor: &'a Actor, link: u64) -> Self {
        Self { actor, link, next: 0, loans: Vec::new() }
    }

    /// Offers a batch of these lengths once; returns how many were taken.
    pub(super) fn offer(&mut self, lengths: &[usize], offer: Offer) -> usize {
        let parcels = lengths.iter().zip(self.next..).map(|(len, number)| parcel(number, *len)).collect();
        let mut loan = Loan::new(self.link, parcels, offer);
        let taken = self.actor.send(&mut loan);
        self.loans.push(loan);
        self.next += taken as u64;
        taken
    }

    /// How often `on_writable` came.
    pub(super) fn wakeups(&self) -> u64 {
        self.actor.stage.state().writable.get(&self.link).copied().unwrap_or(0)
    }

    /// Offers frames of these lengths until one isn't taken, which shows that the queues are full.
    pub(super) fn fill(&mut self, lengths: &[usize]) -> Result<(), Stop> {
        let mut under_way = 0;
        while under_way < MOST_BYTES {
            let taken = self.offer(lengths, Offer::Rules);
            under_way += lengths.iter().take(taken).sum::<usize>();
            if taken < lengths.len() {
                return Ok(());
            }
        }
        Err(Stop::failed(format!("{} MiB were taken although the other host takes nothing", MOST_BYTES >> 20)))
    }

    /// Sends all of these lengths, waiting for room where there is none.
    pub(super) fn send_all(&mut self, lengths: &[usize]) -> Result<(), Stop> {
        let mut rest = lengths;
        while !rest.is_empty() {
            let seen = self.wakeups();
            let batch = rest.get(..rest.len().min(BATCH)).unwrap_or(rest);
            let taken = self.offer(batch, Offer::Rules);
            rest = rest.get(taken..).unwrap_or_default();
            if taken < batch.len() {
                self.await_room(seen)?;
            }
        }
        Ok(())
    }

    /// Waits for `on_writable`, of which `seen` came before.
    pub(super) fn await_room(&self, seen: u64) -> Result<(), Stop> {
        let link = self.link;
        let wait = self.actor.stage.wait("on_writable, owed since send returned short,", |state| {
            let down = state.links.get(&link).is_none_or(|note| note.down.is_some());
            (down || state.writable.get(&link).copied().unwrap_or(0) > seen).then_some(down)
        })?;
        ensure(!wait, || "the link went down while frames were being sent".to_owned())
    }

    /// What is wrong with the releases of what was sent, once the plugin is gone.
    pub(super) fn wrong_releases(&self) -> Option<String> {
        self.loans.iter().find_map(Loan::wrong_releases)
    }
}

/// What a stalled link may hold in all its queues together, with those of two sockets, in bytes: 48 MiB.
pub(super) const MOST_BYTES: usize = 48 * 1024 * 1024;
/// Frames offered in one call.
const BATCH: usize = 32;

/// Checks what came in against the parcels 0 to `sent`: whole, and of a reliable link all of them, once and in order.
pub(super) fn check_arrivals(frames: &[Vec<u8>], sent: u64, reliable: bool) -> Result<(), Stop> {
    let mut next = 0;
    let mut seen = std::collections::HashSet::new();
    for frame in frames {
        let got = number(frame).map_err(Stop::failed)?;
        if got == NUDGE {
            continue;
        }
        ensure(got < sent, || format!("frame {got} arrived, which was never taken"))?;
        if reliable {
            ensure(got == next, || {
                format!("frame {got} arrived where {next} was due, on a link that calls itself RELIABLE")
            })?;
            next += 1;
        } else {
            seen.insert(got);
        }
    }
    if reliable {
        return ensure(next == sent, || {
            format!("{next} frames of {sent} arrived, on a link that calls itself RELIABLE")
        });
    }
    let arrived = seen.len() as u64;
    ensure(sent == 0 || arrived > 0, || format!("no frame of {sent} arrived"))
}

/// Waits until `count` frames have come in; of an unreliable link, until nothing more comes.
pub(super) fn await_frames(stage: &Stage, link: u64, count: u64, reliable: bool) -> Result<Vec<Vec<u8>>, Stop> {
    let mut last = (0, Instant::now());
    let quiet = if reliable { PATIENCE } else { Duration::from_millis(500) };
    loop {
        let (came, down) = {
            let state = stage.state();
            let note = state.links.get(&link);
            let frames = note.map(|note| note.frames.as_slice()).unwrap_or_default();
            (frames.iter().filter(|frame| !is_nudge(frame)).count() as u64, note.is_none_or(|note| note.down.is_some()))
        };
        if came != last.0 {
            last = (came, Instant::now());
        }
        if came >= count || down || last.1.elapsed() > quiet {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let state = stage.state();
    let frames = state.links.get(&link).map(|note| note.frames.as_slice()).unwrap_or_default();
    Ok(frames.iter().filter(|frame| !is_nudge(frame)).cloned().collect())
}

fn is_nudge(frame: &[u8]) -> bool {
    frame.starts_with(&NUDGE.to_le_bytes())
}

/// Calls `resume` for each link whose frames the host took in part, until `done`.
pub(super) fn feeder<'s>(scope: &'s Scope<'s, '_>, actor: &'s Actor, done: &'s AtomicBool) {
    scope.spawn(move || {
        while !done.load(Ordering::Acquire) {
            let owed = std::mem::take(&mut actor.stage.state().owed);
            for link in owed {
                actor.resume(link);
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    });
}
