//! Gateways on one network find each other's domain by mDNS, with no list of peers. What is announced there is hearsay: only a
//! certificate makes a domain.

use qpq_tests::domains::{self, Authority};
use qpq_tests::lab::{Family, House};
use qpq_tests::mdns::{Announcement, Liar};
use qpq_tests::skip::skip;
use qpq_tests::{Outcome, TestNode, ensure};
use serde_json::Value;

use super::exchange;

/// The domains of the gateways in a house, by place.
const DOMAINS: [&str; 3] = ["a.mesh", "b.mesh", "c.mesh"];

/// Runs `check` on three machines of one network.
fn in_house(label: &str, family: Family, check: impl FnOnce(&House, &Authority) -> Outcome) -> Outcome {
    match House::missing() {
        Some(why) => skip(why),
        None => check(&House::new(label, DOMAINS.len(), family)?, &Authority::new("Valley")?),
    }
}

/// A gateway that knows nobody and federates with whom it finds. Its ordinary links stay inside its domain.
fn gateway(house: &House, community: &Authority, place: usize, more: &str) -> Outcome<TestNode> {
    let domain = DOMAINS[place];
    let more = format!("{more}[discovery]\nconnect_domains = [\"{domain}\"]\n");
    community.gateway_in(house.namespace(place), domain, &[], &more)?.discovery().start()
}

const DISCOVER: &str = "discover = true\n";

/// Waits until a node has links to those domains and no others.
fn wait_linked(node: &TestNode, domains: &[&str]) -> Outcome {
    node.wait(&format!("links to {domains:?}"), || Ok((domains::linked(node)? == domains).then_some(())))
}

