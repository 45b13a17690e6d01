//! The data directory: one node at a time, files that only their owner reads, damage that is told and never overwritten.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use qpq_tests::{Outcome, TestNode, ensure};
use rustix::process::Signal;

/// The promise is 5 s; twice that on a crowded machine.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// Exit code for a configuration that can't be used (`EX_CONFIG` of sysexits.h).
const BAD_CONFIG: i32 = 78;

#[test]
fn a_second_node_on_the_same_home_is_refused_with_the_pid_of_the_first() -> Outcome {
    let first = TestNode::plan("first").start()?;
    let mut second = TestNode::plan("second").home(first.home()).prepare()?;
    let (status, log) = second.start_refused()?;
    ensure!(!status.success(), "the second node ended as if all were well: {log}");
    let pid = first.pid()?.to_string();
    ensure!(log.contains(&pid), "the refusal does not name pid {pid}: {log}");
    first.peer_id()?;
    Ok(())
}

#[test]
fn sigterm_and_ctrl_c_stop_a_node_within_five_seconds() -> Outcome {
    let mut node = TestNode::plan("a").start()?;
    let (status, took) = node.terminate()?;
    ensure!(status.success() && took < STOPS_WITHIN, "SIGTERM: {status} after {took:?}\n{}", node.log());
    node.start()?;
    node.signal(Signal::INT)?;
    let (status, took) = node.wait_stopped()?;
    ensure!(status.success() && took < STOPS_WITHIN, "SIGINT: {status} after {took:?}\n{}", node.log());
    Ok(())
}

#[test]
fn a_home_of_a_killed_node_can_be_used_at_once() -> Outcome {
    let mut node = TestNode::plan("a").start()?;
    let id = node.peer_id()?;
    node.kill()?;
    node.start()?;
    ensure!(node.peer_id()? == id, "the identity changed");
    Ok(())
}

#[test]
fn a_bad_configuration_is_refused_with_file_and_line() -> Outcome {
    let mut node = TestNode::plan("a").config("nickname = \"anna\"\n\nlisten = = 3\n").prepare()?;
    let (status, log) = node.start_refused()?;
    ensure!(status.code() == Some(BAD_CONFIG), "exit status {status}: {log}");
    ensure!(log.contains("qpq-server.toml:3"), "no file and line in: {log}");
    Ok(())
}

#[test]
fn an_unknown_configuration_key_is_refused_with_the_nearest_known_name() -> Outcome {
    let mut node = TestNode::plan("a").config("federation_domian = \"example.org\"\n").prepare()?;
    let (status, log) = node.start_refused()?;
    ensure!(status.code() == Some(BAD_CONFIG), "exit status {status}: {log}");
    ensure!(log.contains("federation_domain"), "the nearest known key is not named: {log}");
    let check = node.run(&["config", "check"])?;
    ensure!(check.code == Some(BAD_CONFIG), "`config check` ended with {:?}", check.code);
    Ok(())
}

#[test]
fn a_plugins_own_section_is_checked_against_the_plugins_schema() -> Outcome {
    let text = "[plugins]\nload = [\"transport-quic\", \"routing-flood\"]\n[plugins.transport-quic]\n\
                idle_timeout_ms = 7\nkeep_alive = 100\n";
    let node = TestNode::plan("a").config(text).prepare()?;
    let check = node.run(&["config", "check"])?;
    ensure!(check.code == Some(BAD_CONFIG), "`config check` ended with {:?}", check.code);
    for said in [
        "qpq-server.toml:4:1: [plugins.transport-quic]: idle_timeout_ms: 7 is less than the minimum of 200",
        "qpq-server.toml:5:1: [plugins.transport-quic]: keep_alive: the plugin has no such key; did you mean `keep_alive_ms`?",
    ] {
        ensure!(check.stderr.contains(said), "it does not say {said:?}: {}", check.stderr);
    }
    let good = text.replace("= 7", "= 3000").replace("keep_alive ", "keep_alive_ms ");
    fs::write(node.home().join("qpq-server.toml"), good)?;
    node.cli(&["config", "check"])?;
    Ok(())
}

#[test]
fn a_plugin_without_a_file_fails_the_check_of_the_configuration() -> Outcome {
    let node = TestNode::plan("a").config("[plugins]\nload = [\"routing-flood\", \"transport-smoke\"]\n").prepare()?;
    let check = node.run(&["config", "check"])?;
    ensure!(check.code == Some(BAD_CONFIG), "`config check` ended with {:?}", check.code);
    let said = check.stderr.contains("qpq-server.toml:2:8: plugin `transport-smoke`: no file transport-smoke.so");
    ensure!(said && !check.stderr.contains("routing-flood`"), "{}", check.stderr);
    Ok(())
}

#[test]
fn a_damaged_identity_file_is_refused_and_never_overwritten() -> Outcome {
    let mut node = TestNode::plan("a").start()?;
    node.terminate()?;
    let file = node.home().join("identity.json");
    let whole = fs::read_to_string(&file)?;
    let damaged = whole.get(..whole.len() / 2).unwrap_or_default();
    fs::write(&file, damaged)?;
    let (status, log) = node.start_refused()?;
    ensure!(!status.success(), "the node started with a damaged identity");
    ensure!(log.contains("identity.json"), "the file is not named: {log}");
    ensure!(fs::read_to_string(&file)? == damaged, "the damaged file was changed");
    fs::write(&file, whole)?;
    node.start()?;
    Ok(())
}

#[test]
fn an_identity_file_that_others_can_read_is_refused_with_the_mending_command() -> Outcome {
    let mut node = TestNode::plan("a").start()?;
    node.terminate()?;
    let file = node.home().join("identity.json");
    let mode = fs::metadata(&file)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "identity.json has mode {mode:o}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    let (status, log) = node.start_refused()?;
    ensure!(!status.success() && log.contains("chmod 600"), "{status}: {log}");
    Ok(())
}

#[test]
fn the_secret_key_is_in_no_log_and_no_output() -> Outcome {
    let node = TestNode::plan("a").argument("--set").argument("log.filter=trace").start()?;
    let identity = fs::read_to_string(node.home().join("identity.json"))?;
    let peer_id = node.peer_id()?;
    // Whatever the file calls it: every long hexadecimal word in it but the public key.
    let words = identity.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() >= 64 && *word != peer_id);
    let told = [node.log(), node.cli(&["mesh", "identity"])?, node.cli(&["status", "--json"])?].concat();
    for word in words {
        ensure!(!told.contains(word), "a secret of identity.json was printed");
    }
    Ok(())
}

#[test]
fn exit_codes_tell_programs_what_happened() -> Outcome {
    let mut node = TestNode::plan("a").start()?;
    ensure!(
        node.run(&["mesh", "send", "nobody-knows-this-name", "hi"])?.code == Some(1),
        "a failed operation ends with 1"
    );
    ensure!(node.run(&["mesh", "no-such-command"])?.code == Some(2), "wrong usage ends with 2");
    node.terminate()?;
    ensure!(node.run(&["mesh", "identity"])?.code == Some(3), "without a running node a command ends with 3");
    Ok(())
}
