//! Peers that do what they shouldn't. Nothing of it reaches the host but, at most, the end of their own link.

mod support;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use quinn::Connection;
use support::Node;
use support::intruder::{Intruder, public, run, spki};

/// The code and text that the node closed a connection with.
async fn close_of(connection: &Connection) -> (u64, String) {
    match connection.closed().await {
        quinn::ConnectionError::ApplicationClosed(close) => {
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
        let (_endpoint, connected) = Intruder::default().connect(&uri).await;
        let connection = connected.unwrap();
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
        let (_endpoint, connected) = Intruder::default().connect(&uri).await;
        let connection = connected.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&[0, 0]).await.unwrap();
        close_of(&connection).await
    });
    assert_eq!(close.0, 4);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(node.told().up.is_empty());
    assert_unharmed(&node, &uri);
}

#[test]
fn a_wrong_opening_is_refused() {
    let node = Node::with_defaults(1);
    let uri = node.listen_anywhere();
    run(async {
        let (_endpoint, connected) = Intruder::default().connect(&uri).await;
        let connection = connected.unwrap();
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(close_of(&connection).await.0, 5);
    });
    assert!(node.told().up.is_empty());
    assert_unharmed(&node, &uri);
}

#[test]
fn who_shows_no_key_or_a_stolen_one_gets_no_link() {
    let node = Node::with_defaults(1);
    let uri = node.listen_anywhere();
    let victim = Node::with_defaults(5).key();
    for shown in [None, Some(spki(&victim)), Some(vec![0x30, 0]), Some(spki(&[0; 32]))] {
        run(async {
            // A client of TLS 1.3 is done before the server has judged its key: the refusal comes a little later.
            let (_endpoint, connected) = Intruder { shown, ..Intruder::default() }.connect(&uri).await;
            if let Ok(connection) = connected {
                connection.closed().await;
            }
        });
    }
    assert!(node.told().up.is_empty());
    assert_unharmed(&node, &uri);
}

#[test]
fn another_protocol_is_refused_in_the_handshake() {
    let node = Node::with_defaults(1);
    let uri = node.listen_anywhere();
    let connected = run(async { Intruder { alpn: b"h3", ..Intruder::default() }.connect(&uri).await.1 });
    assert!(connected.is_err());
    assert_unharmed(&node, &uri);
}

#[test]
fn the_end_of_the_stream_inside_a_frame_is_a_fault_of_the_peer() {
    let node = Node::with_defaults(1);
    let uri = node.listen_anywhere();
    run(async {
        let (_endpoint, connected) = Intruder::default().connect(&uri).await;
        let connection = connected.unwrap();
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
        let (endpoint, connected) = Intruder::default().connect(&uri).await;
        let connection = connected.unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&[0, 0, 0, 0]).await.unwrap();
        recv.read_exact(&mut [0; 4]).await.unwrap();
        connection.close(77u32.into(), "\u{1b}[31mred\u{202e}".repeat(40).as_bytes());
        endpoint.wait_idle().await;
    });
    let reason = node.end_of(node.link_from(public()));
    assert!(reason.is_ascii() && !reason.contains('\u{1b}') && reason.len() < 300, "{reason}");
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
        socket.send_to(&packet, uri.strip_prefix("quic://").unwrap()).unwrap();
    }
    assert_unharmed(&node, &uri);
}

#[test]
fn handshakes_at_the_same_time_are_bounded() {
    let node = Node::new(1, r#"{"max_handshakes": 4, "handshake_timeout_ms": 60000}"#);
    let uri = node.listen_anywhere();
    run(async {
        let mut kept = Vec::new();
        for _ in 0..8 {
            kept.push(Intruder::default().connect(&uri).await);
        }
        // Each of them holds a handshake open by opening no stream.
        let connected = kept.iter().filter(|(_, connected)| connected.is_ok()).count();
        assert_eq!(connected, 4);
        assert_eq!(node.stats()["handshakes"], 4);
    });
}
