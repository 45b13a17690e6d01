//! Routing: ways are found, and found again when a node on them dies.

use qpq_tests::{Outcome, TestNode, ensure};

/// Only the servers that are named, so that nobody takes a short cut.
const CONFIG: &str = "[plugins]\nload = [\"transport-quic\", \"routing-babel\"]\n";

/// The next hop to a peer, as `mesh route` shows it.
fn next_hop(node: &TestNode, to: &str) -> Outcome<Option<String>> {
    let table = node.json(&["mesh", "route"])?;
    let row = table["routes"].as_array().and_then(|rows| rows.iter().find(|row| row["destination"] == to).cloned());
    Ok(row.and_then(|row| row["next_hop"].as_str().map(str::to_owned)))
}

fn wait_next_hop(node: &TestNode, to: &str, over: &str) -> Outcome {
    node.wait(&format!("the way to {to} leads over {over}"), || {
        Ok((next_hop(node, to)?.as_deref() == Some(over)).then_some(()))
    })
}

/// Five nodes: each is linked to the next, and the last to the first.
fn ring() -> Outcome<Vec<TestNode>> {
    let mut nodes: Vec<TestNode> = Vec::new();
    for (n, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let mut plan = TestNode::plan(name).config(CONFIG);
        if let Some(before) = nodes.last() {
            plan = plan.peer(before.address());
        }
        if n == 4 {
            plan = plan.peer(nodes[0].address());
        }
        nodes.push(plan.start()?);
    }
    nodes.iter().try_for_each(|node| node.wait_links(2))?;
    Ok(nodes)
}

#[test]
fn a_message_goes_round_the_other_way_when_a_node_on_its_way_dies() -> Outcome {
    let mut nodes = ring()?;
    let keys = nodes.iter().map(TestNode::peer_id).collect::<Outcome<Vec<_>>>()?;
    wait_next_hop(&nodes[0], &keys[2], &keys[1])?;
    wait_next_hop(&nodes[2], &keys[0], &keys[1])?;
    let id = nodes[0].send(&keys[2], "by the short way")?;
    nodes[2].wait_id(&id)?;
    nodes[1].kill()?;
    let id = nodes[0].send(&keys[2], "by the long way")?;
    nodes[2].wait_id(&id)?;
    wait_next_hop(&nodes[0], &keys[2], &keys[4])?;
    let back = nodes[2].send(&keys[0], "and back")?;
    nodes[0].wait_id(&back)?;
    let copies = nodes[2].inbox()?.iter().filter(|message| message.id == id).count();
    ensure!(copies == 1, "the message came {copies} times");
    Ok(())
}

#[test]
fn neighbours_with_another_routing_understand_each_others_messages() -> Outcome {
    let flood = "[plugins]\nload = [\"transport-quic\", \"routing-flood\"]\n";
    let a = TestNode::plan("a").config(CONFIG).start()?;
    let b = TestNode::plan("b").config(flood).peer(a.address()).start()?;
    let c = TestNode::plan("c").config(CONFIG).peer(b.address()).start()?;
    b.wait_links(2)?;
    for (from, to) in [(&a, &c), (&c, &a), (&a, &b), (&b, &c)] {
        let id = from.send(&to.peer_id()?, "hello")?;
        to.wait_id(&id)?;
    }
    Ok(())
}