/// The addresses at which a node has found others.
fn found(node: &TestNode) -> Outcome<Vec<String>> {
    let peers = node.json(&["mesh", "peers"])?;
    let all = peers["peers"].as_array().into_iter().flatten();
    let sightings = all.flat_map(|peer| peer["discovered"].as_array().into_iter().flatten());
    let addresses = sightings.flat_map(|sighting| sighting["addresses"].as_array().into_iter().flatten());
    Ok(addresses.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The domains that a node knows of: those that it was linked to, or has dialled.
fn known(node: &TestNode) -> Outcome<Vec<String>> {
    let status = node.json(&["federation", "status"])?;
    let all = status["domains"].as_array().into_iter().flatten();
    Ok(all.filter_map(|info| info["domain"].as_str()).map(str::to_owned).collect())
}

#[test]
fn three_gateways_that_know_nobody_federate_with_each_other() -> Outcome {
    in_house("fednear", Family::V4, |house, community| {
        let gate = |place| gateway(house, community, place, DISCOVER);
        let (a, b, c) = (gate(0)?, gate(1)?, gate(2)?);
        wait_linked(&a, &["b.mesh", "c.mesh"])?;
        wait_linked(&b, &["a.mesh", "c.mesh"])?;
        wait_linked(&c, &["a.mesh", "b.mesh"])?;
        exchange(&a, &b, "b.mesh")?;
        exchange(&c, &a, "a.mesh")
    })
}

#[test]
fn gateways_find_each_other_by_link_local_addresses_alone() -> Outcome {
    in_house("fedlocal", Family::LinkLocal, |house, community| {
        let gate = |place: usize| {
            let more = format!("{DISCOVER}[discovery]\nconnect_domains = [\"{}\"]\n", DOMAINS[place]);
            let plan = community.gateway_in(house.namespace(place), DOMAINS[place], &[], &more)?;
            plan.environment("QPQ_FEDERATION_LISTEN", "[::]:7001").listen("[::]:7000").discovery().start()
        };
        let (a, b) = (gate(0)?, gate(1)?);
        wait_linked(&a, &["b.mesh"])?;
        exchange(&b, &a, "a.mesh")
    })
}

#[test]
fn a_gateway_that_goes_and_returns_at_another_address_is_found_again() -> Outcome {
    in_house("fedmoves", Family::V4, |house, community| {
        let a = gateway(house, community, 0, DISCOVER)?;
        let mut b = gateway(house, community, 1, DISCOVER)?;
        wait_linked(&a, &["b.mesh"])?;
        b.terminate()?;
        wait_linked(&a, &[])?;
        a.wait("the goodbye is heard", || Ok(found(&a)?.is_empty().then_some(())))?;
        house.renumber(1, "10.88.0.77")?;
        b.start()?;
        wait_linked(&a, &["b.mesh"])?;
        let there = "federation://b.mesh@10.88.0.77:7001".to_owned();
        a.wait("the new address is listed", || Ok(found(&a)?.contains(&there).then_some(())))?;
        exchange(&a, &b, "b.mesh")
    })
}

#[test]
fn without_discover_nothing_is_dialled_and_nothing_told() -> Outcome {
    in_house("fedoff", Family::V4, |house, community| {
        let off = gateway(house, community, 0, "")?;
        let b = gateway(house, community, 1, DISCOVER)?;
        off.wait("the other is found", || Ok(found(&off)?.iter().any(|uri| uri.contains("b.mesh")).then_some(())))?;
        // Others link after it had its chance.
        let c = gateway(house, community, 2, DISCOVER)?;
        off.wait("both are found", || Ok(found(&off)?.iter().any(|uri| uri.contains("c.mesh")).then_some(())))?;
        wait_linked(&b, &["c.mesh"])?;
        ensure!(known(&off)?.is_empty(), "it dialled {:?}", known(&off)?);
        for other in [&b, &c] {
            let told = other.wait("the silent one is found", || {
                Ok(Some(found(other)?).filter(|all| all.contains(&"quic://10.88.0.1:7000".to_owned())))
            })?;
            ensure!(!told.iter().any(|uri| uri.contains("a.mesh")), "it announces its federation: {told:?}");
        }
        Ok(())
    })
}

#[test]
fn a_found_domain_on_the_block_list_is_not_dialled() -> Outcome {
    in_house("fedblock", Family::V4, |house, community| {
        let a = gateway(house, community, 0, &format!("{DISCOVER}block = [\"b.mesh\"]\n"))?;
        let b = gateway(house, community, 1, DISCOVER)?;
        a.wait("the blocked one is found", || Ok(found(&a)?.iter().any(|uri| uri.contains("b.mesh")).then_some(())))?;
        // It comes by itself, and is turned away.
        a.wait("the note", || domains::refused(&a, "b.mesh"))?;
        let c = gateway(house, community, 2, DISCOVER)?;
        wait_linked(&a, &["c.mesh"])?;
        wait_linked(&b, &["c.mesh"])?;
        ensure!(known(&a)? == ["c.mesh"], "it dialled {:?}", known(&a)?);
        drop(c);
        Ok(())
    })
}

/// One lie names an address where nobody is, another one where a gateway of a third domain is.
#[test]
fn a_domain_that_is_announced_where_its_certificate_is_not_costs_a_failed_handshake() -> Outcome {
    in_house("fedlies", Family::V4, |house, community| {
        let a = gateway(house, community, 0, DISCOVER)?;
        let third = community.gateway_in(house.namespace(2), "c.mesh", &[], "")?.start()?;
        let lie = |name: &str, domain: &str, key: &str, port: u16| Announcement {
            instance: name.to_owned(),
            strings: vec![
                "ver=1".to_owned(),
                format!("domain={domain}"),
                format!("peer={key}"),
                format!("addr=federation://{domain}@{}:{port}", House::address(2)),
            ],
        };
        let lies = [
            lie("empty", "nobody.mesh", &"11".repeat(32), 7999),
            lie("false", "b.mesh", &third.peer_id()?, 7001),
            lie("own", "a.mesh", &"22".repeat(32), 7001),
        ];
        let _liar = Liar::start(house.namespace(2), &House::address(2), &lies)?;
        let wrong = a.wait("the refusal", || domains::last_error(&a, "b.mesh"))?;
        ensure!(wrong.contains("wrong-domain") && wrong.contains("c.mesh"), "why? {wrong}");
        let silent = a.wait("the failure", || domains::last_error(&a, "nobody.mesh"))?;
        ensure!(silent.contains("timeout"), "why? {silent}");
        let table = a.cli(&["federation", "status"])?;
        ensure!(table.contains("wrong-domain") && table.contains("nobody.mesh"), "{table}");
        ensure!(domains::linked(&a)?.is_empty(), "a lie has made a link");
        let b = gateway(house, community, 1, DISCOVER)?;
        wait_linked(&a, &["b.mesh"])?;
        exchange(&a, &b, "b.mesh")?;
        ensure!(known(&a)? == ["b.mesh", "nobody.mesh"], "it dialled {:?}", known(&a)?);
        Ok(())
    })
}
