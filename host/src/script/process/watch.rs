//! Whether a bot's process is alive and within its bounds, judged from its CPU time and memory.
//!
//! A process that has used CPU since the last look is asked to answer; an idle one is left asleep.

use std::time::{Duration, Instant};

use super::super::limits::STUCK;
use super::super::pulse::cpu_in_stat;

/// How often a process that does something is looked at.
const BUSY_LOOK: Duration = Duration::from_millis(100);
/// How often an idle one is looked at. Only the host reads a file for it; the child sleeps on.
const IDLE_LOOK: Duration = Duration::from_secs(1);
/// Wall time without an answer that ends a process, whatever its CPU clock says.
const SILENT: Duration = Duration::from_secs(60);
/// The same where the CPU time of another process can't be read.
const SILENT_UNSEEN: Duration = Duration::from_secs(5);
/// CPU to start the process and to compile the sources, beside the budget for loading.
pub(super) const LOAD_CPU: Duration = Duration::from_secs(10);
/// How long it may take until the bot is loaded, beside the life of a handler.
pub(super) const LOAD_WALL: Duration = Duration::from_secs(60);

/// What the system says of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// CPU time since its start.
    pub cpu: Option<Duration>,
    /// Memory of its own that is in RAM, in bytes.
    pub resident: Option<u64>,
}

/// Looks at a process of this machine.
pub(super) fn sample(pid: u32) -> Sample {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let cpu = read("stat").and_then(|text| cpu_in_stat(&text));
    let resident = read("status").and_then(|text| own_memory(&text));
    Sample { cpu, resident }
}

/// Memory that isn't of files, in bytes: the process's own, and what it might share with others.
fn own_memory(status: &str) -> Option<u64> {
    let kib = |name: &str| {
        let figure = status.lines().find_map(|line| line.strip_prefix(name))?;
        figure.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Some(kib("RssAnon:")?.saturating_add(kib("RssShmem:")?).saturating_mul(1 << 10))
}

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All is well; look again then, and ask for an answer now if that is a number.
    Fine { ping: Option<u64>, look: Instant },
    /// End it, for this reason.
    End(String),
}

/// A question that waits for its answer.
#[derive(Debug)]
struct Ping {
    id: u64,
    asked: Instant,
    cpu: Duration,
}

/// The record of one process.
#[derive(Debug)]
pub(super) struct Watch {
    started: Instant,
    /// Memory of its own that it may have, in bytes.
    bound: u64,
    /// CPU and time to load the bot; `None` once it is loaded.
    load: Option<(Duration, Duration)>,
    cpu: Duration,
    ping: Option<Ping>,
    pings: u64,
}

impl Watch {
    pub(super) fn new(bound: u64, load: (Duration, Duration), now: Instant) -> Self {
        Self { started: now, bound, load: Some(load), cpu: Duration::ZERO, ping: None, pings: 0 }
    }

    /// Memory of its own that the process may have, in bytes.
    pub(super) fn bound(&self) -> u64 {
        self.bound
    }

    /// The bot is loaded; from now on it must answer.
    pub(super) fn loaded(&mut self) {
        self.load = None;
    }

    /// An answer came.
    pub(super) fn pong(&mut self, id: u64) {
        if self.ping.as_ref().is_some_and(|ping| ping.id == id) {
            self.ping = None;
        }
    }

    /// CPU time used at the last look.
    pub(super) fn cpu(&self) -> Duration {
        self.cpu
    }

