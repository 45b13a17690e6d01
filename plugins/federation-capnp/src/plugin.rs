//! The plugin as the host sees it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use qpq_plugin_api::{Error, FrameBatch, Host, Op, Plugin, Status, Transport};
use serde_json::Value;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::accept::listen;
use crate::config::Config;
use crate::dial::dial;
use crate::engine::Engine;
use crate::error::{self, End};
use crate::limits::{BLOCKING_THREADS, LINGER, STACK};
use crate::tasks;

/// How much of a `stop` may go into telling the peers.
const FAREWELL: Duration = Duration::from_millis(200);

/// The transport between domains.
#[derive(Debug)]
pub struct FederationCapnp {
    engine: Arc<Engine>,
    /// Where tasks run, from `start` on.
    handle: OnceLock<Handle>,
    /// Until `stop`.
    runtime: Mutex<Option<Runtime>>,
}

impl FederationCapnp {
    /// Runs `work` with the engine and answers `op` with what comes of it.
    fn answer<W>(&self, op: Op, work: impl FnOnce(Arc<Engine>, u64) -> W)
    where
        W: Future<Output = Result<String, error::Error>> + Send + 'static,
    {
        if let Err(stopping) = self.engine.check_running() {
            return op.fail(&stopping.into());
        }
        let Some(handle) = self.handle.get() else {
            return op.fail(&Error::new(Status::CLOSED, "the federation was not started"));
        };
        let work = work(self.engine.clone(), op.id());
        tasks::spawn(handle, self.engine.host, async move { op.done(work.await.map_err(Error::from)) });
    }
}

impl Plugin for FederationCapnp {
    fn create(host: Host, _instance: &str, config: Value) -> Result<Self, Error> {
        let config = Config::from_json(config).map_err(Error::invalid)?;
        let engine = Arc::new(Engine::new(host, config)?);
        Ok(Self { engine, handle: OnceLock::new(), runtime: Mutex::new(None) })
    }

    fn start(&self, op: Op) {
        if let Err(error) = self.engine.start() {
            return op.fail(&error);
        }
        let built = Builder::new_multi_thread()
            .worker_threads(self.engine.config.worker_threads)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_stack_size(STACK)
            .thread_name("qpq-fed-net")
            .enable_all()
            .build();
        let runtime = match built {
            Ok(runtime) => runtime,
            Err(error) => return op.fail(&Error::failed(format!("no threads could be started: {error}"))),
        };
        tasks::spawn(runtime.handle(), self.engine.host, self.engine.clone().watch_certificates());
        let _ = self.handle.set(runtime.handle().clone());
        *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime);
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
            if let Err(error) = engine.endpoints.make_way() {
                engine.host.debug(format!("the ports are free only after the stop: {error}"));
            }
            Ok(String::new())
        });
    }

    fn stop(&self, deadline: Duration) -> Result<(), Error> {
        let begun = Instant::now();
        let left = || deadline.saturating_sub(begun.elapsed());
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = &runtime {
            let (told, all_told) = mpsc::channel();
            let engine = self.engine.clone();
            tasks::spawn(runtime.handle(), self.engine.host, async move {
                engine.drain(FAREWELL / 2).await;
                engine.endpoints.close().await;
                let _ = told.send(());
            });
            let _ = all_told.recv_timeout(FAREWELL.min(deadline / 4));
        }
        let ended = self.engine.rpc().map_or(true, |rpc| rpc.stop(left()));
        if let Some(runtime) = runtime {
            runtime.shutdown_timeout(left());
        }
        match self.engine.lookups() {
            0 if ended => Ok(()),
            0 => Err(Error::new(Status::TIMEOUT, "the thread that speaks Cap'n Proto did not end in time")),
            n => Err(Error::new(Status::TIMEOUT, format!("{n} name look-ups still hold their threads"))),
        }
    }
}

impl Transport for FederationCapnp {
    fn listen(&self, op: Op, uri: &str) {
        let uri = uri.to_owned();
        self.answer(op, |engine, _| async move { listen(engine, &uri).await });
    }

    /// A key is not checked here: the certificate proves a domain, and the host proves the key over the link.
    fn dial(&self, op: Op, uri: &str, _peer: Option<[u8; 32]>) {
        let uri = uri.to_owned();
        self.answer(op, |engine, op| async move { dial(engine, &uri, op).await.map(|()| String::new()) });
    }

    fn close(&self, link: u64, reason: &str) {
        if let Some(link) = self.engine.links.get(link) {
            link.ask_end(End::Closed(reason.to_owned()), LINGER);
        }
    }

    fn send(&self, frames: &mut FrameBatch<'_>) {
        match frames.link().and_then(|link| self.engine.links.get(link)) {
            Some(link) => link.outbox.accept(frames),
            None => while frames.pop().is_some() {},
        }
    }

    fn resume(&self, link: u64) {
        if let Some(link) = self.engine.links.get(link) {
            link.resume();
        }
    }

    fn stats(&self) -> Value {
        self.engine.stats()
    }
}
