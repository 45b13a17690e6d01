//! Tries from inside what a bot's process must not do: it is started and shut off as one, and then does its worst.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use bytes::BytesMut;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use serde::{Deserialize, Serialize};

use super::spawn::{ChildProgram, Process};
use super::wire::{self, BadFrame, ToChild};
use super::{PROBE_ARGUMENT, confine};

/// Memory of its own that a probe may take, in bytes.
const DATA_BYTES: u64 = 64 << 20;

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The signal that ended it; 31 is the system's for a call that is not allowed.
    pub signal: Option<i32>,
    /// Its last words.
    pub words: String,
    /// What it found once it was shut off, if it came so far.
    pub found: Option<Found>,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Why its system calls are not bounded, where they aren't.
    pub without_seccomp: Option<String>,
    /// How many variables its environment has.
    pub variables: usize,
    /// Its working directory.
    pub directory: String,
    /// What its descriptors are, as the system names them, when nothing was opened yet.
    pub descriptors: Vec<String>,
    /// What it tried, and what came of it.
    pub outcome: String,
}

/// Has `program` try one thing in a process like a bot's: `nothing`, `read`, `write`, `list`, `socket`, `exec`, `thread`,
/// `signal`, `memory`, `shared` or `stack`. Blocks until it has ended.
pub fn probe(program: &Path, what: &str) -> io::Result<Probed> {
    probe_with(&ChildProgram { program: program.to_owned(), arguments: vec![PROBE_ARGUMENT.into()] }, what)
}

pub(crate) fn probe_with(program: &ChildProgram, what: &str) -> io::Result<Probed> {
    let (process, mut socket) = Process::start(program, what)?;
    let mut first = BytesMut::new();
    wire::put(&mut first, &ToChild::Confine { data_bytes: DATA_BYTES })
        .map_err(|BadFrame(why)| io::Error::other(why))?;
    socket.write_all(&first)?;
    let mut said = Vec::new();
    let _ = socket.read_to_end(&mut said); // it may end in the middle of a word
    let ended = process.reap()?;
    Ok(Probed { signal: ended.status.signal(), words: ended.words, found: serde_json::from_slice(&said).ok() })
}

/// The probe itself.
pub(super) fn main(what: &OsStr) {
    let directory = std::env::current_dir().map_or_else(|error| error.to_string(), |dir| dir.display().to_string());
    let variables = std::env::vars_os().count();
    let descriptors = confine::descriptors().unwrap_or_default();
    let named = |fd: &u32| std::fs::read_link(format!("/proc/self/fd/{fd}")).map(|to| to.display().to_string());
    let descriptors_named = descriptors.iter().flat_map(named).collect();
    let done = shut_off(&descriptors).and_then(|(mut socket, without_seccomp)| {
        let outcome =
            attempt(&what.to_string_lossy()).map_or_else(|error| format!("refused: {error}"), |()| "done".to_owned());
        let found = Found { without_seccomp, variables, directory, descriptors: descriptors_named, outcome };
        socket.write_all(&serde_json::to_vec(&found)?)
    });
    if let Err(error) = done {
        let _ = writeln!(io::stderr(), "{error}");
    }
}

fn shut_off(inherited: &[u32]) -> io::Result<(UnixStream, Option<String>)> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut chunk = [0; 64];
    let _ = socket.read(&mut chunk)?; // the bound, which it knows
    confine::bound(DATA_BYTES)?;
    confine::read_ahead();
    let without_seccomp = confine::shut(Some(inherited))?;
    Ok((socket, without_seccomp))
}

fn attempt(what: &str) -> io::Result<()> {
    match what {
        "read" => std::fs::read("/etc/passwd").map(drop),
        "write" => std::fs::write("/tmp/qpq-bot-was-here", "x"),
        "list" => std::fs::read_dir("/").map(drop),
        "socket" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "exec" => Command::new("/bin/true").status().map(drop),
        "thread" => std::thread::Builder::new().spawn(|| ()).map(drop),
        "signal" => signal_the_host(),
        "memory" => {
            let mut all = Vec::new();
            // More than it may have, touched page by page.
            (0..DATA_BYTES / 4_096).for_each(|_| all.push(vec![1u8; 4_096]));
            Ok(())
        }
        "shared" => map(MapFlags::SHARED),
        "stack" => map(MapFlags::PRIVATE | MapFlags::GROWSDOWN),
        _ => Ok(()),
    }
}

/// Memory that the system might not count as the process's own.
#[allow(unsafe_code, reason = "asks the system for memory past the allocator, as an attack would")]
fn map(flags: MapFlags) -> io::Result<()> {
    // SAFETY: the system picks the place, and nothing uses it.
    unsafe { mmap_anonymous(std::ptr::null_mut(), 4_096, ProtFlags::READ | ProtFlags::WRITE, flags) }?;
    Ok(())
}

fn signal_the_host() -> io::Result<()> {
    use rustix::process::{getppid, kill_process};
    let host = getppid().ok_or_else(|| io::Error::other("no parent"))?;
    // A stop, not an end: if it came through, the test would see it hang and not die.
    Ok(kill_process(host, rustix::process::Signal::WINCH)?)
}
