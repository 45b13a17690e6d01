//! A node on the other side of the control socket, as a `NodeApi`.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use capnp::message::ReaderOptions;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use futures::io::{BufReader, BufWriter};
use qpq_schemas::node_capnp::node_service::Client;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::fault::from_exception;
use super::wire::{Wire, read_list, write_trust};
use super::{SOCKET_NAME, socket};
use crate::api::*;

/// Largest answer that is read, in words of 8 bytes (64 MiB): far above the longest page of the inbox.
const MAX_ANSWER_WORDS: usize = 8 << 20;

/// Calls that wait for the client's thread. More wait in their callers.
const QUEUED_CALLS: usize = 64;

/// How long the goodbye to the node may take.
const FAREWELL: Duration = Duration::from_millis(200);

/// Why there is no connection to a node.
#[derive(Debug)]
pub enum ConnectError {
    /// No node runs in that data directory.
    NoNode {
        /// The data directory.
        home: PathBuf,
    },
    /// The node can't be reached.
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNode { home } => {
                write!(f, "no node is running in {home}; start one with `qpq --home {home} up`", home = home.display())
            }
            Self::Io { path, source } => write!(f, "cannot reach the node through {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoNode { .. } => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

type Job = Box<dyn FnOnce(Client) -> LocalBoxFuture<'static, ()> + Send>;

/// A connection to a running node. Its calls may be made from any thread and at the same time.
#[derive(Debug, Clone)]
pub struct RemoteNode {
    jobs: mpsc::Sender<Job>,
}

impl RemoteNode {
    /// Connects to the node in a data directory.
    ///
    /// # Errors
    /// [`ConnectError::NoNode`] when none runs there.
    pub fn connect(home: &Path) -> Result<Self, ConnectError> {
        let stream = socket::connect(home).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ConnectError::NoNode { home: home.to_owned() }
            }
            _ => ConnectError::Io { path: home.join(SOCKET_NAME), source: error },
        })?;
        Self::over(stream).map_err(|source| ConnectError::Io { path: home.join(SOCKET_NAME), source })
    }

    fn over(stream: StdStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (jobs, queue) = mpsc::channel(QUEUED_CALLS);
        std::thread::Builder::new()
            .name("qpq-client".into())
            .spawn(move || LocalSet::new().block_on(&runtime, run(stream, queue)))?;
        Ok(Self { jobs })
    }

    /// Runs a call on the client's thread. Dropping the reply withdraws the call.
    pub(super) fn call<T, F, Fut>(&self, call: F) -> Reply<T>
    where
        T: Send + 'static,
        F: FnOnce(Client) -> Fut + Send + 'static,
        Fut: Future<Output = capnp::Result<T>> + 'static,
    {
        let jobs = self.jobs.clone();
        async move {
            let (mut answer, answered) = oneshot::channel();
            let job: Job = Box::new(move |client| {
                async move {
                    tokio::select! {
                        result = call(client) => {
                            let _ = answer.send(result.map_err(|error| from_exception(&error)));
                        }
                        () = answer.closed() => {}
                    }
                }
                .boxed_local()
            });
            jobs.send(job).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())?
        }
        .boxed()
    }
}

fn gone() -> ApiError {
    ApiError::new("disconnected", "The connection to the node is closed.")
}

async fn run(stream: StdStream, mut queue: mpsc::Receiver<Job>) {
    let Ok(stream) = UnixStream::from_std(stream) else { return };
    let (reader, writer) = stream.into_split();
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(MAX_ANSWER_WORDS));
    let network = twoparty::VatNetwork::new(
        BufReader::new(reader.compat()),
        BufWriter::new(writer.compat_write()),
        Side::Client,
        options,
    );
    let mut system = RpcSystem::new(Box::new(network), None);
    let client: Client = system.bootstrap(Side::Server);
    let disconnector = system.get_disconnector();
    spawn_local(system.map(drop));
    while let Some(job) = queue.recv().await {
        spawn_local(job(client.clone()));
    }
    let _ = tokio::time::timeout(FAREWELL, disconnector).await;
}

/// A call: which request, how it is filled, how its answer is read.
macro_rules! remote {
    ($node:expr, $request:ident, |$fill:ident| $filling:expr, |$answer:ident| $reading:expr) => {
        $node.call(move |client| async move {
            #[allow(unused_mut, reason = "not every call has arguments")]
            let mut request = client.$request();
            {
                #[allow(unused_mut, unused_variables, reason = "not every call has arguments")]
                let mut $fill = request.get();
                let () = $filling;
            }
            let response = request.send().promise.await?;
            #[allow(unused_variables, reason = "not every call has an answer")]
            let $answer = response.get()?;
            $reading
        })
    };
}

impl NodeApi for RemoteNode {
    fn status(&self) -> Reply<NodeStatus> {
        remote!(self, status_request, |call| (), |answer| Wire::read(answer.get_status()?))
    }

    fn identity(&self) -> Reply<IdentityInfo> {
        remote!(self, identity_request, |call| (), |answer| Wire::read(answer.get_identity()?))
    }

    fn peers(&self) -> Reply<Vec<PeerInfo>> {
        remote!(self, peers_request, |call| (), |answer| read_list(answer.get_peers()?))
    }

    fn note_server(&self, address: String) -> Reply<ServerNote> {
        remote!(self, note_server_request, |call| call.set_address(address.as_str()), |answer| Wire::read(
            answer.get_note()?
        ))
    }

    fn forget_server(&self, address: String) -> Reply<Option<String>> {
        remote!(self, forget_server_request, |call| call.set_address(address.as_str()), |answer| Ok(
            if answer.has_remark() { Some(answer.get_remark()?.to_string()?) } else { None }
        ))
    }

