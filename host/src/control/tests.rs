//! Client and server over a real Unix socket, with a node in memory behind them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use qpq_schemas::node_capnp::node_service;
use qpq_schemas::{MessageId, PeerId};
use serde::Serialize;

use super::testing::{Double, item};
use super::*;
use crate::api::*;

struct Bench {
    home: tempfile::TempDir,
    node: Arc<Double>,
    _server: ControlServer,
}

impl Bench {
    fn with(limits: Limits) -> Self {
        let home = tempfile::tempdir().unwrap();
        let node = Arc::new(Double::default());
        let server = serve(Arc::clone(&node) as Arc<dyn NodeApi>, home.path(), limits).unwrap();
        Self { home, node, _server: server }
    }

    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn connect(&self) -> RemoteNode {
        RemoteNode::connect(self.home.path()).unwrap()
    }
}

/// Both answers, as JSON, must be equal.
async fn same<T: Serialize>(here: Reply<T>, there: Reply<T>) {
    let here = serde_json::to_value(here.await.unwrap()).unwrap();
    let there = serde_json::to_value(there.await.unwrap()).unwrap();
    assert_eq!(here, there);
}

#[tokio::test]
async fn every_answer_comes_over_the_socket_unchanged() {
    let bench = Bench::new();
    let mark = NoticeMark { until_ms: 9, signed: vec![PeerId([7; 32])], counted: 1, quorum: 2 };
    *bench.node.messages.lock().unwrap() = vec![
        InboxItem { notice: Some(mark), ..item(1) },
        InboxItem { topic: Some("news".into()), from_name: None, problem: Some("no key".into()), ..item(2) },
    ];
    let (node, remote) = (&*bench.node, bench.connect());
    same(node.status(), remote.status()).await;
    same(node.identity(), remote.identity()).await;
    same(node.peers(), remote.peers()).await;
    same(node.note_server("192.0.2.1:7000".into()), remote.note_server("192.0.2.1:7000".into())).await;
    same(node.enqueue(Bytes::from_static(b"x")), remote.enqueue(Bytes::from_static(b"x"))).await;
    same(node.subscribe("news".into()), remote.subscribe("news".into())).await;
    same(node.unsubscribe("news".into()), remote.unsubscribe("news".into())).await;
    same(node.create_private("crew".into()), remote.create_private("crew".into())).await;
    same(node.channels(), remote.channels()).await;
    same(node.inbox(InboxQuery::default()), remote.inbox(InboxQuery::default())).await;
    same(node.inbox_ack("me".into(), 3), remote.inbox_ack("me".into(), 3)).await;
    same(node.routes(), remote.routes()).await;
    same(node.store_stats(), remote.store_stats()).await;
    same(node.why("05050505".into()), remote.why("05050505".into())).await;
    let query = QueueQuery { recipient: "anna".into(), after: 1, limit: 2 };
    same(node.queue(query.clone()), remote.queue(query)).await;
    let mail = || vec![Bytes::from_static(b"x"), Bytes::from_static(b"y")];
    node.import_mail(mail()).await.unwrap(); // from now on both are known
    same(node.import_mail(mail()), remote.import_mail(mail())).await;
    for topic in [None, Some("news".to_owned())] {
        let query = ExportQuery { topic, recipient: Some("anna".into()), all: true, place: 1 };
        same(node.export_mail(query.clone()), remote.export_mail(query)).await;
    }
    same(node.plugins(), remote.plugins()).await;
    same(node.plugin_enable("x".into()), remote.plugin_enable("x".into())).await;
    same(node.forget_server("x".into()), remote.forget_server("x".into())).await;
    for after in [None, Some(3)] {
        let query = DeliveryQuery { after, wait_ms: 5 };
        same(node.deliveries(query), remote.deliveries(query)).await;
    }
    same(node.ping("anna".into(), 3), remote.ping("anna".into(), 3)).await;
    same(node.set_trust("anna".into(), Trust::Blocked), remote.set_trust("anna".into(), Trust::Blocked)).await;
    same(node.federation(), remote.federation()).await;
    same(node.export_blocks(), remote.export_blocks()).await;
    same(node.import_blocks("x".into()), remote.import_blocks("x".into())).await;
    same(node.plugin_swap("x".into(), None), remote.plugin_swap("x".into(), None)).await;
    same(node.scripts(), remote.scripts()).await;
    same(node.script_reload(None), remote.script_reload(None)).await;
    let approval = ScriptApproval { needs: vec!["send".into()], revoke: false, trusted: true };
    same(node.script_approve("a".into(), approval.clone()), remote.script_approve("a".into(), approval)).await;
    let logs = ScriptLogQuery { bot: Some("a".into()), after: Some(3), limit: 5, wait_ms: 0 };
    same(node.script_logs(logs.clone()), remote.script_logs(logs)).await;
    let eval = ScriptEval { bot: "a".into(), code: "1 + 1".into(), write: true };
    same(node.script_eval(eval.clone()), remote.script_eval(eval)).await;
    let copies = || vec!["qpqnotice00".to_owned(), "qpqnotice01".to_owned()];
    same(node.emergency_draft("x".into(), Some(60)), remote.emergency_draft("x".into(), Some(60))).await;
    same(node.emergency_sign(copies()), remote.emergency_sign(copies())).await;
    same(node.emergency_show(copies()), remote.emergency_show(copies())).await;
    same(node.emergency_publish(copies()), remote.emergency_publish(copies())).await;
    same(node.shutdown(), remote.shutdown()).await;
}

