//! One real `qpq` process with a home of its own.

mod client;
mod plan;

use std::fs::{self, File, OpenOptions};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use client::Output;
pub use plan::Plan;

use crate::{Failure, Outcome, binaries, poll};

/// How long a node may take to be ready. It takes well under a second; the bound is for crowded machines.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How many lines of a node's log a failure shows.
const LOG_TAIL: usize = 40;

/// A `qpq` process under test. Killed, and its home removed, when dropped.
#[derive(Debug)]
pub struct TestNode {
    plan: Plan,
    root: TempDir,
    process: Option<Child>,
}

impl TestNode {
    /// A node that listens on a free port of the loopback interface. Not started yet.
    pub fn plan(name: &str) -> Plan {
        Plan::new(name)
    }

    /// The name in the test.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// The data directory.
    pub fn home(&self) -> PathBuf {
        self.plan.home.clone().unwrap_or_else(|| self.root.path().join("home"))
    }

    /// Where it listens, as `host:port`.
    pub fn address(&self) -> &str {
        &self.plan.listen
    }

    /// The process id.
    pub fn pid(&self) -> Outcome<u32> {
        self.process.as_ref().map(Child::id).ok_or_else(|| self.failure("the node isn't running"))
    }

    /// Starts the process and waits until it is ready. Returns the time from exec to ready.
    pub fn start(&mut self) -> Outcome<Duration> {
        let began = Instant::now();
        let ready = self.spawn()?;
        self.wait_ready(&ready)?;
        Ok(began.elapsed())
    }

    /// Starts the process and waits for it to end by itself, which a refused start must do.
    pub fn start_refused(&mut self) -> Outcome<(ExitStatus, String)> {
        let _ready = self.spawn()?;
        let status = self.wait_end()?;
        Ok((status, self.log()))
    }

    /// Kills the process at once, as `kill -9` does.
    pub fn kill(&mut self) -> Outcome {
        if let Some(mut child) = self.process.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks the process to stop with SIGTERM, and waits until it has. Returns how it ended and how long it took.
    pub fn terminate(&mut self) -> Outcome<(ExitStatus, Duration)> {
        self.signal(Signal::TERM)?;
        self.wait_stopped()
    }

    /// Waits until the process has ended, by a signal or by itself. Returns how it ended and how long that took.
    pub fn wait_stopped(&mut self) -> Outcome<(ExitStatus, Duration)> {
        let began = Instant::now();
        let status = self.wait_end()?;
        Ok((status, began.elapsed()))
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) -> Outcome {
        let pid = Pid::from_raw(self.pid()?.cast_signed()).ok_or_else(|| self.failure("the node has no pid"))?;
        Ok(kill_process(pid, signal)?)
    }

    /// Whether the process runs.
    pub fn is_alive(&mut self) -> bool {
        self.process.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Everything that the process has written to its standard output and error, over all its starts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// A failure that shows the end of this node's log.
    pub fn failure(&self, text: &str) -> Failure {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_TAIL)..).unwrap_or_default().join("\n  | ");
        Failure::new(format!("node {}: {text}\n  | {tail}", self.name()))
    }

    fn log_path(&self) -> PathBuf {
        self.root.path().join("log")
    }

    /// Starts the process; the socket returned will hear when it is ready.
    fn spawn(&mut self) -> Outcome<UnixDatagram> {
        let notify_path = self.root.path().join("notify");
        let _ = fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path)?;
        notify.set_read_timeout(Some(Duration::from_millis(50)))?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        self.process = Some(self.command(log, &notify_path)?.spawn()?);
        Ok(notify)
    }

    fn command(&self, log: File, notify: &Path) -> Outcome<Command> {
        let mut command = self.qpq()?;
        command.arg("up").arg("--listen").arg(&self.plan.listen);
        for peer in &self.plan.peers {
            command.arg("--peer").arg(peer);
        }
        command.args(&self.plan.arguments).env("NOTIFY_SOCKET", notify);
        command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        Ok(command)
    }

    /// `qpq --home …`, in the namespace of the node, untouched by the environment of the tests.
    fn qpq(&self) -> Outcome<Command> {
        let qpq = binaries::qpq()?;
        let mut command = match &self.plan.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(qpq);
                command
            }
            None => Command::new(qpq),
        };
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("QPQ_")) {
            command.env_remove(key);
        }
        command.arg("--home").arg(self.home()).envs(self.plan.environment.iter().map(|(key, value)| (key, value)));
        Ok(command)
    }

    fn wait_ready(&mut self, notify: &UnixDatagram) -> Outcome {
        let mut buffer = [0; 512];
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            let length = notify.recv(&mut buffer).unwrap_or_default();
            let said = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
            if said.lines().any(|line| line == "READY=1") {
                return Ok(());
            }
            if !self.is_alive() {
                return Err(self.failure("ended instead of becoming ready"));
            }
        }
        Err(self.failure("was not ready in time"))
    }

    fn wait_end(&mut self) -> Outcome<ExitStatus> {
        let status =
            poll::until("the process ends", || Ok(self.process.as_mut().map(Child::try_wait).transpose()?.flatten()));
        let status = status.map_err(|failure| self.failure(&failure.to_string()))?;
        self.process = None;
        Ok(status)
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        // The process may have ended by itself, which is as good.
        let _ = self.kill();
        if std::thread::panicking() {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), self.failure("log").to_string().as_bytes());
        }
    }
}
