//! Bots: the bundled ones answer over the mesh, a saved file is live at once, a hostile one harms nobody.

use std::fs;

use qpq_host::script::bench;
use qpq_tests::{Failure, Line, Outcome, TestNode, binaries, ensure, skip};

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

/// A node with bots, and a user at another node.
struct Pair {
    user: TestNode,
    bots: TestNode,
}

impl Pair {
    fn start(scripts: &[(&str, String)]) -> Outcome<Self> {
        let plan = scripts.iter().fold(TestNode::plan("bots"), |plan, (file, source)| plan.script(file, source));
        let bots = plan.start()?;
        let user = TestNode::plan("user").peer(bots.address()).start()?;
        user.wait_links(1)?;
        Ok(Self { user, bots })
    }

    /// Sends a command to the bots, and waits for an answer that is `wanted`, and the `count`-th such.
    fn ask(&self, command: &str, wanted: &str, count: usize) -> Outcome {
        self.user.send(&self.bots.peer_id()?, command)?;
        self.user.wait(&format!("answer {count} to `{command}` is {wanted:?}"), || {
            let answers = self.user.inbox_after(0)?.iter().filter(|message| message.text == wanted).count();
            Ok((answers >= count).then_some(()))
        })
    }

    /// What the node says of one of its bots.
    fn bot(&self, name: &str) -> Outcome<serde_json::Value> {
        let listed = self.bots.json(&["script", "list"])?;
        let bots = listed["scripts"].as_array().into_iter().flatten();
        let found = bots.clone().find(|bot| bot["name"].as_str() == Some(name)).cloned();
        found.ok_or_else(|| self.bots.failure(&format!("no bot {name} in {listed}")))
    }
}

#[test]
fn a_saved_script_is_live_at_once_and_a_broken_one_leaves_the_old_one_running() -> Outcome {
    let pair = Pair::start(&[("ping.lua", ping_bot("first"))])?;
    let file = pair.bots.home().join("scripts/ping.lua");
    pair.ask("!ping", "first", 1)?;
    fs::write(&file, ping_bot("second"))?;
    pair.bots.wait("the saved version is loaded", || Ok((pair.bot("ping")?["loads"] == 2).then_some(())))?;
    pair.ask("!ping", "second", 1)?;
    fs::write(&file, "-- broken\nmesh.command(\"ping\", {}, function(\n")?;
    let problem = pair.bots.wait("the load error is shown with file and line", || {
        let problem = pair.bot("ping")?["problem"].as_str().unwrap_or_default().to_owned();
        Ok(problem.contains("ping.lua:").then_some(problem))
    })?;
    ensure!(pair.bot("ping")?["state"] == "running", "the old version does not run: {problem}");
    pair.ask("!ping", "second", 2)
}

#[test]
fn hostile_bots_do_not_stop_the_node_or_the_honest_bot() -> Outcome {
    let hostile = HOSTILE.iter().map(|(file, source)| (*file, (*source).to_owned()));
    let scripts: Vec<_> = hostile.chain([("ping.lua", ping_bot("pong"))]).collect();
    let mut pair = Pair::start(&scripts)?;
    for round in 1..=3 {
        pair.user.broadcast("lobby", "now")?;
        pair.ask("!ping", "pong", round)?;
    }
    for bot in ["loops", "protects", "hoards", "recurses"] {
        pair.bots.wait(&format!("the failure of {bot} is shown"), || {
            Ok((!pair.bot(bot)?["problem"].is_null()).then_some(()))
        })?;
    }
    let broken = pair.bot("broken")?;
    ensure!(broken["problem"].as_str().is_some_and(|why| why.contains("broken.lua:")), "no file and line: {broken}");
    ensure!(pair.bots.is_alive(), "the node died");
    Ok(())
}

#[test]
fn twenty_honest_bots_answer_everything_beside_every_way_to_do_harm() -> Outcome {
    let crowd = bench::crowd(skip::rounds(1, 50) as u32).map_err(Failure::new)?;
    ensure!(crowd.most_memory_bytes <= 16 << 20, "a bot had too much: {crowd:?}");
    Ok(())
}

#[test]
fn announcements_are_taken_from_listed_keys_only() -> Outcome {
    let bot = binaries::bundled_scripts().join("announcements");
    let hub = TestNode::plan("hub").start()?;
    let admin = TestNode::plan("admin").peer(hub.address()).start()?;
    let stranger = TestNode::plan("stranger").peer(hub.address()).start()?;
    let config = format!("[scripts.config.announcements]\nadmins = [\"{}\"]\n", admin.peer_id()?);
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