    fn ping(&self, peer: String, count: u32) -> Reply<PingReport> {
        remote!(
            self,
            ping_request,
            |call| {
                call.set_peer(peer.as_str());
                call.set_count(count);
            },
            |answer| Wire::read(answer.get_report()?)
        )
    }

    fn set_trust(&self, peer: String, trust: Trust) -> Reply<PeerInfo> {
        remote!(
            self,
            set_trust_request,
            |call| {
                call.set_peer(peer.as_str());
                call.set_trust(write_trust(trust));
            },
            |answer| Wire::read(answer.get_peer()?)
        )
    }

    fn export_blocks(&self) -> Reply<String> {
        remote!(self, export_blocks_request, |call| (), |answer| Ok(answer.get_list()?.to_string()?))
    }

    fn import_blocks(&self, list: String) -> Reply<BlocksImported> {
        remote!(self, import_blocks_request, |call| call.set_list(list.as_str()), |answer| Wire::read(
            answer.get_outcome()?
        ))
    }

    fn send(&self, request: SendRequest) -> Reply<Receipt> {
        remote!(self, send_request, |call| request.write(call.init_request()), |answer| Wire::read(
            answer.get_receipt()?
        ))
    }

    fn broadcast(&self, request: BroadcastRequest) -> Reply<Receipt> {
        remote!(self, broadcast_request, |call| request.write(call.init_request()), |answer| Wire::read(
            answer.get_receipt()?
        ))
    }

    fn enqueue(&self, envelope: Bytes) -> Reply<Receipt> {
        remote!(self, enqueue_request, |call| call.set_envelope(&envelope), |answer| Wire::read(answer.get_receipt()?))
    }

    fn subscribe(&self, topic: String) -> Reply<ChannelInfo> {
        remote!(self, subscribe_request, |call| call.set_topic(topic.as_str()), |answer| Wire::read(
            answer.get_channel()?
        ))
    }

    fn unsubscribe(&self, topic: String) -> Reply<()> {
        remote!(self, unsubscribe_request, |call| call.set_topic(topic.as_str()), |answer| Ok(()))
    }

    fn create_private(&self, name: String) -> Reply<ChannelInfo> {
        remote!(self, create_private_request, |call| call.set_name(name.as_str()), |answer| Wire::read(
            answer.get_channel()?
        ))
    }

    fn channels(&self) -> Reply<Vec<ChannelInfo>> {
        remote!(self, channels_request, |call| (), |answer| read_list(answer.get_channels()?))
    }

    fn inbox(&self, query: InboxQuery) -> Reply<InboxPage> {
        if query.wait_ms == 0 {
            return remote!(self, fetch_request, |call| query.write(call.init_query()), |answer| Wire::read(
                answer.get_page()?
            ));
        }
        remote!(
            self,
            fetch_wait_request,
            |call| {
                call.set_wait_ms(query.wait_ms);
                query.write(call.init_query());
            },
            |answer| Wire::read(answer.get_page()?)
        )
    }

    fn inbox_ack(&self, reader: String, seq: u64) -> Reply<()> {
        remote!(
            self,
            ack_request,
            |call| {
                call.set_reader(reader.as_str());
                call.set_seq(seq);
            },
            |answer| Ok(())
        )
    }

    fn deliveries(&self, query: DeliveryQuery) -> Reply<DeliveryPage> {
        remote!(
            self,
            deliveries_request,
            |call| {
                call.set_wait_ms(query.wait_ms);
                if let Some(after) = query.after {
                    call.init_after().set_value(after);
                }
            },
            |answer| Wire::read(answer.get_page()?)
        )
    }

    fn routes(&self) -> Reply<RouteTable> {
        remote!(self, routes_request, |call| (), |answer| Wire::read(answer.get_table()?))
    }

    fn store_stats(&self) -> Reply<StoreStats> {
        remote!(self, store_stats_request, |call| (), |answer| Wire::read(answer.get_stats()?))
    }

    fn plugins(&self) -> Reply<Vec<PluginStatus>> {
        remote!(self, plugins_request, |call| (), |answer| read_list(answer.get_plugins()?))
    }

    fn plugin_enable(&self, name: String) -> Reply<PluginStatus> {
        remote!(self, plugin_enable_request, |call| call.set_name(name.as_str()), |answer| Wire::read(
            answer.get_plugin()?
        ))
    }

    fn plugin_swap(&self, name: String, file: Option<String>) -> Reply<PluginStatus> {
        remote!(
            self,
            plugin_swap_request,
            |call| {
                call.set_name(name.as_str());
                if let Some(file) = &file {
                    call.set_file(file.as_str());
                }
            },
            |answer| Wire::read(answer.get_plugin()?)
        )
    }

    fn federation(&self) -> Reply<FederationReport> {
        remote!(self, federation_request, |call| (), |answer| Wire::read(answer.get_report()?))
    }

    fn scripts(&self) -> Reply<Vec<BotStatus>> {
        remote!(self, scripts_request, |call| (), |answer| read_list(answer.get_scripts()?))
    }

    fn script_reload(&self, name: Option<String>) -> Reply<Vec<BotStatus>> {
        remote!(
            self,
            script_reload_request,
            |call| if let Some(name) = &name {
                call.set_name(name.as_str());
            },
            |answer| read_list(answer.get_scripts()?)
        )
    }

    /// A connection that ends before the answer means that the node has stopped, which is what was asked.
    fn shutdown(&self) -> Reply<()> {
        let call = remote!(self, shutdown_request, |call| (), |answer| Ok(()));
        async move {
            match call.await {
                Err(error) if error.code == "disconnected" => Ok(()),
                outcome => outcome,
            }
        }
        .boxed()
    }
}
