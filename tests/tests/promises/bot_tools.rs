//! The tools for those who write bots and look after them, at a running node.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use qpq_tests::{Failure, Outcome, TestNode, binaries, ensure};
use serde_json::Value;

/// How long a line may take to come. Only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bot that writes to its user by itself, for which it asks.
const CALLER: (&str, &str) = (
    "needs = [\"direct\", \"reply\", \"send\"]\n",
    "mesh.state.calls = 0\n\
     mesh.command(\"call\", { help = \"calls back\" }, function(msg)\n\
       mesh.state.calls = mesh.state.calls + 1\n\
       mesh.log.warn(\"calling\", mesh.state.calls)\n\
       mesh.send(msg.from, \"here I am\")\n\
     end)\n",
);

fn start() -> Outcome<TestNode> {
    let folder = tempfile::tempdir()?;
    let bot = folder.path().join("caller");
    std::fs::create_dir(&bot)?;
    std::fs::write(bot.join("bot.toml"), CALLER.0)?;
    std::fs::write(bot.join("init.lua"), CALLER.1)?;
    TestNode::plan("bots").bot(&bot).start()
}

fn bot(node: &TestNode) -> Outcome<Value> {
    let bots = node.json(&["script", "list"])?;
    bots["scripts"].get(0).cloned().ok_or_else(|| Failure::new(format!("no bot in {bots}")))
}

#[test]
fn a_bot_that_asks_for_more_waits_until_the_admin_approves_and_then_runs() -> Outcome {
    let node = start()?;
    node.wait("the bot waits", || Ok((bot(&node)?["state"] == "waiting").then_some(())))?;
    let listed = node.cli(&["script", "list"])?;
    ensure!(listed.contains("`qpq script approve caller`"), "no remedy: {listed}");
    let unasked = node.run(&["script", "approve", "caller"])?;
    let told = unasked.stderr.clone();
    ensure!(unasked.code == Some(2) && told.contains("write direct messages to anybody"), "{unasked:?}");
    ensure!(bot(&node)?["state"] == "waiting", "it was approved without a yes");
    node.cli(&["script", "approve", "caller", "--yes"])?;
    ensure!(bot(&node)?["state"] == "running", "{}", bot(&node)?);
    let me = node.peer_id()?;
    node.send(&me, "!call")?;
    node.wait_message("the bot writes by itself", |message| message.text == "here I am")?;
    node.cli(&["script", "approve", "caller", "--revoke", "--yes"])?;
    ensure!(bot(&node)?["state"] == "waiting", "{}", bot(&node)?);
    Ok(())
}

#[test]
fn the_log_is_followed_line_by_line_and_a_look_inside_changes_nothing() -> Outcome {
    let node = start()?;
    node.wait("the bot waits", || Ok((bot(&node)?["state"] == "waiting").then_some(())))?;
    node.cli(&["script", "approve", "caller", "--yes"])?;
    let follower = Follower::start(&node)?;
    let me = node.peer_id()?;
    node.send(&me, "!call")?;
    let line = follower.wait(|line| line["text"] == "calling 1")?;
    for (key, wanted) in [("bot", "caller"), ("level", "warn"), ("event", "!call"), ("place", "caller/init.lua:4")] {
        ensure!(line[key] == wanted, "{key} is not {wanted} in {line}");
    }
    let look = |code: &str| node.run(&["script", "repl", "caller", "--eval", code]);
    let seen = look("mesh.state.calls")?;
    ensure!(seen.code == Some(0) && seen.stdout == "1\n", "{seen:?}");
    let refused = look("mesh.state.calls = 7")?;
    ensure!(refused.code == Some(1), "{refused:?}");
    ensure!(look("mesh.state.calls")?.stdout == "1\n", "a look changed the state");
    node.cli(&["script", "repl", "caller", "--write", "--eval", "mesh.state.calls = 7"])?;
    ensure!(look("mesh.state.calls")?.stdout == "7\n", "what was asked for was not done");
    Ok(())
}

