//! The heartbeat of a bot's thread: when it went into the machine, and whether it is still wanted.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::limits::STUCK;
use super::lock;

/// Wall time inside the machine that counts as stuck, whatever the CPU clock says.
const STUCK_WALL: Duration = Duration::from_secs(5);

/// One thread's heartbeat.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Milliseconds since the process's first look at the clock, plus one; 0 outside of the machine.
    entered: AtomicU64,
    abandoned: AtomicBool,
    /// `/proc/…/task/N` of the thread, where there is such a thing.
    task: Mutex<Option<PathBuf>>,
    /// The entry that the watchdog looks at, and the CPU time the thread had then.
    watched: Mutex<(u64, Option<Duration>)>,
}

fn clock_ms(now: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    now.saturating_duration_since(*start).as_millis() as u64 + 1
}

impl Pulse {
    /// Called first on the thread itself.
    pub(crate) fn attach(&self) {
        let link = std::fs::read_link("/proc/thread-self").ok();
        *lock(&self.task) = link.map(|link| PathBuf::from("/proc").join(link).join("stat"));
    }

    pub(crate) fn enter(&self) {
        self.entered.store(clock_ms(Instant::now()), Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.entered.store(0, Ordering::Relaxed);
    }

    /// The thread is given up: whatever it still does must have no effect.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// Whether the thread is stuck inside the machine: too long by the wall clock, and busy all the while. A thread
    /// that waits for its turn on a crowded machine isn't.
    pub(crate) fn is_stuck(&self) -> bool {
        let entered = self.entered.load(Ordering::Relaxed);
        let inside = Duration::from_millis(clock_ms(Instant::now()).saturating_sub(entered));
        if entered == 0 || inside < STUCK / 4 {
            return false;
        }
        let cpu = lock(&self.task).as_ref().and_then(thread_cpu);
        let mut watched = lock(&self.watched);
        if watched.0 != entered {
            *watched = (entered, cpu);
            return false;
        }
        let used = cpu.zip(watched.1).map(|(now, before)| now.saturating_sub(before));
        inside > STUCK_WALL || inside > STUCK && used.is_none_or(|used| used > STUCK / 2)
    }
}

/// CPU time of a thread by its `stat` file, in steps of 10 ms.
fn thread_cpu(stat: &PathBuf) -> Option<Duration> {
    cpu_in_stat(&std::fs::read_to_string(stat).ok()?)
}

/// CPU time in the text of a `stat` file, in steps of 10 ms.
pub(crate) fn cpu_in_stat(text: &str) -> Option<Duration> {
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th field behind it.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Spins inside the machine for a second on a thread of its own, and says whether the watchdog saw it.
    fn watch(work: impl Fn() + Send + 'static) -> bool {
        let pulse = Arc::new(Pulse::default());
        let there = Arc::clone(&pulse);
        let thread = std::thread::spawn(move || {
            there.attach();
            there.enter();
            work();
            there.leave();
        });
        let mut seen = false;
        while !thread.is_finished() {
            seen |= pulse.is_stuck();
            std::thread::sleep(Duration::from_millis(50));
        }
        seen
    }

    #[test]
    fn a_thread_that_works_on_and_on_is_stuck_and_one_that_waits_for_its_turn_is_not() {
        let start = Instant::now();
        // As long as it takes on a crowded machine to use that much CPU.
        let busy = move || {
            let begun = super::super::budget::thread_cpu();
            while super::super::budget::thread_cpu() - begun < STUCK * 2 || start.elapsed() < STUCK * 3 {}
        };
        assert!(watch(busy));
        #[cfg(target_os = "linux")]
        assert!(!watch(|| std::thread::sleep(STUCK * 2)));
    }
}
