//! Strangers on the network: rubbish at every door, and blocked peers.

use std::fs;
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;

use qpq_tests::{Outcome, Random, TestNode, ensure, procfs, skip};

/// What a node under attack may use more than before.
const EXTRA_MEMORY: u64 = 64 << 20;

#[test]
fn rubbish_at_the_quic_port_does_not_disturb_the_node() -> Outcome {
    let mut random = Random::announced("rubbish_at_the_quic_port");
    let mut node = TestNode::plan("a").start()?;
    let before = procfs::resident(node.pid()?).unwrap_or_default();
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    for _ in 0..skip::rounds(5_000, 500_000) {
        let length = random.below(1_400);
        let mut packet = random.bytes(length);
        // Half of them look like the first packet of QUIC version 1, so that they are read further.
        if random.below(2) == 0 && packet.len() > 5 {
            packet[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
        }
        // A full socket buffer drops packets, as a network would.
        let _ = socket.send_to(&packet, node.address());
    }
    let friend = TestNode::plan("b").peer(node.address()).start()?;
    friend.wait_links(1)?;
    let id = friend.send(&node.peer_id()?, "still there?")?;
    node.wait_id(&id)?;
    let after = procfs::resident(node.pid()?).unwrap_or_default();
    ensure!(node.is_alive(), "the node died");
    ensure!(after < before + EXTRA_MEMORY, "memory grew from {before} to {after} bytes");
    Ok(())
}

#[test]
fn rubbish_at_the_control_socket_does_not_disturb_the_node() -> Outcome {
    let mut random = Random::announced("rubbish_at_the_control_socket");
    let node = TestNode::plan("a").start()?;
    for _ in 0..skip::rounds(50, 5_000) {
        let mut stream = UnixStream::connect(node.home().join("node.sock"))?;
        let length = random.below(4_000);
        // The node may hang up at any byte.
        let _ = stream.write_all(&random.bytes(length));
    }
    // The connections that were hung up on are cleared away within moments.
    node.wait("the next client is served", || Ok(node.peer_id().ok()))?;
    Ok(())
}

#[test]
fn a_blocked_peer_gets_no_link_and_no_message_through() -> Outcome {
    let mut node = TestNode::plan("a").start()?;
    let peer = TestNode::plan("b").peer(node.address()).start()?;
    let stranger = peer.peer_id()?;
    node.wait_links(1)?;
    node.terminate()?;
    block(&node, &stranger)?;
    node.start()?;
    let id = peer.send(&node.peer_id()?, "let me in")?;
    peer.wait("the refusal is told to the blocked peer", || {
        Ok(peer.log().contains("blocked by this node's admin").then_some(()))
    })?;
    ensure!(node.json(&["status"])?["links"].as_u64() == Some(0), "the blocked peer has a link");
    ensure!(node.inbox()?.iter().all(|message| message.id != id), "the blocked peer's message arrived");
    Ok(())
}

/// Marks a peer as blocked in the directory of a stopped node.
fn block(node: &TestNode, peer: &str) -> Outcome {
    let path = node.home().join("identity.json");
    let mut identity: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    let peers = identity["peers"].as_array_mut().into_iter().flatten();
    for entry in peers.filter(|entry| entry["peer_id"].as_str() == Some(peer)) {
        entry["trust"] = "blocked".into();
    }
    // Written in place: the file keeps its mode.
    Ok(fs::write(path, serde_json::to_vec_pretty(&identity)?)?)
}
