//! What the node calls. No function here blocks: the work is done by tasks on the plugin's own runtime.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use qpq_plugin_api::{Error, FrameBatch, Host, Op, Plugin, Status, Transport};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;

use crate::config::Config;
use crate::shared::{SCHEME, Shared, spawn};

/// The transport.
pub struct Tcp {
    shared: Arc<Shared>,
    /// From `start` to `stop`.
    runtime: Mutex<Option<Runtime>>,
}

impl Tcp {
    fn handle(&self) -> Option<Handle> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|runtime| runtime.handle().clone())
    }

    /// Does the work on the runtime, and answers `op` with what comes of it.
    fn answer(&self, op: Op, work: impl Future<Output = Result<String, Error>> + Send + 'static) {
        match self.handle() {
            Some(handle) => spawn(&handle, self.shared.host, async move { op.done(work.await) }),
            None => op.fail(&Error::new(Status::CLOSED, "the transport was not started")),
        }
    }
}

impl Plugin for Tcp {
    fn create(host: Host, _instance: &str, config: Value) -> Result<Self, Error> {
        let shared = Arc::new(Shared::new(host, Config::from_json(&config)?)?);
        Ok(Self { shared, runtime: Mutex::new(None) })
    }

    fn start(&self, op: Op) {
        let built = Builder::new_multi_thread().worker_threads(1).thread_name("qpq-example").enable_all().build();
        match built {
            Ok(runtime) => {
                *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime);
                op.ok();
            }
            Err(error) => op.fail(&Error::failed(format!("no threads could be started: {error}"))),
        }
    }

    fn quiesce(&self, op: Op, deadline: Duration) {
        let shared = self.shared.clone();
        self.answer(op, async move {
            shared.close(deadline * 3 / 4).await;
            Ok(String::new())
        });
    }

    fn stop(&self, deadline: Duration) -> Result<(), Error> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            // Drops each task where it waits, and joins the threads.
            runtime.shutdown_timeout(deadline);
        }
        Ok(())
    }
}

impl Transport for Tcp {
    fn listen(&self, op: Op, uri: &str) {
        let (shared, address) = (self.shared.clone(), address(uri));
        self.answer(op, async move {
            let listener = TcpListener::bind(address?).await?;
            let bound = format!("{SCHEME}{}", listener.local_addr()?);
            spawn(&Handle::current(), shared.host, shared.accept(listener));
            Ok(bound)
        });
    }

    fn dial(&self, op: Op, uri: &str, _peer: Option<[u8; 32]>) {
        let (shared, address, id) = (self.shared.clone(), address(uri), op.id());
        self.answer(op, async move {
            let address = address?;
            let unreachable = |why: &dyn std::fmt::Display| {
                Error::new(Status::UNREACHABLE, format!("{address} can't be reached: {why}"))
            };
            let dialled = timeout(shared.config.dial_timeout, TcpStream::connect(address)).await;
            let stream = dialled.map_err(|late| unreachable(&late))?.map_err(|error| unreachable(&error))?;
            shared.open(stream, address, id).map(|()| String::new())
        });
    }

    fn close(&self, link: u64, reason: &str) {
        if let Some(link) = self.shared.link(link) {
            link.close(reason);
        }
    }

    fn send(&self, frames: &mut FrameBatch<'_>) {
        match frames.link().and_then(|link| self.shared.link(link)) {
            Some(link) => {
                link.outbox.accept(frames);
                link.wake();
            }
            None => while frames.pop().is_some() {}, // the link is gone
        }
    }

    fn resume(&self, link: u64) {
        if let Some(link) = self.shared.link(link) {
            link.resumed.notify_one();
        }
    }

    fn stats(&self) -> Value {
        json!({ "links": self.shared.count() })
    }
}

/// The address in a URI such as `example://192.0.2.1:4433` or `example://[2001:db8::1]:4433`.
fn address(uri: &str) -> Result<SocketAddr, Error> {
    let address = uri.strip_prefix(SCHEME).and_then(|address| address.parse().ok());
    address.ok_or_else(|| Error::invalid(format!("`{uri}` is no address such as {SCHEME}192.0.2.1:4433")))
}
