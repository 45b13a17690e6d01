//! What comes with a bot: its manifest, its source, and the events that it is given.

use std::fs;

use qpq_host::script::{Manifest, RunReport, ScriptLimits, run_once};
use serde_json::Value;

use super::{Seeds, Target};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "manifest", feed: feed_manifest, seeds: manifests },
    Target { name: "script-event", feed: feed_event, seeds: events },
    Target { name: "script-source", feed: feed_source, seeds: sources },
    Target { name: "script-surface", feed: feed_surface, seeds: plans },
];

/// How a run may end. Anything else, such as `stuck` or `host-error`, is the host's fault.
const OUTCOMES: [&str; 6] = ["ok", "error", "cpu-limit", "memory-limit", "time-limit", "refused"];

/// A bot that looks at everything that it is given.
const CURIOUS: &str = "mesh.on_envelope(function(msg) msg:reply(msg.text .. tostring(msg.from)) end)\n\
    mesh.on_broadcast(\"board\", function(msg) msg:reply(#msg.text) end)\n\
    mesh.command(\"echo\", { help = \"says it again\" }, function(msg, text) return text end)\n";

fn manifests() -> Seeds {
    let full = "name = \"board\"\nversion = \"1.0\"\napi = 1\nneeds = [\"reply\", \"listen:board\", \"store\"]\n[config]\nchannel = \"board\"\n";
    vec![full.as_bytes().to_vec(), b"needs = [\"send\"]\n".to_vec()]
}

/// Every refusal says what is wrong.
fn feed_manifest(bytes: &[u8]) {
    if let Err(error) = Manifest::parse(&String::from_utf8_lossy(bytes)) {
        assert!(!error.message.is_empty());
    }
}

fn events() -> Seeds {
    [
        r#"{"event": "envelope", "text": "!echo hello", "from": "self"}"#,
        r#"{"event": "broadcast", "topic": "board", "text": "!list"}"#,
        r#"{"event": "start"}"#,
        r#"{"event": "timer"}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Any JSON as an event.
fn feed_event(bytes: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Value>(bytes) else { return };
    run(CURIOUS.as_bytes(), &event);
}

fn sources() -> Seeds {
    let plain = "local t = {} for i = 1, 10 do t[i] = string.format('%d %s', i, ('x'):rep(i)) end table.sort(t)\n\
        return string.find(table.concat(t), '(%d+).-x')\n";
    let guarded = "pcall(function() error(setmetatable({}, { __tostring = function() return 'odd' end })) end)\n\
        local co = coroutine.wrap(function() coroutine.yield(1) end) co()\n";
    vec![CURIOUS.as_bytes().to_vec(), plain.as_bytes().to_vec(), guarded.as_bytes().to_vec()]
}

/// Any source as a bot.
fn feed_source(bytes: &[u8]) {
    run(bytes, &serde_json::json!({ "event": "envelope", "text": "!echo hello" }));
}

/// A bot that calls what a plan tells it to.
const DRIVER: &str = include_str!("surface.lua");

/// Everything that a bot may ask for.
const ALL: &str = "needs = [\"reply\", \"direct\", \"listen\", \"broadcast\", \"send\", \"store\", \"peers\", \"routes\", \"channels\", \
    \"relay\", \"source\", \"machine\"]\n";

fn plans() -> Seeds {
    vec![(0..=255).collect(), (0..=254).rev().collect(), b"every function in its turn".to_vec()]
}

/// Any calls of what the sandbox offers, with any arguments: they end as calls of a bot end, and tell nothing of the host.
fn feed_surface(bytes: &[u8]) {
    let plan: String = bytes.iter().take(4_096).map(|byte| format!("\\{byte:03}")).collect();
    let source = DRIVER.replacen("--[[plan]]\"\"", &format!("\"{plan}\""), 1);
    let event = serde_json::json!({ "event": "envelope", "text": "hello" });
    let files = [("init.lua", source.as_bytes()), ("bot.toml", ALL.as_bytes())];
    let Some(report) = ran(&files, &event) else { return };
    let said = report.log.iter().map(String::as_str).chain(report.error.iter().map(|error| error.message.as_str()));
    for text in said {
        let is_told = [".rs:", "panicked", "RUST_BACKTRACE", "root:x:"].iter().any(|word| text.contains(word));
        assert!(!is_told, "the host shows in {text:?}");
    }
}

/// Runs a bot once with small limits. However it ends, it is the bot that ends.
fn run(source: &[u8], event: &Value) {
    ran(&[("init.lua", source)], event);
}

fn ran(files: &[(&str, &[u8])], event: &Value) -> Option<RunReport> {
    // A machine without room for a file is no fault of the sandbox.
    let folder = tempfile::tempdir().ok()?;
    for (name, text) in files {
        fs::write(folder.path().join(name), text).ok()?;
    }
    let limits = ScriptLimits { handler_life_secs: 1, ..ScriptLimits::default() };
    let report = run_once(folder.path(), event, &limits);
    assert!(OUTCOMES.contains(&report.outcome.as_str()), "the run ended with {}: {:?}", report.outcome, report.error);
    Some(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_reaches_the_library_and_what_its_calls_return() {
        let event = serde_json::json!({ "event": "envelope", "text": "hello" });
        let count = "\nmesh.on_envelope(function(msg) local all = {} gather(all, roots, {}) mesh.log.info('found ' .. #all) end)";
        let source = DRIVER.replace("--[[plan]]", "") + count;
        let report = ran(&[("init.lua", source.as_bytes()), ("bot.toml", ALL.as_bytes())], &event).unwrap();
        assert_eq!(report.outcome, "ok", "{report:?}");
        let found: usize = report.log.iter().find_map(|line| line.strip_prefix("found ")?.parse().ok()).unwrap();
        assert!(found > 150, "{found} functions");
    }
}
