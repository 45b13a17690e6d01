//! Makes new plugins in temporary folders, spoils them, builds them and tries them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use qpq_host::plugin::{Order, TrialReport, trials, try_in_child};
use serde_json::json;
use tempfile::TempDir;

/// The binary under test.
pub(crate) const QPQ: &str = env!("CARGO_BIN_EXE_qpq");

/// Runs `qpq` with these arguments, without the user's own settings.
pub(crate) fn qpq(cache: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(QPQ);
    command.env("XDG_CACHE_HOME", cache).env_remove("QPQ_HOME").args(arguments);
    command.output().expect("qpq runs")
}

/// What a program said.
pub(crate) fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// A change of a source: what stands there, and what stands there instead. An empty `from` appends.
pub(crate) struct Change {
    pub(crate) file: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

/// The transport in C that `qpq plugin new` writes, with changes; its library.
pub(crate) fn c_transport(folder: &TempDir, changes: &[Change]) -> PathBuf {
    let dir = folder.path().join("plugin");
    let made = qpq(folder.path(), &["plugin", "new", "spoiled", "--lang", "c", "--dir", dir.to_str().expect("UTF-8")]);
    assert!(made.status.success(), "{}", said(&made));
    for change in changes {
        let path = dir.join(change.file);
        let text = fs::read_to_string(&path).expect("readable");
        let spoiled = if change.from.is_empty() {
            format!("{text}\n{}\n", change.to)
        } else {
            assert!(text.contains(change.from), "{} has no `{}` any more", change.file, change.from);
            text.replace(change.from, change.to)
        };
        fs::write(&path, spoiled).expect("written");
    }
    make(&dir);
    dir.join("transport-spoiled.so")
}

/// Runs `make`.
pub(crate) fn make(dir: &Path) {
    let made = Command::new("make").arg("-C").arg(dir).env("CFLAGS", "-O1 -w").output().expect("make runs");
    assert!(made.status.success(), "{}", said(&made));
}

/// Compiles `tests/c/NAME.c` with these macros.
pub(crate) fn compile(folder: &TempDir, name: &str, macros: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = folder.path().join("plugin.so");
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let run = Command::new(cc)
        .args(["-shared", "-fPIC", "-w", "-pthread", "-I"])
        .arg(root.join("../plugin-api/include"))
        .args(macros.iter().map(|name| format!("-D{name}")))
        .arg(root.join("tests/c").join(name))
        .arg("-o")
        .arg(&out)
        .output()
        .expect("a C compiler (cc, or what CC names)");
    assert!(run.status.success(), "{}", said(&run));
    out
}

/// Runs one trial.
pub(crate) fn attempt(kind: &str, trial: &str, file: &Path) -> TrialReport {
    let all = trials(kind);
    let wanted = all.iter().find(|candidate| candidate.name == trial).expect("a trial of that name");
    let seed = std::env::var("QPQ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let order = Order { file: file.to_owned(), trial: trial.to_owned(), seed, config: json!({}), ..Order::default() };
    try_in_child(Path::new(QPQ), wanted, &order)
}
