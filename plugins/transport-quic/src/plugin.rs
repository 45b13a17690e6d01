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
use crate::error::{self, End, code};
use crate::limits::{LOOKUP_THREADS, STACK};
use crate::tls::Key;

/// The QUIC transport.
#[derive(Debug)]
pub struct QuicTransport {
    engine: Arc<Engine>,
    runtime: Runtime,
}

impl QuicTransport {
    /// Runs `work` with the engine and answers `op` with what comes of it.
    fn answer<W>(&self, op: Op, work: impl FnOnce(Arc<Engine>, u64) -> W)
    where
        W: Future<Output = Result<String, error::Error>> + Send + 'static,
    {
        if let Err(stopping) = self.engine.check_running() {
            return op.fail(&stopping.into());
        }
        let work = work(self.engine.clone(), op.id());
        self.runtime.answer(op, async move { work.await.map_err(Error::from) });
    }
}

impl Plugin for QuicTransport {
    fn create(host: Host, _instance: &str, config: Value) -> Result<Self, Error> {
        let config = Config::from_json(config).map_err(Error::invalid)?;
        let engine = Arc::new(Engine::new(host, config)?);
        Ok(Self { engine, runtime: Runtime::new(host) })
    }

    fn start(&self, op: Op) {
        let workers = self.engine.config.worker_threads;
        let threads = Threads { name: "qpq-quic", workers, blocking: LOOKUP_THREADS, stack: STACK };
        if let Err(error) = self.runtime.start(&threads) {
            return op.fail(&error);
        }
        self.runtime.spawn(self.engine.clone().sweep());
        op.ok();
    }

    fn quiesce(&self, op: Op, deadline: Duration) {
        // A link that is late ends by its own patience, a little later.
        let patience = deadline * 3 / 4;
        self.answer(op, |engine, _| async move {
            let late = engine.drain(patience).await;
            if late > 0 {
                engine.host.warn(format!("{late} links were cut off, because their peers took too long"));
            }
            if let Err(error) = engine.endpoints.ports.make_way() {
                engine.host.debug(format!("the ports are free only after the stop: {error}"));
            }
            Ok(String::new())
        });
    }

    fn stop(&self, deadline: Duration) -> Result<(), Error> {
        let begun = Instant::now();
        let engine = self.engine.clone();
        self.runtime.farewell(deadline, async move {
            engine.drain(FAREWELL / 2).await;
            engine.endpoints.ports.close(code::GOING, b"quiesced").await;
        });
        self.runtime.stop(deadline.saturating_sub(begun.elapsed()));
        match self.engine.lookups.under_way() {
            0 => Ok(()),
            n => Err(Error::new(Status::TIMEOUT, format!("{n} name look-ups still hold their threads"))),
        }
    }
}

impl Transport for QuicTransport {
    fn listen(&self, op: Op, uri: &str) {
        let uri = uri.to_owned();
        self.answer(op, |engine, _| async move { listen(engine, &uri).await });
    }

    fn dial(&self, op: Op, uri: &str, peer: Option<Key>) {
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

impl From<error::Error> for Error {
    fn from(error: error::Error) -> Self {
        use error::Error as Cause;
        let status = match &error {
            Cause::Uri { .. } => Status::INVALID,
            Cause::Resolve { .. } => Status::NOT_FOUND,
            Cause::WrongPeer { .. } | Cause::Ended(End::Closed(_) | End::PeerClosed(..)) => Status::REFUSED,
            Cause::Timeout => Status::TIMEOUT,
            Cause::TooManyLinks(_) | Cause::Ended(End::Busy) => Status::BUSY,
            Cause::Ended(_) => Status::UNREACHABLE,
            Cause::Stopping => Status::CLOSED,
            Cause::Bind { .. } | Cause::Setup(_) => Status::FAILED,
        };
        Self::new(status, error.to_string())
    }
}
