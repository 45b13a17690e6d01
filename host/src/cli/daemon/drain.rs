//! Waiting for the end of a node, and making it come in time.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{self, Signal, SignalKind};

use super::notify;
use super::start::Running;
use crate::cli::failure::Failure;

/// How long a node may take to drain and stop.
pub(in crate::cli) const DEADLINE: Duration = Duration::from_secs(5);

const NOTHING_LOST: &str = "Nothing acknowledged is lost.";

/// Which signals stop the node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signals {
    /// SIGTERM, SIGHUP, and Ctrl-C.
    All,
    /// SIGTERM and SIGHUP: at the prompt, Ctrl-C ends a command and not the node.
    NoInterrupt,
}

/// Signals that are listened for.
pub(super) struct Listening {
    terminate: Signal,
    hang_up: Signal,
    interrupt: Option<Signal>,
}

impl Signals {
    /// Listens from now on.
    pub(super) fn listen(self) -> io::Result<Listening> {
        let interrupt = match self {
            Self::All => Some(unix::signal(SignalKind::interrupt())?),
            Self::NoInterrupt => None,
        };
        Ok(Listening {
            terminate: unix::signal(SignalKind::terminate())?,
            hang_up: unix::signal(SignalKind::hangup())?,
            interrupt,
        })
    }
}

impl Listening {
    /// The next signal.
    pub(super) async fn next(&mut self) {
        let interrupt = async {
            match &mut self.interrupt {
                Some(interrupt) => _ = interrupt.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
            () = interrupt => {}
        }
    }
}

/// Returns when the node has stopped: by itself, through its API, or after a signal. A second signal ends it at once.
///
/// A node that has not stopped by the deadline after the first signal is given up.
pub(super) async fn until_stopped(
    mut running: Running,
    mut signal: impl AsyncFnMut(),
    deadline: Duration,
) -> Result<(), Failure> {
    tokio::select! {
        () = &mut running.stopped => return Ok(()),
        () = signal() => {}
    }
    tracing::info!("stopping; a second signal stops at once");
    notify::tell("STOPPING=1");
    tokio::select! {
        outcome = stop(running, deadline) => outcome,
        () = signal() => Err(Failure::new("interrupted", format!("The node was ended at once. {NOTHING_LOST}"))),
    }
}

/// Drains and stops a node, and gives it up at the deadline.
pub(super) async fn stop(running: Running, deadline: Duration) -> Result<(), Failure> {
    let Running { api, stopped, .. } = running;
    let drained = async {
        if let Err(error) = api.shutdown().await {
            tracing::warn!(%error, "the node did not take the order to stop");
        }
        stopped.await;
    };
    tokio::time::timeout(deadline, drained).await.map_err(|_| {
        let text = format!("The node did not stop within {} s and was ended. {NOTHING_LOST}", deadline.as_secs());
        Failure::new("not-drained", text)
    })
}
