//! Bots in processes of their own. The test program is the child's program too.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use super::live::{EVE, Live, Store};
use super::write;
use crate::script::process::{child_main, probe_with};
use crate::script::{ChildProgram, Isolation, ScriptConfig};

mod evil;

thread_local! {
    static ISOLATION: Cell<Isolation> = const { Cell::new(Isolation::Thread) };
}

/// A configuration for where the bots of the running test run.
pub(super) fn kind() -> ScriptConfig {
    let child = program(concat!(module_path!(), "::as_a_bots_process"));
    // Two falls don't take a minute.
    let restart_after = Duration::from_secs(2);
    ScriptConfig { isolation: ISOLATION.get(), child, restart_after, ..ScriptConfig::default() }
}

/// Runs a test with its bots in processes.
pub(super) fn with_processes(test: fn()) {
    ISOLATION.set(Isolation::Process);
    test();
}

/// Runs tests again, with bots in processes.
macro_rules! in_processes {
    ($(super::$test:ident),+ $(,)?) => {
        $(#[test]
        fn $test() {
            crate::script::tests::process::with_processes(super::$test);
        })+
    };
}
pub(super) use in_processes;

/// This test program, made to run one of its tests and nothing else.
fn program(test: &str) -> ChildProgram {
    let (_, test) = test.split_once("::").unwrap();
    let arguments = [test, "--exact", "--ignored", "--nocapture", "--test-threads=1"].map(Into::into).to_vec();
    ChildProgram { program: std::env::current_exe().unwrap(), arguments }
}

#[test]
#[ignore = "the program of the bots' processes in these tests"]
fn as_a_bots_process() {
    // Run by hand it has no socket to read from.
    child_main(["__bot".into()].into_iter());
    std::process::exit(0);
}

#[test]
#[ignore = "the program of a process that tries what it must not"]
fn as_a_probe() {
    child_main(["__bot-probe".into(), std::env::args_os().next_back().unwrap()].into_iter());
    std::process::exit(0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_gets_no_memory_that_does_not_count_for_its_bound() {
    let program = program(concat!(module_path!(), "::as_a_probe"));
    for what in ["shared", "stack"] {
        let probed = probe_with(&program, what).unwrap();
        let found = probed.found.clone().unwrap_or_else(|| panic!("{probed:?}"));
        assert!(found.outcome.starts_with("refused: Operation not permitted"), "{what}: {found:?}");
    }
    assert_eq!(probe_with(&program, "nothing").unwrap().found.unwrap().outcome, "done");
}

fn config(dir: &Path) -> ScriptConfig {
    ScriptConfig { dirs: vec![dir.to_path_buf()], watch: false, isolation: Isolation::Process, ..kind() }
}

/// The processes that this process has started for bots of that name.
#[cfg(target_os = "linux")]
fn processes(bot: &str) -> Vec<u32> {
    let me = std::process::id();
    let children = std::fs::read_dir(format!("/proc/{me}/task")).unwrap().flatten().flat_map(|task| {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()
    });
    let named = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == bot.as_bytes())
    };
    children.filter(named).collect()
}

#[cfg(target_os = "linux")]
fn kill(pid: u32) {
    use rustix::process::{Pid, Signal, kill_process};
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_process_comes_back_with_its_store_and_loses_no_message() {
    let dir = tempfile::tempdir().unwrap();
    // The store tells each message once, however often it comes.
    let text = "mesh.on_envelope(function(msg)
        if mesh.store:get('s' .. msg.text) then return end
        mesh.store:set('s' .. msg.text, true)
        msg:reply(msg.text .. ' ' .. mesh.store:incr('n'))
    end)";
    write(dir.path(), "killed_bot.lua", text);
    let live = Live::start(config(dir.path()), Store::default());
    live.running("killed_bot");
    assert_eq!(live.ask(EVE, None, "a"), "a 1");
    let before = processes("killed_bot");
    assert_eq!(before.len(), 1);
    kill(before[0]);
    live.tell(EVE, None, "b");
    live.sent(|sent| sent.last().is_some_and(|last| last == "b 2"));
    let after = processes("killed_bot");
    assert!(after.len() == 1 && after != before, "{after:?}");
    let bot = live.bot("killed_bot").unwrap();
    assert_eq!((bot.state.as_str(), bot.loads, bot.problem.as_deref()), ("running", 2, None));
    live.stop();
    assert!(processes("killed_bot").is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn a_killed_process_comes_back_although_other_bots_are_saved_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "fallen_bot.lua", "-- nothing");
    let live = Live::start(config(dir.path()), Store::default());
    live.running("fallen_bot");
    kill(processes("fallen_bot")[0]);
    live.until(|live| live.bot("fallen_bot").unwrap().state == "failed");
    write(dir.path(), "other.lua", "-- nothing");
    // A name that nobody has makes it look for new bots.
    assert_eq!(live.reload(Some("nobody")).unwrap_err().code, "unknown-bot");
    live.running("other");
    live.until(|live| live.bot("fallen_bot").unwrap().state == "running");
    assert_eq!(live.bot("fallen_bot").unwrap().loads, 2);
    live.stop();
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_replaced_process_had_begun_when_it_died_is_done_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let text = |version: &str, wait: u32| {
        format!(
            "mesh.on_envelope(function(msg)
                if msg.text == 'slow' then mesh.sleep({wait}) end
                msg:reply('{version} ' .. msg.text)
            end)"
        )
    };
    write(dir.path(), "replaced_bot.lua", &text("old", 25));
    let live = Live::start(config(dir.path()), Store::default());
    live.running("replaced_bot");
    let old = processes("replaced_bot")[0];
    live.tell(EVE, None, "slow");
    live.until(|live| live.bot("replaced_bot").unwrap().lag == 0);
    write(dir.path(), "replaced_bot.lua", &text("new", 0));
    live.again("replaced_bot");
    kill(old);
    live.sent(|sent| sent == ["new slow"]);
    live.stop();
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_that_dies_again_and_again_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "dying_bot.lua", "-- nothing");
    let live = Live::start(config(dir.path()), Store::default());
    for round in 1..=3 {
        live.running("dying_bot");
        kill(processes("dying_bot")[0]);
        live.until(|live| live.bot("dying_bot").unwrap().state != "running");
        let problem = live.bot("dying_bot").unwrap().problem.unwrap();
        assert!(problem.contains("killed from outside"), "{problem}");
        if round == 3 {
            live.until(|live| live.bot("dying_bot").unwrap().state == "disabled");
        }
    }
    live.stop();
}

