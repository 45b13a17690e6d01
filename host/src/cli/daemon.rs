//! The life of a node's process: `qpq up`, and the node that the REPL runs.

mod drain;
mod home;
pub(super) mod lock;
mod logs;
mod notify;
mod start;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::args::{LogStyle, UpArgs};
use super::failure::Failure;
use crate::config::{ClientsConfig, Config, Flag, Loaded, Sources};
use crate::control::quic::{self, ClientServer};
use crate::control::{self, Limits};
pub(super) use drain::DEADLINE;
use drain::Signals;
pub(super) use home::prepare as prepare_home;
use start::Running;

/// Where the log goes when the REPL has the terminal.
const LOG_NAME: &str = "node.log";

/// A log larger than this is put aside as `node.log.old` at the next start, in bytes.
const MAX_LOG_BYTES: u64 = 8 << 20;

/// Most worker threads of a node's runtime. Signatures and disk have threads of their own.
const MAX_WORKERS: usize = 4;

/// Runs a node in the foreground, until it is told to stop.
pub(super) fn run(home: &Path, up: &UpArgs) -> Result<(), Failure> {
    let prepared = Prepared::new(home, up, None)?;
    prepared.run(start::start, Signals::All, || {})
}

/// Runs a node for the REPL, which has the terminal. `ready` is called once clients can connect.
pub(super) fn run_behind(home: &Path, up: &UpArgs, ready: impl FnOnce()) -> Result<(), Failure> {
    let log = open_log(home)?;
    let prepared = Prepared::new(home, up, Some(log))?;
    prepared.run(start::start, Signals::NoInterrupt, ready)
}

fn open_log(home: &Path) -> Result<File, Failure> {
    home::prepare(home)?;
    let path = home.join(LOG_NAME);
    if path.metadata().is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
        let _ = std::fs::rename(&path, home.join(format!("{LOG_NAME}.old")));
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map_err(Failure::io)
}

/// The flags of `up` as configuration.
fn flags(up: &UpArgs) -> Vec<Flag> {
    let paths = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect();
    let log = up.log.map(|style| match style {
        LogStyle::Text => "text".to_owned(),
        LogStyle::Json => "json".to_owned(),
    });
    let given = [
        ("--listen", "listen", up.listen.clone()),
        ("--peer", "peers", up.peer.clone()),
        ("--scripts", "scripts.dirs", paths(&up.scripts)),
        ("--plugins", "plugins.dirs", paths(&up.plugins)),
        ("--log", "log.format", log.into_iter().collect()),
    ];
    let named = given.into_iter().filter(|(_, _, values)| !values.is_empty());
    let set = up.set.iter().map(|(key, value)| ("--set", key.as_str(), vec![value.clone()]));
    set.chain(named).map(|(flag, key, values)| Flag { flag: flag.to_owned(), key: key.to_owned(), values }).collect()
}

/// The configuration of a node that is started with these flags.
fn load(home: &Path, up: &UpArgs) -> Result<Loaded, Failure> {
    let sources = Sources { file: up.config.clone(), flags: flags(up), ..Sources::of_process(home.to_owned()) };
    Ok(sources.load()?)
}

/// A data directory that belongs to this process, and the configuration to start with.
struct Prepared {
    config: Config,
    lock: lock::Lock,
}

impl Prepared {
    fn new(home: &Path, up: &UpArgs, log: Option<File>) -> Result<Self, Failure> {
        let Loaded { config, warnings, .. } = load(home, up)?;
        home::prepare(home)?;
        let lock = lock::take(home)?;
        logs::init(&config.log, log);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(Self { config, lock })
    }

    fn run<F>(self, start: impl FnOnce(Config) -> F, signals: Signals, ready: impl FnOnce()) -> Result<(), Failure>
    where
        F: Future<Output = Result<Running, Failure>>,
    {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("qpq-node")
            .enable_all()
            .build()
            .map_err(Failure::io)?;
        let outcome = runtime.block_on(live(self.config, start, signals, ready));
        // What still runs after draining is stuck, and shall not keep the process.
        runtime.shutdown_background();
        drop(self.lock);
        outcome
    }
}

/// Starts, serves, waits for the end, and drains.
async fn live<F>(
    config: Config,
    start: impl FnOnce(Config) -> F,
    signals: Signals,
    ready: impl FnOnce(),
) -> Result<(), Failure>
where
    F: Future<Output = Result<Running, Failure>>,
{
    let mut signals = signals.listen().map_err(Failure::io)?;
    let home = config.home.clone();
    let limits = Limits {
        max_connections: config.control.max_connections,
        max_in_flight: config.control.max_in_flight,
        ..Limits::default()
    };
    let clients = config.clients.clone();
    let running = start(config).await?;
    let server = match control::serve(running.api.clone(), &home, limits) {
        Ok(server) => server,
        Err(error) => {
            drain::stop(running, DEADLINE).await.ok();
            return Err(Failure::new("control-socket", error.to_string()));
        }
    };
    let network = match serve_clients(&running, &clients, limits) {
        Ok(network) => network,
        Err(error) => {
            drain::stop(running, DEADLINE).await.ok();
            server.stop();
            return Err(Failure::new("clients", error.to_string()));
        }
    };
    notify::tell("READY=1\nSTATUS=Running");
    tracing::info!(home = %home.display(), pid = std::process::id(), "the node is ready");
    ready();
    let outcome = drain::until_stopped(running, async || signals.next().await, DEADLINE).await;
    drop(network);
    server.stop();
    match &outcome {
        Ok(()) => tracing::info!("the node has stopped"),
        Err(failure) => tracing::error!("{failure}"),
    }
    outcome
}

/// Serves clients over the network, where the configuration wants it.
fn serve_clients(
    running: &Running,
    config: &ClientsConfig,
    limits: Limits,
) -> Result<Option<ClientServer>, quic::ClientsError> {
    let Some(network) = running.network.clone().filter(|_| !config.listen.is_empty()) else {
        return Ok(None);
    };
    let limits = Limits { max_in_flight: config.max_in_flight, ..limits };
    let server = quic::serve_clients(network, config, limits)?;
    for address in server.addresses() {
        tracing::info!(%address, "clients are served over the network");
    }
    Ok(Some(server))
}
