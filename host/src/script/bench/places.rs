//! The same bot on a thread and in a process: how long it takes to start, what it takes at rest, what an event costs.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use qpq_schemas::PeerId;

use super::super::double::MemoryNode;
use super::super::host::{Isolation, ScriptConfig, ScriptHost};
use super::super::process::ChildProgram;
use super::super::store::MemoryStore;
use super::BOT;
use super::folder::Folder;

/// A measurement that takes longer than that has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const POLL: Duration = Duration::from_micros(100);
/// Messages that come together: ten pages of the inbox. The node in memory copies all that wait for each page.
const ROUND: u64 = 320;

/// What a bot takes in one place.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// From the order to run it until it runs, in milliseconds; with the reading of its file.
    pub start_ms: f64,
    /// An event with its share of reading the inbox, in microseconds of wall time.
    pub event_us: f64,
    /// Memory of its process at rest beside the program's file, which it shares with the node, in bytes; `None` for a thread,
    /// and where the system doesn't tell.
    pub own_bytes: Option<u64>,
}

/// Measures a small bot on a thread, or with `program`, which is the node's, in a process.
///
/// # Errors
/// When the bot doesn't run or doesn't get through its events.
pub fn place(program: Option<&Path>, events: u64) -> Result<Place, String> {
    let folder = Folder::new()?;
    folder.write(Path::new("bot.lua"), BOT)?;
    let mut config = ScriptConfig { dirs: vec![folder.path().to_owned()], watch: false, ..ScriptConfig::default() };
    config.limits.cpu_percent = 100;
    if let Some(program) = program {
        config.isolation = Isolation::Process;
        config.child = ChildProgram { program: program.to_owned(), ..ChildProgram::default() };
    }
    measure(config, events)
}

/// How long a reload takes, from the order until the new version runs with the old one's state, in milliseconds.
///
/// # Errors
/// When the bot doesn't run.
pub fn reload(times: u32) -> Result<Vec<f64>, String> {
    let folder = Folder::new()?;
    let config = ScriptConfig { dirs: vec![folder.path().to_owned()], watch: false, ..ScriptConfig::default() };
    let write = |version: u32| {
        let text = format!(
            "mesh.state.loads = (mesh.state.loads or 0) + 1 mesh.every('1h', function() end) -- {version}\n{BOT}"
        );
        folder.write(Path::new("bot.lua"), &text)
    };
    write(0)?;
    let host = ScriptHost::start(config, Arc::new(MemoryNode::default()), Arc::new(MemoryStore::default()));
    wait(|| host.list().iter().any(|bot| bot.state == "running"))?;
    let mut taken = Vec::new();
    for version in 1..=times {
        write(version)?;
        let begun = Instant::now();
        let list =
            futures::executor::block_on(host.reload(Some("bot".to_owned()))).map_err(|error| error.to_string())?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
        if list.iter().any(|bot| bot.loads != version + 1 || bot.problem.is_some()) {
            return Err(format!("the new version doesn't run: {list:?}"));
        }
    }
    host.stop(Duration::from_secs(5));
    Ok(taken)
}

fn measure(config: ScriptConfig, events: u64) -> Result<Place, String> {
    let node = Arc::new(MemoryNode::default());
    let started = Instant::now();
    let host = ScriptHost::start(config, Arc::clone(&node) as _, Arc::new(MemoryStore::default()));
    wait(|| host.list().iter().any(|bot| bot.state == "running"))?;
    let start_ms = started.elapsed().as_secs_f64() * 1e3;
    wait(|| node.acked("bot:bot").is_some())?;
    let own_bytes = child().and_then(own);
    let rounds = events.div_ceil(ROUND).max(1);
    let mut spent = Duration::ZERO;
    for round in 1..=rounds {
        let last = (0..ROUND).map(|_| node.arrive(PeerId([1; 32]), None, &[b'x'; 256])).fold(0, u64::max);
        let begun = Instant::now();
        host.inbox_grew(last);
        wait(|| host.list().iter().any(|bot| bot.events >= round * ROUND))?;
        spent += begun.elapsed();
    }
    let event_us = spent.as_secs_f64() * 1e6 / (rounds * ROUND) as f64;
    host.stop(Duration::from_secs(5));
    Ok(Place { start_ms, event_us, own_bytes })
}

fn wait(done: impl Fn() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !done() {
        if begun.elapsed() > PATIENCE {
            return Err("the bot didn't get there in a minute".to_owned());
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// The one process that a thread of this process has started.
fn child() -> Option<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?.flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok()?.split(' ').next()?.parse().ok())
        .next()
}

fn own(pid: u32) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss_Anon:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
}
