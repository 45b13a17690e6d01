//! Every node says what became of a message, also after a kill; and mail crosses between networks that never meet, in a file.

use qpq_tests::{Lab, Line, Outcome, Random, TestNode, ensure, skip::skip};
use serde_json::Value;

/// What a node says of a message that it knows.
fn why(node: &TestNode, id: &str) -> Outcome<Value> {
    node.json(&["mesh", "why", id])
}

/// Waits until a node says that.
fn wait_state(node: &TestNode, id: &str, state: &str) -> Outcome<Value> {
    node.wait(&format!("message {id} is `{state}`"), || {
        let answer = node.run(&["mesh", "why", id, "--json"])?;
        let told: Option<Value> = serde_json::from_str(&answer.stdout).ok(); // nothing while the message isn't known
        Ok(told.filter(|told| told["state"] == state))
    })
}

/// Whether a key stands there, in full or by its first digits: strangers are remembered no better.
fn is_key(told: &Value, key: &str) -> bool {
    told.as_str().is_some_and(|digits| digits.len() >= 16 && key.starts_with(digits))
}

fn kill_and_start(node: &mut TestNode) -> Outcome {
    node.kill()?;
    node.start().map(drop)
}

#[test]
fn a_node_says_where_a_message_waits_and_who_took_it_also_after_kill_9() -> Outcome {
    if let Some(why) = Lab::missing() {
        return skip(why);
    }
    let lab = Lab::line("fate", 3)?;
    let mut line = Line::in_lab(&lab)?;
    let (b, c) = (line.b.peer_id()?, line.c.peer_id()?);
    // So that the ways are known.
    let hello = line.c.send(&line.a.peer_id()?, "hello")?;
    line.a.wait_id(&hello)?;
    let sent = line.a.json(&["mesh", "send", &c, "with receipt", "--receipt", "--wait", "30s"])?;
    let id = sent["id"].as_str().unwrap_or_default().to_owned();
    let told = wait_state(&line.a, &id, "delivered")?;
    ensure!(told["how"] == "receipt" && is_key(&told["by"], &c) && told["own"] == true, "{told}");
    let told = wait_state(&line.b, &id, "delivered")?;
    ensure!(told["how"] == "link" && is_key(&told["by"], &c), "{told}");
    let told = why(&line.c, &id)?;
    ensure!(told["state"] == "inbox" && told["inbox"] == "unread", "{told}");

    line.c.terminate()?;
    line.b.wait_links(1)?;
    let later = line.a.send(&c, "for later")?;
    let told = wait_state(&line.b, &later, "waiting")?;
    ensure!(told["wait"]["place"] == 1 && told["wait"]["queue"] == 1, "{told}");
    ensure!(told["schema"] == "qpq.why/1", "{told}");

    kill_and_start(&mut line.a)?;
    kill_and_start(&mut line.b)?;
    let told = why(&line.a, &id)?;
    ensure!(
        told["state"] == "delivered" && told["how"] == "receipt" && is_key(&told["by"], &c),
        "after kill -9: {told}"
    );
    let told = why(&line.b, &id[..10])?;
    ensure!(told["state"] == "delivered" && is_key(&told["by"], &c), "by its first digits, after kill -9: {told}");
    line.c.start()?;
    line.c.wait_id(&later)?;
    wait_state(&line.b, &later, "delivered")?;
    let text = line.b.cli(&["mesh", "why", &later])?;
    ensure!(text.contains("was delivered: its recipient"), "{text}");
    let told = line.a.run(&["mesh", "why", &b, "--json"])?;
    ensure!(told.code == Some(1) && told.stderr.contains("unknown-message"), "a key is no message: {}", told.stderr);
    ensure!(line.a.run(&["mesh", "why", "123"])?.code == Some(1), "too few digits");
    Ok(())
}

#[test]
fn two_valleys_that_never_meet_exchange_mail_in_a_file() -> Outcome {
    // Two valleys: A and its recipient's neighbour live on different networks.
    let (a, mut b) = (TestNode::plan("valley-a").start()?, TestNode::plan("valley-b").start()?);
    let c = TestNode::plan("valley-b-2").peer(b.address()).start()?;
    b.wait_links(1)?;
    let (key_b, key_c) = (b.peer_id()?, c.peer_id()?);
    let letters: Vec<String> =
        [(&key_b, "to b"), (&key_c, "to c")].into_iter().map(|(to, text)| a.send(to, text)).collect::<Outcome<_>>()?;
    a.broadcast("news", "of the valley")?;

    let stick = tempfile::tempdir()?;
    let file = stick.path().join("mail.qpq").display().to_string();
    let told = a.json(&["mesh", "export", &file])?;
    ensure!(told["schema"] == "qpq.exported/1" && told["envelopes"] == 2, "{told}");
    ensure!(a.run(&["mesh", "export", &file])?.code == Some(1), "a file that is there is not overwritten");
    let all = stick.path().join("all.qpq").display().to_string();
    ensure!(a.json(&["mesh", "export", &all, "--all"])?["envelopes"] == 3, "with the board");

    b.subscribe("news")?;
    let told = b.json(&["mesh", "import", &file])?;
    ensure!(told["new"] == 2 && told["known"] == 0, "{told}");
    b.wait_id(&letters[0])?;
    c.wait_id(&letters[1])?;
    let told = b.json(&["mesh", "import", &all])?;
    ensure!(told["new"] == 1 && told["known"] == 2, "the board is new, the letters were here: {told}");
    b.wait_message("the news", |message| message.text == "of the valley")?;
    b.kill()?;
    b.start()?;
    let told = b.json(&["mesh", "import", &all])?;
    ensure!(told["new"] == 0 && told["known"] == 3, "also after kill -9: {told}");
    ensure!(b.inbox()?.iter().filter(|message| message.id == letters[0]).count() == 1, "it is there once");

    // The answer goes back the same way, and A keeps its copies until then.
    ensure!(a.json(&["mesh", "store"])?["waiting"] == 2, "exporting gives a copy away, not custody");
    let answer = b.send(&a.peer_id()?, "thank you")?;
    let back = stick.path().join("back.qpq").display().to_string();
    b.cli(&["mesh", "export", &back, "--recipient", &a.peer_id()?])?;
    a.cli(&["mesh", "import", &back])?;
    a.wait_id(&answer)?;
    Ok(())
}

