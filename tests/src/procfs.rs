//! What Linux tells about a process: memory and CPU time.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Linux counts CPU time for programs in hundredths of a second (`USER_HZ`), whatever clock the kernel itself runs on.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time used so far, user and system together, at the resolution of the kernel's clock tick (10 ms).
pub fn cpu_time(pid: u32) -> Option<Duration> {
    cpu_time_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The same of each thread that runs now, by its number.
pub fn cpu_times_of_threads(pid: u32) -> Option<BTreeMap<u32, Duration>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let time = |task: fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?; // the thread may have ended by now
        Some((task.file_name().to_str()?.parse().ok()?, cpu_time_in(&stat)?))
    };
    Some(tasks.filter_map(time).collect())
}

fn cpu_time_in(stat: &str) -> Option<Duration> {
    // The name in brackets may hold spaces; utime and stime are the 12th and 13th field after it (proc(5)).
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    let (user, system) = (ticks.next()??, ticks.next()??);
    Some(Duration::from_millis((user + system) * (1000 / TICKS_PER_SECOND)))
}

/// Resident memory in bytes.
pub fn resident(pid: u32) -> Option<u64> {
    in_status(pid, "VmRSS:")
}

/// The most resident memory that it has had, in bytes.
pub fn peak(pid: u32) -> Option<u64> {
    in_status(pid, "VmHWM:")
}

fn in_status(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Open file handles.
pub fn open_files(pid: u32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_can_be_measured() {
        let me = std::process::id();
        assert!(resident(me).is_some_and(|bytes| bytes > 100_000));
        assert!(open_files(me).is_some_and(|count| count >= 3));
        assert!(cpu_time(me).is_some());
        assert!(cpu_time(u32::MAX).is_none());
        assert!(cpu_times_of_threads(me).is_some_and(|threads| threads.contains_key(&me)));
    }
}
