//! Peers with a good certificate, or none at all, that do what they shouldn't. Nothing of it reaches the host but, at most,
//! the end of their own link.

mod support;

use std::net::UdpSocket;
use std::rc::Rc;

use capnp::message::Builder;
use capnp_rpc::rpc_capnp::message;
use qpq_schemas::federation_capnp::frames;
use quinn::{Connection, ConnectionError, SendStream};
use serde_json::json;
use support::Node;
use support::pki::{Ca, Files};
use support::stranger::{Caller, Stranger, run};

/// A node and its CA.
fn node() -> (Node, String, Ca) {
    let ca = Ca::new("ca");
    let node = Node::with(1, &Files::good("a.example", &ca));
    let uri = node.listen_anywhere();
    (node, uri, ca)
}

/// The code and text that the node closed a connection with.
async fn close_of(connection: &Connection) -> (u64, String) {
    heard_close_of(connection).await.expect("the node has forgotten the connection")
}

/// The same. `None` when its word was lost, which it says once, and the node has forgotten the connection since.
async fn heard_close_of(connection: &Connection) -> Option<(u64, String)> {
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => {
            Some((close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned()))
        }
        ConnectionError::Reset => None,
        other => panic!("the node did not close: {other}"),
    }
}

/// The node still takes links, and nothing in it has failed.
fn assert_unharmed(node: &Node, uri: &str, ca: &Ca) {
    let friend = Node::with(9, &Files::good("friend.example", ca));
    let link = friend.dial(uri).unwrap();
    friend.send_all(link, &[vec![1]]);
    node.frames(node.link_from("friend.example"), 1);
    assert!(node.told().failures.is_empty(), "{:?}", node.told().failures);
}

/// Sends these bytes on the stream, and returns how the node ends the connection.
fn answer_to(uri: &str, ca: &Ca, bytes: &[u8]) -> (u64, String) {
    run(async {
        let (_endpoint, connected) = Stranger::with(ca.issue("c.example")).connect(uri).await;
        let connection = connected.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        // The node may close before all is written.
        let _ = send.write_all(bytes).await;
        close_of(&connection).await
    })
}

#[test]
fn what_is_no_capnp_ends_the_connection_and_says_why() {
    let (node, uri, ca) = node();
    for bytes in [b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec(), vec![0xff; 64], [0u8; 8].repeat(4)] {
        let (code, text) = answer_to(&uri, &ca, &bytes);
        assert_eq!(code, 7, "{text}");
        assert!(text.starts_with("not-federation: "), "{text}");
    }
    node.refusal("not-federation");
    node.logged("was refused: not-federation: ");
    assert!(node.told().up.is_empty());
    assert_unharmed(&node, &uri, &ca);
}

#[test]
fn a_message_above_the_limit_ends_the_connection() {
    let (node, uri, ca) = node();
    // One segment of 64 Ki words and one: known from the header, before any of it is read.
    let header = [&0u32.to_le_bytes()[..], &65_537u32.to_le_bytes()].concat();
    let (code, text) = answer_to(&uri, &ca, &header);
    assert_eq!(code, 7);
    assert!(text.starts_with("not-federation: "), "{text}");
    assert_unharmed(&node, &uri, &ca);
}

