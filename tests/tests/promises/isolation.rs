//! Bots in processes of their own: they reach nothing, they come back when they are killed, and none outlives its node.

use std::fs;

use qpq_host::script::{Found, Probed, probe};
use qpq_tests::{Outcome, Plan, TestNode, binaries, ensure, poll};

const IN_PROCESSES: &str = "[scripts]\nisolation = \"process\"\n\n[scripts.limits]\nmessages_per_minute = 1000\n";
/// The system's signal for a call that is not allowed, on all architectures that have the filter.
const SIGSYS: i32 = 31;

/// What a bot's process that does its worst came to.
fn try_to(what: &str) -> Outcome<Probed> {
    Ok(probe(&binaries::qpq()?, what)?)
}

fn found(probed: Probed) -> Outcome<Found> {
    let shown = format!("{probed:?}");
    probed.found.ok_or_else(|| qpq_tests::Failure::new(format!("it said nothing: {shown}")))
}

#[test]
fn the_process_of_a_bot_starts_with_nothing_but_its_socket() -> Outcome {
    let found = found(try_to("nothing")?)?;
    ensure!(found.outcome == "done", "{found:?}");
    ensure!(found.variables == 0 && found.directory == "/", "{found:?}");
    // Standard input and error output are sockets to the host. More has only what this test has from whoever started it,
    // and forgot to close it; the process can't use that.
    let kinds: Vec<&str> = found.descriptors.iter().map(|to| to.split(':').next().unwrap_or_default()).collect();
    ensure!(kinds.get(..3) == Some(&["socket", "/dev/null", "socket"]), "{found:?}");
    ensure!(kinds.len() == 3 + left_open()?, "{found:?}");
    ensure!(found.without_seccomp.is_none(), "this machine has no seccomp: {found:?}");
    Ok(())
}

/// Descriptors of this process, beside the standard ones, that every program it starts gets too.
fn left_open() -> Outcome<usize> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let mut count = 0;
    for entry in fs::read_dir("/proc/self/fdinfo")?.flatten() {
        let number: u32 = entry.file_name().to_str().and_then(|name| name.parse().ok()).unwrap_or(0);
        let Ok(info) = fs::read_to_string(entry.path()) else { continue }; // closed meanwhile
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
        let flags = u32::from_str_radix(flags.trim(), 8).unwrap_or(CLOSE_ON_EXEC);
        count += usize::from(number > 2 && flags & CLOSE_ON_EXEC == 0);
    }
    Ok(count)
}

#[test]
fn the_process_of_a_bot_gets_no_file_socket_program_thread_or_memory_beyond_its_own() -> Outcome {
    for what in ["socket", "exec", "thread"] {
        let probed = try_to(what)?;
        ensure!(probed.signal == Some(SIGSYS) && probed.found.is_none(), "{what}: {probed:?}");
    }
    for what in ["read", "write", "list", "signal", "shared", "stack"] {
        let found = found(try_to(what)?)?;
        ensure!(found.outcome.starts_with("refused: Operation not permitted"), "{what}: {found:?}");
    }
    let bomb = try_to("memory")?;
    ensure!(bomb.found.is_none() && bomb.words.contains("memory allocation"), "{bomb:?}");
    Ok(())
}

/// A node whose bots run in processes, and a user at another node.
struct Pair {
    user: TestNode,
    bots: TestNode,
}

impl Pair {
    fn start(plan: Plan) -> Outcome<Self> {
        let bots = plan.config(IN_PROCESSES).start()?;
        let user = TestNode::plan("user").peer(bots.address()).start()?;
        user.wait_links(1)?;
        Ok(Self { user, bots })
    }

    fn say(&self, text: &str) -> Outcome {
        self.user.send(&self.bots.peer_id()?, text).map(drop)
    }

    /// Says something until it is answered: a new bot begins with what comes once it is there.
    fn meet(&self, text: &str, wanted: &str) -> Outcome {
        self.user.wait(&format!("{text:?} is answered by {wanted:?}"), || {
            self.say(text)?;
            Ok((self.answers(wanted)? > 0).then_some(()))
        })
    }

    /// How often that answer has come. A bot that shouts puts more into the inbox than one page holds.
    fn answers(&self, wanted: &str) -> Outcome<usize> {
        Ok(self.user.inbox_after(0)?.iter().filter(|message| message.text == wanted).count())
    }

    /// Waits until that answer has come so often.
    fn answered(&self, wanted: &str, count: usize) -> Outcome {
        self.user.wait(&format!("answer {count} is {wanted:?}"), || Ok((self.answers(wanted)? >= count).then_some(())))
    }

    fn bot(&self, name: &str) -> Outcome<serde_json::Value> {
        let listed = self.bots.json(&["script", "list"])?;
        let found = listed["scripts"].as_array().into_iter().flatten().find(|bot| bot["name"].as_str() == Some(name));
        found.cloned().ok_or_else(|| self.bots.failure(&format!("no bot {name} in {listed}")))
    }
}

/// The processes of a node's bots with their names, as the system lists them.
fn processes(node: u32) -> Vec<(u32, String)> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let bot = |entry: fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let line = String::from_utf8(fs::read(entry.path().join("cmdline")).ok()?).ok()?;
        let words: Vec<&str> = line.split_terminator('\0').collect();
        match words[..] {
            [_, "__bot", name] if parent == node => Some((pid, name.to_owned())),
            _ => None,
        }
    };
    pids.filter_map(bot).collect()
}

