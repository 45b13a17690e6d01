//! What the script host promises, call by call.

mod api;
mod boards;
mod bounds;
mod bundled;
mod cookbook;
mod hostile;
mod known;
mod libraries;
mod live;
mod process;
mod sandbox;
mod tables;

use std::path::Path;

use serde_json::json;

use super::{RunReport, ScriptLimits, run_once};

/// Limits for tests on crowded machines: only what a test is about should stop it.
fn limits() -> ScriptLimits {
    ScriptLimits { broadcasts_per_minute: 10, ..ScriptLimits::default() }
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Runs a bot of one file once with a direct message "hello".
fn run(text: &str) -> RunReport {
    run_with(text, &json!({ "text": "hello" }))
}

fn run_with(text: &str, event: &serde_json::Value) -> RunReport {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", text);
    run_once(&dir.path().join("bot.lua"), event, &limits())
}

/// Runs a bot in a folder with every permission.
fn run_folder(text: &str, event: &serde_json::Value) -> RunReport {
    let dir = tempfile::tempdir().unwrap();
    let needs = super::manifest::PERMISSIONS.map(|(name, _)| format!("\"{name}\"")).join(", ");
    write(dir.path(), "bot/init.lua", text);
    write(dir.path(), "bot/bot.toml", &format!("needs = [{needs}]\n"));
    run_once(&dir.path().join("bot"), event, &limits())
}

/// The texts it sent.
fn texts(report: &RunReport) -> Vec<&str> {
    report.outputs.iter().filter_map(|output| output["text"].as_str()).collect()
}

/// Runs Lua assertions at load.
#[track_caller]
fn holds(text: &str) {
    let report = run(text);
    assert_eq!(report.error, None, "{report:?}");
}

/// The load raises this message at this line.
#[track_caller]
fn raises(text: &str, line: usize, message: &str) {
    let report = run(text);
    let error = report.error.expect("an error");
    assert!(error.message.contains(message), "{error:?}");
    assert_eq!((error.file.as_deref(), error.line), (Some("bot.lua"), Some(line)), "{error:?}");
}
