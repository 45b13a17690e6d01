//! A function of a bot that runs: its budget, its life, and what it is busy with.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use mlua::Value;
use mlua::function::AsyncCallFuture;

use super::failure::{Failure, Kind};
use super::locked::Locked;
use super::vm::Vm;

/// CPU time that a suspension counts for beside what the machine took: about what it takes around the machine. So one that does
/// nothing but yield is stopped when its budget is used up, and not at a multiple of it.
const SUSPENSION: Duration = Duration::from_micros(2);

/// What runs at the moment, for those calls of the API that need to know.
#[derive(Debug)]
pub(crate) struct Running {
    /// What the bot does, such as `!list`.
    pub what: Rc<str>,
    /// The message that it answers, by its place in the inbox, as long as that counts as unhandled.
    pub seq: Cell<Option<u64>>,
    /// Until when it may wait for a person's answer; its life goes on only after that.
    pub asks_until: Cell<Option<Instant>>,
}

impl Running {
    pub(crate) fn new(what: impl Into<Rc<str>>, seq: Option<u64>) -> Rc<Self> {
        Rc::new(Self { what: what.into(), seq: Cell::new(seq), asks_until: Cell::new(None) })
    }
}

/// What running a function came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub result: Result<Value, Failure>,
    /// CPU time used.
    pub cpu: Duration,
}

/// A function of the bot that runs. The budget is armed at each poll; dropping it cancels it.
pub(crate) struct Call {
    vm: Rc<Vm>,
    running: Rc<Running>,
    read_only: bool,
    /// The bot's tables, while it runs without a right to change them.
    locked: Option<Locked>,
    future: Option<Pin<Box<AsyncCallFuture<Value>>>>,
    budget: Duration,
    /// CPU time used; a machine that is stopped late has used more than its budget.
    cpu: Duration,
    /// The end of its life; made when it first has to wait, and anew when it begins or ends to wait for a person.
    life: Option<LocalBoxFuture<'static, ()>>,
    asked_until: Option<Instant>,
}

impl Future for Call {
    type Output = Ran;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ran> {
        let this = &mut *self;
        if this.vm.turn_is_over() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(mut future) = this.future.take() else { return Poll::Pending };
        this.enter();
        this.vm.meter().arm(this.left());
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let spent = this.vm.meter().disarm();
        this.leave();
        let suspension = if matches!(polled, Ok(Poll::Pending)) { SUSPENSION } else { Duration::ZERO };
        this.cpu += spent.cpu + suspension;
        let result = match polled {
            Ok(Poll::Pending) if !spent.stopped => {
                this.future = Some(future);
                return this.wait(cx);
            }
            Ok(Poll::Ready(Ok(value))) if !spent.stopped => Ok(value),
            Ok(Poll::Ready(Err(error))) => {
                let (unread, raised) = (this.vm.ctx.unread.take(), this.vm.ctx.raised.take());
                let failure = Failure::from_lua(&error, this.vm.source()).naming(unread).telling(raised.as_ref());
                Err(if this.read_only { failure } else { failure.explaining_locks() })
            }
            Ok(_) => Err(Failure::new(Kind::Cpu, "")),
            Err(_) => {
                this.vm.set_broken();
                Err(Failure::new(Kind::Panic, "the machine failed inside; the bot is started anew"))
            }
        };
        let result = if spent.stopped { result.map_err(|failure| failure.of_cpu(this.budget)) } else { result };
        this.finish(result)
    }
}

impl Call {
    pub(crate) fn new(vm: Rc<Vm>, running: Rc<Running>, future: AsyncCallFuture<Value>, budget: Duration) -> Self {
        Self {
            vm,
            running,
            read_only: false,
            locked: None,
            future: Some(Box::pin(future)),
            budget,
            cpu: Duration::ZERO,
            life: None,
            asked_until: None,
        }
    }

    /// The same, without a right to change anything.
    pub(crate) fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    fn enter(&mut self) {
        self.vm.pulse().enter();
        *self.vm.ctx.running.borrow_mut() = Some(Rc::clone(&self.running));
        if self.read_only {
            self.vm.ctx.read_only.set(true);
            self.locked = Some(self.vm.lock_tables());
        }
    }

    fn leave(&mut self) {
        if self.read_only {
            self.vm.ctx.read_only.set(false);
            self.locked = None;
        }
        self.vm.pulse().leave();
    }

    /// CPU time that is left of the budget.
    fn left(&self) -> Duration {
        self.budget.saturating_sub(self.cpu)
    }

    fn finish(&mut self, result: Result<Value, Failure>) -> Poll<Ran> {
        self.future = None;
        self.vm.tidy();
        Poll::Ready(Ran { result, cpu: self.cpu })
    }

    /// Suspended: only its life's end can still stop it.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Ran> {
        let secs = self.vm.ctx.limits.handler_life_secs;
        if self.left().is_zero() {
            return self.finish(Err(Failure::new(Kind::Cpu, "").of_cpu(self.budget)));
        }
        let asks = self.running.asks_until.get();
        if asks != self.asked_until {
            (self.asked_until, self.life) = (asks, None);
        }
        let life = self.life.get_or_insert_with(|| {
            let clock = self.vm.ctx.shared.clock.clone();
            let end = asks.unwrap_or_else(|| clock.now()) + Duration::from_secs(secs);
            Box::pin(async move { clock.sleep_until(end).await })
        });
        match life.as_mut().poll(cx) {
            Poll::Ready(()) => self.finish(Err(Failure::new(
                Kind::Life,
                format!(
                    "still running after {secs} s: a handler may wait that long at most; use mesh.after for later work"
                ),
            ))),
            Poll::Pending => Poll::Pending,
        }
    }
}
