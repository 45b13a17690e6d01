//! A node on the other side of the control socket, or of the network, as a `NodeApi`.

#[cfg(feature = "fuzz-doors")]
pub(super) mod fuzz;
mod way;

use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use qpq_schemas::PeerId;
use qpq_schemas::node_capnp::node_service::Client;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::access::Role;
use super::known_nodes;
use super::quic::Target;
use super::wire::{Wire, list_len, read_list, write_datas, write_texts, write_trust};
use super::{SOCKET_NAME, socket};
use crate::api::*;
use crate::identity::{Identity, IdentityError};
use way::{not_welcome, run_quic, run_socket};

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
    /// A node over the network can't be reached, or lets nobody in.
    Remote {
        /// Where it is, `HOST:PORT`.
        address: String,
        /// Why, and what to do.
        error: ApiError,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNode { home } => {
                write!(f, "no node is running in {home}; start one with `qpq --home {home} up`", home = home.display())
            }
            Self::Io { path, source } => write!(f, "cannot reach the node through {}: {source}", path.display()),
            Self::Remote { address, error } => write!(f, "cannot use the node at {address}: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoNode { .. } | Self::Remote { .. } => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

/// Makes the error for a person from what Cap'n Proto says.
type Explain = Rc<dyn Fn(&capnp::Error) -> ApiError>;

type Job = Box<dyn FnOnce(Client, Explain) -> LocalBoxFuture<'static, ()> + Send>;

/// A connection to a running node. Its calls may be made from any thread and at the same time.
#[derive(Debug, Clone)]
pub struct RemoteNode(Arc<Line>);

/// The way to the client's thread. When the last handle goes, the node hears that this client leaves.
#[derive(Debug)]
struct Line {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Line {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // Over the network the goodbye must leave before the process ends; it takes a moment at most.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A node over the network, and what this client is to it.
#[derive(Debug)]
pub struct Welcome {
    /// The connection.
    pub node: RemoteNode,
    /// The node's key.
    pub key: PeerId,
    /// Whether this client may do everything there, or is a user with a mailbox.
    pub role: Role,
    /// The node was not known by this address before; its key is noted now.
    pub first_met: bool,
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
        Self::spawn(move |queue| run_socket(stream, queue))
    }

    /// Starts the client's thread.
    fn spawn<F: Future<Output = ()> + 'static>(
        run: impl FnOnce(mpsc::Receiver<Job>) -> F + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (jobs, queue) = mpsc::channel(QUEUED_CALLS);
        let thread = std::thread::Builder::new()
            .name("qpq-client".into())
            .spawn(move || LocalSet::new().block_on(&runtime, async move { run(queue).await }))?;
        Ok(Self(Arc::new(Line { jobs: Some(jobs), thread: Some(thread) })))
    }

    /// Connects to a node over the network, with the identity in `home`. The node must have the key in `target`, or the
    /// one that it had before; one that is met for the first time is noted. Blocks until the node has let us in.
    ///
    /// # Errors
    /// [`ConnectError::Remote`], with the node's reason when it lets us not in.
    pub fn dial(home: &Path, identity: &Arc<Identity>, target: &Target) -> Result<Welcome, ConnectError> {
        let failed = |error: ApiError| ConnectError::Remote { address: target.address.clone(), error };
        let known = match target.key {
            Some(_) => None,
            None => known_nodes::look_up(home, &target.address).map_err(|error| failed(file_error(&error)))?,
        };
        let (report, reported) = std::sync::mpsc::channel();
        let (identity, to) = (Arc::clone(identity), target.clone());
        let expected = target.key.or(known);
        let node = Self::spawn(move |queue| run_quic(to, identity, expected, report, queue));
        let node = node.map_err(|error| failed(ApiError::new("io", error.to_string())))?;
        let welcomed = reported.recv().map_err(|_| failed(gone()))?;
        let (key, role) = welcomed.map_err(|why| failed(not_welcome(why, known.is_some(), home)))?;
        let first_met = expected.is_none();
        if first_met {
            known_nodes::note(home, &target.address, key).map_err(|error| failed(file_error(&error)))?;
        }
        Ok(Welcome { node, key, role, first_met })
    }

    /// Runs a call on the client's thread. Dropping the reply withdraws the call.
    pub(super) fn call<T, F, Fut>(&self, call: F) -> Reply<T>
    where
        T: Send + 'static,
        F: FnOnce(Client) -> Fut + Send + 'static,
        Fut: Future<Output = capnp::Result<T>> + 'static,
    {
        let line = Arc::clone(&self.0); // the thread stays while a reply is awaited
        async move {
            let (mut answer, answered) = oneshot::channel();
            let job: Job = Box::new(move |client, explain| {
                async move {
                    tokio::select! {
                        result = call(client) => {
                            let _ = answer.send(result.map_err(|error| explain(&error)));
                        }
                        () = answer.closed() => {}
                    }
                }
                .boxed_local()
            });
            line.jobs.as_ref().ok_or_else(gone)?.send(job).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())?
        }
        .boxed()
    }
}

fn gone() -> ApiError {
    ApiError::new("disconnected", "The connection to the node is closed.")
}

fn file_error(error: &IdentityError) -> ApiError {
    ApiError::new("known-nodes", error.to_string())
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

    fn emergency_draft(&self, text: String, ttl_secs: Option<u32>) -> Reply<NoticeInfo> {
        remote!(
            self,
            emergency_draft_request,
            |call| {
                call.set_text(text.as_str());
                if let Some(secs) = ttl_secs {
                    call.init_ttl_secs().set_value(u64::from(secs));
                }
            },
            |answer| Wire::read(answer.get_notice()?)
        )
    }

    fn emergency_sign(&self, copies: Vec<String>) -> Reply<NoticeInfo> {
        remote!(
            self,
            emergency_sign_request,
            |call| write_texts(&copies, call.init_copies(list_len(copies.len()))),
            |answer| Wire::read(answer.get_notice()?)
        )
    }

    fn emergency_show(&self, copies: Vec<String>) -> Reply<NoticeInfo> {
        remote!(
            self,
            emergency_show_request,
            |call| write_texts(&copies, call.init_copies(list_len(copies.len()))),
            |answer| Wire::read(answer.get_notice()?)
        )
    }

    fn emergency_publish(&self, copies: Vec<String>) -> Reply<Receipt> {
        remote!(
            self,
            emergency_publish_request,
            |call| write_texts(&copies, call.init_copies(list_len(copies.len()))),
            |answer| Wire::read(answer.get_receipt()?)
        )
    }

    fn routes(&self) -> Reply<RouteTable> {
        remote!(self, routes_request, |call| (), |answer| Wire::read(answer.get_table()?))
    }

    fn store_stats(&self) -> Reply<StoreStats> {
        remote!(self, store_stats_request, |call| (), |answer| Wire::read(answer.get_stats()?))
    }

    fn why(&self, id: String) -> Reply<WhyReport> {
        remote!(self, why_request, |call| call.set_id(id.as_str()), |answer| Wire::read(answer.get_report()?))
    }

    fn queue(&self, query: QueueQuery) -> Reply<QueuePage> {
        remote!(self, queue_request, |call| query.write(call.init_query()), |answer| Wire::read(answer.get_page()?))
    }

    fn export_mail(&self, query: ExportQuery) -> Reply<ExportPage> {
        remote!(self, export_mail_request, |call| query.write(call.init_query()), |answer| Wire::read(
            answer.get_page()?
        ))
    }

    fn import_mail(&self, envelopes: Vec<Bytes>) -> Reply<Vec<ImportOutcome>> {
        remote!(
            self,
            import_mail_request,
            |call| write_datas(&envelopes, call.init_envelopes(list_len(envelopes.len()))),
            |answer| read_list(answer.get_outcomes()?)
        )
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

    fn script_approve(&self, name: String, approval: ScriptApproval) -> Reply<BotStatus> {
        remote!(
            self,
            script_approve_request,
            |call| {
                call.set_name(name.as_str());
                approval.write(call.init_approval());
            },
            |answer| Wire::read(answer.get_script()?)
        )
    }

    fn script_logs(&self, query: ScriptLogQuery) -> Reply<ScriptLogPage> {
        remote!(
            self,
            script_logs_request,
            |call| {
                call.set_wait_ms(query.wait_ms);
                query.write(call.init_query());
            },
            |answer| Wire::read(answer.get_page()?)
        )
    }

    fn script_eval(&self, eval: ScriptEval) -> Reply<ScriptEvaluated> {
        remote!(self, script_eval_request, |call| eval.write(call.init_eval()), |answer| Wire::read(
            answer.get_evaluated()?
        ))
    }

    /// A connection that ends before the answer means that the node has stopped, which is what was asked.
    fn shutdown(&self) -> Reply<()> {
        let call = remote!(self, shutdown_request, |call| (), |answer| Ok(()));
        async move {
            match call.await {
                Err(error) if error.code == "disconnected" || error.code == "stopping" => Ok(()),
                outcome => outcome,
            }
        }
        .boxed()
    }
}
