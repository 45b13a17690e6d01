//! Domains relay for each other: mail and bridged channels cross, nothing that was acknowledged is lost, and who is not who it
//! says it is stays outside and is told why.

mod named;
mod nearby;

use qpq_tests::domains::{self, Authority, Domain};
use qpq_tests::lab::Lan;
use qpq_tests::skip::skip;
use qpq_tests::{Message, Outcome, TestNode, ensure};

use crate::traffic::Traffic;

/// An inner node of each of two domains, whose gateways are linked: a, a's gateway, b's gateway, b.
fn two_domains(community: &Authority, more: &str) -> Outcome<[TestNode; 4]> {
    let (a, b) = (Domain::new("a.mesh")?, Domain::new("b.mesh")?);
    let gate_a = community.gateway(&a, &[], more)?.start()?;
    let gate_b = community.gateway(&b, &[&a], more)?.start()?;
    let inner_a = a.inner(&gate_a).start()?;
    let inner_b = b.inner(&gate_b).start()?;
    for gate in [&gate_a, &gate_b] {
        gate.wait_links(2)?;
    }
    Ok([inner_a, gate_a, gate_b, inner_b])
}

/// A message goes to a node of another domain, and its receipt comes back.
fn exchange(from: &TestNode, to: &TestNode, domain: &str) -> Outcome {
    let address = format!("{}@{domain}", to.peer_id()?);
    let told = from.cli(&["mesh", "send", "--receipt", "--wait", "30s", &address, "over the hills"])?;
    ensure!(told.contains("elivered"), "no receipt: {told}");
    let own = from.peer_id()?;
    let fits = |message: &Message| message.text == "over the hills" && message.from == own;
    let message = to.wait_message("the message", fits)?;
    ensure!(message.sealed, "{message:?}");
    Ok(())
}

#[test]
fn mail_and_receipts_find_their_way_between_inner_nodes_of_two_domains() -> Outcome {
    let community = Authority::new("Valley")?;
    let [a, _gate_a, _gate_b, b] = two_domains(&community, "")?;
    exchange(&a, &b, "b.mesh")
}

#[test]
fn a_domain_in_the_middle_carries_for_others_only_when_it_wants_to() -> Outcome {
    for (transit, arrives) in [(true, true), (false, false)] {
        let community = Authority::new("Valley")?;
        let [a, b, c] = ["a.mesh", "b.mesh", "c.mesh"].map(Domain::new);
        let (a, b, c) = (a?, b?, c?);
        let gate_b = community.gateway(&b, &[], &format!("transit = {transit}\n"))?.start()?;
        let gate_a = community.gateway(&a, &[&b], "")?.start()?;
        let gate_c = community.gateway(&c, &[&b], "")?.start()?;
        gate_b.wait_links(2)?;
        let id = gate_a.send(&gate_c.peer_id()?, "through the valley")?;
        if arrives {
            gate_c.wait_id(&id)?;
            continue;
        }
        // Something that may cross comes later, so what may not has had its time.
        let later = gate_b.send(&gate_c.peer_id()?, "from the valley")?;
        gate_c.wait_id(&later)?;
        ensure!(gate_c.inbox()?.iter().all(|message| message.id != id), "it was carried all the same");
    }
    Ok(())
}

#[test]
fn a_bridged_channel_is_one_board_and_another_channel_stays_at_home() -> Outcome {
    let community = Authority::new("Valley")?;
    let [a, _gate_a, _gate_b, b] = two_domains(&community, "channels = [\"announcements\"]\n")?;
    for topic in ["announcements", "village"] {
        a.subscribe(topic)?;
        b.subscribe(topic)?;
    }
    let home = a.broadcast("village", "only here")?;
    let id = a.broadcast("announcements", "for both valleys")?;
    b.wait_id(&id)?;
    let back = b.broadcast("announcements", "heard you")?;
    a.wait_id(&back)?;
    ensure!(b.inbox()?.iter().all(|message| message.id != home), "the village's channel has crossed");
    Ok(())
}