    /// Judges a look. While `deaf` the host itself reads nothing from the process, so nobody waits for an answer.
    pub(super) fn look(&mut self, sample: Sample, deaf: bool, now: Instant) -> Verdict {
        if let Some(resident) = sample.resident.filter(|resident| *resident > self.bound) {
            let (is, bound) = (resident >> 20, self.bound >> 20);
            return Verdict::End(format!("its process took {is} MiB of memory, more than the {bound} MiB it may"));
        }
        let before = self.cpu;
        self.cpu = sample.cpu.unwrap_or(before);
        let busy = self.cpu > before || sample.cpu.is_none();
        if let Some((cpu, wall)) = self.load {
            if self.cpu > cpu || now.saturating_duration_since(self.started) > wall {
                return Verdict::End(format!("still loading after {} s of CPU time", self.cpu.as_secs()));
            }
            return Verdict::Fine { ping: None, look: now + BUSY_LOOK };
        }
        if let Some(ping) = &mut self.ping {
            if deaf {
                (ping.asked, ping.cpu) = (now, self.cpu);
            }
            let (silent, used) = (now.saturating_duration_since(ping.asked), self.cpu.saturating_sub(ping.cpu));
            let patience = if sample.cpu.is_some() { SILENT } else { SILENT_UNSEEN };
            if used > STUCK || silent > patience {
                let what = if used > STUCK { "stuck: it worked" } else { "it was silent" };
                let time = if used > STUCK { used } else { silent };
                return Verdict::End(format!("{what} for more than {} ms without an answer", time.as_millis()));
            }
            return Verdict::Fine { ping: None, look: now + BUSY_LOOK };
        }
        if !busy || deaf {
            return Verdict::Fine { ping: None, look: now + if busy { BUSY_LOOK } else { IDLE_LOOK } };
        }
        self.pings += 1;
        self.ping = Some(Ping { id: self.pings, asked: now, cpu: self.cpu });
        // Where nobody can tell whether it does anything, it is not asked all the time.
        let look = if sample.cpu.is_some() { BUSY_LOOK } else { IDLE_LOOK };
        Verdict::Fine { ping: Some(self.pings), look: now + look }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: u64 = 64 << 20;

    /// A watch of a loaded bot, on a clock of its own.
    struct Case {
        watch: Watch,
        start: Instant,
    }

    impl Case {
        fn loaded() -> Self {
            let start = Instant::now();
            let mut watch = Watch::new(BOUND, (LOAD_CPU, LOAD_WALL), start);
            watch.loaded();
            Self { watch, start }
        }

        /// A look at a time with that CPU used, both in milliseconds.
        fn look(&mut self, at: u64, cpu: u64) -> Verdict {
            let sample = Sample { cpu: Some(Duration::from_millis(cpu)), resident: Some(1 << 20) };
            self.watch.look(sample, false, self.start + Duration::from_millis(at))
        }
    }

    fn pinged(verdict: &Verdict) -> Option<u64> {
        match verdict {
            Verdict::Fine { ping, .. } => *ping,
            Verdict::End(why) => panic!("{why}"),
        }
    }

    #[test]
    fn an_idle_process_is_never_asked() {
        let mut case = Case::loaded();
        assert!(pinged(&case.look(0, 10)).is_some());
        case.watch.pong(1);
        for second in 1..1_000 {
            let Verdict::Fine { ping, look } = case.look(second * 1_000, 10) else { panic!("ended") };
            assert_eq!((ping, look - case.start), (None, Duration::from_millis(second * 1_000) + IDLE_LOOK));
        }
    }

    #[test]
    fn a_busy_process_that_answers_goes_on_and_one_that_does_not_is_ended() {
        let mut case = Case::loaded();
        for step in 1..100 {
            let id = pinged(&case.look(step * 100, step * 100)).unwrap();
            case.watch.pong(id);
        }
        assert!(pinged(&case.look(10_000, 10_000)).is_some());
        assert!(pinged(&case.look(10_500, 10_490)).is_none());
        assert!(matches!(case.look(10_600, 10_510), Verdict::End(why) if why.contains("510 ms")));
    }

    #[test]
    fn a_process_that_waits_for_its_turn_is_not_ended() {
        let mut case = Case::loaded();
        assert!(pinged(&case.look(0, 100)).is_some());
        for second in 1..60 {
            assert!(pinged(&case.look(second * 1_000, 100 + second)).is_none());
        }
        assert!(matches!(case.look(61_000, 161), Verdict::End(why) if why.contains("silent")));
    }

    #[test]
    fn a_process_that_the_host_does_not_listen_to_need_not_answer() {
        let mut case = Case::loaded();
        assert!(pinged(&case.look(0, 100)).is_some());
        let sample = Sample { cpu: Some(Duration::from_secs(30)), resident: None };
        let verdict = case.watch.look(sample, true, case.start + Duration::from_secs(30));
        assert!(matches!(verdict, Verdict::Fine { .. }));
    }

    #[test]
    fn a_process_whose_cpu_time_nobody_can_read_is_asked_now_and_then_and_ended_when_it_is_silent() {
        let mut case = Case::loaded();
        let unseen = Sample::default();
        let Verdict::Fine { ping: Some(id), look } = case.watch.look(unseen, false, case.start) else {
            panic!("ended")
        };
        assert_eq!(look - case.start, IDLE_LOOK);
        case.watch.pong(id);
        assert!(pinged(&case.watch.look(unseen, false, look)).is_some());
        assert!(matches!(case.watch.look(unseen, false, look + SILENT_UNSEEN), Verdict::Fine { ping: None, .. }));
        assert!(matches!(case.watch.look(unseen, false, look + SILENT_UNSEEN * 2), Verdict::End(_)));
    }

    #[test]
    fn memory_beyond_the_bound_ends_it() {
        let mut case = Case::loaded();
        let sample = Sample { cpu: None, resident: Some(BOUND + 1) };
        assert!(matches!(case.watch.look(sample, false, case.start), Verdict::End(why) if why.contains("64 MiB")));
    }

    #[test]
    fn loading_has_bounds_of_its_own() {
        let start = Instant::now();
        let mut watch = Watch::new(BOUND, (LOAD_CPU, LOAD_WALL), start);
        let at = |cpu| Sample { cpu: Some(cpu), resident: None };
        assert!(matches!(watch.look(at(LOAD_CPU), false, start), Verdict::Fine { ping: None, .. }));
        assert!(matches!(watch.look(at(LOAD_CPU), false, start + LOAD_WALL * 2), Verdict::End(_)));
        assert!(matches!(watch.look(at(LOAD_CPU * 2), false, start), Verdict::End(_)));
    }

    #[test]
    fn shared_memory_counts_as_a_processs_own_and_that_of_files_does_not() {
        let status = "Name:\tqpq\nVmRSS:\t  20 kB\nRssAnon:\t     7 kB\nRssFile:\t   10 kB\nRssShmem:\t    3 kB\n";
        assert_eq!(own_memory(status), Some(10 << 10));
        assert_eq!(own_memory("RssAnon:\t7 kB\nRssShmem:\t\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_can_be_looked_at() {
        let sample = sample(std::process::id());
        assert!(sample.cpu.is_some() && sample.resident.is_some_and(|bytes| bytes > 100_000), "{sample:?}");
    }
}
