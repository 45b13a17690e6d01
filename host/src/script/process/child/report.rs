//! What the host gets to know of the bot's figures: after each turn of the worker, if something changed.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Context;

use crate::api::ScriptLogLine;

use super::super::super::handover::Handover;
use super::super::super::lock;
use super::super::super::log::{About, Level};
use super::super::super::shared::State;
use super::super::super::vm::Vm;
use super::super::proxy::Link;
use super::super::wire::{self, Report, ToHost};
use super::Desk;

type Farewell = Pin<Box<dyn Future<Output = ()>>>;

/// A line as it was given to the book.
fn about(line: ScriptLogLine) -> (About, String) {
    let ScriptLogLine { level, event, place, text, traceback, .. } = line;
    (About { level: Level::of(&level), event, place, traceback }, text)
}

/// Watches the child's own copy of the bot's record.
pub(super) struct Reporter {
    vm: Rc<Vm>,
    told: Report,
    /// The last line of the bot's log that the host has.
    logged: u64,
    /// What is handed over, on its way.
    farewell: Option<Farewell>,
}

impl Reporter {
    pub(super) fn new(vm: Rc<Vm>) -> Self {
        Self { vm, told: Report::default(), logged: 0, farewell: None }
    }

    /// Tells the host what is new.
    pub(super) fn report(&mut self, link: &Link) {
        let shared = &self.vm.ctx.shared;
        let (paused, problem) = {
            let face = lock(&shared.face);
            (face.state == State::Paused, face.run_problem.clone())
        };
        let now = Report {
            events: shared.figures.events.load(Ordering::Relaxed),
            errors: shared.figures.errors.load(Ordering::Relaxed),
            pauses: shared.figures.pauses.load(Ordering::Relaxed),
            kills: shared.figures.kills.load(Ordering::Relaxed),
            memory: shared.figures.memory.load(Ordering::Relaxed),
            timers: shared.figures.timers.load(Ordering::Relaxed),
            handlers: shared.figures.handlers.load(Ordering::Relaxed),
            questions: shared.figures.questions.load(Ordering::Relaxed),
            board_posts: shared.figures.board_posts.load(Ordering::Relaxed),
            load_cpu_us: shared.figures.load_cpu_us.load(Ordering::Relaxed),
            event_cpu_us: shared.figures.event_cpu_us.load(Ordering::Relaxed),
            paused,
            problem,
            log: Vec::new(),
        };
        let log = shared.book.after(self.logged);
        if log.is_empty() && now == self.told {
            return;
        }
        self.logged = log.last().map_or(self.logged, |line| line.seq);
        let problem = now.problem.clone().filter(|_| now.problem != self.told.problem);
        let log = log.into_iter().map(about).collect();
        link.push(&ToHost::Report(Report { problem, log, ..now.clone() }));
        self.told = now;
    }

    /// Hands over once the worker has frozen: first what the bot has stored, so that its next version begins with that.
    pub(super) fn hand_over(&mut self, desk: &Desk, cx: &mut Context<'_>) {
        let frozen = desk.handover.borrow().as_ref().and_then(|handover| handover.try_recv().ok());
        if let Some(handover) = frozen {
            desk.handover.take();
            let (vm, link) = (Rc::clone(&self.vm), Arc::clone(&desk.link));
            self.farewell = Some(Box::pin(async move {
                // What can't be written now is tried again with the next change.
                let _ = vm.ctx.flush().await;
                let (timers, live) = (lock(&vm.ctx.shared.timers).all(), lock(&vm.ctx.shared.live).drain(..).collect());
                let Handover { state, place } = handover;
                let state = state.map(|state| state.encode());
                link.push(&ToHost::Handover(wire::Handover { state, timers, place, live }));
            }));
        }
        self.farewell.take_if(|farewell| farewell.as_mut().poll(cx).is_ready());
    }
}
