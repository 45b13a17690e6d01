//! A door for fuzzing: what a node says to a client that has asked it for everything.

use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::way::{obey, speak};
use super::{Explain, Line, QUEUED_CALLS, RemoteNode};
use crate::api::mailbox::MailboxQuery;
use crate::api::*;
use crate::control::fault::from_exception;
use crate::control::home_client::RemoteMailbox;
use crate::control::speak_to_a_double;

/// One input may take so long; an honest one takes a millisecond.
const PATIENCE: Duration = Duration::from_secs(4);
/// Nothing more is said by an honest side that has been silent for so long.
const SILENCE: Duration = Duration::from_millis(100);
/// Bytes on their way.
const ROOM: usize = 1 << 20;

/// A client, and the node's end of the connection: what is asked, and what is said to it.
fn client() -> (RemoteNode, ReadHalf<DuplexStream>, WriteHalf<DuplexStream>) {
    let (near, far) = duplex(ROOM);
    let (reader, writer) = split(near);
    let (client, _) = speak(reader.compat(), writer.compat_write());
    let (jobs, queue) = mpsc::channel(QUEUED_CALLS);
    spawn_local(async move { obey(queue, &client, &(Rc::new(from_exception) as Explain)).await });
    let (asked, said) = split(far);
    (RemoteNode(Arc::new(Line { jobs: Some(jobs), thread: None })), asked, said)
}

/// Asks for whatever has an answer of a form of its own. How many answers were understood.
async fn ask(node: &RemoteNode) -> usize {
    fn understood<T: Send + 'static>(reply: Reply<T>) -> BoxFuture<'static, bool> {
        reply.map(|answer| answer.is_ok()).boxed()
    }
    let calls = [
        understood(node.status()),
        understood(node.identity()),
        understood(node.peers()),
        understood(node.channels()),
        understood(node.export_blocks()),
        understood(node.inbox(InboxQuery::default())),
        understood(node.deliveries(DeliveryQuery::default())),
        understood(node.routes()),
        understood(node.store_stats()),
        understood(node.why("00".to_owned())),
        understood(node.queue(QueueQuery::default())),
        understood(node.export_mail(ExportQuery::default())),
        understood(node.plugins()),
        understood(node.ping("anna".to_owned(), 1)),
        understood(node.send(SendRequest { to: "anna".to_owned(), ..SendRequest::default() })),
        understood(RemoteMailbox(node.clone()).fetch(MailboxQuery::default())),
    ];
    join_all(calls).await.into_iter().filter(|understood| *understood).count()
}

/// A node's words, as bytes of any kind, once the client has asked its questions. How many answers were understood.
///
/// # Panics
/// When the client waits for more although nothing can come any more.
pub fn answers(bytes: &[u8]) -> usize {
    let questions = questions().len();
    run(async {
        let (node, mut asked, mut said) = client();
        let speak = async {
            let mut heard = vec![0; questions];
            let _ = asked.read_exact(&mut heard).await; // what comes before its question is no answer
            let _ = said.write_all(bytes).await;
            let _ = said.shutdown().await;
        };
        let both = async { tokio::join!(ask(&node), speak) };
        timeout(PATIENCE, both).await.expect("the client ends with the connection").0
    })
}

/// What an honest node says.
pub fn answers_seeds() -> Vec<Vec<u8>> {
    let questions = questions();
    let said = run(async {
        let (mut to, far) = duplex(ROOM);
        let (reader, writer) = split(far);
        spawn_local(speak_to_a_double(reader.compat(), writer.compat_write()));
        let _ = to.write_all(questions).await;
        until_silent(&mut to).await
    });
    vec![said]
}

/// What the client asks before it hears anything.
fn questions() -> &'static [u8] {
    static QUESTIONS: OnceLock<Vec<u8>> = OnceLock::new();
    QUESTIONS.get_or_init(|| {
        run(async {
            let (node, mut asked, _said) = client();
            spawn_local(async move { ask(&node).await });
            until_silent(&mut asked).await
        })
    })
}

async fn until_silent(from: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut heard = Vec::new();
    while let Ok(Ok(1..)) = timeout(SILENCE, from.read_buf(&mut heard)).await {}
    heard
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, work)
}
