//! The real binary at a terminal, with a node in memory.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qpq_host::api::NodeApi;
use qpq_host::control::{ControlServer, Limits, serve};
use qpq_host::script::{MemoryNode, Sent};
use qpq_schemas::{MessageId, PeerId};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// `qpq repl` at a terminal of its own.
struct Terminal {
    node: Arc<MemoryNode>,
    keys: File,
    shown: Arc<Mutex<String>>,
    process: Child,
    _server: ControlServer,
    _home: tempfile::TempDir,
}

impl Terminal {
    /// Opens the prompt and waits for it.
    fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        let node = Arc::new(MemoryNode::default());
        let server = serve(Arc::clone(&node) as Arc<dyn NodeApi>, home.path(), Limits::default()).unwrap();
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let slave = File::options().read(true).write(true).open(path).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_qpq"))
            .env_clear()
            .env("TERM", "xterm")
            .arg("--home")
            .arg(home.path())
            .arg("repl")
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave)
            .spawn()
            .unwrap();
        let mut screen = File::from(master.try_clone().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let notes = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                notes.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        let terminal = Self { node, keys: File::from(master), shown, process, _server: server, _home: home };
        terminal.wait("the prompt", || terminal.shown().contains("qpq> "));
        terminal
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn texts(&self) -> Vec<String> {
        self.node.sent().iter().map(Sent::text).collect()
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "{what} did not come; sent {:?}; shown:\n{}", self.texts(), self.shown());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn leave(mut self) {
        self.press("/quit\r");
        let end = Instant::now() + PATIENCE;
        while self.process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "the prompt did not end: {}", self.shown());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn lines_that_are_pasted_run_one_after_another() {
    let mut terminal = Terminal::open();
    terminal.press("/mesh broadcast news one\r/mesh broadcast news two\r/mesh broadcast news three\r");
    terminal.wait("the third line", || terminal.texts().len() == 3);
    assert_eq!(terminal.texts(), ["one", "two", "three"]);
    terminal.leave();
}

/// Terminals that know how mark what is pasted; it waits for Enter then.
#[test]
fn lines_that_are_pasted_as_one_piece_run_one_after_another() {
    let mut terminal = Terminal::open();
    terminal.press(
        "\x1b[200~/mesh broadcast news one\r\n\r\n/mesh broadcast news two\n/mesh broadcast news three\x1b[201~\r",
    );
    terminal.wait("the third line", || terminal.texts().len() == 3);
    assert_eq!(terminal.texts(), ["one", "two", "three"]);
    terminal.leave();
}

#[test]
fn more_lines_than_a_buffer_holds_are_pasted() {
    let mut terminal = Terminal::open();
    let lines: String = (0..55).map(|n| format!("/mesh broadcast news line {n} {}\r", "x".repeat(40))).collect();
    assert!(lines.len() < 4096, "a terminal keeps no more than that for a program that is busy");
    terminal.press(&lines);
    terminal.wait("the last line", || terminal.texts().len() == 55);
    assert!(terminal.texts().iter().enumerate().all(|(n, text)| text.starts_with(&format!("line {n} "))));
    terminal.leave();
}

#[test]
fn a_receipt_is_told_at_the_prompt() {
    let mut terminal = Terminal::open();
    terminal.press(&format!("/mesh send --receipt {} hello\r", "07".repeat(32)));
    terminal.wait("the message", || terminal.texts() == ["hello"]);
    terminal.node.deliver(MessageId([5; 32]), PeerId([7; 32]), Some("anna"));
    terminal.wait("the receipt", || terminal.shown().contains("to anna (0707070707)"));
    terminal.leave();
}
