//! Networks that fall apart and heal: what was acknowledged meanwhile arrives, once.

use std::time::Duration;

use qpq_tests::lab::Lan;
use qpq_tests::skip::{rounds, skip};
use qpq_tests::{Outcome, Plan, Random, TestNode, ensure};

use crate::traffic::Traffic;

/// Nodes on the LAN, enough for two sides with a link inside each.
const NODES: usize = 4;

/// The hosts on the far side of a split.
const FAR: [usize; 2] = [2, 3];

const PORT: u16 = 7000;

fn plan(lan: &Lan, host: usize) -> Plan {
    let plan = TestNode::plan(&format!("n{host}")).namespace(lan.namespace(host)).listen(format!("0.0.0.0:{PORT}"));
    (0..host).fold(plan, |plan, other| plan.peer(format!("{}:{PORT}", Lan::address(other, 0))))
}

/// Nodes that all have links to each other.
fn linked(lan: &Lan) -> Outcome<Vec<TestNode>> {
    let nodes: Vec<_> = (0..NODES).map(|host| plan(lan, host).start()).collect::<Outcome<_>>()?;
    wait_links(&nodes, NODES - 1)?;
    Ok(nodes)
}

fn wait_links(nodes: &[TestNode], count: usize) -> Outcome {
    nodes.iter().try_for_each(|node| node.wait_links(count as u64))
}

/// Lets everybody send to everybody while `disturb` does its worst, and expects every message to arrive afterwards.
fn survives(label: &str, disturb: impl Fn(&Lan, &[TestNode], &mut Random) -> Outcome) -> Outcome {
    let mut random = Random::announced(label);
    let lan = Lan::new(label, NODES)?;
    let nodes = linked(&lan)?;
    for round in 0..rounds(1, 50) {
        let traffic = Traffic::start(&nodes)?;
        disturb(&lan, &nodes, &mut random)?;
        let after = traffic.count();
        let ledger = traffic.stop()?;
        ensure!(after > NODES, "only {after} messages were sent in round {round}: the test tests nothing");
        ledger.check(&nodes)?;
    }
    Ok(())
}

#[test]
fn a_split_loses_nothing_and_doubles_nothing() -> Outcome {
    if let Some(why) = Lan::missing() {
        return skip(why);
    }
    survives("split2", |lan, nodes, _| {
        lan.split(0, &FAR)?;
        wait_links(nodes, 1)?;
        lan.heal(0)
    })
}

#[test]
fn a_node_that_hears_but_is_not_heard_loses_nothing() -> Outcome {
    if let Some(why) = Lan::one_way_missing() {
        return skip(why);
    }
    survives("oneway", |lan, nodes, _| {
        (1..NODES).try_for_each(|other| lan.lose(0, other))?;
        wait_links(nodes.get(1..).unwrap_or_default(), NODES - 2)?;
        (1..NODES).try_for_each(|other| lan.lose_nothing(other))
    })
}

#[test]
fn a_network_that_comes_and_goes_loses_nothing() -> Outcome {
    if let Some(why) = Lan::missing() {
        return skip(why);
    }
    // Some of these times are longer than a dead link takes to be noticed, some shorter.
    let pause = |random: &mut Random| std::thread::sleep(Duration::from_millis(200 + random.below(4000) as u64));
    survives("flap", |lan, _, random| {
        for _ in 0..3 {
            lan.split(0, &FAR)?;
            pause(random);
            lan.heal(0)?;
            pause(random);
        }
        Ok(())
    })
}

#[test]
fn islands_that_never_met_exchange_everything_once_they_are_joined() -> Outcome {
    if let Some(why) = Lan::missing() {
        return skip(why);
    }
    let lan = Lan::new("islands", NODES)?;
    lan.split(0, &FAR)?;
    let nodes: Vec<_> = (0..NODES).map(|host| plan(&lan, host).start()).collect::<Outcome<_>>()?;
    wait_links(&nodes, 1)?;
    let traffic = Traffic::start(&nodes)?;
    let pairs = NODES * (NODES - 1);
    nodes
        .first()
        .map_or(Ok(()), |node| node.wait("every pair has sent", || Ok((traffic.count() > 3 * pairs).then_some(()))))?;
    let ledger = traffic.stop()?;
    lan.heal(0)?;
    ledger.check(&nodes)
}

/// How many links a node has over a LAN.
fn links_over(node: &TestNode, lan: usize) -> Outcome<usize> {
    let peers = node.json(&["mesh", "peers"])?;
    let links = peers["peers"].as_array().into_iter().flatten().filter_map(|peer| peer["links"].as_array()).flatten();
    let network = format!("//10.78.{lan}.");
    Ok(links.filter(|link| link["remote"].as_str().is_some_and(|remote| remote.contains(&network))).count())
}

#[test]
fn a_silent_network_is_left_for_another_and_nothing_is_lost() -> Outcome {
    if let Some(why) = Lan::missing() {
        return skip(why);
    }
    let lan = Lan::several("twonets", 2, 2)?;
    let plan = |host| plan(&lan, host).config("[plugins]\nload = [\"transport-quic\", \"routing-babel\"]\n");
    let b = plan(0).start()?;
    let a = plan(1).peer(format!("{}:{PORT}", Lan::address(0, 1))).start()?;
    let nodes = [a, b];
    let on_both = |node: &TestNode| {
        node.wait("there is a link over each network", || {
            Ok((links_over(node, 0)? > 0 && links_over(node, 1)? > 0).then_some(()))
        })
    };
    let traffic = Traffic::start(&nodes)?;
    for torn in [0, 1] {
        nodes.iter().try_for_each(on_both)?;
        lan.split(torn, &[0])?;
        for node in &nodes {
            node.wait("the dead link is noticed", || Ok((links_over(node, torn)? == 0).then_some(())))?;
            node.wait_links(1)?;
        }
        let before = traffic.count();
        nodes[0].wait("messages go on", || Ok((traffic.count() > before + 10).then_some(())))?;
        lan.heal(torn)?;
    }
    traffic.stop()?.check(&nodes)
}
