//! Starting a bot's process, and ending it.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::super::api::clean;
use super::BOT_ARGUMENT;

/// Of what a child writes to its error output, so much is kept, in bytes.
const WORDS_BYTES: u64 = 4_096;
/// How long the words of a dead child are waited for: they are in a buffer already.
const WORDS_WAIT: Duration = Duration::from_millis(200);
/// How long a process that has closed its socket may take to end by itself.
const LAST_MOMENT: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(2);

/// The program that runs bots, and what makes it do so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildProgram {
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments; the bot's name follows them, for people who list processes.
    pub arguments: Vec<OsString>,
}

impl Default for ChildProgram {
    /// This same program, also when its file was replaced since it started.
    fn default() -> Self {
        let image = Path::new("/proc/self/exe");
        let program = if image.exists() { Ok(image.to_owned()) } else { std::env::current_exe() };
        Self { program: program.unwrap_or_else(|_| PathBuf::from("qpq")), arguments: vec![BOT_ARGUMENT.into()] }
    }
}

/// A process, with the host's ends of its socket and of its error output.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    words: Option<UnixStream>,
}

impl Process {
    /// Starts the program with nothing but one end of a socket.
    ///
    /// The system ends the process with the thread that called this, so that none outlives a node that was killed.
    pub(super) fn start(program: &ChildProgram, name: &str) -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let (words, said) = UnixStream::pair()?;
        said.set_nonblocking(true)?; // nobody reads it before the end, and nothing shall wait for room
        let mut command = Command::new(&program.program);
        command.arg0("qpq").args(&program.arguments).arg(name).env_clear().current_dir("/");
        command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(OwnedFd::from(said)));
        let child = command.spawn()?;
        Ok((Self { child, words: Some(words) }, ours))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process at once; [`Process::reap`] must follow.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill(); // one that has ended already can't be killed
    }

    /// Waits for the end of a process that was killed or has closed its socket, and says how it ended. Blocks for a
    /// moment; one that lingers is killed.
    pub(super) fn reap(mut self) -> io::Result<Ended> {
        let until = Instant::now() + LAST_MOMENT;
        let mut hung_up = false;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() >= until => {
                    hung_up = true;
                    self.kill();
                    break self.child.wait()?;
                }
                None => std::thread::sleep(POLL),
            }
        };
        let words = self.words.take().map(read_words).unwrap_or_default();
        Ok(Ended { status, hung_up, words })
    }
}

impl Drop for Process {
    /// No process is left behind, and no dead one unburied.
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

fn read_words(words: UnixStream) -> String {
    let mut bytes = Vec::new();
    // What was written before the end is there; the other end is closed.
    let _ = words.set_read_timeout(Some(WORDS_WAIT));
    let _ = words.take(WORDS_BYTES).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How a process ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub status: ExitStatus,
    /// It had closed its socket and lived on, and was killed for it.
    pub hung_up: bool,
    /// What it wrote to its error output: a panic's message, for one.
    pub words: String,
}

impl Ended {
    /// The reason in words for the admin.
    pub(super) fn explain(&self) -> String {
        let how = match self.status.signal() {
            _ if self.hung_up => "hung up and was killed".to_owned(),
            Some(signal) if signal == Signal::SYS.as_raw() => "made a system call that no bot may make".to_owned(),
            Some(signal) if signal == Signal::KILL.as_raw() => "was killed from outside".to_owned(),
            Some(signal) if signal == Signal::ABORT.as_raw() => "gave up".to_owned(),
            Some(signal) => format!("crashed (signal {signal})"),
            None => format!("ended ({})", self.status),
        };
        let words = clean(self.words.trim(), 500);
        if words.is_empty() { format!("its process {how}") } else { format!("its process {how}: {words}") }
    }
}
