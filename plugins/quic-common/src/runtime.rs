//! The threads of an instance.

use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use qpq_plugin_api::{Error, Host, Op, Status, guarded};
use tokio::runtime::{Builder, Handle};

/// How much of a `stop` may go into telling the peers.
pub const FAREWELL: Duration = Duration::from_millis(200);

/// Which threads an instance has.
#[derive(Debug, Clone, Copy)]
pub struct Threads {
    /// What their names begin with.
    pub name: &'static str,
    /// Threads that do the network work.
    pub workers: usize,
    /// Threads for calls that block, at most. They exist only while they are needed.
    pub blocking: usize,
    /// Stack of each in bytes.
    pub stack: usize,
}

/// Runs `task` on that runtime. A panic in it is reported to the host, which then starts a new instance.
pub fn spawn(runtime: &Handle, host: Host, task: impl Future<Output = ()> + Send + 'static) {
    drop(runtime.spawn(guarded(host, task)));
}

/// The runtime of an instance, from `start` to `stop`.
#[derive(Debug)]
pub struct Runtime {
    host: Host,
    /// Where tasks run, from `start` on.
    handle: OnceLock<Handle>,
    /// Until `stop`.
    running: Mutex<Option<tokio::runtime::Runtime>>,
}

impl Runtime {
    /// No threads yet.
    pub fn new(host: Host) -> Self {
        Self { host, handle: OnceLock::new(), running: Mutex::new(None) }
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// When the system has no threads to give.
    pub fn start(&self, threads: &Threads) -> Result<(), Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.workers)
            .max_blocking_threads(threads.blocking)
            .thread_stack_size(threads.stack)
            .thread_name(threads.name)
            .enable_all()
            .build()
            .map_err(|error| Error::failed(format!("no threads could be started: {error}")))?;
        let _ = self.handle.set(runtime.handle().clone());
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime);
        Ok(())
    }

    /// Runs a task, once the threads were started.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(handle) = self.handle.get() {
            spawn(handle, self.host, task);
        }
    }

    /// Answers `op` with what comes of `work`.
    pub fn answer(&self, op: Op, work: impl Future<Output = Result<String, Error>> + Send + 'static) {
        if self.handle.get().is_none() {
            return op.fail(&Error::new(Status::CLOSED, "the plugin was not started"));
        }
        self.spawn(async move { op.done(work.await) });
    }

    /// The last work before [`Self::stop`], such as telling the peers. Waits for it for a quarter of `deadline`, and no
    /// longer than [`FAREWELL`].
    pub fn farewell(&self, deadline: Duration, last: impl Future<Output = ()> + Send + 'static) {
        if self.running.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return;
        }
        let (told, all_told) = mpsc::channel();
        self.spawn(async move {
            last.await;
            let _ = told.send(());
        });
        let _ = all_told.recv_timeout(FAREWELL.min(deadline / 4));
    }

    /// Drops every task and joins every thread, within `deadline`. A thread in a call that blocks is left behind then.
    pub fn stop(&self, deadline: Duration) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = running {
            runtime.shutdown_timeout(deadline);
        }
    }
}