#[test]
fn three_domains_that_are_torn_apart_lose_nothing_and_double_nothing() -> Outcome {
    if let Some(why) = Lan::missing() {
        return skip(why);
    }
    let lan = Lan::new("domains", 3)?;
    let community = Authority::new("Valley")?;
    let nodes = community.triangle(&lan)?;
    let traffic = Traffic::start(&nodes)?;
    for apart in [0, 1, 2] {
        lan.split(0, &[apart])?;
        nodes.get(apart).map_or(Ok(()), |node| node.wait_links(0))?;
        lan.heal(0)?;
        nodes.iter().try_for_each(|node| node.wait_links(2))?;
    }
    let after = traffic.count();
    let ledger = traffic.stop()?;
    ensure!(after > 6, "only {after} messages were sent: the test tests nothing");
    ledger.check(&nodes)
}

#[test]
fn kill_9_of_either_gateway_loses_nothing_that_was_acknowledged() -> Outcome {
    let community = Authority::new("Valley")?;
    let [a, mut gate_a, mut gate_b, b] = two_domains(&community, "")?;
    let (to, back) = (format!("{}@b.mesh", b.peer_id()?), format!("{}@a.mesh", a.peer_id()?));
    let mut sent = (Vec::new(), Vec::new());
    for round in 0..3 {
        for number in 0..20 {
            sent.0.push(a.send(&to, &format!("there {round} {number}"))?);
            sent.1.push(b.send(&back, &format!("back {round} {number}"))?);
            if number == 10 {
                let victim = if round % 2 == 0 { &mut gate_a } else { &mut gate_b };
                victim.kill()?;
                victim.start()?;
            }
        }
    }
    for (node, ids) in [(&b, &sent.0), (&a, &sent.1)] {
        ids.iter().try_for_each(|id| node.wait_id(id).map(drop))?;
        let inbox = node.inbox_after(0)?;
        ensure!(inbox.len() == ids.len(), "{} messages came of {}", inbox.len(), ids.len());
    }
    Ok(())
}

#[test]
fn a_swap_of_the_federation_plugin_loses_nothing() -> Outcome {
    let community = Authority::new("Valley")?;
    let nodes = two_domains(&community, "")?;
    let traffic = Traffic::start(&nodes)?;
    let file = qpq_tests::binaries::plugin("federation-capnp")?.display().to_string();
    for node in [&nodes[1], &nodes[2], &nodes[1]] {
        let swapped = node.json(&["plugin", "swap", "federation-capnp", &file])?;
        ensure!(
            swapped["swaps"].as_array().and_then(|all| all.last()).is_some_and(|last| last["state"] == "done"),
            "{swapped}"
        );
        node.wait_links(2)?;
    }
    traffic.stop()?.check(&nodes)
}

#[test]
fn communities_with_authorities_of_their_own_federate_once_they_vouch_for_each_other() -> Outcome {
    let (valley, hill) = (Authority::new("Valley")?, Authority::new("Hill")?);
    let (a, b) = (Domain::new("valley.mesh")?, Domain::new("hill.mesh")?);
    let (hills, others) =
        (hill.trusting(&valley, "valley.mesh")?, Authority::new("Valley")?.trusting(&hill, "hill.mesh")?);
    let gate_b = hills.gateway(&b, &[], "")?.start()?;
    let strangers = others.gateway(&a, &[&b], "")?.start()?;
    let refused = strangers.wait("the refusal", || domains::last_error(&strangers, "hill.mesh"))?;
    ensure!(refused.contains("uthority") || refused.contains("CA") || refused.contains("issuer"), "why? {refused}");
    drop(strangers);
    let valleys = valley.trusting(&hill, "hill.mesh")?;
    let gate_a = valleys.gateway(&a, &[&b], "")?.start()?;
    gate_a.wait_links(1)?;
    let id = gate_a.send(&format!("{}@hill.mesh", gate_b.peer_id()?), "we know each other")?;
    gate_b.wait_id(&id).map(drop)
}

