//! Nodes that find each other by key: transport-iroh in real nodes, direct and over a relay.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use iroh_relay::server::{RelayConfig, Server, ServerConfig};
use qpq_tests::{Outcome, Plan, TestNode, ensure};
use serde_json::Value;
use tokio::runtime::Runtime;

/// The configuration of a node with this transport alone; `settings` are the plugin's own.
fn config(settings: &str) -> String {
    format!(
        "[plugins]\nload = [\"transport-iroh\", \"routing-babel\"]\ntrusted_with_key = [\"transport-iroh\"]\n\
         [plugins.transport-iroh]\n{settings}\n"
    )
}

fn plan(name: &str, settings: &str) -> Plan {
    TestNode::plan(name).listen("iroh://127.0.0.1:0").config(config(settings))
}

/// What `qpq plugin list` says of the transport.
fn plugin(node: &TestNode) -> Outcome<Value> {
    let plugins = node.json(&["plugin", "list"])?;
    let all = plugins["plugins"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().find(|plugin| plugin["name"] == "transport-iroh").unwrap_or_default())
}

/// Where others dial a node.
fn address(node: &TestNode) -> Outcome<String> {
    let peer = node.peer_id()?;
    let bound = node.wait("it listens", || Ok(plugin(node)?["stats"]["listening"][0].as_str().map(str::to_owned)))?;
    Ok(format!("iroh://{peer}?direct={bound}"))
}

/// Waits for a link to that peer that `fits`.
fn wait_link(node: &TestNode, peer: &str, fits: impl Fn(&Value) -> bool) -> Outcome<Value> {
    node.wait("such a link is up", || {
        let peers = node.json(&["mesh", "peers"])?;
        let of = peers["peers"].as_array().into_iter().flatten().filter(|known| known["peer_id"] == peer);
        Ok(of.flat_map(|known| known["links"].as_array().cloned().unwrap_or_default()).find(|link| fits(link)))
    })
}

/// Sends both ways and waits for both messages.
fn exchange(a: &TestNode, b: &TestNode) -> Outcome {
    for (from, to) in [(a, b), (b, a)] {
        let id = from.send(&to.peer_id()?, "over iroh")?;
        ensure!(to.wait_id(&id)?.text == "over iroh", "another text arrived");
    }
    Ok(())
}

/// A relay in this process, on the loopback interface.
struct Relay {
    runtime: Runtime,
    server: Option<Server>,
    addr: SocketAddr,
}

impl Relay {
    fn start() -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut relay = Self { runtime, server: None, addr: ([127, 0, 0, 1], 0).into() };
        relay.resume()?;
        Ok(relay)
    }

    fn resume(&mut self) -> Outcome {
        let server = qpq_tests::poll::until("the relay's port is free", || {
            let mut config = ServerConfig::default();
            config.relay = Some(RelayConfig::new(self.addr));
            Ok(self.runtime.block_on(Server::spawn(config)).ok())
        })?;
        self.addr = server.http_addr().unwrap_or(self.addr);
        self.server = Some(server);
        Ok(())
    }

    fn stop(&mut self) -> Outcome {
        match self.server.take() {
            Some(server) => Ok(self.runtime.block_on(server.shutdown())?),
            None => Ok(()),
        }
    }

    /// Settings of the plugin that leave only this relay.
    fn only(&self) -> String {
        format!("relays = [\"http://{}\"]\nrelay_only = true", self.addr)
    }

    /// A node that is found at this relay and nowhere else, at it already.
    fn node(&self, name: &str) -> Outcome<TestNode> {
        let node = TestNode::plan(name).listen("quic://127.0.0.1:0").config(config(&self.only())).start()?;
        wait_relay(&node, true)?;
        Ok(node)
    }
}

/// Waits until the node says so of its relay.
fn wait_relay(node: &TestNode, connected: bool) -> Outcome {
    node.wait("the relay's state is shown", || {
        Ok((plugin(node)?["stats"]["relays"][0]["connected"] == connected).then_some(()))
    })
}

#[test]
fn nodes_exchange_messages_over_iroh_and_show_the_path() -> Outcome {
    let a = plan("a", "").start()?;
    let b = plan("b", "").peer(address(&a)?).start()?;
    exchange(&a, &b)?;
    let link = wait_link(&b, &a.peer_id()?, |_| true)?;
    ensure!(link["transport"] == "transport-iroh", "the transport is {}", link["transport"]);
    ensure!(link["relayed"] == false, "a direct path is called relayed");
    ensure!(link["remote"] == address(&a)?.as_str(), "the path is {}", link["remote"]);
    Ok(())
}

#[test]
fn a_message_finds_its_recipient_by_the_key_alone() -> Outcome {
    let relay = Relay::start()?;
    let (a, b) = (relay.node("a")?, relay.node("b")?);
    exchange(&a, &b)?;
    let link = wait_link(&a, &b.peer_id()?, |_| true)?;
    ensure!(link["relayed"] == true, "the path over the relay isn't called so: {link}");
    ensure!(link["remote"].as_str().is_some_and(|remote| remote.contains("?relay=http://")), "the path is {link}");
    Ok(())
}

#[test]
fn messages_go_on_when_the_relay_comes_back() -> Outcome {
    let mut relay = Relay::start()?;
    let (a, b) = (relay.node("a")?, relay.node("b")?);
    exchange(&a, &b)?;
    relay.stop()?;
    wait_relay(&a, false)?;
    let id = a.send(&b.peer_id()?, "while it was gone")?;
    relay.resume()?;
    b.wait_id(&id)?;
    exchange(&a, &b)
}

#[test]
fn a_dead_relay_delays_nothing_and_is_shown() -> Outcome {
    let mut relay = Relay::start()?;
    relay.stop()?;
    let settings = format!("relays = [\"http://{}\"]", relay.addr);
    let began = Instant::now();
    let a = plan("a", &settings).start()?;
    let b = plan("b", &settings).peer(address(&a)?).start()?;
    exchange(&a, &b)?;
    ensure!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    let relays = plugin(&a)?["stats"]["relays"].clone();
    ensure!(relays[0]["connected"] == false, "the relay is shown as {relays}");
    Ok(())
}

#[test]
fn without_network_and_relays_it_starts_at_once_and_is_silent() -> Outcome {
    let a = plan("a", "").start()?;
    address(&a)?;
    let noise: Vec<_> =
        a.log().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).map(str::to_owned).collect();
    ensure!(noise.is_empty(), "it says {noise:?}");
    Ok(())
}

#[test]
fn the_nodes_key_is_kept_from_a_plugin_that_is_not_trusted_with_it() -> Outcome {
    let text = "[plugins]\nload = [\"transport-quic\", \"transport-iroh\", \"routing-babel\"]\n";
    let node = TestNode::plan("a").config(text).start()?;
    let why = node.wait("the plugin is refused", || Ok(plugin(&node)?["last_error"].as_str().map(str::to_owned)))?;
    ensure!(why.contains("plugins.trusted_with_key") && why.contains("add \"transport-iroh\""), "it says {why:?}");
    let status = plugin(&node)?;
    ensure!(status["restart_in_ms"].is_null() && status["failures"] == 0, "it waits for the admin: {status}");
    ensure!(node.json(&["status"]).is_ok(), "the node goes on without it");
    Ok(())
}
