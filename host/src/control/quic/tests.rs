//! Client and server over real QUIC on the loopback interface, with a node in memory behind them.

mod post;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use qpq_schemas::PeerId;
use qpq_schemas::envelope::{Draft, Envelope, Flags, Kind};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};

use super::*;
use crate::api::mailbox::MailboxQuery;
use crate::api::*;
use crate::config::ClientsConfig;
use crate::control::home_client::RemoteMailbox;
use crate::control::testing::Double;
use crate::control::{ConnectError, Limits, RemoteNode, Role, Welcome};
use crate::identity::{Directory, Identity};
use post::Post;

const NODE: u8 = 1;
const ADMIN: u8 = 2;
const USER: u8 = 3;
const STRANGER: u8 = 4;
const BLOCKED: u8 = 5;

fn identity(seed: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&[seed; 32]))
}

fn key(seed: u8) -> PeerId {
    identity(seed).peer_id()
}

fn config() -> ClientsConfig {
    ClientsConfig {
        listen: vec!["127.0.0.1:0".to_owned()],
        admins: vec![key(ADMIN).to_string()],
        users: vec![key(USER).to_string()],
        ..ClientsConfig::default()
    }
}

struct Bench {
    home: tempfile::TempDir,
    node: Arc<Double>,
    post: Arc<Post>,
    server: ClientServer,
}

impl Bench {
    fn with(config: &ClientsConfig, limits: Limits) -> Self {
        let (node, post) = (Arc::new(Double::default()), Arc::new(Post::default()));
        let mut directory = Directory::in_memory(identity(NODE));
        directory.set_trust(key(BLOCKED), Trust::Blocked).unwrap();
        let network = Network {
            node: Arc::clone(&node) as Arc<dyn NodeApi>,
            mailboxes: Arc::clone(&post) as Arc<_>,
            identity: identity(NODE),
            blocked: directory.blocked(),
        };
        let server = serve_clients(network, config, limits).unwrap();
        Self { home: tempfile::tempdir().unwrap(), node, post, server }
    }

    fn new() -> Self {
        Self::with(&config(), Limits::default())
    }

    fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    fn target(&self) -> Target {
        self.address().to_string().parse().unwrap()
    }

    fn dial(&self, seed: u8) -> Result<Welcome, ConnectError> {
        RemoteNode::dial(self.home.path(), &identity(seed), &self.target())
    }

    fn connect(&self, seed: u8) -> RemoteNode {
        self.dial(seed).unwrap().node
    }
}

