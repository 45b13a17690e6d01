//! Nodes behind routers that let nothing in: they reach each other by punched holes, or else by the community's relay.

use qpq_tests::lab::{Nat, NatLab};
use qpq_tests::skip::skip;
use qpq_tests::{Outcome, Relay, TestNode, ensure};
use serde_json::Value;

use crate::traffic::Traffic;

const PLUGINS: &str =
    "[plugins]\nload = [\"transport-iroh\", \"routing-babel\"]\ntrusted_with_key = [\"transport-iroh\"]\n";

/// Two nodes behind a router each, which know each other's key, and a relay outside.
struct Scene {
    // Dropped in this order: the namespaces go last.
    nodes: Vec<TestNode>,
    relay: Relay,
    lab: NatLab,
}

impl Scene {
    fn new(label: &str, nat: Nat) -> Outcome<Self> {
        let lab = NatLab::new(label, nat)?;
        Self::in_lab(lab)
    }

    fn in_lab(lab: NatLab) -> Outcome<Self> {
        let relay = Relay::start_in(lab.outside(), NatLab::OUTSIDE_ADDRESS)?;
        let config = format!("{PLUGINS}\n{}", relay.node_config());
        let plan = |side: usize, name: &str| {
            TestNode::plan(name).namespace(lab.namespace(side)).listen("iroh://0.0.0.0:7000").config(&*config)
        };
        let b = plan(1, "b").start()?;
        let a = plan(0, "a").peer(format!("iroh://{}", b.peer_id()?)).start()?;
        Ok(Self { nodes: vec![a, b], relay, lab })
    }

    fn a(&self) -> Outcome<&TestNode> {
        self.nodes.first().ok_or_else(|| qpq_tests::Failure::new("no node"))
    }

    /// Waits until a has a link to b whose path is direct, or relayed; returns the link.
    fn wait_path(&self, relayed: bool) -> Outcome<Value> {
        let what = format!("`mesh peers` shows a {} path", if relayed { "relayed" } else { "direct" });
        let a = self.a()?;
        a.wait(&what, || {
            let peers = a.json(&["mesh", "peers"])?;
            let links = peers["peers"].as_array().into_iter().flatten().filter_map(|peer| peer["links"].as_array());
            Ok(links.flatten().find(|link| link["relayed"] == relayed).cloned())
        })
    }

    /// A message each way.
    fn exchange(&self) -> Outcome {
        let [a, b] = self.nodes.as_slice() else { return Err(qpq_tests::Failure::new("two nodes")) };
        let (there, back) = (a.send(&b.peer_id()?, "there")?, b.send(&a.peer_id()?, "and back")?);
        b.wait_id(&there)?;
        a.wait_id(&back).map(drop)
    }

    /// Waits until both nodes say in their status whether they have the relay.
    fn wait_relay(&self, connected: bool) -> Outcome {
        self.nodes.iter().try_for_each(|node| {
            node.wait(&format!("the status says that the relay's connection is {connected}"), || {
                let status = node.json(&["status"])?;
                let plugins = status["plugins"].as_array().into_iter().flatten();
                let relays = plugins.filter_map(|plugin| plugin["stats"]["relays"].as_array()).flatten();
                Ok(relays.into_iter().find(|relay| relay["connected"] == connected).map(drop))
            })
        })
    }
}

#[test]
fn nodes_behind_two_routers_talk_directly_through_punched_holes() -> Outcome {
    if let Some(why) = NatLab::missing() {
        return skip(why);
    }
    let scene = Scene::new("punch", Nat::Cone)?;
    scene.exchange()?;
    let link = scene.wait_path(false)?;
    let remote = link["remote"].as_str().unwrap_or_default();
    ensure!(remote.contains(&NatLab::router_address(1)), "the direct path leads to {remote}, not to b's router");
    // Now that the path is direct, the relay is no longer needed.
    scene.lab.isolate_outside()?;
    scene.exchange()
}

#[test]
fn nodes_whose_routers_block_each_other_talk_through_the_relay() -> Outcome {
    if let Some(why) = NatLab::missing() {
        return skip(why);
    }
    let lab = NatLab::new("blocked", Nat::Cone)?;
    lab.block_udp_between()?;
    let scene = Scene::in_lab(lab)?;
    scene.exchange()?;
    let link = scene.wait_path(true)?;
    let remote = link["remote"].as_str().unwrap_or_default();
    ensure!(remote.contains(NatLab::OUTSIDE_ADDRESS), "the relay isn't named in {remote}");
    Ok(())
}

#[test]
fn nodes_behind_routers_with_random_ports_talk_through_the_relay() -> Outcome {
    if let Some(why) = NatLab::missing() {
        return skip(why);
    }
    let scene = Scene::new("random", Nat::Symmetric)?;
    scene.exchange()?;
    scene.wait_path(true)?;
    Ok(())
}

#[test]
fn a_relay_that_dies_and_comes_back_loses_nothing_and_is_told_in_the_status() -> Outcome {
    if let Some(why) = NatLab::missing() {
        return skip(why);
    }
    let lab = NatLab::new("relaydies", Nat::Cone)?;
    lab.block_udp_between()?;
    let mut scene = Scene::in_lab(lab)?;
    scene.wait_relay(true)?;
    scene.exchange()?;
    let traffic = Traffic::start(&scene.nodes)?;
    scene.relay.kill()?;
    scene.wait_relay(false)?;
    scene.nodes.iter().try_for_each(|node| node.wait_links(0))?;
    let ledger = traffic.stop()?;
    scene.relay.start()?;
    ledger.check(&scene.nodes)?;
    scene.wait_relay(true)
}

#[test]
fn a_node_whose_address_changes_loses_nothing() -> Outcome {
    if let Some(why) = NatLab::missing() {
        return skip(why);
    }
    let scene = Scene::new("moves", Nat::Cone)?;
    scene.exchange()?;
    scene.wait_path(false)?;
    let traffic = Traffic::start(&scene.nodes)?;
    for last_byte in [77, 78] {
        scene.lab.change_address(1, last_byte)?;
        let before = traffic.count();
        scene.a()?.wait("more was sent", || Ok((traffic.count() > before + 20).then_some(())))?;
    }
    traffic.stop()?.check(&scene.nodes)?;
    scene.exchange()
}
