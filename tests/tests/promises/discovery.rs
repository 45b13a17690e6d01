//! Neighbours find each other with no configuration, and lies of others cost nothing but a handshake.

mod domains;
mod foreign;
mod lies;

use std::time::{Duration, Instant};

use qpq_tests::lab::{Family, House};
use qpq_tests::{Outcome, Plan, TestNode, ensure, poll, skip::skip};
use serde_json::Value;

/// Runs `check` on machines of one network.
fn in_house(label: &str, count: usize, family: Family, check: impl FnOnce(&House) -> Outcome) -> Outcome {
    match House::missing() {
        Some(why) => skip(why),
        None => check(&House::new(label, count, family)?),
    }
}

/// A node with nothing configured but its place.
fn plan(house: &House, place: usize) -> Plan {
    TestNode::plan(&format!("n{place}")).namespace(house.namespace(place)).listen("0.0.0.0:7000").discovery()
}

/// Starts nodes at the same moment.
fn start_all(nodes: &mut [TestNode]) -> Outcome {
    let started = std::thread::scope(|scope| {
        let threads: Vec<_> =
            nodes.iter_mut().map(|node| scope.spawn(|| node.start().map_err(|e| e.to_string()))).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    for result in started {
        ensure!(matches!(result, Ok(Ok(_))), "a node did not start: {result:?}");
    }
    Ok(())
}

/// What a node lists.
fn peers(node: &TestNode) -> Outcome<Vec<Value>> {
    Ok(node.json(&["mesh", "peers"])?["peers"].as_array().cloned().unwrap_or_default())
}

fn is_found(peer: &Value) -> bool {
    peer["discovered"].as_array().is_some_and(|found| !found.is_empty())
}

fn found_count(node: &TestNode) -> Outcome<usize> {
    Ok(peers(node)?.iter().filter(|peer| peer["peer_id"].is_string() && is_found(peer)).count())
}

fn wait_found(node: &TestNode, count: usize) -> Outcome {
    node.wait(&format!("{count} nodes are found"), || Ok((found_count(node)? == count).then_some(())))
}

/// The keys of nodes that ran once, in their order.
fn keys(nodes: &mut [TestNode]) -> Outcome<Vec<String>> {
    start_all(nodes)?;
    let keys = nodes.iter().map(TestNode::peer_id).collect::<Outcome<_>>()?;
    for node in nodes {
        node.terminate()?;
    }
    Ok(keys)
}

/// Says on the terminal what was measured: for people, no test depends on it.
fn measured(what: &str, took: Duration) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "MEASURED {what}: {:.2} s", took.as_secs_f64());
}

#[test]
fn ten_nodes_on_a_bridge_find_all_others() -> Outcome {
    in_house("ten", 10, Family::V4, |house| {
        let mut nodes = (0..10).map(|place| plan(house, place).prepare()).collect::<Outcome<Vec<_>>>()?;
        start_all(&mut nodes)?;
        let ready = Instant::now();
        for node in &nodes {
            wait_found(node, 9)?;
        }
        measured("ten nodes have found all others, after the last is ready", ready.elapsed());
        let first = peers(&nodes[0])?;
        let interface = first[0]["discovered"][0]["interface"].as_str();
        ensure!(interface == Some("eth0"), "the interface is {interface:?}");
        nodes[0].wait_links(9)?;
        Ok(())
    })
}

#[test]
fn two_nodes_that_start_at_once_exchange_a_message_with_no_configuration() -> Outcome {
    in_house("two", 2, Family::V4, |house| {
        let mut nodes = [plan(house, 0).prepare()?, plan(house, 1).prepare()?];
        let keys = keys(&mut nodes)?;
        let began = Instant::now();
        start_all(&mut nodes)?;
        let ready = began.elapsed();
        let id = nodes[0].send(&keys[1], "hello, neighbour")?;
        let message = nodes[1].wait_id(&id)?;
        measured("the first message of two nodes, from exec", began.elapsed());
        measured("  of that until both are ready", ready);
        ensure!(message.from == keys[0] && message.text == "hello, neighbour", "got {message:?}");
        Ok(())
    })
}

/// Two nodes exchange a message over IPv6 alone.
fn message_over_ipv6(label: &str, family: Family) -> Outcome {
    in_house(label, 2, family, |house| {
        let node = |place| plan(house, place).listen("[::]:7000").start();
        let (a, b) = (node(0)?, node(1)?);
        wait_found(&a, 1)?;
        let id = a.send(&b.peer_id()?, "over six")?;
        b.wait_id(&id)?;
        Ok(())
    })
}

#[test]
fn neighbours_find_each_other_over_ipv6_alone() -> Outcome {
    message_over_ipv6("six", Family::V6)
}

#[test]
fn neighbours_find_each_other_by_link_local_addresses_alone() -> Outcome {
    message_over_ipv6("local", Family::LinkLocal)
}

#[test]
fn an_interface_that_comes_later_is_used() -> Outcome {
    in_house("later", 2, Family::V4, |house| {
        house.plug(1, false)?;
        let a = plan(house, 0).start()?;
        let b = plan(house, 1).start()?;
        ensure!(found_count(&b)? == 0, "nobody can be found without a network");
        house.plug(1, true)?;
        let plugged = Instant::now();
        wait_found(&a, 1)?;
        wait_found(&b, 1)?;
        measured("found, after the cable is plugged in", plugged.elapsed());
        a.wait_links(1)?;
        let warnings = b.log().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
        ensure!(warnings == 0, "a node without a network must not fill its log:\n{}", b.log());
        Ok(())
    })
}

#[test]
fn a_node_that_changes_its_address_is_found_at_the_new_one() -> Outcome {
    in_house("moves", 2, Family::V4, |house| {
        let (a, b) = (plan(house, 0).start()?, plan(house, 1).start()?);
        wait_found(&a, 1)?;
        house.renumber(1, "10.88.0.77")?;
        a.wait("the new address is listed", || {
            let new = |peer: &Value| peer["discovered"][0]["server"] == "10.88.0.77:7000";
            Ok(peers(&a)?.iter().any(new).then_some(()))
        })?;
        let id = a.send(&b.peer_id()?, "moved")?;
        b.wait_id(&id)?;
        Ok(())
    })
}

#[test]
fn a_node_that_stops_says_goodbye() -> Outcome {
    in_house("bye", 2, Family::V4, |house| {
        let a = plan(house, 0).start()?;
        let mut b = plan(house, 1).start()?;
        wait_found(&a, 1)?;
        b.terminate()?;
        // Without a goodbye it would stand there for two minutes.
        let stopped = Instant::now();
        wait_found(&a, 0)?;
        measured("gone from the list, after it has stopped", stopped.elapsed());
        Ok(())
    })
}

#[test]
fn with_connecting_switched_off_nodes_are_only_listed() -> Outcome {
    in_house("shy", 2, Family::V4, |house| {
        let node = |place| plan(house, place).config("[discovery]\nconnect = false\n").start();
        let (a, b) = (node(0)?, node(1)?);
        wait_found(&a, 1)?;
        wait_found(&b, 1)?;
        ensure!(a.json(&["status"])?["links"] == 0, "there must be no link");
        let table = a.cli(&["mesh", "peers"])?;
        ensure!(table.contains("found") && table.contains("eth0"), "the table is:\n{table}");
        let told = a.cli(&["mesh", "server", &format!("{}:7000", House::address(1))])?;
        poll::until("the noted server is linked", || Ok((a.json(&["status"])?["links"] == 1).then_some(())))
            .map_err(|failure| a.failure(&format!("{failure}; it said: {told}")))
    })
}