#[test]
fn of_a_damaged_file_everything_that_is_whole_arrives_and_the_rest_is_named() -> Outcome {
    let mut random = Random::announced("of_a_damaged_file");
    let a = TestNode::plan("a").start()?;
    let b = TestNode::plan("b").start()?;
    let to = b.peer_id()?;
    let sent: Vec<String> = (0..20).map(|n| a.send(&to, &format!("letter {n}"))).collect::<Outcome<_>>()?;
    let stick = tempfile::tempdir()?;
    let file = stick.path().join("mail.qpq");
    a.cli(&["mesh", "export", &file.display().to_string()])?;
    let whole = std::fs::read(&file)?;
    let cut = whole.len() / 2 + random.below(whole.len() / 4);
    std::fs::write(&file, &whole[..cut])?;
    let output = b.run(&["mesh", "import", &file.display().to_string(), "--json"])?;
    ensure!(output.code == Some(1), "a file that was cut off is told by the exit code");
    let told: Value = serde_json::from_str(&output.stdout)?;
    let new = told["new"].as_u64().unwrap_or_default();
    ensure!(told["broken"] == "parcel-truncated" && (5..20).contains(&new), "cut at {cut} of {}: {told}", whole.len());
    std::fs::write(&file, &whole)?;
    let told = b.json(&["mesh", "import", &file.display().to_string()])?;
    ensure!(told["known"] == new && told["new"] == 20 - new, "the whole file brings the rest: {told}");
    for id in &sent {
        b.wait_id(id)?;
    }
    Ok(())
}

#[test]
fn the_store_shows_queues_and_senders_and_what_was_refused_for_which_bound() -> Outcome {
    let node = TestNode::plan("full").config("[store]\nrecipient_messages = 8\n").start()?;
    let absent = TestNode::plan("absent").start()?.peer_id()?;
    let taken: Vec<String> = (0..2).map(|n| node.send(&absent, &format!("{n}"))).collect::<Outcome<_>>()?;
    ensure!(node.run(&["mesh", "send", &absent, "one too many"])?.code == Some(1), "a quarter of eight for one sender");
    let store = node.json(&["mesh", "store"])?;
    ensure!(store["refused"]["sender-share"] == 1 && store["quotas"]["recipient_messages"] == 8, "{store}");
    ensure!(store["oldest"][0]["recipient"] == absent.as_str() && store["senders"][0]["messages"] == 2, "{store}");
    let queue = node.json(&["mesh", "store", "--recipient", &absent])?;
    let ids: Vec<&str> =
        queue["items"].as_array().into_iter().flatten().filter_map(|item| item["id"].as_str()).collect();
    ensure!(ids == taken && queue["schema"] == "qpq.queue/1", "{queue}");
    let text = node.cli(&["mesh", "store"])?;
    ensure!(text.contains("Not taken, by the bound that was met: sender-share 1."), "{text}");
    Ok(())
}

#[test]
fn routes_are_shown_as_a_table_and_as_pictures() -> Outcome {
    let line = Line::start()?;
    let hello = line.c.send(&line.a.peer_id()?, "hello")?;
    line.a.wait_id(&hello)?;
    let c = line.c.peer_id()?;
    line.wait_ways()?;
    let table = line.a.json(&["mesh", "route"])?;
    ensure!(table["schema"] == "qpq.routes/1" && table["here"] == line.a.peer_id()?.as_str(), "{table}");
    let dot = line.a.cli(&["mesh", "route", "--dot"])?;
    ensure!(dot.starts_with("digraph") && dot.contains(&c), "{dot}");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("routes.svg");
    line.a.cli(&["mesh", "route", "--svg", "--out", &file.display().to_string()])?;
    let svg = std::fs::read_to_string(&file)?;
    ensure!(svg.starts_with("<svg ") && svg.contains(&c) && svg.ends_with("</svg>\n"), "{svg}");
    Ok(())
}
