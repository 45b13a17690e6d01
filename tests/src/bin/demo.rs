//! Three nodes in a line A–B–C, as three processes: a board post made at A is stored and answered by the
//! bulletin-board bot at C, and every step is shown.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "talking to a person is what this program is for")]

use std::process::ExitCode;

use qpq_tests::{Failure, Line, Message, Outcome, TestNode, binaries, ensure};
use serde_json::Value;

const CHANNEL: &str = "board";
const POST: &str = "!post Bicycle found: a red one, near the mill. Ask for Anna.";

fn main() -> ExitCode {
    match tell() {
        Ok(()) => {
            println!("\nDone: the post travelled A → B → C and the answer came back.");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("\nThe demo failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn tell() -> Outcome {
    step("Three nodes start, each a process with a data directory of its own");
    let mut line = start()?;
    show_line(&line)?;

    step("A and C join the channel; the bulletin-board bot runs at C only");
    line.a.subscribe(CHANNEL)?;
    line.c.subscribe(CHANNEL)?;
    show_bots(&line.c)?;

    step(&format!("A posts on the channel: {POST}"));
    let id = line.a.broadcast(CHANNEL, POST)?;
    println!("  message {id}\n  signed, encrypted for the channel, and on A's disk: only then was the id printed");

    step("The post arrives at C over B");
    let post = line.c.wait_id(&id)?;
    show_message("C", &post);

    step("The bot at C keeps the post, and its answer arrives at A over B");
    let bot = line.c.peer_id()?;
    let answer = line.a.wait_message("the bot's answer", |message| message.from == bot)?;
    show_message("A", &answer);

    step("What each node had to do");
    show_stores(&line)?;

    step("The nodes stop");
    stop(&mut line)
}

fn start() -> Outcome<Line> {
    let bot = binaries::bundled_scripts().join("bulletin-board");
    ensure!(bot.exists(), "{} is missing: run the demo from a checkout of the project", bot.display());
    Line::shaped(|plan| if plan.name() == "c" { plan.bot(&bot) } else { plan })
}

fn show_line(line: &Line) -> Outcome {
    for (node, what) in [(&line.a, "dials B"), (&line.b, "the relay"), (&line.c, "dials B")] {
        let id = node.peer_id()?;
        let name = node.name().to_uppercase();
        println!("  {name}  {}…  {}  pid {}  {what}", short(&id), node.address(), node.pid()?);
    }
    println!("  A has no link to C, and C none to A");
    Ok(())
}

fn show_bots(node: &TestNode) -> Outcome {
    let status = node.json(&["status"])?;
    for bot in status["scripts"].as_array().into_iter().flatten() {
        let commands: Vec<_> = bot["commands"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        println!("  bot {} is {}; it answers {}", text(bot, "name"), text(bot, "state"), commands.join(", "));
    }
    Ok(())
}

fn show_message(at: &str, message: &Message) {
    println!("  {at} has {}… from {}…, {} links crossed:", short(&message.id), short(&message.from), message.hops);
    for line in message.text.lines() {
        println!("    {line}");
    }
}

/// The figures of `qpq mesh store`: counters of what passed, and what is kept now.
fn show_stores(line: &Line) -> Outcome {
    println!("  node  from neighbours  made here  kept  in the inbox");
    for node in [&line.a, &line.b, &line.c] {
        let store = node.json(&["mesh", "store"])?;
        let figure = |value: &Value| value.as_u64().unwrap_or_default();
        let [received, accepted] = ["received", "accepted"].map(|name| figure(&store["counters"][name]));
        let (kept, inbox) = (figure(&store["broadcasts"]), figure(&store["inbox"]));
        let made = accepted.saturating_sub(received);
        let name = node.name().to_uppercase();
        println!("  {name:<4}  {received:>15}  {made:>9}  {kept:>4}  {inbox:>12}");
    }
    Ok(())
}

fn stop(line: &mut Line) -> Outcome {
    for node in [&mut line.a, &mut line.b, &mut line.c] {
        let (status, took) = node.terminate()?;
        if !status.success() {
            return Err(Failure::new(format!("node {} ended with {status}", node.name())));
        }
        println!("  {} stopped after {} ms", node.name().to_uppercase(), took.as_millis());
    }
    Ok(())
}

fn step(what: &str) {
    println!("\n● {what}");
}

fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("?")
}
