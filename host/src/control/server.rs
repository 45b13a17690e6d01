//! The control server: a thread of its own, since Cap'n Proto RPC stays on one thread.

use std::fmt;
use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use capnp::message::ReaderOptions;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use futures::io::{AsyncRead, AsyncWrite, BufReader, BufWriter};
use qpq_schemas::node_capnp::node_service;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::access::Caller;
use super::counted::Counted;
use super::service::Service;
use super::slots::{Slots, SlottedReader, SlottedWriter};
use super::{SOCKET_NAME, socket};
use crate::api::NodeApi;

/// How long answers that are being written may take when the server stops.
const GRACE: Duration = Duration::from_millis(100);

/// Pause after a failed accept, so that a lack of file handles doesn't spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// So many times the calls in flight a client may leave unfinished: answered, but kept since the client has not said that
/// it is done with the answer.
const UNFINISHED_FACTOR: usize = 4;

/// Bounds on what one client may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections to the socket at a time. One more is closed at once.
    pub max_connections: usize,
    /// Calls in flight on one connection. The connection isn't read while so many are.
    pub max_in_flight: usize,
    /// Largest request, in words of 8 bytes. A larger one ends its connection.
    pub max_request_words: usize,
    /// Deepest nesting of a request.
    pub max_nesting: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_connections: 32, max_in_flight: 64, max_request_words: 512 << 10, max_nesting: 8 }
    }
}

/// Why the control socket could not be served.
#[derive(Debug)]
pub struct ServeError {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot serve the control socket {}: {}", self.path.display(), self.source)
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A running control server. Dropping it stops it.
#[derive(Debug)]
pub struct ControlServer {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ControlServer {
    /// Closes the socket, lets answers that are being written go out, and ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(stop) = self.stop.take() else { return };
        let _ = std::fs::remove_file(&self.path);
        let _ = stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Serves a node on the control socket in its data directory, which must exist.
///
/// # Errors
/// When another node answers there, or the socket or the thread can't be made.
pub fn serve(node: Arc<dyn NodeApi>, home: &Path, limits: Limits) -> Result<ControlServer, ServeError> {
    let path = home.join(SOCKET_NAME);
    let fail = |source| ServeError { path: home.join(SOCKET_NAME), source };
    let listener = socket::bind(home).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("qpq-control".into())
        .spawn(move || LocalSet::new().block_on(&runtime, run(listener, node, limits, stopped)))
        .map_err(fail)?;
    Ok(ControlServer { path, stop: Some(stop), thread: Some(thread) })
}

async fn run(listener: StdListener, node: Arc<dyn NodeApi>, limits: Limits, mut stopped: oneshot::Receiver<()>) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the control socket can't be used"),
    };
    let places = Arc::new(Semaphore::new(limits.max_connections));
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(stream, &node, limits, &places),
                Err(error) => {
                    tracing::warn!(%error, "a control client could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    tokio::time::sleep(GRACE).await;
}

/// Serves one connection, if there is a place for it.
fn admit(stream: UnixStream, node: &Arc<dyn NodeApi>, limits: Limits, places: &Arc<Semaphore>) {
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        tracing::warn!(limit = limits.max_connections, "too many control clients, the newest is closed");
        return;
    };
    let node = Arc::clone(node);
    spawn_local(async move {
        let _place = place;
        if let Err(error) = serve_connection(stream, node, limits).await {
            tracing::debug!(%error, "a control client was cut off");
        }
    });
}

async fn serve_connection(stream: UnixStream, node: Arc<dyn NodeApi>, limits: Limits) -> capnp::Result<()> {
    let (reader, writer) = stream.into_split();
    speak(reader.compat(), writer.compat_write(), node, Caller::owner(), limits).await
}

/// Speaks Cap'n Proto with one client until it goes, or breaks a limit.
pub(super) async fn speak(
    reader: impl AsyncRead + Unpin + 'static,
    writer: impl AsyncWrite + Unpin + 'static,
    node: Arc<dyn NodeApi>,
    caller: Caller,
    limits: Limits,
) -> capnp::Result<()> {
    let slots = Slots::new(limits.max_in_flight);
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(limits.max_request_words)).nesting_limit(limits.max_nesting);
    let reader = SlottedReader::new(BufReader::new(reader), Rc::clone(&slots));
    let writer = BufWriter::new(SlottedWriter::new(writer, Rc::clone(&slots)));
    let network = twoparty::VatNetwork::new(reader, writer, Side::Server, options);
    let unfinished = limits.max_in_flight.saturating_mul(UNFINISHED_FACTOR);
    let service: node_service::Client = capnp_rpc::new_client(Service::new(node, caller, slots));
    RpcSystem::new(Box::new(Counted::new(network, unfinished)), Some(service.client)).await
}

/// Speaks with one client, as [`serve`] does, about a node in memory.
///
/// # Errors
/// What the client did wrong.
#[cfg(feature = "fuzz-doors")]
pub async fn speak_to_a_double(
    reader: impl AsyncRead + Unpin + 'static,
    writer: impl AsyncWrite + Unpin + 'static,
) -> capnp::Result<()> {
    speak(reader, writer, Arc::new(super::testing::Double::default()), Caller::owner(), Limits::default()).await
}
