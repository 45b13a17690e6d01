//! The system calls of a bot's process: what a Lua machine with one socket needs.
//!
//! Two filters lie on top of each other, and the stricter answer counts. One refuses all but the short list, so that a C
//! library that asks for something unknown is told no and goes on. The other ends the process when it asks for what only
//! an attack asks for: sockets, other processes, the kernel's own machinery.

use seccompiler::{BpfMap, TargetArch, apply_filter, compile_from_json};
use serde_json::{Value, json};

/// Calls on the process's own descriptors; the descriptor is their first argument.
const ON_DESCRIPTORS: [&str; 8] =
    ["read", "write", "readv", "writev", "recvfrom", "sendto", "epoll_ctl", "epoll_pwait"];
/// Calls that are harmless whatever their arguments.
const HARMLESS: [&str; 27] = [
    "brk",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "exit",
    "exit_group",
    "futex",
    "getcpu",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "gettimeofday",
    "membarrier",
    "mremap",
    "munmap",
    "nanosleep",
    "ppoll",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "set_robust_list",
    "sigaltstack",
];
/// Calls that nobody makes by accident. Opening a file isn't among them: a C library that gives memory back may look into
/// `/proc`, and does without it when it is refused.
const ATTACKS: [&str; 57] = [
    "accept4",
    "add_key",
    "adjtimex",
    "bind",
    "bpf",
    "capset",
    "chroot",
    "clock_settime",
    "clone",
    "clone3",
    "connect",
    "delete_module",
    "execve",
    "execveat",
    "fanotify_init",
    "finit_module",
    "init_module",
    "inotify_init1",
    "io_setup",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "kcmp",
    "kexec_load",
    "keyctl",
    "listen",
    "linkat",
    "memfd_create",
    "mkdirat",
    "mknodat",
    "mount",
    "name_to_handle_at",
    "open_by_handle_at",
    "openat2",
    "perf_event_open",
    "pidfd_getfd",
    "pidfd_open",
    "pivot_root",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "reboot",
    "renameat2",
    "request_key",
    "setns",
    "setgid",
    "setuid",
    "shmget",
    "socket",
    "socketpair",
    "swapon",
    "symlinkat",
    "syslog",
    "umount2",
    "unlinkat",
    "unshare",
    "userfaultfd",
];

/// The bits of `mmap`'s flags that decide whether the memory counts for the bound of the process: `MAP_TYPE`,
/// `MAP_GROWSDOWN` and `MAP_HUGETLB`. Shared memory, stacks and huge pages don't, or not in each of its counters.
const KIND_OF_MEMORY: u64 = 0x0f | 0x100 | 0x4_0000;
/// `MAP_PRIVATE`, and none of the others.
const PRIVATE: u32 = 0x02;

/// The older names of the same calls, which newer architectures don't have.
fn older(arch: TargetArch) -> (&'static [&'static str], &'static [&'static str]) {
    match arch {
        TargetArch::x86_64 => {
            let attacks = &["creat", "fork", "link", "mkdir", "mknod", "rename", "symlink", "unlink", "vfork"];
            (&["poll", "time"], attacks)
        }
        TargetArch::aarch64 | TargetArch::riscv64 => (&[], &[]),
    }
}

/// Both filters in seccompiler's notation. `own` are the descriptors that may be used; any when it is `None`.
fn filters(arch: TargetArch, own: Option<&[u32]>, pid: u32) -> Value {
    const EXECUTABLE: u64 = 4; // PROT_EXEC
    const NO_PERMISSION: u32 = 1; // EPERM
    const FIRST_HARMFUL_ADVICE: u32 = 100; // MADV_HWPOISON
    let equals = |index: u8, value: u32| json!({ "index": index, "type": "dword", "op": "eq", "val": value });
    let no_code = json!({ "index": 2, "type": "dword", "op": { "masked_eq": EXECUTABLE }, "val": 0 });
    let counted = json!({ "index": 3, "type": "dword", "op": { "masked_eq": KIND_OF_MEMORY }, "val": PRIVATE });
    let (harmless, attacks) = older(arch);
    let mut allowed: Vec<Value> =
        HARMLESS.iter().chain(harmless).map(|syscall| json!({ "syscall": syscall })).collect();
    // Memory of its own that counts, never of a file, and never to be run as code.
    allowed.push(json!({ "syscall": "mmap", "args": [no_code, counted, equals(4, u32::MAX)] }));
    // Root's could take pages from the whole machine.
    let own_advice = json!({ "index": 2, "type": "dword", "op": "lt", "val": FIRST_HARMFUL_ADVICE });
    allowed.push(json!({ "syscall": "madvise", "args": [own_advice] }));
    allowed.push(json!({ "syscall": "mprotect", "args": [no_code] }));
    // A signal to itself, to give up.
    allowed.push(json!({ "syscall": "tgkill", "args": [equals(0, pid)] }));
    let waits: &[&str] = if arch == TargetArch::x86_64 { &["epoll_wait"] } else { &[] };
    for syscall in ON_DESCRIPTORS.iter().chain(waits) {
        match own {
            None => allowed.push(json!({ "syscall": syscall })),
            Some(own) => {
                allowed.extend(own.iter().map(|fd| json!({ "syscall": syscall, "args": [equals(0, *fd)] })));
            }
        }
    }
    let forbidden: Vec<Value> = ATTACKS.iter().chain(attacks).map(|syscall| json!({ "syscall": syscall })).collect();
    json!({
        "allowed": { "mismatch_action": { "errno": NO_PERMISSION }, "match_action": "allow", "filter": allowed },
        "forbidden": { "mismatch_action": "allow", "match_action": "kill_process", "filter": forbidden },
    })
}

fn compile(arch: TargetArch, own: Option<&[u32]>, pid: u32) -> Result<BpfMap, String> {
    compile_from_json(filters(arch, own, pid).to_string().as_bytes(), arch).map_err(|error| error.to_string())
}

/// Puts both filters in force on the calling thread, which must be the only one. Says why where it can't.
pub(super) fn install(own: Option<&[u32]>) -> Result<(), String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let filters = compile(arch, own, std::process::id())?;
    for name in ["forbidden", "allowed"] {
        let filter = filters.get(name).ok_or("a filter is missing")?;
        apply_filter(filter).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_are_made_for_every_architecture() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64, TargetArch::riscv64] {
            for own in [None, Some(&[2, 5, 6, 7, 8][..])] {
                let filters = compile(arch, own, 1).unwrap();
                assert!(filters.values().all(|filter| (60..4_096).contains(&filter.len())), "{arch:?}");
            }
        }
    }

    #[test]
    fn nothing_is_both_allowed_and_forbidden() {
        let allowed = HARMLESS.iter().chain(&ON_DESCRIPTORS);
        assert!(allowed.clone().all(|name| !ATTACKS.contains(name)));
    }
}