fn refusal(result: Result<Welcome, ConnectError>) -> ApiError {
    match result {
        Err(ConnectError::Remote { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

fn envelope(seed: u8) -> Envelope {
    let draft = Draft {
        kind: Kind::Direct,
        flags: Flags::default(),
        max_hops: 8,
        ttl_secs: 60,
        created_ms: 1_700_000_000_000,
        nonce: [0; 8],
        destination: [9; 32],
        payload: b"hello".to_vec(),
    };
    draft.sign(identity(seed).signing_key()).unwrap()
}

#[tokio::test]
async fn an_admin_may_do_all_that_the_owner_can() {
    let bench = Bench::new();
    let welcome = bench.dial(ADMIN).unwrap();
    assert_eq!((welcome.role, welcome.key), (Role::Admin, key(NODE)));
    let node = welcome.node;
    node.status().await.unwrap();
    node.plugins().await.unwrap();
    node.subscribe("news".into()).await.unwrap();
    node.enqueue(envelope(STRANGER).wire().clone()).await.unwrap();
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_user_gets_its_mailbox_and_a_clear_no_to_everything_else() {
    let bench = Bench::new();
    let welcome = bench.dial(USER).unwrap();
    assert_eq!(welcome.role, Role::User);
    let node = welcome.node;
    let mut codes = Vec::new();
    macro_rules! refused {
        ($($call:expr),+ $(,)?) => { $(codes.push($call.await.map(drop).unwrap_err());)+ };
    }
    refused!(
        node.status(),
        node.identity(),
        node.peers(),
        node.note_server("a:1".into()),
        node.forget_server("a:1".into()),
        node.ping("anna".into(), 1),
        node.set_trust("anna".into(), Trust::Trusted),
        node.export_blocks(),
        node.import_blocks(String::new()),
        node.send(SendRequest::default()),
        node.broadcast(BroadcastRequest::default()),
        node.subscribe("news".into()),
        node.unsubscribe("news".into()),
        node.create_private("crew".into()),
        node.channels(),
        node.inbox(InboxQuery::default()),
        node.inbox(InboxQuery { wait_ms: 10, ..InboxQuery::default() }),
        node.inbox_ack("me".into(), 1),
        node.routes(),
        node.store_stats(),
        node.why("05050505".into()),
        node.queue(QueueQuery::default()),
        node.export_mail(ExportQuery::default()),
        node.import_mail(Vec::new()),
        node.plugins(),
        node.plugin_enable("x".into()),
        node.plugin_swap("x".into(), None),
        node.scripts(),
        node.script_reload(None),
        node.shutdown(),
    );
    assert!(
        codes.iter().all(|error| error.code == "not-permitted" && error.message.contains("clients.admins")),
        "{codes:?}"
    );
    assert!(bench.node.calls.lock().unwrap().is_empty(), "nothing reached the node");
    let mailbox = RemoteMailbox(node);
    mailbox.fetch(MailboxQuery { after: 3, limit: 2, wait_ms: 0 }).await.unwrap();
    mailbox.acknowledge(vec![qpq_schemas::MessageId([1; 32])]).await.unwrap();
    assert!(bench.post.owners().iter().all(|owner| *owner == key(USER)), "a mailbox is that of the proven key");
}

#[tokio::test]
async fn a_user_hands_in_only_what_it_signed_itself() {
    let bench = Bench::new();
    let node = bench.connect(USER);
    node.enqueue(envelope(USER).wire().clone()).await.unwrap();
    let error = node.enqueue(envelope(STRANGER).wire().clone()).await.unwrap_err();
    assert_eq!(error.code, "not-permitted");
    assert!(error.message.contains(&key(STRANGER).to_string()), "{error}");
}

#[tokio::test]
async fn every_answer_of_a_mailbox_comes_over_the_network_unchanged() {
    use crate::api::mailbox::MailboxApi;
    let bench = Bench::new();
    let mailbox = RemoteMailbox(bench.connect(USER));
    let query = MailboxQuery { after: 3, limit: 2, wait_ms: 0 };
    let (post, owner) = (&bench.post, key(USER));
    assert_eq!(mailbox.fetch(query).await.unwrap(), post.fetch(owner, query).await.unwrap());
    assert_eq!(mailbox.figures().await.unwrap(), post.figures(owner).await.unwrap());
    assert_eq!(mailbox.look_up("anna".into()).await.unwrap(), post.look_up("anna".into()).await.unwrap());
    let topics = vec![qpq_schemas::TopicId([7; 32]); 3];
    mailbox.subscribe(topics.clone()).await.unwrap();
    mailbox.unsubscribe(topics.clone()).await.unwrap();
    mailbox.publish(Bytes::from_static(b"record")).await.unwrap();
    let calls = post.calls.lock().unwrap().clone();
    for expected in [format!("subscribe {topics:?}"), format!("unsubscribe {topics:?}"), "publish 6".to_owned()] {
        assert!(calls.iter().any(|call| call.ends_with(&expected)), "{expected} is not among {calls:?}");
    }
}

#[tokio::test]
async fn a_list_of_ids_that_is_too_long_is_refused_before_it_is_read() {
    let bench = Bench::new();
    let mailbox = RemoteMailbox(bench.connect(USER));
    let error = mailbox.acknowledge(vec![qpq_schemas::MessageId([1; 32]); 1_001]).await.unwrap_err();
    assert_eq!(error.code, "too-large");
}

#[tokio::test]
async fn a_stranger_hears_why_it_is_not_let_in_and_which_key_to_name() {
    let bench = Bench::new();
    let error = refusal(bench.dial(STRANGER));
    assert_eq!(error.code, "not-permitted");
    assert!(error.message.contains(&key(STRANGER).to_string()) && error.message.contains("clients.users"), "{error}");
    let open = Bench::with(&ClientsConfig { open: true, ..config() }, Limits::default());
    assert_eq!(open.dial(STRANGER).unwrap().role, Role::User);
    let error = refusal(open.dial(BLOCKED));
    assert!(error.code == "not-permitted" && error.message.contains("blocked"), "{error}");
}

#[tokio::test]
async fn a_node_is_known_by_its_key_from_the_first_time_on() {
    let bench = Bench::new();
    assert!(bench.dial(USER).unwrap().first_met);
    assert!(!bench.dial(USER).unwrap().first_met);
    let other = PeerId([7; 32]);
    crate::control::known_nodes::note(bench.home.path(), &bench.address().to_string(), other).unwrap();
    let error = refusal(bench.dial(USER));
    assert_eq!(error.code, "changed-key");
    for told in [other.to_string(), key(NODE).to_string(), "known_nodes".to_owned()] {
        assert!(error.message.contains(&told), "{told} is not in {error}");
    }
}

#[tokio::test]
async fn a_key_in_the_target_must_be_the_node_s() {
    let bench = Bench::new();
    let dial = |key: PeerId| {
        let target = Target { key: Some(key), ..bench.target() };
        RemoteNode::dial(bench.home.path(), &identity(USER), &target)
    };
    assert_eq!(refusal(dial(PeerId([7; 32]))).code, "wrong-key");
    assert!(!dial(key(NODE)).unwrap().first_met, "there is nothing to note");
    assert!(!Path::new(&bench.home.path().join("known_nodes")).exists());
}

#[tokio::test]
async fn where_nobody_answers_that_is_said() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target: Target = silent.local_addr().unwrap().to_string().parse().unwrap();
    let home = tempfile::tempdir().unwrap();
    let error = refusal(RemoteNode::dial(home.path(), &identity(USER), &target));
    assert_eq!(error.code, "unreachable");
    assert!(error.message.contains("clients.listen"), "{error}");
}

/// A bare QUIC connection with that protocol name.
async fn bare(address: SocketAddr, seed: u8, alpn: &[u8]) -> Result<(Endpoint, Connection), ConnectionError> {
    let (mut tls, _) = tls::client(&identity(seed), None).unwrap();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = endpoint.connect_with(config, address, "127.0.0.1").unwrap().await?;
    Ok((endpoint, connection))
}

#[tokio::test]
async fn another_protocol_is_refused_in_the_handshake() {
    let bench = Bench::new();
    let error = bare(bench.address(), USER, b"h3").await.map(drop).unwrap_err();
    assert!(
        matches!(&error, ConnectionError::ConnectionClosed(close) if close.to_string().contains("protocol")),
        "{error:?}"
    );
    assert!(bench.dial(USER).is_ok());
}

#[tokio::test]
async fn garbage_ends_its_connection_and_no_other() {
    let bench = Bench::new();
    let modest = bench.connect(USER);
    for garbage in [vec![0xff; 64], vec![0; 4096], b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let (_endpoint, connection) = bare(bench.address(), USER, ALPN).await.unwrap();
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&garbage).await.unwrap();
        let _ = send.finish();
        let closed = tokio::time::timeout(Duration::from_secs(10), connection.closed()).await.unwrap();
        assert!(matches!(closed, ConnectionError::ApplicationClosed(_)), "{closed:?}");
    }
    // A second stream, and one in the other direction, are not to be had.
    let (_endpoint, connection) = bare(bench.address(), USER, ALPN).await.unwrap();
    let _first = connection.open_bi().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(200), connection.open_bi()).await.is_err());
    assert!(tokio::time::timeout(Duration::from_millis(200), connection.open_uni()).await.is_err());
    assert!(RemoteMailbox(modest).figures().await.is_ok());
}

#[tokio::test]
async fn a_request_above_the_limit_ends_its_connection_with_the_reason_and_no_other() {
    let bench = Bench::with(&config(), Limits { max_request_words: 1 << 10, ..Limits::default() });
    let (greedy, modest) = (bench.connect(USER), bench.connect(ADMIN));
    let error = greedy.enqueue(Bytes::from(vec![0; 64 << 10])).await.unwrap_err();
    assert_eq!(error.code, "protocol", "{error}");
    assert!(modest.identity().await.is_ok());
}

#[tokio::test]
async fn one_connection_too_many_hears_so_and_the_others_stay() {
    let bench = Bench::with(&ClientsConfig { max_connections: 1, open: true, ..config() }, Limits::default());
    let first = RemoteMailbox(bench.connect(USER));
    assert_eq!(refusal(bench.dial(STRANGER)).code, "busy");
    assert!(bench.dial(ADMIN).is_ok(), "users take no place of an admin");
    assert!(first.figures().await.is_ok());
}

#[tokio::test]
async fn a_client_that_comes_back_takes_the_place_of_the_connection_that_it_lost() {
    let bench = Bench::with(&ClientsConfig { max_connections: 1, ..config() }, Limits::default());
    let lost = RemoteMailbox(bench.connect(USER));
    let back = RemoteMailbox(bench.connect(USER));
    assert!(back.figures().await.is_ok());
    assert_eq!(lost.figures().await.unwrap_err().code, "busy");
}

#[tokio::test]
async fn a_client_that_leaves_says_so() {
    let bench = Bench::with(&ClientsConfig { max_connections: 1, open: true, ..config() }, Limits::default());
    drop(bench.connect(USER));
    let mut tries = (0..100).map(|_| bench.dial(STRANGER));
    let came_in = tries.any(|welcome| {
        std::thread::sleep(Duration::from_millis(20));
        welcome.is_ok()
    });
    assert!(came_in, "the place of a client that has left stays taken");
}

/// The first datagram of so many handshakes, each with a connection id of its own.
async fn first_packets(count: usize) -> Vec<Vec<u8>> {
    let sink = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = sink.local_addr().unwrap();
    let mut packets = Vec::new();
    for _ in 0..count {
        let dialling = tokio::spawn(bare(address, STRANGER, ALPN));
        let mut packet = vec![0; 2_048];
        let (len, _) = sink.recv_from(&mut packet).await.unwrap();
        dialling.abort();
        packet.truncate(len);
        packets.push(packet);
    }
    packets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_nobody_finishes_keep_no_honest_client_out() {
    let config = ClientsConfig { max_half_open: 8, max_half_open_per_address: 8, ..config() };
    let bench = Bench::with(&config, Limits::default());
    let packets = first_packets(64).await;
    let flood = UdpSocket::bind("127.0.0.1:0").unwrap();
    for packet in &packets {
        flood.send_to(packet, bench.address()).unwrap();
    }
    let (home, target) = (bench.home.path().to_owned(), bench.target());
    let dial = move || RemoteNode::dial(&home, &identity(USER), &target);
    let welcome = tokio::task::spawn_blocking(dial).await.unwrap().unwrap();
    assert!(RemoteMailbox(welcome.node).figures().await.is_ok());
}

#[tokio::test]
async fn when_the_node_stops_its_clients_hear_so() {
    let bench = Bench::new();
    let node = bench.connect(ADMIN);
    bench.server.stop();
    let error = node.status().await.unwrap_err();
    assert!(matches!(error.code.as_str(), "stopping" | "disconnected"), "{error}");
}