#[tokio::test]
async fn a_request_arrives_as_it_was_made() {
    let bench = Bench::new();
    let request = SendRequest {
        to: "anna".into(),
        payload: vec![0, 255, 10],
        ttl_secs: Some(60),
        priority: Some(3),
        receipt: true,
        plain: false,
        automatic: true,
        reply_to: Some(MessageId([6; 32])),
        reaction: true,
    };
    let remote = bench.connect();
    remote.send(request.clone()).await.unwrap();
    remote.send(SendRequest::default()).await.unwrap();
    let calls = bench.node.calls.lock().unwrap().clone();
    assert_eq!(calls, [format!("send {request:?}"), format!("send {:?}", SendRequest::default())]);
}

#[tokio::test]
async fn how_far_a_broadcast_shall_go_arrives_with_it() {
    let bench = Bench::new();
    let request = BroadcastRequest { topic: "news".into(), max_hops: Some(3), ..BroadcastRequest::default() };
    bench.connect().broadcast(request).await.unwrap();
    assert_eq!(*bench.node.calls.lock().unwrap(), ["broadcast news  over 3 links at most"]);
}

#[tokio::test]
async fn an_error_keeps_its_code_and_message() {
    let bench = Bench::new();
    let error = bench.connect().send(SendRequest { to: "nobody".into(), ..SendRequest::default() }).await.unwrap_err();
    assert_eq!(error, ApiError::new("unknown-peer", "Nobody is called nobody."));
}

#[tokio::test]
async fn one_bad_envelope_of_a_batch_does_not_stop_the_rest() {
    let bench = Bench::new();
    let codes = bench
        .connect()
        .call(|client: node_service::Client| async move {
            let mut request = client.batch_enqueue_request();
            let mut envelopes = request.get().init_envelopes(2);
            envelopes.set(0, b"");
            envelopes.set(1, b"x");
            let response = request.send().promise.await?;
            let results = response.get()?.get_results()?;
            results
                .iter()
                .map(|result| {
                    use qpq_schemas::node_capnp::enqueue_result::Which;
                    Ok(match result.which()? {
                        Which::Receipt(_) => "receipt".to_owned(),
                        Which::Fault(fault) => fault?.get_code()?.to_string()?,
                    })
                })
                .collect::<capnp::Result<Vec<_>>>()
        })
        .await
        .unwrap();
    assert_eq!(codes, ["length", "receipt"]);
}