/// Its home node is the gateway, so the other domain asks for it and gets the record that the phone has published.
#[test]
fn a_phone_at_one_domain_gets_mail_from_another_and_answers() -> Outcome {
    let community = Authority::new("Valley")?;
    let (a, b) = (Domain::new("a.mesh")?, Domain::new("b.mesh")?);
    let door = format!("127.0.0.1:{}", std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port());
    let clients = format!("[clients]\nlisten = [\"{door}\"]\nopen = true\n");
    let gate_a = community.gateway(&a, &[], &clients)?.start()?;
    let gate_b = community.gateway(&b, &[&a], "")?.start()?;
    gate_b.wait_links(1)?;
    let phone = TestNode::plan("phone").environment("QPQ_CONNECT", &door).prepare()?;
    ensure!(phone.inbox()?.is_empty(), "nothing has come yet");
    let id = gate_b.send(&phone.peer_id()?, "to your pocket")?;
    let message = phone.wait_id(&id)?;
    ensure!(message.sealed && message.text == "to your pocket", "{message:?}");
    let back = phone.send(&format!("{}@b.mesh", gate_b.peer_id()?), "from my pocket")?;
    let answer = gate_b.wait_id(&back)?;
    ensure!(answer.from == phone.peer_id()?, "{answer:?}");
    drop(gate_a);
    Ok(())
}

/// Both sides say why, in the log and in `federation status`.
#[test]
fn a_domain_that_is_not_allowed_is_told_why_and_brings_nothing() -> Outcome {
    let community = Authority::new("Valley")?;
    let (a, b) = (Domain::new("a.mesh")?, Domain::new("b.mesh")?);
    let gate_b = community.gateway(&b, &[], "block = [\"a.mesh\"]\n")?.start()?;
    let gate_a = community.gateway(&a, &[&b], "")?.start()?;
    let id = gate_a.send(&format!("{}@b.mesh", gate_b.peer_id()?), "let me in")?;
    let told = gate_a.wait("the refusal", || domains::last_error(&gate_a, "b.mesh"))?;
    let noted = gate_b.wait("the note", || domains::refused(&gate_b, "a.mesh"))?;
    ensure!(told.contains("a.mesh") && noted.contains("block"), "{told} / {noted}");
    for (node, what) in [(&gate_a, "b.mesh"), (&gate_b, "a.mesh")] {
        ensure!(node.log().lines().any(|line| line.contains(what) && line.contains("refus")), "no word in the log");
    }
    ensure!(gate_b.inbox()?.iter().all(|message| message.id != id), "it came in");
    Ok(())
}

#[test]
fn the_status_shows_both_domains_and_a_ping_measures() -> Outcome {
    let community = Authority::new("Valley")?;
    let [_inner_a, gate_a, _gate_b, _inner_b] = two_domains(&community, "")?;
    let status = gate_a.json(&["federation", "status"])?;
    let domain = &status["domains"][0];
    ensure!(status["schema"] == "qpq.federation/1" && status["domain"] == "a.mesh", "{status}");
    ensure!(domain["domain"] == "b.mesh" && domain["state"] == "up", "{status}");
    ensure!(status["certificate"]["days_left"].as_u64().is_some_and(|days| days > 300), "{status}");
    let text = gate_a.cli(&["federation", "status"])?;
    ensure!(text.contains("b.mesh") && text.contains("up"), "{text}");
    let ping = gate_a.json(&["federation", "ping", "b.mesh", "--count", "1"])?;
    ensure!(ping["links"][0]["rtts_us"][0].as_u64().is_some_and(|us| us > 0), "{ping}");
    let unknown = gate_a.run(&["federation", "ping", "c.mesh"])?;
    ensure!(unknown.code != Some(0), "a domain that nobody knows was pinged");
    Ok(())
}
