//! Doors for fuzzing: what clients and nodes say to each other, what a plugin's file or report holds, what stands on the disk,
//! each without the node around it. Only with the feature `fuzz-doors`, which no release has.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use capnp::message::ReaderOptions;
use capnp_rpc::rpc_twoparty_capnp::Side;
use capnp_rpc::{RpcSystem, twoparty};
use futures::io::{AsyncWrite, Cursor};
use futures::stream::{self, TryStreamExt};
use qpq_schemas::node_capnp::node_service;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

pub use crate::control::{answers, answers_seeds, client_files, speak_to_a_double};
pub use crate::node::fuzz::{address, channels, channels_seed, discovered, mailbox, mailbox_seeds};
pub use crate::plugin::look_at_library;
pub use crate::script::fuzz::{board_entry, schedule};
pub use crate::store::{read_entry, well_formed_entries};

/// One input may take so long; an honest one takes a millisecond.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long the honest client is listened to.
const HONEST: Duration = Duration::from_millis(50);

/// Feeds bytes to the control server's side of one connection, with a node in memory behind it.
///
/// # Panics
/// When the connection does not end with its input.
pub fn control(bytes: &[u8]) {
    let input = Cursor::new(bytes.to_vec());
    run(async {
        // How it ends is for the client to say; that it ends is what counts.
        let _ = timeout(PATIENCE, speak_to_a_double(input, Spoken::default())).await.expect("it ends with its input");
    });
}

/// What an honest client says in a short conversation.
pub fn control_seeds() -> Vec<Vec<u8>> {
    let spoken = Spoken::default();
    run(async {
        let silence = stream::pending::<io::Result<Vec<u8>>>().into_async_read();
        let network = twoparty::VatNetwork::new(Box::pin(silence), spoken.clone(), Side::Client, ReaderOptions::new());
        let mut rpc = RpcSystem::new(Box::new(network), None);
        let node: node_service::Client = rpc.bootstrap(Side::Server);
        spawn_local(rpc);
        let health = node.health_request().send();
        let mut send = node.send_request();
        let mut request = send.get().init_request();
        request.set_to("anna");
        request.set_payload(b"hello");
        let sent = send.send();
        let mut subscribe = node.subscribe_request();
        subscribe.get().set_topic("news");
        let subscribed = subscribe.send();
        let mut enqueue = node.batch_enqueue_request();
        enqueue.get().init_envelopes(2).set(1, b"no envelope");
        let enqueued = enqueue.send();
        let mut blocks = node.import_blocks_request();
        blocks.get().set_list("# nobody\n");
        let imported = blocks.send();
        let all = async {
            tokio::join!(health.promise, sent.promise, subscribed.promise, enqueued.promise, imported.promise)
        };
        let _ = timeout(HONEST, all).await;
    });
    vec![spoken.0.take()]
}

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, work);
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Spoken(Rc<RefCell<Vec<u8>>>);

impl AsyncWrite for Spoken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
