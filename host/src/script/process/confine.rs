//! What a bot's process does to itself before it reads a line of the bot: it gives away all that it doesn't need.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use mlua::{Lua, LuaOptions, StdLib};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::super::budget::thread_cpu;
use super::super::limits::ScriptLimits;

#[cfg(target_os = "linux")]
mod filter;

/// Stack of the process, in bytes: Luau's parser and its C calls are bounded, this is well above both.
const STACK_BYTES: u64 = 8 << 20;
/// Memory of the program itself and of what passes through it, in bytes.
const BASE_BYTES: u64 = 24 << 20;
/// The store is held by the worker, and a copy of it passes through in frames.
const STORE_COPIES: u64 = 4;
/// What compiling takes, for each byte of source.
const SOURCE_COPIES: u64 = 48;

/// What an entry of a board takes, in bytes: twice what a board bounds itself to.
const BOARD_ENTRY_BYTES: u64 = 4 << 10;

/// Memory of its own that the process of a bot may take, in bytes: its machine's, its boards', and what the host needs
/// around them.
pub(super) fn data_bytes(limits: &ScriptLimits, source_bytes: usize) -> u64 {
    let times = |bytes: usize, times: u64| (bytes as u64).saturating_mul(times);
    let parts = [
        limits.memory_bytes as u64,
        times(limits.store_bytes, STORE_COPIES),
        times(limits.board_posts, BOARD_ENTRY_BYTES),
        times(source_bytes, SOURCE_COPIES),
    ];
    parts.into_iter().fold(BASE_BYTES, u64::saturating_add)
}

/// The descriptors of this process, where the system tells. Called once before anything is opened, it gives those that
/// were inherited.
pub(super) fn descriptors() -> Option<Vec<u32>> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    // The folder that is being read has one, too; it is gone when this returns.
    let all: Vec<u32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    Some(all.into_iter().filter(|fd| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok()).collect())
}

/// Bounds what the process may take, and ties its life to the host's. Before it reads anything of the bot.
pub(super) fn bound(data_bytes: u64) -> std::io::Result<()> {
    let fixed = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::Core, fixed(0))?;
    setrlimit(Resource::Fsize, fixed(0))?;
    setrlimit(Resource::Data, fixed(data_bytes))?;
    // Not everywhere may a process lower these two; the filter of system calls is what counts.
    let _ = setrlimit(Resource::Nproc, fixed(0));
    let _ = setrlimit(Resource::Stack, fixed(STACK_BYTES));
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal};
        set_parent_process_death_signal(Some(Signal::KILL))?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        rustix::thread::set_no_new_privs(true)?;
    }
    Ok(())
}

/// Has the libraries read what they read only once, while there still are files: the time zone, and where the kernel's
/// clocks are.
pub(super) fn read_ahead() {
    let _ = thread_cpu();
    let dates = |lua: Lua| lua.load("return os.date('%c'), os.date('!%c')").exec();
    let _ = Lua::new_with(StdLib::OS, LuaOptions::default()).and_then(dates);
}

/// Shuts the process off, for good: no new descriptors, no system calls but the few that a machine and its socket need,
/// and those on no descriptor that was `inherited`. `Some` says why the system calls are not bounded.
pub(super) fn shut(inherited: Option<&[u32]>) -> std::io::Result<Option<String>> {
    let own = inherited.zip(descriptors()).map(|(inherited, now)| {
        // 2 is the error output, for the last words of a panic.
        now.into_iter().filter(|fd| *fd == 2 || !inherited.contains(fd)).collect::<Vec<u32>>()
    });
    no_new_descriptors()?;
    #[cfg(target_os = "linux")]
    {
        Ok(filter::install(own.as_deref()).err())
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = own;
        Ok(Some("this system has no seccomp".to_owned()))
    }
}

/// Sets the limit to the lowest number that is free, so that none can be opened.
fn no_new_descriptors() -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    let (one, other) = UnixStream::pair()?;
    let free = one.as_fd().as_raw_fd().min(other.as_fd().as_raw_fd());
    let _ = one.shutdown(Shutdown::Both);
    let free = u64::try_from(free).unwrap_or(0);
    setrlimit(Resource::Nofile, Rlimit { current: Some(free), maximum: Some(free) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_memory_follows_from_what_the_bot_may_have() {
        let limits =
            ScriptLimits { memory_bytes: 16 << 20, store_bytes: 1 << 20, board_posts: 1_024, ..Default::default() };
        assert_eq!(data_bytes(&limits, 0), (24 + 16 + 4 + 4) << 20);
        let huge = ScriptLimits { memory_bytes: usize::MAX, store_bytes: usize::MAX, ..limits };
        assert_eq!(data_bytes(&huge, usize::MAX), u64::MAX);
    }
}