#[test]
#[cfg(target_os = "linux")]
fn an_idle_process_sleeps() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "idle_bot.lua", "mesh.on_envelope(function(msg) msg:reply('x') end)");
    let live = Live::start(config(dir.path()), Store::default());
    live.running("idle_bot");
    assert_eq!(live.ask(EVE, None, "x"), "x");
    let pid = processes("idle_bot")[0];
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap().to_owned()
    };
    live.until(|_| {
        let before = switches();
        std::thread::sleep(Duration::from_secs(2));
        switches() == before
    });
    live.stop();
}

#[test]
fn both_versions_see_what_the_other_stores_while_the_old_one_finishes() {
    let dir = tempfile::tempdir().unwrap();
    let text = |version: &str| {
        format!(
            "mesh.on_envelope(function(msg)
                if msg.text == 'slow' then
                    mesh.store:set('by', 'old')
                    mesh.sleep(1.5)
                    msg:reply('slow ' .. mesh.store:incr('n'))
                else
                    msg:reply('{version} ' .. mesh.store:incr('n') .. ' ' .. tostring(mesh.store:get('by')))
                end
            end)"
        )
    };
    write(dir.path(), "bot.lua", &text("v1"));
    let live = Live::start(config(dir.path()), Store::default());
    live.running("bot");
    assert_eq!(live.ask(EVE, None, "x"), "v1 1 nil");
    live.tell(EVE, None, "slow");
    live.until(|live| live.bot("bot").unwrap().lag == 0);
    write(dir.path(), "bot.lua", &text("v2"));
    live.reload(Some("bot")).unwrap();
    assert_eq!(live.ask(EVE, None, "x"), "v2 2 old");
    live.sent(|sent| sent.last().is_some_and(|last| last == "slow 3"));
    assert_eq!(live.ask(EVE, None, "x"), "v2 4 old");
    live.stop();
}

#[test]
fn a_bot_that_takes_too_much_memory_is_told_so_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let text = "mesh.on_envelope(function(msg)
        if msg.text == 'bomb' then local t = {} while true do t[#t + 1] = string.rep('x', 65536) .. #t end end
        msg:reply(msg.text)
    end)";
    write(dir.path(), "bot.lua", text);
    let live = Live::start(config(dir.path()), Store::default());
    live.running("bot");
    live.tell(EVE, None, "bomb");
    assert_eq!(live.ask(EVE, None, "x"), "x");
    let bot = live.bot("bot").unwrap();
    assert!(bot.problem.as_ref().is_some_and(|problem| problem.contains("not enough memory")), "{bot:?}");
    assert_eq!(bot.loads, 1);
    live.stop();
}

#[test]
fn a_bot_says_where_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "inside.lua", "-- nothing");
    write(dir.path(), "outside.lua", "-- nothing");
    let mut config = config(dir.path());
    config.isolation = Isolation::Thread;
    let outside = crate::script::BotConfig { isolation: Some(Isolation::Process), ..Default::default() };
    config.bots.insert("outside".to_owned(), outside);
    let live = Live::start(config, Store::default());
    live.running("inside");
    live.running("outside");
    let isolation = |bot| live.bot(bot).unwrap().isolation;
    assert_eq!((isolation("inside").as_str(), isolation("outside").as_str()), ("thread", "process"));
    live.stop();
}
