//! The real binary as a client of a node in memory, over a real control socket.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use qpq_host::api::NodeApi;
use qpq_host::control::{ControlServer, Limits, serve};
use qpq_host::script::{MemoryNode, Sent};
use qpq_schemas::PeerId;

struct Bench {
    home: tempfile::TempDir,
    node: Arc<MemoryNode>,
    _server: ControlServer,
}

fn qpq(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qpq"));
    command.env_clear().arg("--home").arg(home);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let node = Arc::new(MemoryNode::default());
        let server = serve(Arc::clone(&node) as Arc<dyn NodeApi>, home.path(), Limits::default()).unwrap();
        Self { home, node, _server: server }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        qpq(self.home.path()).args(arguments).output().unwrap()
    }

    fn texts(&self) -> Vec<String> {
        self.node.sent().iter().map(Sent::text).collect()
    }

    /// Types lines at the prompt.
    fn say(&self, lines: &str) -> Output {
        let mut command = qpq(self.home.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

#[test]
fn a_sent_message_is_acknowledged_with_its_id() {
    let bench = Bench::new();
    let peer = "07".repeat(32);
    let output = bench.run(&["mesh", "send", &peer, "Hello", "from the mesh!"]);
    assert!(output.status.success(), "{output:?}");
    let id = text(&output.stdout);
    assert!(id.trim().len() == 64 && id.trim().bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let output = bench.run(&["mesh", "broadcast", "announcements", "Hello!", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["schema"], "qpq.receipt/1");
    assert_eq!(bench.texts(), ["Hello from the mesh!", "Hello!"]);
}

#[test]
fn the_inbox_is_followed_until_ctrl_c() {
    let bench = Bench::new();
    bench.node.arrive(PeerId([7; 32]), Some("news"), b"one\x1b[2J");
    let mut command = qpq(bench.home.path());
    let child = command.args(["mesh", "inbox", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    bench.node.arrive(PeerId([7; 32]), None, b"two");
    std::thread::sleep(Duration::from_millis(500));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let shown = text(&output.stdout);
    assert!(shown.contains("one\n") && shown.contains("two\n") && !shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn the_prompt_speaks_the_commands_of_the_shell() {
    let bench = Bench::new();
    let lines = "/mesh identity --json\n\n/mesh broadcast news It's \"five\" --json\nmesh subscribe news\n/mesh sned\n/quit\n/status\n";
    let output = bench.say(lines);
    assert!(output.status.success(), "{output:?}");
    let shown = text(&output.stdout);
    let first: serde_json::Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    assert_eq!(first["peer_id"], "5e".repeat(32));
    assert!(shown.contains("Joined news") && shown.contains("'send'"), "{shown}");
    assert_eq!(bench.texts(), ["It's \"five\" --json"]);
    assert!(!bench.home.path().join("history").exists(), "what a program says is no history");
}

#[test]
fn the_prompt_ends_with_its_input() {
    let output = Bench::new().say("/mesh channels\n");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_failed_call_exits_with_1_and_its_code() {
    let bench = Bench::new();
    bench.node.refuse(Some(qpq_host::api::ApiError::new("relay-full", "No room.")));
    let output = bench.run(&["mesh", "broadcast", "news", "x"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "qpq: No room. (relay-full)\n");
}

#[test]
fn a_node_in_the_way_of_another_is_not_disturbed() {
    let bench = Bench::new();
    let output = bench.run(&["up", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(bench.run(&["mesh", "identity"]).status.success());
}