#[test]
fn what_a_bot_uses_is_told_for_each_limit() -> Outcome {
    let node = start()?;
    node.wait("the bot waits", || Ok((bot(&node)?["state"] == "waiting").then_some(())))?;
    node.cli(&["script", "approve", "caller", "--yes"])?;
    let me = node.peer_id()?;
    node.send(&me, "!call")?;
    let used = |name: &str| -> Outcome<(u64, u64)> {
        let top = node.json(&["script", "top", "caller"])?;
        let limits = top["scripts"][0]["limits"].as_array().cloned().unwrap_or_default();
        let limit = limits.iter().find(|limit| limit["name"] == name);
        let limit = limit.ok_or_else(|| Failure::new(format!("no limit {name} in {top}")))?;
        Ok((limit["used"].as_u64().unwrap_or_default(), limit["limit"].as_u64().unwrap_or_default()))
    };
    node.wait("the message counts", || Ok((used("messages_per_minute")? == (1, 10)).then_some(())))?;
    let (memory, of) = used("memory_bytes")?;
    ensure!(memory > 0 && memory < of, "{memory} bytes of {of}");
    let shown = node.cli(&["script", "top", "caller"])?;
    ensure!(shown.contains("messages per minute") && shown.contains("1 of 10"), "{shown}");
    Ok(())
}

#[test]
fn a_new_bot_is_in_order_passes_its_tests_and_answers() -> Outcome {
    // The folder of scripts is not there yet.
    let node = TestNode::plan("bots").start()?;
    let made = node.json(&["script", "new", "greeter"])?;
    let path = made["path"].as_str().unwrap_or_default().to_owned();
    let scripts = node.home().join("scripts");
    ensure!(path == scripts.join("greeter").display().to_string(), "made in {path}");
    node.cli(&["script", "check", &path])?;
    let tested = node.json(&["script", "test", &path])?;
    ensure!(tested["ok"] == true && tested["passed"] == 2, "{tested}");
    ensure!(made["running"] == true, "the node doesn't run it: {made}");
    let me = node.peer_id()?;
    node.send(&me, "!greeter")?;
    node.wait_message("the bot greets", |message| {
        message.text.starts_with("hello, ") && message.text.ends_with("(1)")
    })?;
    Ok(())
}

#[test]
fn a_channel_of_bots_is_left_by_the_admin_once_no_bot_listens_to_it() -> Outcome {
    let listener = "mesh.on_broadcast('garden', function() end)";
    let node = TestNode::plan("bots").script("listener.lua", listener).start()?;
    let joined = |node: &TestNode| -> Outcome<bool> {
        Ok(node.json(&["mesh", "channels"])?["channels"].to_string().contains("garden"))
    };
    node.wait("the channel is joined", || Ok(joined(&node)?.then_some(())))?;
    node.wait("the bot listens", || Ok(bot(&node)?["topics"].to_string().contains("garden").then_some(())))?;
    let refused = node.run(&["mesh", "unsubscribe", "Garden"])?;
    ensure!(refused.code == Some(1) && refused.stderr.contains("by bots alone (listener)"), "{refused:?}");
    std::fs::remove_file(node.home().join("scripts/listener.lua"))?;
    node.wait("the bot is gone", || {
        Ok(node.json(&["script", "list"])?["scripts"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })?;
    node.cli(&["mesh", "unsubscribe", "garden"])?;
    ensure!(!joined(&node)?, "still joined");
    Ok(())
}

/// `qpq script logs --follow --json` of a node.
struct Follower {
    process: std::process::Child,
    lines: mpsc::Receiver<String>,
}

impl Follower {
    fn start(node: &TestNode) -> Outcome<Self> {
        let mut command = Command::new(binaries::qpq()?);
        command.arg("--home").arg(node.home()).args(["script", "logs", "caller", "--follow", "--json"]);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let out = process.stdout.take().ok_or_else(|| Failure::new("no standard output"))?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Self { process, lines })
    }

    /// The first line that is wanted.
    fn wait(&self, wanted: impl Fn(&Value) -> bool) -> Outcome<Value> {
        loop {
            let line =
                self.lines.recv_timeout(PATIENCE).map_err(|error| Failure::new(format!("no such line: {error}")))?;
            let line: Value = serde_json::from_str(&line)?;
            if wanted(&line) {
                return Ok(line);
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
