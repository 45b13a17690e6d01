//! What a node shall be like, before it is started.

use std::ffi::OsString;
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use crate::{Outcome, TestNode};

/// The settings of a node under test.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub(super) name: String,
    pub(super) home: Option<PathBuf>,
    pub(super) listen: String,
    pub(super) peers: Vec<String>,
    pub(super) namespace: Option<String>,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    config: Option<String>,
    discovery: bool,
    bots: Vec<PathBuf>,
    scripts: Vec<(String, String)>,
}

impl Plan {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The name in the test.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Dials that address and keeps the link up.
    #[must_use]
    pub fn peer(mut self, address: impl Into<String>) -> Self {
        self.peers.push(address.into());
        self
    }

    /// Listens there instead of on a free loopback port.
    #[must_use]
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// Runs inside a network namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Uses a home that lies elsewhere and outlives the node.
    #[must_use]
    pub fn home(mut self, home: impl Into<PathBuf>) -> Self {
        self.home = Some(home.into());
        self
    }

    /// Writes that text as `qpq-server.toml` into the home.
    #[must_use]
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.config = Some(text.into());
        self
    }

    /// Loads the discovery plugin, as nodes do by default. Under test they don't: nodes of several tests would meet.
    #[must_use]
    pub fn discovery(mut self) -> Self {
        self.discovery = true;
        self
    }

    /// Copies a bot, a file or a folder, into the scripts folder of the home.
    #[must_use]
    pub fn bot(mut self, path: impl Into<PathBuf>) -> Self {
        self.bots.push(path.into());
        self
    }

    /// Writes a script of one file into the scripts folder of the home.
    #[must_use]
    pub fn script(mut self, file: &str, source: &str) -> Self {
        self.scripts.push((file.to_owned(), source.to_owned()));
        self
    }

    /// Passes one more argument to `qpq up`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable of the node and of its clients.
    #[must_use]
    pub fn environment(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    /// Makes the home. The node isn't started.
    pub fn prepare(mut self) -> Outcome<TestNode> {
        if self.listen.is_empty() {
            self.listen = format!("127.0.0.1:{}", free_port()?);
        }
        let names_plugins = self.config.as_ref().is_some_and(|text| text.contains("load ="));
        if !self.discovery && !names_plugins {
            self = self.environment("QPQ_PLUGINS_LOAD", "transport-quic,routing-babel");
        }
        let root = tempfile::Builder::new().prefix("qpq-").tempdir()?;
        let node = TestNode { plan: self, root, process: None };
        fs::create_dir_all(node.home().join("scripts"))?;
        if let Some(config) = &node.plan.config {
            fs::write(node.home().join("qpq-server.toml"), config)?;
        }
        for bot in &node.plan.bots {
            let name = bot.file_name().unwrap_or_default();
            copy(bot, &node.home().join("scripts").join(name))?;
        }
        for (file, source) in &node.plan.scripts {
            fs::write(node.home().join("scripts").join(file), source)?;
        }
        Ok(node)
    }

    /// Makes the home, starts the node and waits until it is ready.
    pub fn start(self) -> Outcome<TestNode> {
        let mut node = self.prepare()?;
        node.start()?;
        Ok(node)
    }
}

/// A UDP port of the loopback interface that is free now. A restarted node takes the same one again.
fn free_port() -> Outcome<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn copy(from: &Path, to: &Path) -> Outcome {
    if !from.is_dir() {
        fs::copy(from, to)?;
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
