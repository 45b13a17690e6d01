//! What the supervisor tells a worker, and what the worker does then.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::api::deliver_answers;
use super::super::dispatch;
use super::super::handover::{Carried, Handover, Place, Taker};
use super::super::limits::HANDLER_LIFE_SECS;
use super::super::lock;
use super::super::plain::Plain;
use super::super::traffic::LAST_ANSWERS;
use super::{Finished, Phase, Worker, job};
use crate::api::ScriptEvaluated;

/// What the supervisor tells a worker.
pub(crate) enum Order {
    /// Begin: take events, and messages from that place on, which is the one that was acknowledged last if none is given.
    Activate { reloaded: bool, place: Option<Place>, settled: bool },
    /// The versions before this one have done what they had begun: it may acknowledge.
    Settled,
    /// Begin nothing more, and hand over.
    Freeze(Taker),
    /// Go on, the new version failed.
    Thaw,
    /// A new version took over what was handed over: finish the rest, then end.
    Retire,
    /// The node stops, or the bot does.
    Stop,
    /// Run a piece of Lua that the admin typed.
    Eval { code: String, write: bool, reply: oneshot::Sender<ScriptEvaluated> },
}

impl Worker {
    pub(super) fn obey(&mut self, order: Order) {
        match order {
            Order::Activate { reloaded, place, settled } if self.phase == Phase::Waiting => {
                self.activate(reloaded, place, settled);
            }
            Order::Settled => {
                self.settled = true;
                self.plan_ack();
            }
            Order::Freeze(taker) if matches!(self.phase, Phase::Active | Phase::Frozen) => self.freeze(taker),
            Order::Thaw if self.phase == Phase::Frozen => {
                *lock(&self.shared.timers) = Carried::default();
                self.go_on();
            }
            // It was told to end meanwhile.
            Order::Activate { .. } | Order::Freeze(_) | Order::Thaw => {}
            Order::Eval { code, write, reply } => {
                let evaluated = job::evaluate(Rc::clone(&self.vm), code, write);
                self.running.push(Box::pin(async move {
                    // Whoever asked may be gone.
                    let _ = reply.send(evaluated.await);
                    Finished::Aside
                }));
            }
            Order::Retire => {
                self.vm.ctx.retired.set(true);
                self.deliver_answers();
                self.end_within(self.vm.ctx.limits.handler_life_secs);
            }
            Order::Stop => {
                if matches!(self.phase, Phase::Active | Phase::Frozen) {
                    let jobs = dispatch::plain(&self.vm, "stop", |_| Ok(()));
                    self.queue(jobs, None);
                }
                self.deliver_answers();
                self.end_within(HANDLER_LIFE_SECS);
            }
        }
    }

    fn activate(&mut self, reloaded: bool, place: Option<Place>, settled: bool) {
        self.settled = settled;
        let jobs = dispatch::plain(&self.vm, if reloaded { "reload" } else { "start" }, |_| Ok(()));
        self.queue(jobs, None);
        if let Some(place) = place {
            self.after = Some(place.begin());
            self.shared.figures.pulled.store(place.begin(), Ordering::Relaxed);
            self.inherited = place;
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        self.phase = Phase::Active;
        self.behind = true;
        self.live_events();
        self.chatter();
    }

    fn freeze(&mut self, taker: Taker) {
        self.phase = Phase::Frozen;
        // A page on its way is the next version's to read, or is read again.
        (self.fetch, self.behind) = (None, true);
        let (timers, now) = (self.vm.ctx.timers.borrow().carried().collect::<Vec<_>>(), self.vm.ctx.now());
        *lock(&self.shared.timers) = Carried::new(timers, now);
        let handover = Handover { state: self.state(), place: self.place() };
        taker(handover);
    }

    fn state(&mut self) -> Option<Plain> {
        self.vm.state().map_err(|failure| self.failed("mesh.state", &failure)).ok()
    }

    fn place(&self) -> Option<Place> {
        let unbegun = self.open.iter().filter(|(_, message)| !message.begun).map(|(seq, _)| *seq);
        self.after.map(|after| self.inherited.onward(after, unbegun))
    }

    /// Sends the answers that wait for room: their questions count as handled, and the next version may not know of them.
    fn deliver_answers(&mut self) {
        let vm = Rc::clone(&self.vm);
        vm.ctx.spare.set(LAST_ANSWERS);
        self.running.push(Box::pin(async move {
            deliver_answers(&vm.ctx).await;
            Finished::Aside
        }));
    }

    /// Finishes what has begun. What has not is the next version's, or comes again after the next start.
    fn end_within(&mut self, secs: u64) {
        self.fetch = None;
        self.vm.ctx.asked.borrow_mut().clear();
        self.contests.clear();
        let open = &self.open;
        let begun = |seq: u64| open.get(&seq).is_none_or(|message| message.begun);
        self.ready.retain(|(_, seq)| seq.is_none_or(begun));
        let end = self.now() + Duration::from_secs(secs);
        self.phase = Phase::Ending(match self.phase {
            Phase::Ending(earlier) => end.min(earlier),
            _ => end,
        });
    }
}
