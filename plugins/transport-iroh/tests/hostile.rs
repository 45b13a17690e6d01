//! Peers that do what they shouldn't. Nothing of it reaches the host but, at most, the end of their own link.

mod support;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use iroh::endpoint::{Connection, ConnectionError};
use qpq_transport_iroh::ALPN;
use support::Node;
use support::intruder::{connect, intrude, public, run};

/// The code and text that the node closed a connection with.
async fn close_of(connection: &Connection) -> (u64, String) {
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => {
            (close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
        }
        other => panic!("the node did not close: {other}"),
    }
}

/// Nothing came up, and the node still takes links.
fn assert_unharmed(node: &Node, uri: &str) {
    let friend = Node::with_defaults(9);
    friend.dial(uri, Some(node.key())).unwrap();
    node.link_from(friend.key());
    assert!(node.told().failures.is_empty(), "{:?}", node.told().failures);
}

#[test]
fn a_frame_above_the_limit_ends_the_link_and_says_why() {
    let node = Node::with_defaults(1);
    let uri = node.listen_anywhere();
    let close = run(async {
        let (_endpoint, connection) = intrude(node.key(), &uri).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        // The opening, one frame, and the length of another that is one byte too long.
        send.write_all(&[0, 0, 0, 0, 0, 0, 0, 1, 42, 0, 4, 0, 1]).await.unwrap();
        close_of(&connection).await
    });
    assert_eq!(close, (2, "oversize-frame".to_owned()));
    let link = node.link_from(public());
    assert_eq!(node.frames(link, 1), [vec![42]]);
    assert_eq!(node.end_of(link), "oversize-frame: the peer announced a frame of 262145 bytes; the limit is 262144");
    assert_unharmed(&node, &uri);
}

#[test]
fn who_opens_no_stream_is_shut_out_in_time() {
    let node = Node::new(1, r#"{"handshake_timeout_ms": 300}"#);
    let uri = node.listen_anywhere();
    let begun = Instant::now();
    let close = run(async {
        let (_endpoint, connection) = intrude(node.key(), &uri).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&[0, 0]).await.unwrap();
        close_of(&connection).await
    });
    assert_eq!(close.0, 4);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(node.told().up.is_empty());
    assert_unharmed(&node, &uri);
}

#[test]
fn a_wrong_opening_is_refused() {
    let node = Node::with_defaults(1);
    let uri = node.listen_anywhere();
    run(async {
        let (_endpoint, connection) = intrude(node.key(), &uri).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(close_of(&connection).await.0, 5);
    });
    assert!(node.told().up.is_empty());
    assert_unharmed(&node, &uri);
}

#[test]
fn another_protocol_is_refused_in_the_handshake() {
    let node = Node::with_defaults(1);
    let uri = node.listen_anywhere();
    let connected = run(async { connect(node.key(), &uri, b"h3", 66).await.1 });
    assert!(connected.is_none());
    assert_unharmed(&node, &uri);
}

#[test]
fn the_end_of_the_stream_inside_a_frame_is_a_fault_of_the_peer() {
    let node = Node::with_defaults(1);
    let uri = node.listen_anywhere();
    run(async {
        let (_endpoint, connection) = intrude(node.key(), &uri).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&[0, 0, 0, 0, 0, 0, 0, 9, 1, 2]).await.unwrap();
        send.finish().unwrap();
        connection.closed().await;
    });
    let reason = node.end_of(node.link_from(public()));
    assert!(reason.starts_with("protocol: "), "{reason}");
}

#[test]
fn a_close_reason_can_not_carry_control_characters_to_the_host() {
    let node = Node::with_defaults(1);
    let uri = node.listen_anywhere();
    run(async {
        let (endpoint, connection) = intrude(node.key(), &uri).await;
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&[0, 0, 0, 0]).await.unwrap();
        recv.read_exact(&mut [0; 4]).await.unwrap();
        connection.close(77u32.into(), "\u{1b}[31mred\u{202e}".repeat(40).as_bytes());
        endpoint.close().await;
    });
    let reason = node.end_of(node.link_from(public()));
    assert!(reason.is_ascii() && !reason.contains('\u{1b}') && reason.len() < 300, "{reason}");
}

#[test]
fn a_peer_that_never_reads_holds_up_its_own_link_only() {
    let node = Node::with_defaults(1);
    let uri = node.listen_anywhere();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let kept = runtime.block_on(async {
        let (endpoint, connection) = intrude(node.key(), &uri).await;
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&[0, 0, 0, 0]).await.unwrap();
        (endpoint, connection, send, recv)
    });
    let link = node.link_from(public());
    let frames = vec![vec![8; 1_000]; 20_000];
    let mut accepted = 0;
    for _ in 0..20 {
        accepted += node.send(link, &frames[accepted..]);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(accepted < 10_000, "{accepted} frames were taken for a peer that reads nothing");
    assert_unharmed(&node, &uri);
    drop(kept);
}

#[test]
fn many_connections_of_one_address_are_bounded() {
    let node = Node::new(1, r#"{"max_links_per_address": 4}"#);
    let uri = node.listen_anywhere();
    run(async {
        let mut kept = Vec::new();
        for seed in 100..112 {
            let (endpoint, connected) = connect(node.key(), &uri, ALPN, seed).await;
            let Some(connection) = connected else { continue };
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            send.write_all(&[0, 0, 0, 0]).await.unwrap();
            let opened = recv.read_exact(&mut [0; 4]).await.is_ok();
            kept.push((endpoint, connection, send, recv, opened));
        }
        assert_eq!(kept.iter().filter(|kept| kept.4).count(), 4);
    });
    assert_eq!(node.told().up.len(), 4);
}

#[test]
fn handshakes_at_the_same_time_are_bounded() {
    let node = Node::new(1, r#"{"max_handshakes": 4, "handshake_timeout_ms": 60000}"#);
    let uri = node.listen_anywhere();
    run(async {
        let mut kept = Vec::new();
        for seed in 100..108 {
            kept.push(connect(node.key(), &uri, ALPN, seed).await);
        }
        // Each of them holds a handshake open by opening no stream.
        let connected = kept.iter().filter(|(_, connected)| connected.is_some()).count();
        assert_eq!(connected, 4);
        assert_eq!(node.stats()["handshakes"], 4);
    });
}

#[test]
fn rubbish_on_the_port_harms_nothing() {
    let node = Node::with_defaults(1);
    let uri = node.listen_anywhere();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 12_345u64;
    for len in (0..1_500).step_by(3) {
        let packet: Vec<u8> = (0..len)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        socket.send_to(&packet, support::direct(&uri)).unwrap();
    }
    assert_unharmed(&node, &uri);
}
