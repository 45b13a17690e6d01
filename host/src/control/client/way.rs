//! What the client's thread does: it speaks Cap'n Proto over one connection, to a socket or over the network.

use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use capnp::message::ReaderOptions;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{Disconnector, RpcSystem, twoparty};
use futures::FutureExt;
use futures::io::{AsyncRead, AsyncWrite, BufReader, BufWriter};
use qpq_schemas::PeerId;
use qpq_schemas::node_capnp::node_service::Client;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::{Explain, FAREWELL, Job, MAX_ANSWER_WORDS};
use crate::api::ApiError;
use crate::control::access::Role;
use crate::control::fault::from_exception;
use crate::control::known_nodes::KNOWN_NODES_FILE;
use crate::control::quic::{self, DialError, Dialled, Target};
use crate::identity::Identity;

/// Why there is no welcome.
pub(super) enum Unwelcome {
    Dial(DialError),
    Refused(ApiError),
}

/// The same for a person.
pub(super) fn not_welcome(why: Unwelcome, noted: bool, home: &Path) -> ApiError {
    let file = home.join(KNOWN_NODES_FILE);
    match why {
        Unwelcome::Dial(DialError::OtherKey { expected, found }) if noted => ApiError::new(
            "changed-key",
            format!(
                "it shows the key {found}, and had {expected} before. Either the node was set up anew, or somebody \
                 stands in its place. Ask its admin, by another way; if the new key is right, take its line out of {}",
                file.display()
            ),
        ),
        Unwelcome::Dial(error @ DialError::OtherKey { .. }) => ApiError::new("wrong-key", error.to_string()),
        Unwelcome::Dial(DialError::Refused(error)) | Unwelcome::Refused(error) => error,
        Unwelcome::Dial(error) => ApiError::new("unreachable", error.to_string()),
    }
}

pub(super) async fn run_socket(stream: StdStream, queue: mpsc::Receiver<Job>) {
    let Ok(stream) = UnixStream::from_std(stream) else { return };
    let (reader, writer) = stream.into_split();
    let (client, disconnector) = speak(reader.compat(), writer.compat_write());
    obey(queue, &client, &(Rc::new(from_exception) as Explain)).await;
    let _ = tokio::time::timeout(FAREWELL, disconnector).await;
}

pub(super) async fn run_quic(
    target: Target,
    identity: Arc<Identity>,
    expected: Option<PeerId>,
    report: std::sync::mpsc::Sender<Result<(PeerId, Role), Unwelcome>>,
    queue: mpsc::Receiver<Job>,
) {
    let Dialled { endpoint, connection, send, receive, key } = match quic::dial(&target, &identity, expected).await {
        Ok(dialled) => dialled,
        Err(error) => {
            let _ = report.send(Err(Unwelcome::Dial(error))); // who asked waits for it
            return;
        }
    };
    let (client, disconnector) = speak(receive.compat(), send.compat_write());
    let lost = connection.clone();
    let explain: Explain = Rc::new(move |error| quic::explain(&lost, error));
    // TLS 1.3 lets a client in before the node has looked at its key: only an answer says that it is welcome.
    let role = who_am_i(&client).await.map_err(|error| Unwelcome::Refused(explain(&error)));
    let welcome = role.is_ok();
    let _ = report.send(role.map(|role| (key, role)));
    if welcome {
        obey(queue, &client, &explain).await;
    }
    drop(client);
    let _ = tokio::time::timeout(FAREWELL, disconnector).await;
    connection.close(0_u32.into(), b"done: the client has gone");
    let _ = tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await;
}

async fn who_am_i(client: &Client) -> capnp::Result<Role> {
    let response = client.whoami_request().send().promise.await?;
    match response.get()?.get_role()?.to_str()? {
        "user" => Ok(Role::User),
        _ => Ok(Role::Admin), // whoever says so refuses what we may not
    }
}

/// Starts Cap'n Proto over a connection: the node's service, and what takes leave.
pub(super) fn speak(
    reader: impl AsyncRead + Unpin + 'static,
    writer: impl AsyncWrite + Unpin + 'static,
) -> (Client, Disconnector<Side>) {
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(MAX_ANSWER_WORDS));
    let network = twoparty::VatNetwork::new(BufReader::new(reader), BufWriter::new(writer), Side::Client, options);
    let mut system = RpcSystem::new(Box::new(network), None);
    let client: Client = system.bootstrap(Side::Server);
    let disconnector = system.get_disconnector();
    spawn_local(system.map(drop));
    (client, disconnector)
}

/// Makes the calls that are asked for, until nobody can ask any more.
pub(super) async fn obey(mut queue: mpsc::Receiver<Job>, client: &Client, explain: &Explain) {
    while let Some(job) = queue.recv().await {
        spawn_local(job(client.clone(), Rc::clone(explain)));
    }
}
