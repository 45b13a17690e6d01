//! What the host gets to know of the bot's figures: after each turn of the worker, if something changed.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Context;

use crate::api::ScriptLogLine;

use super::super::super::lock;
use super::super::super::log::{About, Level};
use super::super::super::shared::State;
use super::super::super::vm::Vm;
use super::super::proxy::Link;
use super::super::wire::{Report, ToHost};
use super::Desk;

type Flush = Pin<Box<dyn Future<Output = ()>>>;

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
    /// Store changes on their way.
    flushes: Vec<Flush>,
}

impl Reporter {
    pub(super) fn new(vm: Rc<Vm>) -> Self {
        Self { vm, told: Report::default(), logged: 0, flushes: Vec::new() }
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

    /// Hands `mesh.state` over once the worker has made it: first what the bot has stored, so that its next version
    /// begins with that.
    pub(super) fn hand_over(&mut self, desk: &Desk, cx: &mut Context<'_>) {
        let frozen = desk.state.borrow().as_ref().and_then(|state| state.try_recv().ok());
        if frozen.is_some() {
            desk.state.take();
            let vm = Rc::clone(&self.vm);
            self.flushes.push(Box::pin(async move {
                // What can't be written now is tried again with the next change.
                let _ = vm.ctx.flush().await;
            }));
        }
        // The first poll puts the changes on their way.
        self.flushes.retain_mut(|flush| flush.as_mut().poll(cx).is_pending());
        if let Some(state) = frozen {
            let timers = std::mem::take(&mut *lock(&self.vm.ctx.shared.timers)).into_iter().collect();
            desk.link.push(&ToHost::State { state: state.map(|state| state.encode()), timers });
        }
    }
}
