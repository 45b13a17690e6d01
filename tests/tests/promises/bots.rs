//! Bots: the bundled ones answer over the mesh, a saved file is live at once, a hostile one harms nobody.

use std::fs;

use qpq_tests::{Line, Outcome, TestNode, binaries, ensure};

/// A bot that answers `!ping` with a text that tells its version.
fn ping_bot(answer: &str) -> String {
    format!("mesh.command(\"ping\", {{ help = \"says {answer}\" }}, function(msg) return \"{answer}\" end)\n")
}

/// Bots that misbehave each in a way of their own, as soon as anything is said on the channel `lobby`.
const HOSTILE: &[(&str, &str)] = &[
    ("loops.lua", "mesh.on_broadcast(\"lobby\", function() while true do end end)\n"),
    (
        "protects.lua",
        "mesh.on_broadcast(\"lobby\", function() while true do pcall(function() while true do end end) end end)\n",
    ),
    (
        "hoards.lua",
        "mesh.on_broadcast(\"lobby\", function() local t = {} while true do t[#t + 1] = string.rep(\"x\", 65536) .. #t end end)\n",
    ),
    (
        "recurses.lua",
        "local function f(n) return 1 + f(n + 1) end\nmesh.on_broadcast(\"lobby\", function() return f(1) end)\n",
    ),
    (
        "shouts.lua",
        "mesh.on_broadcast(\"lobby\", function() for i = 1, 100000 do mesh.broadcast(\"lobby\", \"spam \" .. i) end end)\n",
    ),
    ("never-loads.lua", "while true do end\n"),
    ("broken.lua", "mesh.command(\"x\", {}, function(\n"),
];

#[test]
fn a_post_made_at_a_is_answered_by_the_bulletin_board_at_c() -> Outcome {
    let board = binaries::bundled_scripts().join("bulletin-board");
    let line = Line::shaped(|plan| if plan.name() == "c" { plan.bot(&board) } else { plan })?;
    line.a.subscribe("board")?;
    let bot = line.c.peer_id()?;
    line.a.broadcast("board", "!post Bicycle found near the mill")?;
    let answer = line.a.wait_message("the board answers", |message| message.from == bot)?;
    ensure!(!answer.text.is_empty(), "the answer is empty");
    line.a.broadcast("board", "!list")?;
    line.a
        .wait_message("the list shows the post", |message| message.from == bot && message.text.contains("Bicycle"))?;
    Ok(())
}

#[test]
fn posts_are_still_there_after_a_restart_of_the_board() -> Outcome {
    let board = binaries::bundled_scripts().join("bulletin-board");
    let mut line = Line::shaped(|plan| if plan.name() == "c" { plan.bot(&board) } else { plan })?;
    line.a.subscribe("board")?;
    let bot = line.c.peer_id()?;
    line.a.broadcast("board", "!post Seeds to give away")?;
    line.a.wait_message("the board answers", |message| message.from == bot)?;
    line.c.kill()?;
    line.c.start()?;
    line.a.broadcast("board", "!list")?;
    line.a.wait_message("the list shows the post", |message| message.from == bot && message.text.contains("Seeds"))?;
    Ok(())
}

#[test]
fn a_saved_script_is_live_at_once_and_a_broken_one_leaves_the_old_one_running() -> Outcome {
    let node = TestNode::plan("a").script("ping.lua", &ping_bot("first")).start()?;
    let file = node.home().join("scripts/ping.lua");
    let ask = |wanted: &str| {
        node.wait(&format!("`!ping` is answered with {wanted}"), || {
            node.broadcast("lobby", "!ping")?;
            Ok(node.inbox()?.iter().any(|message| message.text == wanted).then_some(()))
        })
    };
    node.subscribe("lobby")?;
    ask("first")?;
    fs::write(&file, ping_bot("second"))?;
    ask("second")?;
    fs::write(&file, "mesh.command(\"ping\", {}, function(\n")?;
    let problem = node.wait("the error is shown", || {
        let listed = node.cli(&["script", "list", "--json"])?;
        Ok(listed.contains("ping.lua:").then_some(listed))
    })?;
    ensure!(problem.contains("running"), "the old version does not run: {problem}");
    Ok(())
}

#[test]
fn hostile_bots_do_not_stop_the_node_or_the_honest_bot() -> Outcome {
    let mut plan = TestNode::plan("a").script("ping.lua", &ping_bot("pong"));
    for (file, source) in HOSTILE {
        plan = plan.script(file, source);
    }
    let node = plan.start()?;
    node.subscribe("lobby")?;
    for round in 0..3 {
        node.broadcast("lobby", "!ping")?;
        let pongs = round + 1;
        node.wait(&format!("{pongs} answers of the honest bot"), || {
            Ok((node.inbox()?.iter().filter(|message| message.text == "pong").count() >= pongs).then_some(()))
        })?;
    }
    let listed = node.cli(&["script", "list", "--json"])?;
    ensure!(listed.contains("broken.lua:"), "the script that does not load is shown with file and line: {listed}");
    node.peer_id()?;
    Ok(())
}

#[test]
fn announcements_are_taken_from_listed_keys_only() -> Outcome {
    let bot = binaries::bundled_scripts().join("announcements.lua");
    let hub = TestNode::plan("hub").start()?;
    let admin = TestNode::plan("admin").peer(hub.address()).start()?;
    let stranger = TestNode::plan("stranger").peer(hub.address()).start()?;
    let config = format!("[scripts.bots.announcements.config]\nadmins = [\"{}\"]\n", admin.peer_id()?);
    let herald = TestNode::plan("herald").peer(hub.address()).config(config).bot(bot).start()?;
    hub.wait_links(3)?;
    stranger.subscribe("announcements")?;
    let herald_id = herald.peer_id()?;
    stranger.send(&herald_id, "!announce free money")?;
    admin.send(&herald_id, "!announce the well is closed")?;
    let from_herald = |text: &'static str| {
        move |message: &qpq_tests::Message| {
            message.topic.as_deref() == Some("announcements") && message.text.contains(text)
        }
    };
    stranger.wait_message("the admin's notice", from_herald("the well is closed"))?;
    ensure!(!stranger.inbox()?.iter().any(from_herald("free money")), "a stranger's notice was announced");
    Ok(())
}
