//! A community's relay as its admin runs it: a real `qpq-relay` process in a network namespace.

use std::fs::OpenOptions;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Failure, Outcome, binaries, poll};

/// A relay with an authority and a certificate of its own. Killed, and its files removed, when dropped.
#[derive(Debug)]
pub struct Relay {
    files: TempDir,
    namespace: String,
    host: String,
    process: Option<Child>,
}

impl Relay {
    /// Makes everything with `qpq-relay init` and starts it in a namespace, at an address of that namespace.
    pub fn start_in(namespace: &str, address: &str) -> Outcome<Self> {
        let files = tempfile::Builder::new().prefix("qpq-relay-").tempdir()?;
        let mut relay = Self { files, namespace: namespace.to_owned(), host: address.to_owned(), process: None };
        let made = relay.command()?.arg("init").arg(relay.folder()).args(["--host", address]).output()?;
        if !made.status.success() {
            return Err(Failure::new(format!("qpq-relay init: {}", String::from_utf8_lossy(&made.stderr))));
        }
        relay.start()?;
        Ok(relay)
    }

    /// Starts it, and waits until it is ready.
    pub fn start(&mut self) -> Outcome {
        let notify_path = self.files.path().join("notify");
        let _ = std::fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path)?;
        notify.set_read_timeout(Some(Duration::from_millis(50)))?;
        let log = OpenOptions::new().create(true).append(true).open(self.files.path().join("log"))?;
        let mut command = self.command()?;
        command.arg("run").arg("--config").arg(self.folder().join("relay.toml")).env("NOTIFY_SOCKET", &notify_path);
        self.process = Some(command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log).spawn()?);
        poll::until("the relay is ready", || Ok(notify.recv(&mut [0; 64]).ok()))
            .map(drop)
            .map_err(|failure| Failure::new(format!("{failure}\n{}", self.log())))
    }

    /// Kills it at once, as `kill -9` does.
    pub fn kill(&mut self) -> Outcome {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Everything it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }

    /// How nodes reach it.
    pub fn url(&self) -> String {
        format!("https://{}", self.host)
    }

    /// The lines that a node's configuration needs to use it with transport-iroh.
    pub fn node_config(&self) -> String {
        let ca = self.folder().join("ca/ca.pem");
        format!("[plugins.transport-iroh]\nrelays = [\"{}\"]\nrelay_ca = [\"{}\"]\n", self.url(), ca.display())
    }

    fn folder(&self) -> PathBuf {
        self.files.path().join("relay")
    }

    fn command(&self) -> Outcome<Command> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(binaries::relay()?);
        Ok(command)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
