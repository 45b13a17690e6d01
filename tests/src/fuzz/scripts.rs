//! What comes with a bot: its manifest, its source, and the events that it is given.

use std::fs;
use std::path::Path;

use qpq_host::script::{Manifest, ScriptLimits, run_once};
use serde_json::Value;

use super::{Seeds, Target};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "manifest", feed: feed_manifest, seeds: manifests },
    Target { name: "script-event", feed: feed_event, seeds: events },
    Target { name: "script-source", feed: feed_source, seeds: sources },
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

/// Runs a bot once with small limits. However it ends, it is the bot that ends.
fn run(source: &[u8], event: &Value) {
    // A machine without room for a file is no fault of the sandbox.
    let Ok(folder) = tempfile::tempdir() else { return };
    let file = folder.path().join("bot.lua");
    if fs::write(&file, source).is_err() {
        return;
    }
    let outcome = outcome(&file, event);
    assert!(OUTCOMES.contains(&outcome.as_str()), "the run ended with {outcome}");
}

fn outcome(file: &Path, event: &Value) -> String {
    run_once(file, event, &ScriptLimits::default()).outcome
}