#[tokio::test]
async fn the_owner_is_told_who_it_is_and_that_it_has_no_mailbox() {
    let bench = Bench::new();
    let remote = bench.connect();
    let role = remote.call(|client: node_service::Client| async move {
        let response = client.whoami_request().send().promise.await?;
        let answer = response.get()?;
        Ok((answer.get_role()?.to_string()?, answer.get_peer_id()?.to_vec()))
    });
    let peer = bench.node.identity().await.unwrap().peer_id;
    assert_eq!(role.await.unwrap(), ("owner".to_owned(), peer.0.to_vec()));
    let error = home_client::RemoteMailbox(remote).figures().await.unwrap_err();
    assert_eq!(error.code, "no-key");
}

/// Waits until `condition` holds, for at most 5 s.
async fn eventually(condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !condition() && start.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    condition()
}

#[tokio::test]
async fn a_client_that_floods_is_not_read_while_too_many_calls_are_in_flight() {
    let bench = Bench::with(Limits { max_in_flight: 8, ..Limits::default() });
    bench.node.stuck.store(true, Ordering::SeqCst);
    let remote = bench.connect();
    let calls: Vec<_> = (0..200).map(|_| tokio::spawn(remote.peers())).collect();
    assert!(eventually(|| bench.node.waiting() >= 8).await);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let waiting = bench.node.waiting();
    assert!(waiting <= 16, "{waiting} calls are in flight, the limit is 8");
    assert!(bench.connect().identity().await.is_ok(), "other clients are served meanwhile");
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn calls_that_wait_for_messages_cannot_take_all_slots() {
    let bench = Bench::with(Limits { max_in_flight: 8, ..Limits::default() });
    let remote = bench.connect();
    let query = || InboxQuery { wait_ms: 30_000, ..InboxQuery::default() };
    let calls: Vec<_> = (0..4).map(|_| tokio::spawn(remote.inbox(query()))).collect();
    assert!(eventually(|| bench.node.waiting() == 4).await);
    assert_eq!(remote.inbox(query()).await.unwrap_err().code, "too-many-waits");
    assert!(remote.identity().await.is_ok());
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    drop(remote);
    assert!(eventually(|| bench.node.waiting() == 0).await, "calls end with their connection");
}

#[tokio::test]
async fn a_withdrawn_call_ends_in_the_node() {
    let bench = Bench::new();
    let remote = bench.connect();
    let query = InboxQuery { wait_ms: 30_000, ..InboxQuery::default() };
    let call = tokio::spawn(remote.inbox(query));
    assert!(eventually(|| bench.node.waiting() == 1).await);
    call.abort();
    assert!(eventually(|| bench.node.waiting() == 0).await);
    assert!(remote.identity().await.is_ok());
}

#[tokio::test]
async fn a_request_above_the_limit_ends_its_connection_and_no_other() {
    let bench = Bench::with(Limits { max_request_words: 1 << 10, ..Limits::default() });
    let (greedy, modest) = (bench.connect(), bench.connect());
    let error = greedy.enqueue(Bytes::from(vec![0; 64 << 10])).await.unwrap_err();
    assert!(matches!(error.code.as_str(), "disconnected" | "protocol"), "{error}");
    assert!(modest.identity().await.is_ok());
}

#[tokio::test]
async fn one_client_too_many_is_closed_and_the_others_stay() {
    let bench = Bench::with(Limits { max_connections: 1, ..Limits::default() });
    let first = bench.connect();
    assert!(first.identity().await.is_ok());
    assert_eq!(bench.connect().identity().await.unwrap_err().code, "disconnected");
    assert!(first.identity().await.is_ok());
}

#[tokio::test]
async fn after_the_server_stops_calls_fail_and_no_node_is_found() {
    let home = tempfile::tempdir().unwrap();
    let server = serve(Arc::new(Double::default()), home.path(), Limits::default()).unwrap();
    let remote = RemoteNode::connect(home.path()).unwrap();
    assert!(remote.identity().await.is_ok());
    server.stop();
    assert_eq!(remote.identity().await.unwrap_err().code, "disconnected");
    assert!(matches!(RemoteNode::connect(home.path()), Err(ConnectError::NoNode { .. })));
}
