//! What this process holds: threads, file handles, memory. Where there is no `/proc`, nothing is known.

use std::fs;
use std::time::{Duration, Instant};

/// How long a thread that was joined may still be listed by the system, and a closed file handle too.
const SETTLE: Duration = Duration::from_secs(3);

/// How many threads run.
pub(super) fn threads() -> Option<usize> {
    Some(fs::read_dir("/proc/self/task").ok()?.count())
}

/// The names of the threads.
pub(super) fn thread_names() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim().to_owned())
        .collect()
}

/// How many file handles are open.
pub(super) fn handles() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

/// Resident memory in bytes.
pub(super) fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// Waits until `count` is no more than `most`; returns what it is then.
pub(super) fn settle(count: impl Fn() -> Option<usize>, most: usize) -> usize {
    let end = Instant::now() + SETTLE;
    loop {
        let now = count().unwrap_or(0);
        if now <= most || Instant::now() > end {
            return now;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
