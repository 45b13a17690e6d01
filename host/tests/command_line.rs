//! The real binary, where no node is needed: exit codes, messages, and what is printed where.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::{Command, Output};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn configure(self, text: &str) -> Self {
        std::fs::write(self.path().join("qpq-server.toml"), text).unwrap();
        self
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qpq"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QPQ_")) {
            command.env_remove(name);
        }
        Run(command.arg("--home").arg(self.path()).args(arguments).output().unwrap())
    }
}

struct Run(Output);

impl Run {
    fn code(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out()).unwrap()
    }
}

#[test]
fn done_is_0() {
    let home = Home::new();
    for arguments in [&["--help"][..], &["--version"], &["config", "reference"], &["config", "check"], &["man"]] {
        let run = home.run(arguments);
        assert_eq!((run.code(), run.err().as_str()), (0, ""), "{arguments:?}");
        assert!(!run.out().is_empty());
    }
}

#[test]
fn a_failed_operation_is_1() {
    let home = Home::new();
    let run = home.run(&["plugin", "check", "/nowhere/x.so", "--json"]);
    assert_eq!((run.code(), run.json()["ok"].as_bool()), (1, Some(false)));
    let run = home.run(&["script", "check", "/nowhere/x.lua", "--json"]);
    assert_eq!((run.code(), run.json()["ok"].as_bool()), (1, Some(false)));
}

#[test]
fn a_script_is_run_once_in_its_sandbox() {
    let home = Home::new();
    let bot = home.path().join("bot.lua");
    std::fs::write(&bot, "mesh.on_envelope(function(msg) return 'pong' end)\n").unwrap();
    let bot = bot.to_str().unwrap();
    let run = home.run(&["script", "run", bot, "--event", r#"{"event": "envelope", "text": "ping"}"#, "--json"]);
    let report = run.json();
    assert_eq!((run.code(), report["outcome"].as_str()), (0, Some("ok")), "{report}");
    assert!(report["cpu_ms"].is_number() && report["memory_bytes"].is_number());
    assert_eq!(home.run(&["script", "run", bot, "--event", "{"]).code(), 2);
    assert_eq!(home.run(&["script", "check", bot]).code(), 0);

    std::fs::write(home.path().join("loop.lua"), "while true do end\n").unwrap();
    let run = home.run(&["script", "run", home.path().join("loop.lua").to_str().unwrap(), "--event", "{}", "--json"]);
    assert_eq!(run.code(), 1);
    assert_ne!(run.json()["outcome"], "ok");
}

#[test]
fn wrong_usage_is_2_and_names_the_nearest_command() {
    let home = Home::new();
    let run = home.run(&["mesh", "sned", "x", "y"]);
    assert_eq!(run.code(), 2);
    assert!(run.err().contains("'send'"), "{}", run.err());
    assert_eq!(home.run(&["mesh", "send", "anna"]).code(), 2);
    assert_eq!(home.run(&["mesh", "send", "anna", "x", "--ttl", "soon"]).code(), 2);
    let run = home.run(&["--connect", "127.0.0.1:1", "up"]);
    assert_eq!(run.code(), 2, "a node that runs here has nothing to connect to");
    assert!(run.err().contains("--connect"), "{}", run.err());
}

#[test]
fn no_node_is_3_and_says_how_to_start_one() {
    let home = Home::new();
    for arguments in
        [&["status"][..], &["stop"], &["mesh", "peers"], &["plugin", "list"], &["mesh", "inbox", "--follow"]]
    {
        let run = home.run(arguments);
        assert_eq!(run.code(), 3, "{arguments:?}");
        assert!(run.err().contains(" up`"), "{}", run.err());
    }
    let run = home.run(&["mesh", "identity", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&run.err()).unwrap();
    assert_eq!((error["schema"].as_str(), error["code"].as_str()), (Some("qpq.error/1"), Some("no-node")));
}

#[test]
fn a_bad_configuration_is_78_with_file_line_and_column() {
    let home = Home::new().configure("nickname = \"a\"\nlissten = []\n");
    for arguments in [&["config", "check"][..], &["config", "print"], &["up"]] {
        let run = home.run(arguments);
        assert_eq!((run.code(), run.out().as_str()), (78, ""), "{arguments:?}");
        assert!(run.err().contains("qpq-server.toml:2:1: there is no key `lissten`; did you mean `listen`?"));
    }
    let run = home.run(&["config", "check", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&run.err()).unwrap();
    assert_eq!((error["errors"][0]["line"].as_u64(), error["errors"][0]["column"].as_u64()), (Some(2), Some(1)));
}

#[test]
fn the_values_in_effect_are_printed_with_their_origin() {
    let home = Home::new().configure("[messages]\nmax_hops = 3\n");
    let value = &home.run(&["config", "print", "--json"]).json()["keys"]["messages.max_hops"];
    assert_eq!(value["value"], 3);
    assert!(value["origin"].as_str().unwrap().ends_with("qpq-server.toml:2:12"));
}

#[test]
fn another_file_can_be_checked_before_it_is_used() {
    let home = Home::new();
    let file = home.path().join("new.toml");
    std::fs::write(&file, "[links]\nmax = 0\n").unwrap();
    let run = home.run(&["config", "check", file.to_str().unwrap()]);
    assert_eq!(run.code(), 78);
    assert!(run.err().contains("new.toml:2:7"), "{}", run.err());
}

#[test]
fn completions_are_made_for_every_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.run(&["completions", shell]).out();
        assert!(script.contains("broadcast") && script.contains("follow"), "{shell}");
    }
}

#[test]
fn man_pages_are_written_into_a_folder() {
    let home = Home::new();
    let dir = home.path().join("man");
    assert_eq!(home.run(&["man", dir.to_str().unwrap()]).code(), 0);
    assert!(dir.join("qpq-mesh-send.1").exists());
}

#[test]
fn a_closed_pipe_is_no_error() {
    let home = Home::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_qpq"))
        .arg("--home")
        .arg(home.path())
        .args(["config", "reference"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(output.status.success());
}

#[test]
fn looking_leaves_nothing_behind() {
    let home = Home::new();
    home.run(&["status"]);
    home.run(&["config", "print"]);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}
