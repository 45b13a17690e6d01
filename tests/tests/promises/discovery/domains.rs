//! Communities that share a network stay by themselves where they say so, and are one mesh where they don't.

use qpq_tests::lab::{Family, House};
use qpq_tests::{Outcome, TestNode, ensure};

use super::{in_house, peers, plan, wait_found};

/// A node of a domain, that links to those of `only`.
fn node(house: &House, place: usize, domain: &str, only: Option<&str>) -> Outcome<TestNode> {
    let only = only.map(|only| format!("[discovery]\nconnect_domains = [\"{only}\"]\n")).unwrap_or_default();
    plan(house, place).config(format!("domain = \"{domain}\"\n{only}")).start()
}

/// The keys that a node has links to.
fn linked(node: &TestNode) -> Outcome<Vec<String>> {
    let up = |peer: &serde_json::Value| peer["links"].as_array().is_some_and(|links| !links.is_empty());
    let peers = peers(node)?.into_iter().filter(up);
    Ok(peers.filter_map(|peer| peer["peer_id"].as_str().map(str::to_owned)).collect())
}

#[test]
fn domains_on_one_network_that_name_themselves_stay_apart() -> Outcome {
    in_house("apart", 4, Family::V4, |house| {
        let hill = node(house, 0, "hill.mesh", Some("hill.mesh"))?;
        let valley = node(house, 1, "valley.mesh", Some("valley.mesh"))?;
        // Whoever names no domain is outside of all.
        let stranger = plan(house, 2).config("[discovery]\nconnect_domains = [\"sea.mesh\"]\n").start()?;
        [&hill, &valley, &stranger].into_iter().try_for_each(|node| wait_found(node, 2))?;
        // One below the name is inside. It links when the others have had their chance.
        let below = node(house, 3, "west.valley.mesh", Some("valley.mesh"))?;
        wait_found(&hill, 3)?;
        below.wait_links(1)?;
        let id = below.send(&valley.peer_id()?, "from the west")?;
        valley.wait_id(&id)?;
        ensure!(linked(&valley)? == [below.peer_id()?], "valley has links to others");
        ensure!(linked(&hill)?.is_empty(), "hill has links to others");
        ensure!(linked(&stranger)?.is_empty(), "somebody has linked to the stranger");
        Ok(())
    })
}

/// `connect_domains` says whom a node dials. Who dials it is the other side's choice.
#[test]
fn domains_on_one_network_are_one_mesh_unless_both_name_themselves() -> Outcome {
    in_house("onemesh", 2, Family::V4, |house| {
        let open = node(house, 0, "hill.mesh", None)?;
        let valley = node(house, 1, "valley.mesh", Some("valley.mesh"))?;
        valley.wait_links(1)?;
        ensure!(linked(&open)? == [valley.peer_id()?], "hill has not linked to valley");
        let id = valley.send(&open.peer_id()?, "hello, neighbour")?;
        open.wait_id(&id).map(drop)
    })
}