fn kill(pid: u32) -> Outcome {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = Pid::from_raw(pid.cast_signed()).ok_or_else(|| qpq_tests::Failure::new("no pid"))?;
    Ok(kill_process(pid, Signal::KILL)?)
}

#[test]
fn a_bot_whose_process_is_killed_comes_back_with_its_store_and_loses_no_message() -> Outcome {
    let counter = "mesh.on_envelope(function(msg)
        if mesh.store:get('seen ' .. msg.text) then return end
        mesh.store:set('seen ' .. msg.text, true)
        msg:reply(msg.text .. ' is number ' .. mesh.store:incr('n'))
    end)";
    let pair = Pair::start(TestNode::plan("bots").script("counter.lua", counter))?;
    pair.meet("one", "one is number 1")?;
    let before = processes(pair.bots.pid()?);
    ensure!(before.len() == 1 && before[0].1 == "counter", "{before:?}");
    kill(before[0].0)?;
    pair.say("two")?;
    pair.answered("two is number 2", 1)?;
    let after = processes(pair.bots.pid()?);
    ensure!(after.len() == 1 && after[0].0 != before[0].0, "{before:?} {after:?}");
    let bot = pair.bot("counter")?;
    ensure!(bot["state"] == "running" && bot["isolation"] == "process" && bot["loads"] == 2, "{bot}");
    ensure!(pair.bots.log().contains("ALARM: its process was killed from outside"), "the log has no alarm");
    Ok(())
}

#[test]
fn no_process_of_a_bot_outlives_its_node() -> Outcome {
    let busy = "mesh.every('1s', function() for i = 1, 100000 do end end)";
    let plan = || TestNode::plan("bots").script("busy.lua", busy).script("idle.lua", "-- nothing");
    let mut stopped = Pair::start(plan())?;
    let (node, children) = (stopped.bots.pid()?, processes(stopped.bots.pid()?));
    ensure!(children.len() == 2, "{children:?}");
    let (status, _) = stopped.bots.terminate()?;
    ensure!(status.success() && processes(node).is_empty() && !alive(&children), "{status} {children:?}");
    let mut killed = Pair::start(plan())?;
    let children = processes(killed.bots.pid()?);
    ensure!(children.len() == 2, "{children:?}");
    killed.bots.kill()?;
    poll::until("the processes end with their node", || Ok((!alive(&children)).then_some(())))
}

/// Whether one of these still runs as a bot.
fn alive(children: &[(u32, String)]) -> bool {
    children.iter().any(|(pid, name)| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == name.as_bytes())
    })
}

/// Bots that do their worst as soon as anything is said to them.
const HOSTILE: [(&str, &str); 5] = [
    ("loops.lua", "mesh.on_envelope(function() while true do end end)"),
    ("protects.lua", "mesh.on_envelope(function() while true do pcall(function() while true do end end) end end)"),
    (
        "hoards.lua",
        "mesh.on_envelope(function() local t = {} while true do t[#t + 1] = string.rep('x', 65536) .. #t end end)",
    ),
    ("shouts.lua", "mesh.on_envelope(function(msg) for i = 1, 1e5 do msg:reply('spam ' .. i) end end)"),
    ("never-loads.lua", "while true do end"),
];
const HONEST: usize = 20;

#[test]
fn twenty_honest_bots_answer_while_the_processes_of_strangers_do_their_worst() -> Outcome {
    let mut plan = HOSTILE.iter().fold(TestNode::plan("bots"), |plan, (file, text)| plan.script(file, text));
    for n in 0..HONEST {
        let text = format!("mesh.command('ask{n}', {{}}, function() return 'answer {n}' end)");
        plan = plan.script(&format!("honest{n}.lua"), &text);
    }
    let mut pair = Pair::start(plan)?;
    for n in 0..HONEST {
        pair.meet(&format!("!ask{n}"), &format!("answer {n}"))?;
    }
    let before: Vec<usize> = (0..HONEST).map(|n| pair.answers(&format!("answer {n}"))).collect::<Outcome<_>>()?;
    for n in 0..HONEST {
        pair.say(&format!("!ask{n}"))?;
    }
    for (n, before) in before.into_iter().enumerate() {
        pair.answered(&format!("answer {n}"), before + 1)?;
    }
    for bot in ["loops", "protects"] {
        pair.bots.wait(&format!("{bot} is disabled"), || Ok((pair.bot(bot)?["state"] == "disabled").then_some(())))?;
    }
    for (bot, why) in [("hoards", "not enough memory"), ("never-loads", "stopped after 250 ms of CPU time")] {
        let problem = pair.bot(bot)?["problem"].clone();
        ensure!(problem.as_str().is_some_and(|problem| problem.contains(why)), "{bot}: {problem}");
    }
    let running: Vec<String> = processes(pair.bots.pid()?).into_iter().map(|(_, name)| name).collect();
    ensure!((0..HONEST).all(|n| running.contains(&format!("honest{n}"))), "{running:?}");
    ensure!(!running.iter().any(|name| name == "loops" || name == "never-loads"), "{running:?}");
    ensure!(pair.bots.is_alive(), "the node died");
    Ok(())
}
