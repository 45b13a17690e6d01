//! Messages arrive: over a relay, later, and once.

use qpq_tests::{Lab, Line, Outcome, TestNode, ensure, skip::skip};

/// Runs `check` on a line of three nodes in network namespaces, where nothing but B joins A and C.
fn in_lab(label: &str, check: impl FnOnce(&mut Line) -> Outcome) -> Outcome {
    if let Some(why) = Lab::missing() {
        return skip(why);
    }
    let lab = Lab::line(label, 3)?;
    ensure!(!lab.has_route(0, &Lab::address(2, false)), "A must not reach C but over B");
    check(&mut Line::in_lab(&lab)?)
}

/// How often the inbox of a node has a message.
fn copies(node: &TestNode, id: &str) -> Outcome<usize> {
    Ok(node.inbox()?.iter().filter(|message| message.id == id).count())
}

/// Waits until a node has so many envelopes waiting in its store.
fn wait_waiting(node: &TestNode, count: u64) -> Outcome {
    node.wait(&format!("{count} envelopes are waiting"), || {
        let store = node.json(&["mesh", "store"])?;
        Ok((store["waiting"].as_u64() == Some(count)).then_some(()))
    })
}

#[test]
fn a_direct_message_crosses_the_relay_sealed() -> Outcome {
    in_lab("direct", |line| {
        let id = line.a.send(&line.c.peer_id()?, "over the hills")?;
        let message = line.c.wait_id(&id)?;
        ensure!(message.text == "over the hills", "the text is {:?}", message.text);
        ensure!(message.from == line.a.peer_id()?, "the sender is {}", message.from);
        ensure!(message.sealed, "a direct message must be closed to relays");
        ensure!(message.topic.is_none(), "a direct message has no topic");
        ensure!(copies(&line.b, &id)? == 0, "the relay must not take the message for its own");
        Ok(())
    })
}

#[test]
fn a_broadcast_crosses_the_relay() -> Outcome {
    in_lab("cast", |line| {
        line.c.subscribe("announcements")?;
        let id = line.a.broadcast("announcements", "Hello!")?;
        let message = line.c.wait_id(&id)?;
        ensure!(message.text == "Hello!" && message.topic.as_deref() == Some("announcements"), "got {message:?}");
        Ok(())
    })
}

#[test]
fn a_message_for_a_stopped_node_arrives_after_it_starts_again() -> Outcome {
    in_lab("late", |line| {
        let c = line.c.peer_id()?;
        line.c.terminate()?;
        line.b.wait_links(1)?;
        let id = line.a.send(&c, "for later")?;
        wait_waiting(&line.b, 1)?;
        line.c.start()?;
        line.c.wait_id(&id)?;
        Ok(())
    })
}

#[test]
fn a_message_survives_the_kill_of_the_only_node_that_has_it() -> Outcome {
    in_lab("kill", |line| {
        let c = line.c.peer_id()?;
        line.c.terminate()?;
        line.b.wait_links(1)?;
        let id = line.a.send(&c, "through fire")?;
        // Nobody knows a way to C, so A keeps its copy. It doesn't come back: B is the only one that has the message.
        wait_waiting(&line.b, 1)?;
        line.a.terminate()?;
        line.b.kill()?;
        line.b.start()?;
        line.c.start()?;
        let message = line.c.wait_id(&id)?;
        ensure!(message.text == "through fire", "the text is {:?}", message.text);
        wait_waiting(&line.b, 0)
    })
}

#[test]
fn a_broadcast_reaches_a_subscriber_who_was_away() -> Outcome {
    let mut line = Line::start()?;
    line.c.subscribe("announcements")?;
    line.c.terminate()?;
    let id = line.a.broadcast("announcements", "you missed this")?;
    line.c.start()?;
    line.c.wait_id(&id)?;
    Ok(())
}

#[test]
fn a_message_arrives_exactly_once_whoever_restarts() -> Outcome {
    let mut line = Line::start()?;
    let c = line.c.peer_id()?;
    let mut ids = Vec::new();
    for round in 0..6 {
        ids.push(line.a.send(&c, &format!("message {round}"))?);
        match round % 3 {
            0 => line.b.kill().and_then(|()| line.b.start())?,
            1 => line.c.kill().and_then(|()| line.c.start())?,
            _ => line.a.kill().and_then(|()| line.a.start())?,
        };
    }
    for id in &ids {
        line.c.wait_id(id)?;
    }
    line.c.terminate()?;
    line.c.start()?;
    line.c.wait_links(1)?;
    // Any second copy would come over the new link before this last message, or be in the inbox already.
    let last = line.a.send(&c, "the last one")?;
    line.c.wait_id(&last)?;
    for id in ids.iter().chain([&last]) {
        let count = copies(&line.c, id)?;
        ensure!(count == 1, "message {id} is in the inbox {count} times");
    }
    Ok(())
}

#[test]
fn an_inbox_survives_restarts_in_its_order() -> Outcome {
    let mut node = TestNode::plan("alone").start()?;
    node.subscribe("notes")?;
    for number in 0..5 {
        node.broadcast("notes", &format!("note {number}"))?;
    }
    let before = node.wait("five notes", || Ok(Some(node.inbox()?).filter(|inbox| inbox.len() == 5)))?;
    node.terminate()?;
    node.start()?;
    ensure!(node.inbox()? == before, "after SIGTERM: {:?} instead of {before:?}", node.inbox()?);
    node.kill()?;
    node.start()?;
    ensure!(node.inbox()? == before, "after kill -9: {:?} instead of {before:?}", node.inbox()?);
    Ok(())
}

#[test]
fn a_node_that_comes_back_with_its_network_gets_what_it_missed() -> Outcome {
    if let Some(why) = Lab::missing() {
        return skip(why);
    }
    let lab = Lab::line("split", 3)?;
    let line = Line::in_lab(&lab)?;
    let c = line.c.peer_id()?;
    lab.set_link(1, false)?;
    let id = line.a.send(&c, "across the gap")?;
    wait_waiting(&line.b, 1)?;
    lab.set_link(1, true)?;
    line.c.wait_id(&id)?;
    ensure!(copies(&line.c, &id)? == 1, "more than one copy");
    Ok(())
}
