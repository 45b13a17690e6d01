//! The CPU budget of a machine, watched from Luau's interrupt.
//!
//! The interrupt fires at calls, returns, loop jumps and inside the pattern matcher, and touches only flags and
//! clocks. Wall time is read first, because it is cheap; only when it is used up is the thread's CPU time asked
//! for, so that a bot on a busy machine isn't stopped for what others used.

use std::cell::Cell;
use std::time::{Duration, Instant};

use mlua::VmState;
use rustix::time::{ClockId, clock_gettime};

/// The clock is read at every so many interrupts.
const INTERRUPTS_PER_LOOK: u8 = 4;
/// A reading of the thread's CPU clock is used as a baseline for so long: reading it costs ten times the wall clock.
const BASELINE_AGE: Duration = Duration::from_millis(1);
/// What the stopped script sees; also how a stop is told from an error of the script's own.
pub(crate) const CPU_MESSAGE: &str = "CPU budget used up";

/// CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The meter of one machine. It lives on the machine's thread.
#[derive(Debug)]
pub(crate) struct Meter {
    armed: Cell<bool>,
    stopped: Cell<bool>,
    skipped: Cell<u8>,
    started: Cell<Instant>,
    left: Cell<Duration>,
    /// Wall time at which the CPU clock is to be asked.
    look_at: Cell<Instant>,
    baseline: Cell<(Instant, Duration)>,
}

/// What a stretch of running cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// CPU time.
    pub cpu: Duration,
    /// Whether the script was stopped for it.
    pub stopped: bool,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            armed: Cell::new(false),
            stopped: Cell::new(false),
            skipped: Cell::new(0),
            started: Cell::new(now),
            left: Cell::new(Duration::ZERO),
            look_at: Cell::new(now),
            baseline: Cell::new((now, thread_cpu())),
        }
    }

    /// Starts to count, with `left` of CPU time to go.
    pub(crate) fn arm(&self, left: Duration) {
        let now = Instant::now();
        if now.duration_since(self.baseline.get().0) > BASELINE_AGE {
            self.baseline.set((now, thread_cpu()));
        }
        self.started.set(now);
        self.left.set(left);
        self.look_at.set(now + left);
        self.stopped.set(false);
        self.armed.set(true);
    }

    /// Stops counting.
    pub(crate) fn disarm(&self) -> Spent {
        self.armed.set(false);
        let now = Instant::now();
        let wall = now.duration_since(self.started.get());
        let cpu = if wall < BASELINE_AGE { wall } else { self.used(now) };
        Spent { cpu, stopped: self.stopped.get() }
    }

    /// CPU time since `arm`, at most a millisecond too much.
    fn used(&self, now: Instant) -> Duration {
        let wall = now.duration_since(self.started.get());
        wall.min(thread_cpu().saturating_sub(self.baseline.get().1))
    }

    /// The machine asks whether to go on. `place` says where it is, as errors begin: `init.lua:3: `.
    pub(crate) fn interrupt(&self, place: impl Fn() -> String) -> mlua::Result<VmState> {
        if !self.armed.get() {
            return Ok(VmState::Continue);
        }
        if self.stopped.get() {
            return Err(stop(&place()));
        }
        let skipped = self.skipped.get() + 1;
        self.skipped.set(skipped % INTERRUPTS_PER_LOOK);
        if skipped < INTERRUPTS_PER_LOOK {
            return Ok(VmState::Continue);
        }
        let now = Instant::now();
        if now < self.look_at.get() {
            return Ok(VmState::Continue);
        }
        let left = self.left.get().saturating_sub(self.used(now));
        if left.is_zero() {
            self.stopped.set(true);
            return Err(stop(&place()));
        }
        self.look_at.set(now + left);
        Ok(VmState::Continue)
    }
}

fn stop(place: &str) -> mlua::Error {
    mlua::Error::RuntimeError(format!("{place}{CPU_MESSAGE}"))
}