/// Writes one RPC message.
async fn write(send: &mut SendStream, fill: impl FnOnce(message::Builder<'_>)) -> bool {
    let mut message = Builder::new_default();
    fill(message.init_root());
    let bytes = capnp::serialize::write_message_to_words(&message);
    send.write_all(&bytes).await.is_ok()
}

/// A message that says that a message is not known that says … so many times.
fn nested(message: message::Builder<'_>, depth: u32) {
    let inner = message.init_unimplemented();
    if depth == 0 { inner.init_bootstrap().set_question_id(1) } else { nested(inner, depth - 1) }
}

#[test]
fn deep_nesting_harms_nobody_else() {
    let (node, uri, ca) = node();
    run(async {
        for depth in [1, 7, 8, 9, 2_000] {
            let (_endpoint, connected) = Stranger::with(ca.issue("c.example")).connect(&uri).await;
            let connection = connected.unwrap();
            let (mut send, _recv) = connection.open_bi().await.unwrap();
            assert!(write(&mut send, |message| nested(message, depth)).await);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    assert!(node.told().up.is_empty());
    assert_unharmed(&node, &uri, &ca);
}

#[test]
fn calls_that_are_never_finished_are_bounded() {
    let (node, uri, ca) = node();
    let flood = || {
        run(async {
            let (_endpoint, connected) = Stranger::with(ca.issue("c.example")).connect(&uri).await;
            let connection = connected.unwrap();
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            // The answers are read, or the node would wait for us.
            tokio::task::spawn_local(
                async move { while matches!(recv.read_chunk(65_536, true).await, Ok(Some(_))) {} },
            );
            for question in 0..40_000 {
                if !write(&mut send, |message| message.init_bootstrap().set_question_id(question)).await {
                    break;
                }
            }
            heard_close_of(&connection).await
        })
    };
    // In such a flood the node's last word can be lost.
    let (code, text) = (0..5).find_map(|_| flood()).expect("the node's last word");
    assert_eq!(code, 7);
    assert!(text.contains("not finished"), "{text}");
    assert_unharmed(&node, &uri, &ca);
}

#[test]
fn thousands_of_calls_at_once_are_all_answered() {
    let (node, uri, ca) = node();
    let answered = run(async {
        let caller = Caller::connect(&Stranger::with(ca.issue("c.example")), &uri).await;
        let calls: Vec<_> = (0..6_000).map(|_| caller.service.federation_health_request().send().promise).collect();
        futures::future::try_join_all(calls).await.map(|answers| answers.len())
    });
    assert_eq!(answered.unwrap(), 6_000);
    assert_unharmed(&node, &uri, &ca);
}

#[test]
fn rpc_messages_out_of_place_harm_nobody_else() {
    let (node, uri, ca) = node();
    run(async {
        let kinds: [fn(message::Builder<'_>); 6] = [
            |message| message.init_finish().set_question_id(77),
            |message| message.init_release().set_id(5),
            |message| message.init_disembargo().init_context().set_sender_loopback(3),
            |message| message.init_disembargo().init_context().set_receiver_loopback(3),
            |message| message.init_return().set_answer_id(9),
            |message| message.init_call().init_target().set_imported_cap(9),
        ];
        for fill in kinds {
            let (_endpoint, connected) = Stranger::with(ca.issue("c.example")).connect(&uri).await;
            let connection = connected.unwrap();
            let (mut send, _recv) = connection.open_bi().await.unwrap();
            write(&mut send, |message| message.init_bootstrap().set_question_id(0)).await;
            write(&mut send, fill).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    assert!(node.told().up.is_empty());
    assert_unharmed(&node, &uri, &ca);
}

/// Takes frames and keeps none.
struct Sink;

impl frames::Server for Sink {
    async fn carry(self: Rc<Self>, _: frames::CarryParams) -> Result<(), capnp::Error> {
        Ok(())
    }
}

/// Opens a link as a node does, and returns where its frames go.
async fn open(caller: &Caller) -> frames::Client {
    let mut request = caller.mesh.open_request();
    request.get().init_auth().set_origin("c.example");
    request.get().set_back(capnp_rpc::new_client(Sink));
    request.send().promise.await.unwrap().get().unwrap().get_forth().unwrap()
}

#[test]
fn frames_above_the_limits_end_the_link_and_say_why() {
    for (count, len, what) in [(1, 262_145, "a frame of 262145 bytes"), (1_025, 1, "1025 frames in one call")] {
        let (node, uri, ca) = node();
        let (code, text) = run(async {
            let caller = Caller::connect(&Stranger::with(ca.issue("c.example")), &uri).await;
            let forth = open(&caller).await;
            let mut request = forth.carry_request();
            let mut list = request.get().init_frames(count);
            for place in 0..count {
                list.set(place, &vec![0; len]);
            }
            let _ = request.send().await;
            close_of(&caller.connection).await
        });
        assert_eq!(code, 7);
        assert!(text.contains(what), "{text}");
        let link = node.wait("the link", |told| told.up.keys().next().copied());
        assert!(node.end_of(link).contains(what));
        assert_unharmed(&node, &uri, &ca);
    }
}

#[test]
fn a_second_link_over_a_connection_is_refused() {
    let (node, uri, ca) = node();
    run(async {
        let caller = Caller::connect(&Stranger::with(ca.issue("c.example")), &uri).await;
        let _forth = open(&caller).await;
        let mut request = caller.mesh.open_request();
        request.get().init_auth().set_origin("c.example");
        request.get().set_back(capnp_rpc::new_client(Sink));
        let error = request.send().promise.await.err().unwrap();
        assert!(error.extra.contains("bad-argument: "), "{error}");
    });
    assert_eq!(node.told().up.len(), 1);
}

#[test]
fn a_flood_of_calls_waits_in_the_sender_while_the_host_is_busy() {
    let (node, uri, ca) = node();
    node.told().room = 0;
    run(async {
        let caller = Caller::connect(&Stranger::with(ca.issue("c.example")), &uri).await;
        let forth = open(&caller).await;
        // 64 MiB, all at once: it keeps to no window.
        let calls: Vec<_> = (0..256)
            .map(|_| {
                let mut request = forth.carry_request();
                request.get().init_frames(1).set(0, &vec![7; 262_144]);
                request.send()
            })
            .collect();
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        // What has left is bounded by what the node reads (2 MiB), one message, and both windows of QUIC.
        let sent = caller.connection.stats().udp_tx.bytes;
        assert!(sent < 6 << 20, "{sent} bytes were sent though nobody took them");
        drop(calls);
    });
    node.told().room = usize::MAX;
    assert_unharmed(&node, &uri, &ca);
}

#[test]
fn a_reader_that_reads_nothing_holds_up_nobody_else() {
    let (node, uri, ca) = node();
    run(async {
        let (_endpoint, connected) = Stranger::with(ca.issue("c.example")).connect(&uri).await;
        let connection = connected.unwrap();
        let (mut send, _unread) = connection.open_bi().await.unwrap();
        let flood = async {
            for question in 0..4_000 {
                write(&mut send, |message| message.init_bootstrap().set_question_id(question)).await;
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), flood).await;
        let (node, uri) = (&node, &uri);
        std::thread::scope(|scope| scope.spawn(|| assert_unharmed(node, uri, &ca)).join().unwrap());
    });
}

#[test]
fn rubbish_on_the_port_harms_nothing() {
    let (node, uri, ca) = node();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 12_345u64;
    for len in (0..1_500).step_by(3) {
        let packet: Vec<u8> = (0..len)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        socket.send_to(&packet, uri.rsplit_once('@').unwrap().1).unwrap();
    }
    socket.send_to(b"GET / HTTP/1.1\r\n\r\n", uri.rsplit_once('@').unwrap().1).unwrap();
    assert_unharmed(&node, &uri, &ca);
}

#[test]
fn half_open_handshakes_are_bounded_and_a_friend_gets_in() {
    let ca = Ca::new("ca");
    let more = json!({"max_handshakes": 16, "max_handshakes_per_address": 8, "handshake_timeout_ms": 60_000});
    let node = Node::new(1, &Files::good("a.example", &ca), &more);
    let uri = node.listen_anywhere();
    let first = Node::with(2, &Files::good("b.example", &ca));
    let link = first.dial(&uri).unwrap();
    let addr: std::net::SocketAddr = uri.rsplit_once('@').unwrap().1.parse().unwrap();
    // First packets of clients that then say nothing: each of its own socket.
    let hello = first_packet(&ca);
    let sockets: Vec<UdpSocket> = (0..300).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for (i, socket) in (0..).zip(&sockets) {
        socket.send_to(&hello(i), addr).unwrap();
    }
    first.send_all(link, &[vec![5; 100]]);
    node.frames(node.link_from("b.example"), 1);
    let friend = Node::with(3, &Files::good("c.example", &ca));
    friend.dial(&uri).unwrap();
    let stats = node.stats();
    assert!(stats["handshakes"].as_u64().unwrap() <= 8, "{stats}");
    assert!(
        stats["counters"]["retries"].as_u64().unwrap() + stats["counters"]["handshakes_given_up"].as_u64().unwrap()
            > 200,
        "{stats}"
    );
    assert!(node.told().failures.is_empty());
}

/// Makes first packets of clients, each with a connection id of its own.
fn first_packet(ca: &Ca) -> impl Fn(u32) -> Vec<u8> + use<> {
    let leaf = ca.issue("c.example");
    move |_| {
        run(async {
            let listener = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let uri = format!("federation://x@{}", listener.local_addr().unwrap());
            let stranger = Stranger::with(leaf.clone());
            let mut packet = vec![0; 2_048];
            let len = tokio::select! {
                received = listener.recv(&mut packet) => received.unwrap(),
                _ = stranger.connect(&uri) => panic!("nobody answers"),
            };
            packet.truncate(len);
            packet
        })
    }
}
