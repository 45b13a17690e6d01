//! The plugin as the host sees it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use qpq_plugin_api::{Error, FrameBatch, Host, Op, Plugin, Status, Transport};
use serde_json::Value;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::accept::listen;
use crate::config::Config;
use crate::dial::dial;
use crate::engine::Engine;
use crate::error::{self, End};
use crate::limits::{LINGER, LOOKUP_THREADS, STACK};
use crate::tasks;
use crate::tls::Key;

/// How much of a `stop` may go into telling the peers.
const FAREWELL: Duration = Duration::from_millis(200);

/// The QUIC transport.
#[derive(Debug)]
pub struct QuicTransport {
    engine: Arc<Engine>,
    /// Where tasks run, from `start` on.
    handle: OnceLock<Handle>,
    /// Until `quiesce` or `stop`.
    runtime: Mutex<Option<Runtime>>,
    /// The thread that drains and then ends the runtime, from `quiesce` to `stop`.
    drain: Mutex<Option<JoinHandle<()>>>,
}

impl QuicTransport {
    /// Runs `work` with the engine and answers `op` with what comes of it.
    fn answer<W>(&self, op: Op, work: impl FnOnce(Arc<Engine>, u64) -> W)
    where
        W: Future<Output = Result<String, error::Error>> + Send + 'static,
    {
        if let Err(stopping) = self.engine.check_running() {
            return op.fail(&stopping.into()); // the tasks of an ended runtime would answer nothing
        }
        let Some(handle) = self.handle.get() else {
            return op.fail(&Error::new(Status::CLOSED, "the transport was not started"));
        };
        let work = work(self.engine.clone(), op.id());
        tasks::spawn(handle, self.engine.host, async move { op.done(work.await.map_err(Error::from)) });
    }
}

impl QuicTransport {
    fn lookups_done(&self) -> Result<(), Error> {
        match self.engine.lookups() {
            0 => Ok(()),
            n => Err(Error::new(Status::TIMEOUT, format!("{n} name look-ups still hold their threads"))),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plugin for QuicTransport {
    fn create(host: Host, _instance: &str, config: Value) -> Result<Self, Error> {
        let config = Config::from_json(config).map_err(Error::invalid)?;
        let engine = Arc::new(Engine::new(host, config)?);
        Ok(Self { engine, handle: OnceLock::new(), runtime: Mutex::new(None), drain: Mutex::new(None) })
    }

    fn start(&self, op: Op) {
        let built = Builder::new_multi_thread()
            .worker_threads(self.engine.config.worker_threads)
            .max_blocking_threads(LOOKUP_THREADS)
            .thread_stack_size(STACK)
            .thread_name("qpq-quic")
            .enable_all()
            .build();
        let runtime = match built {
            Ok(runtime) => runtime,
            Err(error) => return op.fail(&Error::failed(format!("no threads could be started: {error}"))),
        };
        tasks::spawn(runtime.handle(), self.engine.host, self.engine.clone().sweep());
        let _ = self.handle.set(runtime.handle().clone());
        *lock(&self.runtime) = Some(runtime);
        op.ok();
    }

    fn quiesce(&self, op: Op, deadline: Duration) {
        let Some(runtime) = lock(&self.runtime).take() else { return op.ok() };
        // The rest of the time is for closing the sockets.
        let patience = deadline * 3 / 4;
        let engine = self.engine.clone();
        // Not a task: the sockets are closed for certain, and the port is free, once the runtime has ended.
        let drain = thread::Builder::new().name("qpq-quic-drain".to_owned()).spawn(move || {
            let late = runtime.block_on(engine.quiesce(patience));
            if late > 0 {
                engine.host.warn(format!("{late} links were cut off, because their peers took too long"));
            }
            runtime.shutdown_timeout(deadline / 8);
            op.ok();
        });
        // Without a thread, the operation has answered itself as failed, and the runtime has ended.
        *lock(&self.drain) = drain.ok();
    }

    fn stop(&self, deadline: Duration) -> Result<(), Error> {
        if let Some(drain) = lock(&self.drain).take() {
            let _ = drain.join(); // has a deadline of its own; a panic in it is reported by its operation
        }
        let Some(runtime) = lock(&self.runtime).take() else { return self.lookups_done() };
        let begun = Instant::now();
        let (told, all_told) = mpsc::channel();
        let engine = self.engine.clone();
        tasks::spawn(runtime.handle(), self.engine.host, async move {
            engine.quiesce(FAREWELL / 2).await;
            let _ = told.send(());
        });
        let _ = all_told.recv_timeout(FAREWELL.min(deadline / 4));
        runtime.shutdown_timeout(deadline.saturating_sub(begun.elapsed()));
        self.lookups_done()
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
            dialled.map(|()| String::new()).inspect_err(|_| engine.counters.dial_failed())
        });
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
