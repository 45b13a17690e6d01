//! The plugin as the host sees it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use qpq_plugin_api::{Error, FrameBatch, Host, Op, Plugin, Status, Transport};
use qpq_quic_common::{FAREWELL, LINGER, Runtime, Threads};
use serde_json::Value;

use crate::accept::listen;
use crate::config::Config;
use crate::dial::dial;
use crate::engine::Engine;
use crate::error::{self, End};
use crate::limits::{BLOCKING_THREADS, STACK};
use crate::watch::{go_online, sweep};

/// The iroh transport.
#[derive(Debug)]
pub struct IrohTransport {
    engine: Arc<Engine>,
    runtime: Runtime,
}

impl IrohTransport {
    /// Runs `work` with the engine and answers `op` with what comes of it.
    fn answer<W>(&self, op: Op, work: impl FnOnce(Arc<Engine>, u64) -> W)
    where
        W: Future<Output = Result<String, error::Error>> + Send + 'static,
    {
        let work = work(self.engine.clone(), op.id());
        self.runtime.answer(op, async move { work.await.map_err(Error::from) });
    }
}

impl Plugin for IrohTransport {
    fn create(host: Host, _instance: &str, config: Value) -> Result<Self, Error> {
        let config = Config::from_json(config).map_err(Error::invalid)?;
        let engine = Arc::new(Engine::new(host, config)?);
        Ok(Self { engine, runtime: Runtime::new(host) })
    }

    fn start(&self, op: Op) {
        match self.engine.identity.secret() {
            Ok(secret) => self.engine.net.set_key(&secret),
            Err(error) => return op.fail(&no_key(error)),
        }
        let workers = self.engine.config.worker_threads;
        let threads = Threads { name: "qpq-iroh", workers, blocking: BLOCKING_THREADS, stack: STACK };
        if let Err(error) = self.runtime.start(&threads) {
            return op.fail(&error);
        }
        self.runtime.spawn(sweep(self.engine.clone()));
        self.runtime.spawn(go_online(self.engine.clone()));
        op.ok();
    }

    fn quiesce(&self, op: Op, deadline: Duration) {
        // The rest of the time is for closing the sockets.
        let patience = deadline * 3 / 4;
        self.answer(op, |engine, _| async move {
            let late = engine.quiesce(patience).await;
            if late > 0 {
                engine.host.warn(format!("{late} links were cut off, because their peers took too long"));
            }
            Ok(String::new())
        });
    }

    fn stop(&self, deadline: Duration) -> Result<(), Error> {
        let begun = Instant::now();
        let engine = self.engine.clone();
        self.runtime.farewell(deadline, async move {
            engine.quiesce(FAREWELL / 2).await;
        });
        self.runtime.stop(deadline.saturating_sub(begun.elapsed()));
        Ok(())
    }
}

impl Transport for IrohTransport {
    fn listen(&self, op: Op, uri: &str) {
        let uri = uri.to_owned();
        self.answer(op, |engine, _| async move { listen(engine, &uri).await });
    }

    fn dial(&self, op: Op, uri: &str, peer: Option<[u8; 32]>) {
        let uri = uri.to_owned();
        self.answer(op, |engine, op| async move {
            let dialled = dial(engine.clone(), &uri, peer, op).await;
            dialled.map(|()| String::new()).inspect_err(|_| engine.counters.dials_failed.one())
        });
    }

    fn close(&self, link: u64, reason: &str) {
        if let Some(link) = self.engine.links.table.get(link) {
            link.flow.ask_end(End::Closed(reason.to_owned()), LINGER);
        }
    }

    fn send(&self, frames: &mut FrameBatch<'_>) {
        match frames.link().and_then(|link| self.engine.links.table.get(link)) {
            Some(link) => link.flow.outbox.accept(frames),
            None => while frames.pop().is_some() {},
        }
    }

    fn resume(&self, link: u64) {
        if let Some(link) = self.engine.links.table.get(link) {
            link.flow.resume();
        }
    }

    fn stats(&self) -> Value {
        self.engine.stats()
    }
}

/// Why there is no key, with the remedy.
fn no_key(error: Error) -> Error {
    if error.status != Status::REFUSED {
        return error;
    }
    let why = "iroh signs with the node's own key, and the node keeps it from this plugin: add transport-iroh to \
               plugins.trusted_with_key in the configuration, if you trust the plugin as much as qpq itself";
    Error::new(Status::REFUSED, why)
}

impl From<error::Error> for Error {
    fn from(error: error::Error) -> Self {
        use error::Error as Cause;
        let status = match &error {
            Cause::Uri { .. } | Cause::OtherPeer | Cause::Myself | Cause::RelayOnly => Status::INVALID,
            Cause::NoAddress(_) => Status::NOT_FOUND,
            Cause::WrongPeer(_) | Cause::ForeignRelay(_) | Cause::Ended(End::Closed(_) | End::PeerClosed(..)) => {
                Status::REFUSED
            }
            Cause::Timeout => Status::TIMEOUT,
            Cause::TooManyLinks(_) | Cause::TooManySockets | Cause::Ended(End::Busy) => Status::BUSY,
            Cause::Ended(_) => Status::UNREACHABLE,
            Cause::Stopping => Status::CLOSED,
            Cause::Bind { .. } | Cause::Setup(_) => Status::FAILED,
        };
        Self::new(status, error.to_string())
    }
}
